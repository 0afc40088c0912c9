// Reading artifacts without running them, damaged ones too; and files that cannot be written.

#include "gcomp/artifact/manifest.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <random>

#include "gcomp/runtime/cpu.h"
#include "gcomp/support/error.h"
#include "model.h"

namespace gcomp {
namespace {

using test::Folder;
using test::write_so;
namespace fs = std::filesystem;

void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Reads it or gives a UserError; anything else fails the test.
bool readable(const std::string& path) {
  try {
    artifact::read_manifest(path);
    artifact::verify_weights(path);
    return true;
  } catch (const UserError& e) {
    CHECK(e.code() == ExitCode::kFiles);
    CHECK(std::string(e.what()).starts_with(path));
    return false;
  }
}

PlanImage weights_plan(const std::vector<double>& w) {
  PlanBuilder b;
  const PlanBufferId y = b.output("y", DType::kFloat64, {});
  b.copy(y, b.constant(std::as_bytes(std::span(w))), 8);
  return b.finish();
}

TEST_CASE("the manifest of shared objects and objects") {
  const Folder folder;
  const PlanImage image = test::scale_plan(2.0).finish();
  const test::LinkOptions options = {
      .name = "abc", .json = "{\"k\": [1, 2]}", .cpu_features = {"avx2", "fma"}};
  write_so(image, folder / "m.so", options);
  test::with_input(image, options,
                   [&](const auto& in) { artifact::write_object(in, folder / "m.o"); });
  for (const char* file : {"m.so", "m.o"}) {
    const artifact::Manifest m = artifact::read_manifest(folder / file);
    CHECK(m.name == "abc");
    CHECK(m.json == options.json);
    CHECK(m.weights_bytes == 0);
    CHECK(m.cpu_features == (rt::cpu_bit(rt::CpuFeature::avx2) | rt::cpu_bit(rt::CpuFeature::fma)));
  }
  CHECK_FALSE(readable("/bin/sh"));
  CHECK_FALSE(readable("/nowhere"));
  CHECK_FALSE(readable("/dev/zero"));
  CHECK_FALSE(readable(folder.path().string()));
}

TEST_CASE("weights: their hash is stored and checked") {
  const Folder folder;
  const std::vector<double> w(300000, 1.5);  // several chunks of the hash
  write_so(weights_plan(w), folder / "w.so");
  const artifact::Manifest m = artifact::read_manifest(folder / "w.so");
  CHECK(m.weights_bytes == w.size() * 8);
  CHECK(m.weights_offset % 4096 == 0);
  CHECK(m.weights_hash.size() == 32);
  CHECK(m.weights_offset + m.weights_bytes == fs::file_size(folder / "w.so"));
  artifact::verify_weights(folder / "w.so");
  std::string bytes = test::read_bytes(folder / "w.so");
  bytes[bytes.size() - 1] ^= 1;
  put(folder / "bad.so", bytes);
  CHECK_THROWS_WITH_AS(artifact::verify_weights(folder / "bad.so"),
                       doctest::Contains("do not match their hash"), UserError);
  put(folder / "bad.so", bytes.substr(0, bytes.size() - 1));
  CHECK_THROWS_WITH_AS(artifact::read_manifest(folder / "bad.so"),
                       doctest::Contains("weights are cut off"), UserError);
}

TEST_CASE("every truncation is a clear error") {
  const Folder folder;
  write_so(test::scale_plan(2.0).finish(), folder / "m.so");
  const std::string bytes = test::read_bytes(folder / "m.so");
  const std::string cut = folder / "cut.so";
  put(cut, bytes);
  REQUIRE(readable(cut));
  for (size_t n = bytes.size(); n-- > 0;) {
    REQUIRE(truncate(cut.c_str(), static_cast<off_t>(n)) == 0);
    REQUIRE_FALSE(readable(cut));
  }
}

TEST_CASE("damaged bytes never crash the reader") {
  const Folder folder;
  write_so(test::scale_plan(2.0).finish(), folder / "m.so");
  const std::string bytes = test::read_bytes(folder / "m.so");
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = bytes;
    for (int k = 0; k < 3; ++k) {  // the headers at both ends are where it matters
      const size_t near = random() % 64, far = bytes.size() - 1 - random() % 1600;
      damaged[random() % 2 == 0 ? near : far] = static_cast<char>(random());
    }
    put(folder / "d.so", damaged);
    readable(folder / "d.so");
  }
}

TEST_CASE("a file that cannot be written leaves nothing behind") {
  const Folder folder;
  const PlanImage image = test::scale_plan(2.0).finish();
  const auto fails = [&](const std::string& path) {
    CHECK_THROWS_AS(write_so(image, path), UserError);
  };
  fails(folder / "no/such/folder.so");
  fs::create_directory(folder / "taken.so");
  fails(folder / "taken.so");
  fails("/dev/null");
  fs::remove(folder / "taken.so");

  put(folder / "old.so", "old");
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  // lld's inputs are memory files, which the limit counts too: weights alone exceed it.
  const std::vector<double> w(1 << 20);
  const PlanImage heavy = weights_plan(w);
  const rlimit small = {4 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_THROWS_WITH_AS(write_so(heavy, folder / "old.so"),
                       doctest::Contains("old.so: cannot write"), UserError);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_DFL);
  CHECK(test::read_bytes(folder / "old.so") == "old");
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) files += entry.exists();
  CHECK(files == 1);
}

}  // namespace
}  // namespace gcomp
