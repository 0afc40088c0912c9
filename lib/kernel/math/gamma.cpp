// lgamma, digamma, trigamma; float64 only, float32 goes through it.
//
// lgamma, x > 0: below 8, recurrence to z in [1.5, 2.5), where lgamma(2+d) = d P(d): the factor's
// logarithm never cancels against it by more than a few ulp. From 8, Stirling's series.
// digamma, x > 0: recurrence to [1, 2), where digamma(z) = (z - root) Q(z); from 10 asymptotic.
// trigamma, x > 0: recurrence up to x >= 8, then asymptotic. Negative x: reflection.

#include <cmath>

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

constexpr double kPi = 3.141592653589793;

// (x - 1/2) log x - x + log(2 pi)/2 + 1/(12 x) - 1/(360 x^3) + ...
Value stirling(MathBuilder& m, Value x, Value log_x) {
  Value r = m.div(m.c(1), x), z = m.mul(r, r);
  Value series = m.poly(z, {8.333333333333333e-2, -2.777777777777778e-3, 7.936507936507937e-4,
                            -5.952380952380953e-4, 8.417508417508417e-4, -1.9175269175269176e-3,
                            6.410256410256410e-3, -2.955065359477124e-2, 1.7964437236883057e-1});
  Value main = m.mad(m.sub(x, m.c(0.5)), m.sub(log_x, m.c(1)), m.mul(r, series));
  // (x - 1/2)(log x - 1) = (x - 1/2) log x - x + 1/2
  return m.add(main, m.c(0.9189385332046728 - 0.5));
}

Value lgamma_positive(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value small = b.lt(x, m.c(8));
  // z = x + k or x - k in [1.5, 2.5), product of the factors passed on the way.
  Value z = m.where(small, x, m.c(2)), product = m.c(1);
  for (int i = 0; i < 6; ++i) {
    Value down = b.ge(z, m.c(2.5));
    Value next = m.sub(z, m.c(1));
    product = m.where(down, m.mul(product, next), product);
    z = m.where(down, next, z);
  }
  Value up = b.lt(x, m.c(1.5)), twice = b.lt(x, m.c(0.5));
  product = m.where(up, m.where(twice, m.mul(x, m.add(x, m.c(1))), x), product);
  // d = z - 2, exact: x + 2 - 2, x + 1 - 2, or what is left after going down.
  Value d = m.where(up, m.where(twice, x, m.sub(x, m.c(1))), m.sub(z, m.c(2)));
  Value log = emit_log(m, m.where(small, product, x));
  Value near = m.mul(d, m.poly(d, kLgammaF64));
  Value below = m.add(near, m.where(up, m.neg(log), log));
  Value above = stirling(m, x, log);
  above = m.where(b.eq(x, m.c(INFINITY)), x, above);
  return m.where(small, below, above);
}

Value digamma_positive(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value small = b.lt(x, m.c(10));
  Value z = m.where(small, x, m.c(1.5));
  // Sum of 1/(z-1), 1/(z-2), ... as one fraction.
  Value numerator = m.c(0), denominator = m.c(1);
  for (int i = 0; i < 8; ++i) {
    Value down = b.ge(z, m.c(2));
    Value next = m.sub(z, m.c(1));
    numerator = m.where(down, m.mad(numerator, next, denominator), numerator);
    denominator = m.where(down, m.mul(denominator, next), denominator);
    z = m.where(down, next, z);
  }
  Value up = b.lt(z, m.c(1));
  numerator = m.where(up, m.c(-1), numerator);
  denominator = m.where(up, z, denominator);
  // Below 1, digamma(x + 1) - 1/x; what x + 1 loses is carried beside it.
  MathBuilder::Pair next = m.two_sum(z, m.c(1));
  Value low = m.where(up, next.lo, m.c(0));
  z = m.where(up, next.hi, z);
  Value from_root = m.add(m.sub(z, m.c(kDigammaRoot[0])), m.sub(low, m.c(kDigammaRoot[1])));
  Value near = m.mul(from_root, m.poly(m.sub(z, m.c(1.5)), kDigammaF64));
  Value below = m.add(near, m.div(numerator, denominator));
  // log x - 1/(2x) - 1/(12 x^2) + 1/(120 x^4) - ...
  Value r = m.div(m.c(1), x), w = m.mul(r, r);
  Value series = m.poly(w, {8.333333333333333e-2, -8.333333333333333e-3, 3.968253968253968e-3,
                            -4.166666666666667e-3, 7.575757575757576e-3, -2.1092796092796094e-2,
                            8.333333333333333e-2, -4.4325980392156865e-1});
  Value above = m.sub(emit_log(m, x), m.mad(r, m.c(0.5), m.mul(w, series)));
  return m.where(small, below, above);
}

