// Artifacts in C programs: loaded, linked, in a folder holding nothing else; and what they need of the system.

#include <doctest/doctest.h>
#include <elf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <set>
#include <sstream>

#include "model.h"

namespace gcomp {
namespace {

using test::Folder;
using test::write_so;
namespace fs = std::filesystem;

struct Result {
  int status;
  std::string output;
};

Result shell(const std::string& command) {
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status, output};
}

std::string compile_host(const Folder& folder, const std::string& more, const std::string& name) {
  const std::string program = folder / name;
  const Result result =
      shell(std::string(GCOMP_C_COMPILER) +
            " -std=c99 -pedantic -Wall -Wextra -Werror -D_DEFAULT_SOURCE -I" GCOMP_SOURCE_DIR
            "/include " GCOMP_SOURCE_DIR "/test/artifact/host.c " +
            more + " -o " + program);
  REQUIRE_MESSAGE(result.status == 0, result.output);
  return program;
}

PlanImage with_weights(const std::vector<double>& w, const PlanOptions& options = {}) {
  PlanBuilder b;
  const PlanValue n = b.constant(static_cast<int64_t>(w.size()));
  const PlanBufferId x = b.input("x", DType::kFloat64, {{b.constant(1), "1"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{b.constant(2), "2"}});
  const PlanBufferId c = b.constant(std::as_bytes(std::span(w)));
  static const double kSmall = 0.25;
  const PlanBufferId d = b.constant(std::as_bytes(std::span(&kSmall, 1)));
  b.call({.kernel = b.kernel("k_sum"), .buffers = {c, y}, .scalars = {n}});
  b.call({.kernel = b.kernel("k_add"), .buffers = {x, d, b.view(y, b.constant(8))}, .extent = 1});
  return b.finish(options);
}

TEST_CASE("a C host loads and runs an artifact") {
  const Folder folder;
  write_so(test::scale_plan(2.0).finish(), folder / "m.so");
  const std::string host = compile_host(folder, "", "host");
  const Result result = shell(host + " " + folder / "m.so");
  CHECK(result.output == "y = 6 12 18\n");
  CHECK(result.status == 0);
}

TEST_CASE("two objects link into one C program") {
  const Folder folder;
  const auto write = [&](const PlanImage& image, const std::string& name) {
    test::with_input(image, {.name = name}, [&](const auto& input) {
      artifact::write_object(input, folder / (name + ".o"));
    });
  };
  const std::vector<double> w(20000, 0.5);
  write(test::scale_plan(2.0).finish(), "first");
  write(with_weights(w, {.inline_constants = UINT64_MAX}), "second");
  const std::string objects = folder / "first.o" + std::string(" ") + folder / "second.o -lm";
  for (const char* pie : {"-pie -fPIE ", "-no-pie "}) {
    const std::string host = compile_host(folder, pie + ("-DHOST_LINKED " + objects), "linked");
    CHECK(shell(host).output == "y = 6 12 18\ny = 10000 1.25\n");
  }
  const Result symbols = shell("nm --defined-only --extern-only " + folder / "first.o");
  CHECK(std::count(symbols.output.begin(), symbols.output.end(), '\n') == 9);
}

TEST_CASE("a file system holding only libc, libm and the loader is enough") {
  if (geteuid() != 0) {
    MESSAGE("skipped: chroot needs root");
    return;
  }
  const Folder folder;
  const std::vector<double> w(20000, 0.5);
  write_so(test::scale_plan(2.0).finish(), folder / "m.so");
  write_so(with_weights(w), folder / "w.so");
  compile_host(folder, "", "host");
  for (const char* library : {"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6",
                              "/lib/x86_64-linux-gnu/libm.so.6"}) {
    const std::string to = folder.path().string() + library;
    fs::create_directories(fs::path(to).parent_path());
    fs::copy_file(fs::canonical(library), to);
  }
  const std::string chroot = "env -i /usr/sbin/chroot " + folder.path().string() + " /host ";
  CHECK(shell(chroot + "/m.so").output == "y = 6 12 18\n");
  CHECK(shell(chroot + "./w.so").output == "y = 10000 1.25\n");
}

TEST_CASE("artifacts need libc and libm, and of them only what is listed") {
  const Folder folder;
  PlanBuilder b;
  const PlanBufferId x = b.input("x", DType::kFloat64, {{b.constant(1), "1"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{b.constant(1), "1"}});
  b.call({.kernel = b.kernel("k_sin"), .buffers = {x, y}});
  write_so(b.finish(), folder / "m.so");

  const auto needed = [&](const std::string& file) {
    std::istringstream lines(shell("readelf -dW " + folder / file).output);
    std::set<std::string> found;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("(NEEDED)") == std::string::npos) continue;
      const size_t open = line.find('[');
      found.insert(line.substr(open + 1, line.find(']') - open - 1));
    }
    return found;
  };
  CHECK(needed("m.so") == std::set<std::string>{"libc.so.6", "libm.so.6"});

  std::set<std::string> allowed;
  std::istringstream list(test::read_bytes(GCOMP_SOURCE_DIR "/lib/artifact/libc_symbols.txt"));
  for (std::string library, version, symbol; list >> library;) {
    if (library == "#") {
      std::getline(list, library);
      continue;
    }
    list >> version >> symbol;
    allowed.insert(symbol + "@" + version);
  }
  std::istringstream lines(shell("readelf -W --dyn-syms " + folder / "m.so").output);
  std::set<std::string> exported;
  int undefined = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string number, value, size, type, binding, visibility, section, name;
    fields >> number >> value >> size >> type >> binding >> visibility >> section >> name;
    if (name.empty() || binding != "GLOBAL") continue;
    if (section != "UND") {
      exported.insert(name);
      continue;
    }
    ++undefined;
    CHECK_MESSAGE(allowed.count(name) == 1, name);
  }
  CHECK(undefined > 10);
  CHECK(exported == std::set<std::string>{"gcomp_model_descriptor_v1", "gcomp_model_describe",
                                          "gcomp_model_create", "gcomp_model_destroy",
                                          "gcomp_model_run", "gcomp_model_last_error",
                                          "gcomp_model_get_state", "gcomp_model_set_state",
                                          "gcomp_model_reset_states"});
}

