// Blocks of threads in the emulator, and that it notices what a GPU would not.

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
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
using kernel::MmaFormat;
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

// A warp's product of matrices in memory: words of a [16, 8] and b [8, 8], sums c [16, 8].
class WarpProduct {
 public:
  explicit WarpProduct(MmaFormat format) : format_(format) {
    a_ = b_.parameter(DType::kUInt32, Role::kIn);
    w_ = b_.parameter(DType::kUInt32, Role::kIn);
    c_ = b_.parameter(DType::kFloat32, Role::kIn);
    d_ = b_.parameter(DType::kFloat32, Role::kOut);
    b_.set_block(kThreads);
  }

  // One product a warp, two a block.
  Kernel all() {
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value block) {
      thread_ = b_.thread();
      const Value warp = b_.index_div(thread_, b_.index(32));
      product(b_.add(b_.mul(block, b_.index(kThreads / 32)), warp));
    });
    return b_.finish();
  }

  // Some threads of the warp exchange values meanwhile.
  Kernel divided() {
    thread_ = b_.thread();
    const Values none = b_.if_else(
        b_.lt(thread_, b_.index(16)), [&] { return Values{product(b_.index(0))}; },
        [&] { return Values{b_.warp_xor(b_.f32(1), 1)}; });
    b_.store(d_, thread_, none[0]);
    return b_.finish();
  }

 private:
  // The elements at (row, column) for every pair of them, of matrix number `at` of `rows` x 8.
  Value fragment(Buffer from, Value at, int rows, std::span<const std::pair<Value, Value>> places) {
    Value all;
    for (size_t i = 0; i < places.size(); ++i) {
      const Value row = b_.add(b_.mul(at, b_.index(rows)), places[i].first);
      const Value v = b_.load(from, b_.add(b_.mul(row, b_.index(8)), places[i].second));
      all = i == 0 ? b_.splat(v, static_cast<int>(places.size()))
                   : b_.insert(all, static_cast<int>(i), v);
    }
    return all;
  }

  Value product(Value at) {
    const Value lane = b_.index_rem(thread_, b_.index(32));
    const Value g = b_.index_div(lane, b_.index(4)), t = b_.index_rem(lane, b_.index(4));
    const Value g8 = b_.add(g, b_.index(8)), t4 = b_.add(t, b_.index(4));
    const Value u = b_.mul(t, b_.index(2)), u1 = b_.add(u, b_.index(1));
    const std::pair<Value, Value> of_a[] = {{g, t}, {g8, t}, {g, t4}, {g8, t4}};
    const std::pair<Value, Value> of_b[] = {{t, g}, {t4, g}};
    const std::pair<Value, Value> of_c[] = {{g, u}, {g, u1}, {g8, u}, {g8, u1}};
    const Value a = fragment(a_, at, 16, of_a), w = fragment(w_, at, 8, of_b);
    const Value d = b_.warp_mma(format_, a, w, fragment(c_, at, 16, of_c));
    for (int i = 0; i < 4; ++i) {
      const Value row = b_.add(b_.mul(at, b_.index(16)), of_c[i].first);
      const Value place = b_.add(b_.mul(row, b_.index(8)), of_c[i].second);
      b_.store(d_, place, b_.extract(d, i));
    }
    return b_.extract(d, 0);
  }

  Builder b_;
  MmaFormat format_;
  Buffer a_, w_, c_, d_;
  Value thread_;
};

// A number of a format's precision, with its bits.
struct Number {
  double value;
  uint32_t bits;
};

// Of `fraction_bits`, with an exponent that float16 has too.
Number random_number(std::mt19937& rng, int fraction_bits, int exponent_bits, int low_bits) {
  const uint32_t fraction = rng() >> (32 - fraction_bits);
  const int exponent = static_cast<int>(rng() % 9) - 4, bias = (1 << (exponent_bits - 1)) - 1;
  const uint32_t sign = rng() & 1;
  const double value = std::ldexp(1 + std::ldexp(fraction, -fraction_bits), exponent);
  const auto biased = static_cast<uint32_t>(exponent + bias);
  const uint32_t bits = ((sign << exponent_bits | biased) << fraction_bits | fraction) << low_bits;
  return {sign != 0 ? -value : value, bits};
}

Number random_number(std::mt19937& rng, MmaFormat format) {
  switch (format) {
    case MmaFormat::kFloat16: return random_number(rng, 10, 5, 0);
    case MmaFormat::kBFloat16: return random_number(rng, 7, 8, 0);
    default: return random_number(rng, 10, 8, 13);
  }
}

// `rows` x `depth` numbers, and as the words of a warp's product: of neighbours in depth where two fit in one.
struct Factor {
  Factor(std::mt19937& rng, MmaFormat format, size_t rows, bool by_depth) {
    const size_t of_word = format == MmaFormat::kTf32 ? 1 : 2;
    depth = 8 * of_word;
    words.resize(rows * 8);
    values.resize(rows * depth);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t k = 0; k < depth; ++k) {
        const Number n = random_number(rng, format);
        values[r * depth + k] = n.value;
        const size_t word = k / of_word;
        // The right factor is [word, column]; matrices follow one another.
        const size_t at = by_depth ? r * 8 + word : (r / 8 * 8 + word) * 8 + r % 8;
        words[at] |= n.bits << (k % of_word * 16);
      }
    }
  }
  size_t depth;
  std::vector<uint32_t> words;
  std::vector<double> values;  // row-major
};

