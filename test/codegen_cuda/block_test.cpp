// Blocks of threads in the emulator, and that it notices what a GPU would not.

#include <doctest/doctest.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "emulated.h"
#include "gcomp/ir/constant.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"

namespace gcomp::test {
namespace {

using kernel::Buffer;
using kernel::Builder;
using kernel::Kernel;
using kernel::Role;
using kernel::Value;
using kernel::Values;

constexpr uint32_t kThreads = 64;

// y[i] = x of the thread on the other side of the block, through shared memory.
Kernel reversed(bool with_barrier) {
  Builder b;
  const Buffer x = b.parameter(DType::kInt32, Role::kIn);
  const Buffer y = b.parameter(DType::kInt32, Role::kOut);
  b.set_block(kThreads);
  const Buffer s = b.shared(DType::kInt32, kThreads);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value block) {
    const Value t = b.thread(), at = b.add(b.mul(block, b.index(kThreads)), t);
    b.store(s, t, b.load(x, at));
    if (with_barrier) b.barrier();
    b.store(y, at, b.load(s, b.sub(b.index(kThreads - 1), t)));
  });
  return b.finish();
}

Kernel half_waits() {
  Builder b;
  b.parameter(DType::kInt32, Role::kIn);
  b.set_block(kThreads);
  b.if_then(b.lt(b.thread(), b.index(10)), [&] { b.barrier(); });
  return b.finish();
}

Kernel reads_nothing() {
  Builder b;
  const Buffer y = b.parameter(DType::kInt32, Role::kOut);
  b.set_block(kThreads);
  const Buffer s = b.shared(DType::kInt32, kThreads);
  b.store(y, b.thread(), b.load(s, b.thread()));
  return b.finish();
}

// y[i] = the sum over the warp of x, of every dtype that can travel.
Kernel warp_sum(DType t) {
  Builder b;
  const Buffer x = b.parameter(t, Role::kIn), y = b.parameter(t, Role::kOut);
  b.set_block(kThreads);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value block) {
    const Value thread = b.thread();  // first: the order of a call's operands is the compiler's
    const Value at = b.add(b.mul(block, b.index(kThreads)), thread);
    Value v = b.load(x, at);
    for (int other = 16; other >= 1; other /= 2) v = b.add(v, b.warp_xor(v, other));
    b.store(y, at, v);
  });
  return b.finish();
}

// y[8 i + ...] = x[8 i + ...] + z[8 i + ...], z half as wide.
Kernel accesses() {
  Builder b;
  const Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  const Buffer z = b.parameter(DType::kFloat16, Role::kIn);
  const Buffer y = b.parameter(DType::kFloat32, Role::kOut);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    const Value at = b.mul(i, b.index(8));
    const Value v = b.load(x, at, 8);
    b.store(y, at, b.add(v, b.cast(b.load(z, at, 8), DType::kFloat32)));
  });
  return b.finish();
}

template <class T>
void check_warp_sum(const Emulated& emulated, const std::string& name) {
  constexpr size_t kCount = 3 * kThreads;
  std::vector<T> x(kCount), y(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = static_cast<T>(i % 7);
  const uint64_t words[] = {std::bit_cast<uint64_t>(x.data()), std::bit_cast<uint64_t>(y.data()),
                            3};
  emulated.run(name, words, {.threads = kThreads}, 2);
  for (size_t i = 0; i < kCount; ++i) {
    T sum = 0;
    for (size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k) sum = static_cast<T>(sum + x[k]);
    CHECK(y[i] == sum);
  }
}

}  // namespace

TEST_CASE("blocks share memory, wait for one another, exchange values; mistakes are noticed") {
  const std::vector<Kernel> kernels = {reversed(true),
                                       reversed(false),
                                       half_waits(),
                                       reads_nothing(),
                                       warp_sum(DType::kInt8),
                                       warp_sum(DType::kInt64),
                                       warp_sum(DType::kFloat32),
                                       warp_sum(DType::kFloat64)};
  std::vector<const Kernel*> pointers;
  for (const Kernel& k : kernels) pointers.push_back(&k);
  const std::vector<std::string> names = {"reversed", "race",    "waits",   "nothing",
                                          "sum_i8",   "sum_i64", "sum_f32", "sum_f64"};
  const Emulated emulated(pointers, names);
  std::vector<int32_t> x(5 * kThreads), y(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int32_t>(i * i);
  const uint64_t words[] = {std::bit_cast<uint64_t>(x.data()), std::bit_cast<uint64_t>(y.data()),
                            5};
  for (const char* seed : {"1", "2", "3"}) {
    setenv("GCOMP_EMULATOR_SEED", seed, 1);
    std::ranges::fill(y, -1);
    emulated.run("reversed", words, {.threads = kThreads}, 2);
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK(y[i] == x[i / kThreads * kThreads + kThreads - 1 - i % kThreads]);
    }
    CHECK_THROWS(emulated.run("race", words, {.threads = kThreads}, 2));
  }
  unsetenv("GCOMP_EMULATOR_SEED");
  const uint64_t one[] = {std::bit_cast<uint64_t>(y.data()), 1};
  CHECK_THROWS(emulated.run("waits", one, {.threads = kThreads}, 1));
  CHECK_THROWS(emulated.run("nothing", one, {.threads = kThreads}, 1));
  CHECK_THROWS(emulated.run("reversed", words, {.threads = 32}, 2));
  check_warp_sum<int8_t>(emulated, "sum_i8");
  check_warp_sum<int64_t>(emulated, "sum_i64");
  check_warp_sum<float>(emulated, "sum_f32");
  check_warp_sum<double>(emulated, "sum_f64");
}

