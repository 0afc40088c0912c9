// Inverse trigonometric and hyperbolic functions.

#include <cmath>

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

constexpr double kPi2Hi = 1.5707963267948966, kPi2Lo = 6.123233995736766e-17;
constexpr double kPi4Hi = 0.7853981633974483, kPi4Lo = 3.061616997868383e-17;

// The angle of the ratio a/b in [0, 1], 0 <= a <= b: above tan(pi/8) turned by pi/4.
Value atan_ratio(MathBuilder& m, Value a, Value b) {
  Value turned = m.b.gt(a, m.mul(b, m.c(0.41421356237309503)));
  Value t = m.div(m.where(turned, m.sub(a, b), a), m.where(turned, m.add(a, b), b));
  Value z = m.mul(t, t);
  Value p = m.is_f64() ? m.estrin(z, kAtanF64) : m.estrin(z, kAtanF32);
  Value tail = m.mul(m.mul(t, z), p);
  Value low = m.where(turned, m.c(-2.1855694143368964e-08, kPi4Lo), m.c(0));
  Value high = m.where(turned, m.c(kPi4Hi), m.c(0));
  return m.add(high, m.add(t, m.add(tail, low)));
}

Value half_pi_low(MathBuilder& m) { return m.c(-4.371138828673793e-08, kPi2Lo); }

// pi/2 - y, in [0, pi/2].
Value complement(MathBuilder& m, Value y) { return m.add(m.sub(m.c(kPi2Hi), y), half_pi_low(m)); }

// asin(x)/x - 1 for z = x^2 <= 1/4
Value asin_tail(MathBuilder& m, Value z) {
  return m.mul(z, m.is_f64() ? m.estrin(z, kAsinF64) : m.estrin(z, kAsinF32));
}

}  // namespace

Value emit_atan(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value large = b.gt(ax, m.c(1));
  Value y = atan_ratio(m, m.where(large, m.c(1), ax), m.where(large, ax, m.c(1)));
  return m.copysign(m.where(large, complement(m, y), y), x);
}

Value emit_atan2(MathBuilder& m, Value y, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x), ay = m.abs(y);
  Value steep = b.gt(ay, ax);
  Value low = m.where(steep, ax, ay), high = m.where(steep, ay, ax);
  // Kept away from overflow (of their sum) and from denormal ratios.
  Value huge = b.gt(high, m.c(0x1p120, 0x1p1000)), tiny = b.lt(high, m.c(0x1p-60, 0x1p-900));
  Value factor = m.where(huge, m.c(0x1p-30), m.where(tiny, m.c(0x1p60, 0x1p100), m.c(1)));
  low = m.mul(low, factor), high = m.mul(high, factor);
  Value both_infinite = b.eq(low, m.c(INFINITY));
  low = m.where(both_infinite, m.c(1), low);
  high = m.where(both_infinite, m.c(1), high);
  high = m.where(b.eq(high, m.c(0)), m.c(1), high);
  Value angle = atan_ratio(m, low, high);
  // With one infinity the turned ratio would be inf/inf; the plain one is 0.
  angle = m.where(b.eq(high, m.c(INFINITY)), m.c(0), angle);
  angle = m.where(steep, complement(m, angle), angle);
  Value left = b.lt(m.bits(x), m.ic(0));  // the sign bit, of -0.0 too
  Value turned = m.add(m.sub(m.c(2 * kPi2Hi), angle), m.add(half_pi_low(m), half_pi_low(m)));
  angle = m.copysign(m.where(left, turned, angle), y);
  Value nan = b.bit_or(b.op(Op::is_nan, {x}), b.op(Op::is_nan, {y}));
  return m.where(nan, m.c(NAN), angle);
}

Value emit_asin(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value outer = b.gt(ax, m.c(0.5));
  Value z = m.where(outer, m.mul(m.sub(m.c(1), ax), m.c(0.5)), m.mul(ax, ax));
  Value s = m.where(outer, b.sqrt(z), ax);
  Value y = m.mad(s, asin_tail(m, z), s);
  return m.copysign(m.where(outer, complement(m, m.add(y, y)), y), x);
}

Value emit_acos(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value outer = b.gt(ax, m.c(0.5));
  Value z = m.where(outer, m.mul(m.sub(m.c(1), ax), m.c(0.5)), m.mul(ax, ax));
  Value s = m.where(outer, b.sqrt(z), x);
  Value tail = m.mul(s, asin_tail(m, z));
  Value y = m.add(s, tail);
  Value twice = m.add(y, y);
  Value low = half_pi_low(m);
  Value far = m.add(m.sub(m.c(2 * kPi2Hi), twice), m.add(low, low));
  Value outside = m.where(b.lt(x, m.c(0)), far, twice);
  Value inside = m.sub(m.c(kPi2Hi), m.sub(s, m.sub(low, tail)));
  return m.where(outer, outside, inside);
}

// sign * log1p(|x| + x^2 / (1 + sqrt(1 + x^2))); for large |x|, log |x| + ln2 (as log1p of |x| - 1).
Value emit_asinh(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value large = b.gt(ax, m.c(0x1p30));
  Value a = m.where(large, m.c(1), ax), z = m.mul(a, a);
  Value root = b.sqrt(m.add(z, m.c(1)));
  Value inner = m.add(a, m.div(z, m.add(root, m.c(1))));
  Value y = emit_log1p(m, m.where(large, m.sub(ax, m.c(1)), inner));
  y = m.where(large, m.add(y, m.c(0.6931471805599453)), y);
  return m.copysign(y, x);
}

Value emit_acosh(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value large = b.gt(x, m.c(0x1p30));
  Value t = m.sub(m.where(large, m.c(2), x), m.c(1));
  Value inner = m.add(t, b.sqrt(m.mul(t, m.add(t, m.c(2)))));
  Value y = emit_log1p(m, m.where(large, m.sub(x, m.c(1)), inner));
  y = m.where(large, m.add(y, m.c(0.6931471805599453)), y);
  return m.where(b.lt(x, m.c(1)), m.c(NAN), y);
}

Value emit_atanh(MathBuilder& m, Value x) {
  Value ax = m.abs(x);
  Value inner = m.div(m.add(ax, ax), m.sub(m.c(1), ax));
  Value y = m.mul(m.c(0.5), emit_log1p(m, inner));
  y = m.where(m.b.eq(ax, m.c(1)), m.c(INFINITY), y);
  y = m.where(m.b.gt(ax, m.c(1)), m.c(NAN), y);
  return m.copysign(y, x);
}

}  // namespace gcomp::kernel::math
