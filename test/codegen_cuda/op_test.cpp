// Every op on every dtype, and every cast, as CUDA text run in the emulator, against the reference evaluator.

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "emulated.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/constant.h"
#include "gcomp/kernel/builder.h"

namespace gcomp::test {
namespace {

using kernel::Buffer;
using kernel::Builder;
using kernel::Kernel;
using kernel::Role;
using kernel::Value;

constexpr int kLanes = 2;  // the second half of the points is done by a vector loop

struct Case {
  std::string name;
  Op op = Op::cast;
  DType in{}, out{};
  size_t arity = 1;
  Kernel kernel = {};
};

Kernel map_kernel(const Case& c) {
  Builder b;
  std::vector<Buffer> x;
  for (size_t i = 0; i < c.arity; ++i) x.push_back(b.parameter(c.in, Role::kIn));
  const Buffer y = b.parameter(c.out, Role::kOut);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    const Value at = b.mul(i, b.index(kLanes));
    std::vector<Value> v;
    for (const Buffer buffer : x) v.push_back(b.load(buffer, at, kLanes));
    b.store(y, at, c.op == Op::cast ? b.cast(v[0], c.out) : b.op(c.op, v));
  });
  return b.finish();
}

size_t arity_of(Op op) {
  if (op >= Op::neg && op <= Op::is_inf) return 1;
  return op >= Op::add && op <= Op::shr ? 2 : 0;
}

bool defined_on(Op op, DType t) {
  const bool bits = op == Op::bit_not || (op >= Op::bit_and && op <= Op::shr);
  if (t == DType::kBool) {
    return (op >= Op::bit_and && op <= Op::bit_xor) || op == Op::bit_not || op == Op::eq;
  }
  if (is_float(t)) return !bits;
  return bits || op == Op::neg || op == Op::abs || op == Op::sign ||
         (op >= Op::add && op <= Op::max && op != Op::pow) || (op >= Op::eq && op <= Op::ge) ||
         op == Op::pow;
}

bool gives_bool(Op op) {
  return (op >= Op::eq && op <= Op::ge) || op == Op::is_nan || op == Op::is_inf;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (int o = 0; o < kNumOps; ++o) {
    for (int t = 0; t < kNumDTypes; ++t) {
      Case c{.name = {}, .op = static_cast<Op>(o), .in = static_cast<DType>(t)};
      c.arity = arity_of(c.op);
      if (c.arity == 0 || !defined_on(c.op, c.in)) continue;
      c.out = gives_bool(c.op) ? DType::kBool : c.in;
      cases.push_back(c);
    }
  }
  for (int from = 0; from < kNumDTypes; ++from) {
    for (int to = 0; to < kNumDTypes; ++to) {
      if (from == to) continue;
      cases.push_back({.name = {}, .in = static_cast<DType>(from), .out = static_cast<DType>(to)});
    }
  }
  for (Case& c : cases) {
    c.name =
        std::string(name(c.op)) + "_" + std::string(name(c.in)) + "_" + std::string(name(c.out));
    c.kernel = map_kernel(c);
  }
  return cases;
}

// ---- values

std::vector<double> edges(DType t, std::mt19937_64& random) {
  std::vector<double> v;
  for (int i = -5; i <= 70; ++i) v.push_back(i);
  const auto inf = std::numeric_limits<double>::infinity();
  if (is_float(t)) {
    v.insert(v.end(), {-0.0, 0.5, -0.5, 0.999, -0.999, 1.5, 2.5, inf, -inf, 1e30, -1e30, 1e-40});
    v.push_back(std::numeric_limits<double>::quiet_NaN());
    std::uniform_real_distribution<double> small(-4, 4), large(-90, 90), unit(-1, 1);
    for (int i = 0; i < 30; ++i) {
      v.push_back(small(random)), v.push_back(large(random)), v.push_back(unit(random));
    }
  }
  for (const int e : {7, 8, 15, 16, 31, 32, 63, 64}) {
    const double p = std::ldexp(1.0, e);
    for (const double w : {p, p - 1, p + 1, p / 2 + 0.5}) v.push_back(w), v.push_back(-w);
  }
  return v;
}

void set(interp::Tensor& t, size_t i, double v, std::mt19937_64& random) {
  switch (t.dtype) {
    case DType::kBool: t.data<uint8_t>()[i] = v != 0; return;
    case DType::kFloat16: t.data<uint16_t>()[i] = double_to_half(v); return;
    case DType::kBFloat16: t.data<uint16_t>()[i] = double_to_bfloat16(v); return;
    case DType::kFloat32: t.data<float>()[i] = static_cast<float>(v); return;
    case DType::kFloat64: t.data<double>()[i] = v; return;
    default: break;
  }
  uint64_t bits = random() >> (random() % 64);
  if (std::fabs(v) < 100 || random() % 2 == 0) {
    bits = std::fabs(v) < 9e18 ? static_cast<uint64_t>(static_cast<int64_t>(v)) : uint64_t{1} << 63;
  }
  std::memcpy(t.bytes.data() + i * byte_size(t.dtype), &bits, byte_size(t.dtype));
}