TEST_CASE("the verifier knows blocks") {
  Kernel k = reversed(true);
  CHECK(verify(k).empty());
  k.block_threads = 0;
  CHECK(verify(k).size() == 3);  // the shared array, the thread, the barrier
  k.block_threads = 33;
  CHECK(verify(k).size() == 1);
}

TEST_CASE(
    "neighbours are one access of 16 bytes where they are aligned, else as many as they are") {
  const Kernel kernel = accesses();
  const Kernel* const pointers[] = {&kernel};
  const std::string names[] = {"accesses"};
  const auto modules = codegen::print_cuda(pointers, names);
  const std::string ptx = compile_cuda(modules, {.archs = {{80, true}}})[0].bytes;
  for (const char* wide : {"ld.global.v4.f32", "ld.global.v4.u32", "st.global.v4.f32"}) {
    CHECK(ptx.find(wide) != std::string::npos);
  }
  const Emulated emulated(pointers, names);
  constexpr size_t kCount = 48;
  alignas(16) float x[kCount + 4], y[kCount + 4];
  alignas(16) uint16_t z[kCount + 8];
  for (const size_t shift : {0, 1, 2, 3}) {
    std::ranges::fill(y, -1.0f);
    for (size_t i = 0; i < kCount; ++i) {
      x[i + shift] = static_cast<float>(i);
      z[i + shift] = double_to_half(0.5 * static_cast<double>(i));
    }
    const uint64_t words[] = {std::bit_cast<uint64_t>(x + shift),
                              std::bit_cast<uint64_t>(z + shift),
                              std::bit_cast<uint64_t>(y + shift), kCount / 8};
    emulated.run("accesses", words, {}, 1);
    for (size_t i = 0; i < kCount; ++i) CHECK(y[i + shift] == 1.5f * static_cast<float>(i));
    for (size_t i = 0; i < shift; ++i) CHECK(y[i] == -1.0f);
    for (size_t i = kCount + shift; i < kCount + 4; ++i) CHECK(y[i] == -1.0f);
  }
}

// GCOMP_WRITE_GOLDEN=1 writes the files anew.
TEST_CASE("golden texts") {
  Builder map;
  {
    const Buffer x = map.parameter(DType::kFloat16, Role::kIn);
    const Buffer row = map.parameter(DType::kFloat32, Role::kIn);
    const Buffer y = map.parameter(DType::kFloat32, Role::kOut);
    const Value s = map.scalar(DType::kFloat32);
    map.for_loop(map.range_begin(), map.range_end(), map.index(1), [&](Value i) {
      const Value v = map.cast(map.load(x, i), DType::kFloat32);
      const Value w = map.load(row, map.index_rem(i, map.index(100)));
      map.store(y, i, map.op(Op::tanh, {map.mul_add(v, w, s)}));
    });
  }
  const Kernel kernels[] = {map.finish(), reversed(true), warp_sum(DType::kFloat32), accesses()};
  const std::vector<std::string> names = {"k0_cast_tanh", "k1_reversed", "k2_warp_sum",
                                          "k3_accesses"};
  const std::vector<std::string> comments = {"tanh_1: cast mul add tanh", "reverse_2", "sum_3",
                                             "add_4"};
  const std::vector<const Kernel*> pointers = {&kernels[0], &kernels[1], &kernels[2], &kernels[3]};
  const std::vector<int64_t> most = {1 << 20, 0, 0, 1 << 20};
  const auto modules = codegen::print_cuda(
      pointers, names, {.kernels_per_module = 1, .comments = comments, .most_iterations = most});
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string path = GCOMP_SOURCE_DIR "/test/codegen_cuda/golden/" + names[i] + ".cu";
    if (std::getenv("GCOMP_WRITE_GOLDEN") != nullptr) std::ofstream(path) << modules[i].text;
    std::ifstream in(path);
    std::stringstream golden;
    golden << in.rdbuf();
    CHECK(modules[i].text == golden.str());
  }
  const std::vector<codegen::CudaArch> archs = {{80, false}, {90, false}, {100, false}};
  for (const codegen::CudaImage& image : compile_cuda(modules, {.archs = archs, .threads = 2})) {
    const auto resources = codegen::cubin_resources(image.bytes);
    REQUIRE(resources.size() == 1);
    CHECK(resources[0].kernel == names[image.module]);
    const uint32_t shared = image.module == 1 ? 4 * kThreads : 0;
    const uint32_t reserved = image.module == 1 && image.arch.number >= 90 ? 1024 : 0;
    CHECK(resources[0].shared_bytes == shared + reserved);
  }
}

}  // namespace gcomp::test
