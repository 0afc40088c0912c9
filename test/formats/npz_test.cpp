// .npz archives: what is written is read again; damage is an error, never a crash. That NumPy agrees
// with both directions is checked from Python, test/cli/test_run.py.

#include "gcomp/formats/npz.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

using namespace gcomp;
using namespace gcomp::formats;

namespace {

std::string temporary(const char* name) { return std::filesystem::path(GCOMP_BINARY_DIR) / name; }

std::vector<NamedArray> samples() {
  return {{"x", make_splat(DType::kFloat32, {2, 3}, 1.5)},
          {"a/b:0", make_scalar_int(DType::kInt64, -7)},
          {"empty", make_splat(DType::kBool, {0, 4}, 0)},
          {"half", make_splat(DType::kFloat16, {5}, 0.25)}};
}

}  // namespace

TEST_CASE("arrays survive writing and reading") {
  const std::string path = temporary("npz_round_trip.npz");
  const auto written = samples();
  write_npz(path, written);
  const auto read = read_npz(path);
  REQUIRE(read.size() == written.size());
  for (size_t i = 0; i < read.size(); ++i) {
    CHECK(read[i].name == written[i].name);
    CHECK(read[i].value.dtype == written[i].value.dtype);
    CHECK(read[i].value.shape == written[i].value.shape);
    CHECK(std::ranges::equal(read[i].value.bytes, written[i].value.bytes));
  }
}

TEST_CASE("bfloat16 travels as uint16") {
  const std::string path = temporary("npz_bfloat16.npz");
  const std::vector<NamedArray> one{{"x", make_splat(DType::kBFloat16, {2}, 1.0)}};
  write_npz(path, one);
  const auto read = read_npz(path);
  CHECK(read[0].value.dtype == DType::kUInt16);
  CHECK(read[0].value.data<uint16_t>()[1] == 0x3f80);
}

TEST_CASE("every truncation and every flipped byte is an error or harmless") {
  const std::string path = temporary("npz_damaged.npz");
  write_npz(path, samples());
  const std::string whole = read_file(path);
  for (size_t n = 0; n < whole.size(); ++n) {
    write_file(path, whole.substr(0, n));
    CHECK_THROWS_AS(read_npz(path), UserError);
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x5a);
    write_file(path, damaged);
    try {
      read_npz(path);  // a changed name or date goes unnoticed
    } catch (const UserError& error) {
      CHECK(error.code() == ExitCode::kFiles);
    }
  }
}
