// Logarithms. x = 2^e m with m in [sqrt(1/2), sqrt(2)), f = m - 1; then log x = e ln2 + log(1 + f).

#include <cmath>

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

constexpr double kLn2HiF32 = 0.693359375, kLn2LoF32 = -2.12194440054690583e-4;
constexpr double kLn2HiF64 = 6.93147180369123816490e-01, kLn2LoF64 = 1.90821492927058770002e-10;

struct Split {
  Value e;  // integral float
  Value f;
};

// The exponent of an integer word as a float, without the 64-bit conversions AVX2 lacks.
Value small_int_to_float(MathBuilder& m, Value i) {
  if (!m.is_f64()) return m.b.cast(i, DType::kFloat32);
  // Adding to the bits of 1.5 * 2^52 and subtracting it.
  Value shifted = m.from_bits(m.b.add(i, m.ic(0x4338000000000000)));
  return m.sub(shifted, m.c(6755399441055744.0));
}

// For positive finite normal x.
Split split_normal(MathBuilder& m, Value x) {
  Builder& b = m.b;
  // Shifting the bits relative to sqrt(1/2) leaves the exponent. 64 bits have no arithmetic shift
  // before AVX-512, so there the sign bit is flipped (the exponent biased by 2048) and zeros come in.
  Value e_int;
  if (m.is_f64()) {
    auto offset = static_cast<int64_t>(0x8000000000000000u - 0x3fe6a09e667f3bcdu);
    Value word = b.bitcast(b.add(m.bits(x), m.ic(offset)), DType::kUInt64);
    Value biased = b.shr(word, b.constant_bits({DType::kUInt64, m.type.lanes}, 52));
    e_int = b.sub(b.bitcast(biased, DType::kInt64), m.ic(2048));
  } else {
    e_int = b.shr(b.sub(m.bits(x), m.ic(0x3f3504f3)), m.ic(23));
  }
  Value mantissa = m.from_bits(b.sub(m.bits(x), b.shl(e_int, m.ic(m.mantissa_bits()))));
  return {small_int_to_float(m, e_int), m.sub(mantissa, m.c(1))};
}

// For positive finite x, denormals included.
Split split(MathBuilder& m, Value x) {
  Value tiny = m.b.lt(x, m.c(0x1p-126, 0x1p-1022));
  Split s = split_normal(m, m.where(tiny, m.mul(x, m.c(0x1p24, 0x1p54)), x));
  return {m.where(tiny, m.sub(s.e, m.c(24, 54)), s.e), s.f};
}

// log(1 + f) = f - tail.half + tail.rest, with half = f^2/2.
struct Tail {
  Value half, rest;
};

Tail log_tail(MathBuilder& m, Value f) {
  Value half = m.mul(m.mul(f, m.c(0.5)), f);
  if (!m.is_f64()) return {half, m.mul(m.mul(m.mul(f, f), f), m.estrin(f, kLogF32))};
  // With s = f/(2+f): log(1+f) = f - (half - s (half + z A(z))).
  Value s = m.div(f, m.add(m.c(2), f));
  Value z = m.mul(s, s);
  Value r = m.mul(z, m.estrin(z, kLogF64));
  return {half, m.mul(s, m.add(half, r))};
}

// log of what is not positive and finite: -inf at 0, NaN below, itself above.
Value log_specials(MathBuilder& m, Value x, Value r) {
  Builder& b = m.b;
  r = m.where(b.eq(x, m.c(0)), m.c(-INFINITY), r);
  r = m.where(b.lt(x, m.c(0)), m.c(NAN), r);
  Value ordinary = b.lt(x, m.c(INFINITY));  // false for NaN too
  return m.where(ordinary, r, m.add(x, x));
}

}  // namespace

Value emit_log(MathBuilder& m, Value x) {
  Split s = split(m, x);
  Tail t = log_tail(m, s.f);
  Value low = m.mad(s.e, m.c(kLn2LoF32, kLn2LoF64), t.rest);
  Value y = m.add(m.sub(low, t.half), s.f);
  y = m.mad(s.e, m.c(kLn2HiF32, kLn2HiF64), y);
  return log_specials(m, x, y);
}

