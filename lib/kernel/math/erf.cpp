// The error function's family, on one approximation of erfcx(x) = e^(x^2) erfc(x) for x >= 0 (a
// polynomial in (x-4)/(x+4)), and one of erf for |x| <= 1.

#include <cmath>

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

// erfcx for x >= 0, float64. NaN passes.
Value erfcx_positive(MathBuilder& m, Value x) {
  Value t = m.div(m.sub(x, m.c(4)), m.add(x, m.c(4)));
  t = m.where(m.b.eq(x, m.c(INFINITY)), m.c(1), t);
  // p / (1 + 2x), without its overflow
  return m.div(m.mul(m.c(0.5), m.poly(t, kErfcxF64)), m.add(x, m.c(0.5)));
}

// e^(-x^2) or e^(x^2): the square in two words.
Value exp_square(MathBuilder& m, Value x, bool negative) {
  // Beyond 30 both results are out of range, and the product's low word would be NaN.
  x = m.min_fast(m.c(30), x);
  MathBuilder::Pair s = m.two_prod(x, x);
  if (negative) s = {m.neg(s.hi), m.neg(s.lo)};
  return emit_exp_pair(m, s.hi, s.lo);
}

Value erf_small(MathBuilder& m, Value x) {
  Value z = m.mul(x, x);
  return m.mul(x, m.is_f64() ? m.poly(z, kErfF64) : m.poly(z, kErfF32));
}

}  // namespace

Value emit_erf(MathBuilder& m, Value x) {
  Value ax = m.abs(x);
  Value tail;
  if (m.is_f64()) {
    Value far = m.min_fast(m.c(6.5), ax);  // erf is 1 beyond
    tail = m.mul(exp_square(m, far, true), erfcx_positive(m, far));
  } else {
    Value far = m.min_fast(m.c(4), ax);
    tail = emit_exp(m, m.poly(m.sub(far, m.c(2.5)), kErfTailF32));
  }
  Value large = m.copysign(m.sub(m.c(1), tail), x);
  return m.where(m.b.gt(ax, m.c(1)), large, erf_small(m, x));
}

Value emit_erfc(MathBuilder& m, Value x) {
  Value ax = m.abs(x);
  Value y = m.mul(exp_square(m, ax, true), erfcx_positive(m, ax));
  Value r = m.where(m.b.lt(x, m.c(0)), m.sub(m.c(2), y), y);
  return m.where(m.b.lt(ax, m.c(0.25)), m.sub(m.c(1), erf_small(m, x)), r);
}

Value emit_erfcx(MathBuilder& m, Value x) {
  Value ax = m.abs(x);
  Value y = erfcx_positive(m, ax);
  Value e = exp_square(m, ax, false);
  Value negative = m.sub(m.add(e, e), y);
  return m.where(m.b.lt(x, m.c(0)), negative, y);
}

// A first value good to about 1e-7, then one step of Halley's method on erf (|x| < 1/2) or on erfc,
// where 1 - |x| is exact.
Value emit_erfinv(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value complement = m.sub(m.c(1), ax);
  Value w = m.neg(emit_log(m, m.mul(complement, m.add(ax, m.c(1)))));
  Value centre = m.poly(m.sub(w, m.c(2.5)), kErfinvCentre);
  Value tail = m.poly(m.sub(b.sqrt(w), m.c(4)), kErfinvTail);
  Value y = m.mul(ax, m.where(b.lt(w, m.c(5)), centre, tail));
  // (erf y - x) / erf'(y); for the tail (1 - x - erfc y) / erf'(y), relative to e^(-y^2).
  Value density = m.mul(exp_square(m, y, true), m.c(1.1283791670955126));
  Value erfc = m.mul(exp_square(m, y, true), erfcx_positive(m, y));
  Value far = b.gt(ax, m.c(0.5));
  Value error = m.where(far, m.sub(complement, erfc), m.sub(erf_small(m, y), ax));
  Value u = m.div(error, density);
  Value step = m.div(u, m.mad(y, u, m.c(1)));
  y = m.copysign(m.sub(y, step), x);
  y = m.where(b.eq(ax, m.c(1)), m.copysign(m.c(INFINITY), x), y);
  y = m.where(b.gt(ax, m.c(1)), m.c(NAN), y);
  // Below, the quotient of densities would underflow: the series' first term is exact enough.
  Value tiny = b.lt(ax, m.c(1e-10));
  return m.where(tiny, m.mul(x, m.c(0.886226925452758)), y);
}

}  // namespace gcomp::kernel::math
