// x^y = e^(y log|x|), the logarithm and the product in about twice the precision.

#include <cmath>

#include "families.h"

namespace gcomp::kernel::math {
namespace {

// C's special cases; `r` is |x|^y for positive finite |x| and finite y.
Value pow_specials(MathBuilder& m, Value x, Value y, Value r) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value integral = b.eq(b.floor(y), y);  // true for the infinities
  Value half = m.mul(y, m.c(0.5));
  Value odd = b.bit_and(integral, b.ne(b.floor(half), half));
  Value inf = m.c(INFINITY), zero = m.c(0), one = m.c(1);
  // Zero and infinite bases, infinite exponents: 0 or infinity, by |x| against 1 and the sign of y.
  Value extreme = b.bit_or(b.eq(ax, zero), b.eq(ax, inf));
  extreme = b.bit_or(extreme, b.eq(m.abs(y), inf));
  Value grows = b.bit_xor(b.lt(y, zero), b.gt(ax, one));
  r = m.where(extreme, m.where(b.eq(ax, one), one, m.where(grows, inf, zero)), r);
  Value negative = b.lt(m.bits(x), m.ic(0));
  r = m.where(b.bit_and(negative, odd), m.neg(r), r);
  Value invalid = b.bit_and(b.lt(x, zero), b.bit_not(integral));
  invalid = b.bit_and(invalid, b.lt(ax, inf));
  r = m.where(invalid, m.c(NAN), r);
  Value nan = b.bit_or(b.op(Op::is_nan, {x}), b.op(Op::is_nan, {y}));
  r = m.where(nan, m.c(NAN), r);
  return m.where(b.bit_or(b.eq(y, zero), b.eq(x, one)), one, r);
}

Value emit_pow_f64(MathBuilder& m, Value x, Value y) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value usable = b.bit_and(b.gt(ax, m.c(0)), b.lt(ax, m.c(INFINITY)));
  MathBuilder::Pair log = emit_log_pair(m, m.where(usable, ax, m.c(1)));
  // |y| beyond 2^64 over- or underflows whatever the base (but 1, whose logarithm is 0).
  Value bounded = m.min_fast(m.c(0x1p70), m.max_fast(m.c(-0x1p70), y));
  MathBuilder::Pair p = m.two_prod(log.hi, bounded);
  Value r = emit_exp_pair(m, p.hi, m.mad(log.lo, bounded, p.lo));
  return pow_specials(m, x, y, r);
}

// The logarithm, product and exponential in float64 (no more digits than needed), the cases in float32.
Value emit_pow_f32(MathBuilder& m, Value x, Value y) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value usable = b.bit_and(b.gt(ax, m.c(0)), b.lt(ax, m.c(INFINITY)));
  MathBuilder wide(b, {DType::kFloat64, m.type.lanes}, m.has_fma);
  Value log = emit_log_short(wide, b.cast(m.where(usable, ax, m.c(1)), DType::kFloat64));
  Value r = emit_exp_short(wide, wide.mul(log, b.cast(y, DType::kFloat64)));
  return pow_specials(m, x, y, b.cast(r, DType::kFloat32));
}

}  // namespace

Value emit_pow(MathBuilder& m, Value x, Value y) {
  return m.is_f64() ? emit_pow_f64(m, x, y) : emit_pow_f32(m, x, y);
}

}  // namespace gcomp::kernel::math