Value emit_log1p(MathBuilder& m, Value x) {
  Builder& b = m.b;
  MathBuilder::Pair u = m.two_sum(m.c(1), x);  // 1 + x = u.hi + u.lo
  Split s = split(m, u.hi);
  // Without an exponent, x itself is f; else u.lo enters through the derivative of log at u.
  Value whole = b.eq(s.e, m.c(0));
  Value f = m.where(whole, x, s.f);
  Value correction = m.where(whole, m.c(0), m.div(u.lo, u.hi));
  Tail t = log_tail(m, f);
  Value low = m.mad(s.e, m.c(kLn2LoF32, kLn2LoF64), m.add(t.rest, correction));
  Value y = m.add(m.sub(low, t.half), f);
  y = m.mad(s.e, m.c(kLn2HiF32, kLn2HiF64), y);
  y = m.where(b.eq(x, m.c(0)), x, y);  // -0.0 stays
  y = m.where(b.eq(x, m.c(-1)), m.c(-INFINITY), y);
  y = m.where(b.lt(x, m.c(-1)), m.c(NAN), y);
  return m.where(b.lt(x, m.c(INFINITY)), y, m.add(x, x));
}

namespace {

// (e * unit + log(1+f)) / log(base), with the product of log(1+f) and 1/log(base) in two parts.
Value emit_log_base(MathBuilder& m, Value x, double inverse_hi, double inverse_lo, double unit_hi,
                    double unit_lo) {
  Split s = split(m, x);
  Tail t = log_tail(m, s.f);
  // log(1+f) as a pair: the head has half the bits, so that its product below is exact.
  MathBuilder::Pair f = m.fast_two_sum(s.f, m.sub(t.rest, t.half));
  MathBuilder::Pair p = m.two_prod(f.hi, m.c(inverse_hi));
  Value low = m.mad(f.lo, m.c(inverse_hi), m.mad(f.hi, m.c(inverse_lo), p.lo));
  low = m.mad(s.e, m.c(unit_lo), low);
  MathBuilder::Pair sum = m.two_sum(m.mul(s.e, m.c(unit_hi)), p.hi);
  return log_specials(m, x, m.add(sum.hi, m.add(sum.lo, low)));
}

}  // namespace

// Float64 only; float32 goes through float64.
Value emit_log2(MathBuilder& m, Value x) {
  return emit_log_base(m, x, 1.4426950408889634, 2.0355273740931033e-17, 1, 0);
}

Value emit_log10(MathBuilder& m, Value x) {
  // log10(2) with 32 bits in the first part: exponents times it are exact.
  return emit_log_base(m, x, 0.4342944819032518, 1.098319650216765e-17, 3.01029995663611771306e-01,
                       3.69423907715893078616e-13);
}

// log(x) for float64 x that came from a positive finite float32: to 2^-36 or so of its size.
Value emit_log_short(MathBuilder& m, Value x) {
  Split s = split_normal(m, x);
  Value z = m.mul(s.f, s.f);
  Value y = m.mad(z, m.mad(s.f, m.estrin(s.f, kLogPowF32), m.c(-0.5)), s.f);
  return m.mad(s.e, m.c(0.6931471805599453), y);
}

// log(x) for positive finite float64 x as a pair, to about 2^-68 of its size: what pow needs.
MathBuilder::Pair emit_log_pair(MathBuilder& m, Value x) {
  Split p = split(m, x);
  // s = f / (2 + f) as a pair.
  MathBuilder::Pair d = m.fast_two_sum(m.c(2), p.f);
  Value hi = m.div(p.f, d.hi);
  MathBuilder::Pair product = m.two_prod(hi, d.hi);
  Value rest = m.sub(m.sub(m.sub(p.f, product.hi), product.lo), m.mul(hi, d.lo));
  MathBuilder::Pair s = m.fast_two_sum(hi, m.div(rest, d.hi));
  // 2 s + (2/3) s^3 + s^5 A(s^2); the cube in pairs, the rest small enough for one word.
  MathBuilder::Pair z = m.mul(s, s);
  MathBuilder::Pair cube = m.mul(z, s);
  Value fifth = m.mul(m.mul(z.hi, cube.hi), m.estrin(z.hi, kPowF64));
  MathBuilder::Pair two_thirds{m.c(0.6666666666666666), m.c(3.700743415417188e-17)};
  MathBuilder::Pair y = m.add(m.mul(cube, two_thirds), fifth);
  y = m.add(MathBuilder::Pair{m.add(s.hi, s.hi), m.add(s.lo, s.lo)}, y);
  MathBuilder::Pair ln2 = m.fast_two_sum(m.mul(p.e, m.c(kLn2HiF64)), m.mul(p.e, m.c(kLn2LoF64)));
  return m.add(ln2, y);
}

}  // namespace gcomp::kernel::math
