// NVRTC: cubins and PTX of several architectures, the same bytes always, and what goes wrong said plainly. Where it is
// not installed `scripts/setup.sh test` installs it, so here it must be there.

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <mutex>

#include "gcomp/codegen/cuda.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"
#include "gcomp/support/error.h"

namespace gcomp::test {
namespace {

using codegen::CudaArch;
using codegen::CudaImage;
using codegen::CudaModule;
using codegen::CudaOptions;
using kernel::Buffer;
using kernel::Builder;
using kernel::Kernel;
using kernel::Role;
using kernel::Value;

Kernel map(Op op) {
  Builder b;
  const Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  const Buffer y = b.parameter(DType::kFloat32, Role::kOut);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1),
             [&](Value i) { b.store(y, i, b.op(op, {b.load(x, i)})); });
  return b.finish();
}

// Keeps a thousand numbers a thread, which are no registers.
Kernel with_array() {
  Builder b;
  const Buffer x = b.parameter(DType::kFloat32, Role::kInOut);
  const Buffer array = b.local(DType::kFloat32, 1000);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    b.for_loop(b.index(0), b.index(1000), b.index(1),
               [&](Value j) { b.store(array, j, b.load(x, b.add(i, j))); });
    b.for_loop(b.index(0), b.index(1000), b.index(1),
               [&](Value j) { b.store(x, b.add(i, j), b.load(array, b.sub(b.index(999), j))); });
  });
  return b.finish();
}

std::vector<CudaModule> some_modules() {
  const std::vector<Kernel> kernels = {map(Op::exp), map(Op::digamma), with_array()};
  const std::vector<const Kernel*> pointers = {&kernels[0], &kernels[1], &kernels[2]};
  const std::vector<std::string> names = {"k0_exp", "k1_digamma", "k2_array"};
  return codegen::print_cuda(pointers, names, {.kernels_per_module = 2});
}

struct MemoryCache : codegen::CodeCache {
  std::optional<std::string> get(const std::string& key) override {
    const std::lock_guard lock(mutex);
    const auto found = entries.find(key);
    if (found == entries.end()) return {};
    ++hits;
    return found->second;
  }
  void put(const std::string& key, const std::string& bytes) override {
    const std::lock_guard lock(mutex);
    entries[key] = bytes;
  }
  std::mutex mutex;
  std::map<std::string, std::string> entries;
  int hits = 0;
};

std::string error_of(const CudaOptions& options) {
  try {
    compile_cuda(some_modules(), options);
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

uint64_t digest(const std::vector<CudaImage>& images) {
  std::string all;
  for (const CudaImage& i : images) all += i.bytes;
  return std::hash<std::string>()(all);
}

}  // namespace

TEST_CASE("cubins and PTX by module and architecture; the same bytes in another process") {
  const std::vector<CudaModule> modules = some_modules();
  const CudaOptions options{.archs = codegen::parse_cuda_archs("sm_80,sm_90,compute_80"),
                            .threads = 2};
  const std::vector<CudaImage> images = compile_cuda(modules, options);
  if (const char* file = std::getenv("GCOMP_TEST_DIGEST")) {  // the other process
    std::ofstream(file) << digest(images);
    return;
  }
  REQUIRE(images.size() == 6);
  for (size_t i = 0; i < images.size(); ++i) {
    CHECK(images[i].module == i / 3);
    CHECK(images[i].arch == options.archs[i % 3]);
    if (images[i].arch.ptx) {
      CHECK(images[i].bytes.find(".target sm_80") != std::string::npos);
    } else {
      CHECK(
          images[i].bytes.starts_with("\x7f"
                                      "ELF"));
    }
  }
  const std::string file = std::string(GCOMP_BINARY_DIR) + "/cuda_digest";
  const std::string command = "GCOMP_TEST_DIGEST='" + file +
                              "' '" GCOMP_BINARY_DIR
                              "/test_codegen_cuda' -tc='cubins and PTX*' "
                              "> /dev/null";
  REQUIRE(std::system(command.c_str()) == 0);
  uint64_t other = 0;
  std::ifstream(file) >> other;
  CHECK(other == digest(images));
}

TEST_CASE("a cache is asked first, by all that decides the bytes") {
  const std::vector<CudaModule> modules = some_modules();
  MemoryCache cache;
  CudaOptions options{.archs = {{80, true}}, .threads = 2, .cache = &cache};
  const std::vector<CudaImage> first = compile_cuda(modules, options);
  CHECK(cache.hits == 0);
  const std::vector<CudaImage> second = compile_cuda(modules, options);
  CHECK(cache.hits == 2);
  CHECK(digest(first) == digest(second));
  options.line_info = true;
  const std::vector<CudaImage> lines = compile_cuda(modules, options);
  CHECK(cache.hits == 2);
  CHECK(lines[0].bytes.find(".loc") != std::string::npos);
  options.archs = {{90, true}};
  compile_cuda(modules, options);
  CHECK(cache.hits == 2);
  CHECK(cache.entries.size() == 6);
}

TEST_CASE("registers, shared and local memory of a cubin's kernels") {
  const std::vector<CudaImage> images =
      compile_cuda(some_modules(), {.archs = {{80, false}, {100, false}}, .threads = 2});
  for (const size_t arch : {0, 1}) {
    const auto maps = codegen::cubin_resources(images[arch].bytes);
    REQUIRE(maps.size() == 2);
    CHECK(maps[0].kernel == "k0_exp");
    CHECK(maps[1].kernel == "k1_digamma");
    CHECK(maps[0].registers >= 8);
    CHECK(maps[1].registers > maps[0].registers);
    CHECK(maps[0].local_bytes == 0);
    const auto arrays = codegen::cubin_resources(images[2 + arch].bytes);
    REQUIRE(arrays.size() == 1);
    CHECK(arrays[0].local_bytes >= 4000);
    CHECK(arrays[0].shared_bytes == 0);
  }
  const std::string& whole = images[0].bytes;
  for (const size_t n : {size_t{0}, size_t{3}, size_t{64}, whole.size() / 2}) {
    CHECK_THROWS_AS(codegen::cubin_resources(whole.substr(0, n)), UserError);
  }
}

TEST_CASE("mistakes are said with their cure") {
  CHECK(error_of({.archs = {{80, false}}, .nvrtc = "/nowhere/libnvrtc.so"})
            .find("pip install nvidia-cuda-nvrtc") != std::string::npos);
  CHECK(error_of({.archs = {{80, false}}, .nvrtc = "libm.so.6"}).find("nvrtcVersion") !=
        std::string::npos);
  const std::string unknown = error_of({.archs = {{80, false}, {77, false}}});
  CHECK(unknown.find("knows no architecture sm_77") != std::string::npos);
  CHECK(unknown.find("sm_80, ") != std::string::npos);
  for (const char* list : {"", "sm_80,", "80", "sm_8x", "sm_8", "sm_8000", "gpu"}) {
    CHECK_THROWS_AS(codegen::parse_cuda_archs(list), UserError);
  }
  CHECK(codegen::parse_cuda_archs("sm_80,compute_90,sm_80") ==
        std::vector<CudaArch>{{80, false}, {90, true}});
}

}  // namespace gcomp::test