// Each term may lose what is below the 24 bits of the largest, the sum is cut to float32.
void check_product(const Factor& a, const Factor& b, const std::vector<float>& c,
                   const std::vector<float>& d) {
  for (size_t i = 0; i < d.size(); ++i) {
    const size_t row = i / 8, column = row / 16 * 8 + i % 8;
    double sum = c[i], largest = std::abs(sum);
    for (size_t k = 0; k < a.depth; ++k) {
      const double term = a.values[row * a.depth + k] * b.values[column * b.depth + k];
      sum += term;
      largest = std::max(largest, std::abs(term));
    }
    const double unit = std::ldexp(1.0, -23);
    const double bound = unit * (static_cast<double>(a.depth + 1) * largest + std::abs(sum));
    CHECK(std::abs(d[i] - sum) <= bound);
  }
}

}  // namespace

TEST_CASE("a warp multiplies matrices of each format; a warp that is divided is noticed") {
  constexpr std::array kFormats = {MmaFormat::kFloat16, MmaFormat::kBFloat16, MmaFormat::kTf32};
  const std::vector<Kernel> kernels = {
      WarpProduct(kFormats[0]).all(), WarpProduct(kFormats[1]).all(),
      WarpProduct(kFormats[2]).all(), WarpProduct(kFormats[0]).divided()};
  std::vector<const Kernel*> pointers;
  for (const Kernel& k : kernels) pointers.push_back(&k);
  const std::vector<std::string> names = {"by_f16", "by_bf16", "by_tf32", "divided"};
  const Emulated emulated(pointers, names);
  constexpr size_t kBlocks = 5, kProducts = kBlocks * kThreads / 32;
  std::mt19937 rng(20);
  for (size_t f = 0; f < kFormats.size(); ++f) {
    const Factor a(rng, kFormats[f], kProducts * 16, true),
        b(rng, kFormats[f], kProducts * 8, false);
    std::vector<float> c(kProducts * 16 * 8), d(c.size());
    for (float& v : c) v = static_cast<float>(random_number(rng, 23, 8, 0).value);
    const uint64_t words[] = {
        std::bit_cast<uint64_t>(a.words.data()), std::bit_cast<uint64_t>(b.words.data()),
        std::bit_cast<uint64_t>(c.data()), std::bit_cast<uint64_t>(d.data()), kBlocks};
    emulated.run(names[f], words, {.threads = kThreads}, 2);
    check_product(a, b, c, d);
    uint64_t one[] = {words[0], words[1], words[2], words[3], 1};
    CHECK_THROWS(emulated.run("divided", one, {.threads = kThreads}, 1));
  }
}

TEST_CASE("the verifier knows matrix products of a warp") {
  const Kernel good = WarpProduct(MmaFormat::kTf32).all();
  CHECK(verify(good).empty());
  const auto broken = [&](const std::function<void(Kernel&, kernel::Inst&)>& change) {
    Kernel k = good;
    const auto mma = std::ranges::find(k.insts, kernel::Code::kWarpMma, &kernel::Inst::code);
    change(k, *mma);
    return verify(k).size();
  };
  CHECK(broken([](Kernel&, kernel::Inst& mma) { mma.imm = 3; }) == 1);
  CHECK(broken([](Kernel&, kernel::Inst& mma) { mma.num_operands = 2; }) == 1);
  CHECK(broken([](Kernel& k, kernel::Inst& mma) {
          std::swap(k.operands[mma.first_operand], k.operands[mma.first_operand + 1]);
        }) == 1);
  Kernel k = good;
  k.block_threads = 0;
  CHECK(verify(k).size() == 2);  // the thread, the product
}

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
  const Kernel kernels[] = {map.finish(),
                            reversed(true),
                            warp_sum(DType::kFloat32),
                            accesses(),
                            WarpProduct(MmaFormat::kFloat16).all(),
                            WarpProduct(MmaFormat::kBFloat16).all(),
                            WarpProduct(MmaFormat::kTf32).all()};
  const std::vector<std::string> names = {"k0_cast_tanh", "k1_reversed", "k2_warp_sum",
                                          "k3_accesses",  "k4_mma_f16",  "k5_mma_bf16",
                                          "k6_mma_tf32"};
  const std::vector<std::string> comments = {"tanh_1: cast mul add tanh",
                                             "reverse_2",
                                             "sum_3",
                                             "add_4",
                                             "matmul_5",
                                             "matmul_6",
                                             "matmul_7"};
  std::vector<const Kernel*> pointers;
  for (const Kernel& k : kernels) pointers.push_back(&k);
  const std::vector<int64_t> most = {1 << 20, 0, 0, 1 << 20, 64, 64, 64};
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