TEST_CASE("appended weights: found from anywhere, errors when gone or replaced") {
  const Folder folder;
  std::vector<double> w(20000);
  for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<double>(i);
  const PlanImage image = with_weights(w);
  CHECK(image.appended_bytes == w.size() * 8);
  CHECK(image.inline_bytes == 8);
  write_so(image, folder / "w.so");
  CHECK(fs::file_size(folder / "w.so") > w.size() * 8);
  CHECK(fs::file_size(folder / "w.so") < w.size() * 8 + 100000);

  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  const Artifact artifact("w.so");  // by a relative path; then the folder changes
  fs::current_path(before);
  const auto run = [&] {
    Context context(artifact);
    return test::run_vector(context, {1.0});
  };
  CHECK(run() == std::vector<double>{19999.0 * 10000, 1.25});
  {
    Context one(artifact), two(artifact);  // one mapping for both
    CHECK(test::run_vector(two, {2.0})[1] == 2.25);
    fs::rename(folder / "w.so", folder / "moved.so");
    CHECK(test::run_vector(one, {2.0})[0] == 19999.0 * 10000);
  }
  CHECK_THROWS_WITH(run(), doctest::Contains("cannot be opened"));
  write_so(test::scale_plan(2.0).finish(), folder / "w.so");
  try {
    run();
    FAIL("no error");
  } catch (const ArtifactError& e) {
    CHECK(e.status() == GCOMP_ERROR_WEIGHTS);
    CHECK(std::string(e.what()).find("no longer holds this artifact's weights") !=
          std::string::npos);
  }
  fs::rename(folder / "moved.so", folder / "w.so");
  CHECK(run()[1] == 1.25);
}

}  // namespace
}  // namespace gcomp
