// sin, cos, tan. x = n pi/2 + r, |r| <= pi/4, with pi/2 in several parts; r carries a low word in float64.
// Beyond the reach of that reduction, lanes ask the C library.

#include <array>

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

// |x| up to this is reduced here: n times each part of pi/2 stays exact (or as good as).
constexpr double kReachF32Fma = 1e6, kReachF32 = 1e4, kReachF64 = 1e6;

struct Reduced {
  Value quadrant;  // integer, n in its low bits
  Value r;
  Value low;   // float64: r + low is the reduced argument
  Value slow;  // lanes out of reach, infinite or NaN
};

Reduced reduce_f32(MathBuilder& m, Value x) {
  Value shifted = m.mad(x, m.c(0.6366197723675814), m.c(12582912.0));
  Value n = m.neg(m.sub(shifted, m.c(12582912.0)));
  constexpr std::array kParts = {1.5707963705062866, -4.371138828673793e-08,
                                 -1.7151245100058819e-15};
  // 11 bits a part where products are rounded.
  constexpr std::array kShortParts = {1.5703125, 0.0004837512969970703, 7.549533620476723e-08,
                                      2.5633440682570896e-12};
  Value r = x;
  if (m.has_fma) {
    for (double part : kParts) r = m.mad(n, m.c(part), r);
  } else {
    for (double part : kShortParts) r = m.mad(n, m.c(part), r);
  }
  Value reach = m.c(m.has_fma ? kReachF32Fma : kReachF32);
  Value slow = m.b.bit_not(m.b.le(m.abs(x), reach));
  return {m.bits(shifted), r, {}, slow};
}

Reduced reduce_f64(MathBuilder& m, Value x) {
  Value shifted = m.mad(x, m.c(0.6366197723675814), m.c(6755399441055744.0));
  Value n = m.neg(m.sub(shifted, m.c(6755399441055744.0)));
  Value first = m.mad(n, m.c(1.5707963267341256), x);  // 32 bits: exact
  MathBuilder::Pair second = m.two_prod(n, m.c(6.077100506506192e-11));
  MathBuilder::Pair sum = m.two_sum(first, second.hi);
  Value low = m.add(sum.lo, m.mad(n, m.c(3.5215598651832e-27), second.lo));
  MathBuilder::Pair r = m.fast_two_sum(sum.hi, low);
  Value slow = m.b.bit_not(m.b.le(m.abs(x), m.c(kReachF64)));
  return {m.bits(shifted), r.hi, r.lo, slow};
}

Reduced reduce(MathBuilder& m, Value x) { return m.is_f64() ? reduce_f64(m, x) : reduce_f32(m, x); }

// sin(r + low) and cos(r + low) for |r| <= pi/4.
struct SinCos {
  Value sin, cos;
};

SinCos kernels(MathBuilder& m, const Reduced& a) {
  Value r = a.r, z = m.mul(r, r);
  if (!m.is_f64()) {
    Value sin = m.mad(m.mul(r, z), m.poly(z, kSinF32), r);
    Value cos = m.mad(m.mul(z, z), m.poly(z, kCosF32), m.mad(z, m.c(-0.5), m.c(1)));
    return {sin, cos};
  }
  // sin(r + low) = r + (r^3 S(z) + low (1 - z/2)); cos = 1 - z/2 + (z^2 C(z) - r low), with the
  // rounding of 1 - z/2 recovered.
  Value half = m.mul(z, m.c(0.5));
  Value one_half = m.sub(m.c(1), half);
  Value sin = m.mad(m.mul(r, z), m.poly(z, kSinF64), m.mul(a.low, one_half));
  Value lost = m.sub(m.sub(m.c(1), one_half), half);
  Value cos = m.mad(m.mul(z, z), m.poly(z, kCosF64), m.sub(lost, m.mul(r, a.low)));
  return {m.add(r, sin), m.add(one_half, cos)};
}

Value bit_set(MathBuilder& m, Value i, int64_t bit) {
  return m.b.ne(m.b.bit_and(i, m.ic(bit)), m.ic(0));
}

// Flips the sign of v where bit 1 of the quadrant is set.
Value flip(MathBuilder& m, Value v, Value quadrant) {
  Value sign = m.b.shl(m.b.bit_and(quadrant, m.ic(2)), m.ic(m.is_f64() ? 62 : 30));
  return m.from_bits(m.b.bit_xor(m.bits(v), sign));
}

Value sin_like(MathBuilder& m, Value x, Op op) {
  Reduced a = reduce(m, x);
  SinCos s = kernels(m, a);
  Value q = op == Op::cos ? m.b.add(a.quadrant, m.ic(1)) : a.quadrant;
  Value y = flip(m, m.where(bit_set(m, q, 1), s.cos, s.sin), q);
  if (op == Op::sin) y = m.where(m.b.eq(x, m.c(0)), x, y);  // -0.0 stays
  return m.libm_where(a.slow, op, std::array{x}, y);
}

}  // namespace

Value emit_sin(MathBuilder& m, Value x) { return sin_like(m, x, Op::sin); }

Value emit_cos(MathBuilder& m, Value x) { return sin_like(m, x, Op::cos); }

Value emit_tan(MathBuilder& m, Value x) {
  Reduced a = reduce(m, x);
  SinCos s = kernels(m, a);
  Value odd = bit_set(m, a.quadrant, 1);
  Value y = m.div(m.where(odd, m.neg(s.cos), s.sin), m.where(odd, s.sin, s.cos));
  y = m.where(m.b.eq(x, m.c(0)), x, y);
  return m.libm_where(a.slow, Op::tan, std::array{x}, y);
}

namespace {

// x = n/2 + f, |f| <= 1/4, exactly; quadrant: n mod 4 as a float.
struct HalfTurns {
  Value quadrant;
  SinCos of;  // sin(pi f), cos(pi f)
};

HalfTurns half_turns(MathBuilder& m, Value x) {
  // Beyond 2^53 all numbers are even integers: as 0.
  x = m.where(m.b.lt(m.abs(x), m.c(0x1p53)), x, m.c(0));
  Value n = m.b.round(m.add(x, x));
  Value f = m.mad(n, m.c(-0.5), x);
  MathBuilder::Pair r = m.two_prod(f, m.c(3.141592653589793));
  Reduced a{{}, r.hi, m.mad(f, m.c(1.2246467991473532e-16), r.lo), {}};
  Value quadrant = m.mad(m.b.floor(m.mul(n, m.c(0.25))), m.c(-4), n);
  return {quadrant, kernels(m, a)};
}

Value is_odd(MathBuilder& m, Value quadrant) {
  return m.b.bit_or(m.b.eq(quadrant, m.c(1)), m.b.eq(quadrant, m.c(3)));
}

}  // namespace

Value emit_sin_pi(MathBuilder& m, Value x) {
  HalfTurns h = half_turns(m, x);
  Value y = m.where(is_odd(m, h.quadrant), h.of.cos, h.of.sin);
  return m.where(m.b.ge(h.quadrant, m.c(2)), m.neg(y), y);
}

Value emit_cos_pi(MathBuilder& m, Value x) {
  HalfTurns h = half_turns(m, x);
  Value y = m.where(is_odd(m, h.quadrant), h.of.sin, h.of.cos);
  Value negative = m.b.bit_or(m.b.eq(h.quadrant, m.c(1)), m.b.eq(h.quadrant, m.c(2)));
  return m.where(negative, m.neg(y), y);
}

}  // namespace gcomp::kernel::math