Value trigamma_positive(MathBuilder& m, Value x) {
  Builder& b = m.b;
  // 1/x^2 by itself: it may overflow. Then 1/(x+1)^2 + ... as one fraction.
  Value first = b.lt(x, m.c(8));
  Value head = m.where(first, m.div(m.c(1), m.mul(x, x)), m.c(0));
  Value z = m.where(first, m.add(x, m.c(1)), x);
  Value numerator = m.c(0), denominator = m.c(1);
  for (int i = 0; i < 7; ++i) {
    Value active = b.lt(z, m.c(8));
    Value square = m.mul(z, z);
    numerator = m.where(active, m.mad(numerator, square, denominator), numerator);
    denominator = m.where(active, m.mul(denominator, square), denominator);
    z = m.where(active, m.add(z, m.c(1)), z);
  }
  // 1/z + 1/(2 z^2) + 1/(6 z^3) - 1/(30 z^5) + ...
  Value r = m.div(m.c(1), z), w = m.mul(r, r);
  Value series = m.poly(w, {1.6666666666666666e-1, -3.3333333333333333e-2, 2.3809523809523808e-2,
                            -3.3333333333333333e-2, 7.5757575757575757e-2, -2.5311355311355311e-1,
                            1.1666666666666667, -7.0921568627450980, 5.4971177944862155e1});
  Value tail = m.add(r, m.mul(w, m.mad(r, series, m.c(0.5))));
  return m.add(m.add(head, m.div(numerator, denominator)), tail);
}

// Lanes with x < 0 take `reflected`, evaluated only if there are any.
template <class Reflected>
Value with_reflection(MathBuilder& m, Value negative, Value y, Reflected reflected) {
  auto arm = [&] { return Values{m.where(negative, reflected(), y)}; };
  return m.b.if_else(m.b.any(negative), arm, [&] { return Values{y}; })[0];
}

}  // namespace

// log|gamma(-a)| = log(pi / |a sin(pi a)|) - lgamma(a)
Value emit_lgamma(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value y = lgamma_positive(m, ax);
  Value negative = b.lt(x, m.c(0));
  auto reflected = [&] {
    Value s = m.abs(emit_sin_pi(m, ax));
    // Near 0 the product would be denormal: there lgamma is -log a.
    Value tiny = b.lt(ax, m.c(0x1p-60));
    Value ratio = m.div(m.c(kPi), m.mul(m.where(tiny, m.c(1), ax), s));
    Value r = m.sub(emit_log(m, m.where(tiny, m.c(1), ratio)), y);
    r = m.where(tiny, y, r);
    r = m.where(b.eq(s, m.c(0)), m.c(INFINITY), r);
    return m.where(b.eq(ax, m.c(INFINITY)), m.c(INFINITY), r);
  };
  return with_reflection(m, negative, y, reflected);
}

// digamma(-a) = digamma(a) + 1/a + pi / tan(pi a)
Value emit_digamma(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value ax = m.abs(x);
  Value y = digamma_positive(m, ax);
  Value negative = b.lt(x, m.c(0));
  auto reflected = [&] {
    Value s = emit_sin_pi(m, ax), c = emit_cos_pi(m, ax);
    // Near 0 the two poles are one, of half the weight.
    Value tiny = b.lt(ax, m.c(0x1p-60));
    Value r = m.add(m.add(y, m.div(m.c(1), ax)), m.div(m.mul(c, m.c(kPi)), s));
    r = m.where(tiny, m.div(m.c(1), ax), r);
    r = m.where(b.bit_and(b.eq(s, m.c(0)), b.bit_not(tiny)), m.c(NAN), r);
    return m.where(b.eq(ax, m.c(INFINITY)), m.c(NAN), r);
  };
  Value r = with_reflection(m, negative, y, reflected);
  return m.where(b.eq(x, m.c(0)), m.copysign(m.c(INFINITY), m.neg(x)), r);
}

// trigamma(-a) = pi^2 / sin^2(pi a) - trigamma(a + 1)
Value emit_trigamma(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value negative = b.lt(x, m.c(0));
  Value ax = m.abs(x);
  Value y = trigamma_positive(m, m.where(negative, m.add(ax, m.c(1)), ax));
  auto reflected = [&] {
    Value ratio = m.div(m.c(kPi), emit_sin_pi(m, ax));
    Value r = m.sub(m.mul(ratio, ratio), y);
    return m.where(b.eq(ax, m.c(INFINITY)), m.c(NAN), r);
  };
  return with_reflection(m, negative, y, reflected);
}

}  // namespace gcomp::kernel::math