// All pairs of a part of the edges, or the edges alone.
std::vector<interp::Tensor> make_inputs(const Case& c) {
  std::mt19937_64 random(5);
  const std::vector<double> values = edges(c.in, random);
  std::vector<std::vector<double>> columns(c.arity);
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < (c.arity == 2 ? values.size() : 1); j += 1 + random() % 6) {
      columns[0].push_back(values[i]);
      if (c.arity == 2) columns[1].push_back(values[j]);
    }
  }
  std::vector<interp::Tensor> inputs;
  for (std::vector<double>& column : columns) {
    if (column.size() % kLanes != 0) column.push_back(1);
    interp::Tensor t{.dtype = c.in, .shape = {static_cast<int64_t>(column.size())}, .bytes = {}};
    t.bytes.resize(column.size() * byte_size(c.in));
    for (size_t i = 0; i < column.size(); ++i) set(t, i, column[i], random);
    inputs.push_back(std::move(t));
  }
  return inputs;
}

interp::Tensor reference(const Case& c, const std::vector<interp::Tensor>& inputs) {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  std::vector<ValueId> v;
  for (size_t i = 0; i < inputs.size(); ++i) {
    v.push_back(
        b.input("x" + std::to_string(i), {c.in, {context.dims.constant(inputs[i].shape[0])}}));
  }
  b.output("y", c.op == Op::cast ? b.cast(v[0], c.out) : b.value(c.op, v));
  return interp::evaluate(*b.finish(), inputs)[0];
}

// Distance in units of the last place; 0 for two NaNs and for zeros of any sign.
double ulps(DType t, const interp::Tensor& want, const interp::Tensor& got, size_t i) {
  const size_t size = byte_size(t);
  uint64_t a = 0, b = 0;
  std::memcpy(&a, want.bytes.data() + i * size, size);
  std::memcpy(&b, got.bytes.data() + i * size, size);
  if (a == b) return 0;
  if (!is_float(t)) return std::numeric_limits<double>::infinity();
  const uint64_t sign = uint64_t{1} << (size * 8 - 1);
  const uint64_t infinity = t == DType::kFloat16    ? 0x7c00
                            : t == DType::kBFloat16 ? 0x7f80
                            : t == DType::kFloat32  ? 0x7f800000
                                                    : 0x7ff0000000000000;
  const bool nan_a = (a & ~sign) > infinity, nan_b = (b & ~sign) > infinity;
  if (nan_a || nan_b) return nan_a && nan_b ? 0 : std::numeric_limits<double>::infinity();
  auto ordered = [&](uint64_t x) {
    const auto magnitude = static_cast<__int128>(x & ~sign);
    return (x & sign) != 0 ? -magnitude : magnitude;
  };
  return std::fabs(static_cast<double>(ordered(a) - ordered(b)));
}

// "0x7f800000 (inf)"
std::string bits_text(const interp::Tensor& t, size_t i) {
  uint64_t bits = 0;
  std::memcpy(&bits, t.bytes.data() + i * byte_size(t.dtype), byte_size(t.dtype));
  char text[64];
  const double value = t.dtype == DType::kFloat32
                           ? std::bit_cast<float>(static_cast<uint32_t>(bits))
                           : std::bit_cast<double>(bits);
  std::snprintf(text, sizeof text, "0x%llx (%g)", static_cast<unsigned long long>(bits), value);
  return text;
}

// Functions of glibc stand for CUDA's here, so these bound what is ours: helpers and expansions. The gamma functions are
// relative to the terms that cancel left of 0.
double bound(const Case& c) {
  if (!is_float(c.out) || c.op == Op::cast) return 0;
  switch (c.op) {
    case Op::sigmoid:
    case Op::softplus:
    case Op::log1mexp: return 4;
    case Op::erfcx:
    case Op::erfinv: return 5;
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma: return 5e3;
    default: break;
  }
  const bool real =
      (c.op >= Op::exp && c.op <= Op::log1mexp) || c.op == Op::pow || c.op == Op::atan2;
  return real ? 2 : 0;
}

TEST_CASE("every op on every dtype, and every cast, does what the reference evaluator does") {
  const std::vector<Case> cases = all_cases();
  CHECK(cases.size() > 500);
  std::vector<const Kernel*> kernels;
  std::vector<std::string> names;
  for (const Case& c : cases) kernels.push_back(&c.kernel), names.push_back(c.name);
  const Emulated emulated(kernels, names);
  for (const Case& c : cases) {
    INFO(c.name);
    const std::vector<interp::Tensor> inputs = make_inputs(c);
    const interp::Tensor want = reference(c, inputs);
    interp::Tensor got = want;
    std::fill(got.bytes.begin(), got.bytes.end(), std::byte{0xee});
    std::vector<uint64_t> words;
    for (const interp::Tensor& t : inputs) words.push_back(std::bit_cast<uint64_t>(t.bytes.data()));
    words.push_back(std::bit_cast<uint64_t>(got.bytes.data()));
    words.push_back(static_cast<uint64_t>(want.num_elements()) / kLanes);
    emulated.run(c.name, words, {.threads = 32}, 3);
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < static_cast<size_t>(want.num_elements()); ++i) {
      const double e = ulps(c.out, want, got, i);
      if (e > worst) worst = e, at = i;
    }
    INFO("element ", at, ": ", bits_text(want, at), ", got ", bits_text(got, at), ", of ",
         bits_text(inputs[0], at), " ", bits_text(inputs.back(), at));
    CHECK(worst <= bound(c));
  }
}

}  // namespace
}  // namespace gcomp::test
