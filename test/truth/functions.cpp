#include "functions.h"

#include <algorithm>
#include <vector>

namespace gcomp::truth {
namespace {

constexpr mpfr_prec_t kBits = Real::kBits;

using Mpfr0 = int (*)(mpfr_ptr, mpfr_rnd_t);
using Mpfr1 = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);
using Mpfr2 = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_srcptr, mpfr_rnd_t);

Real call(Mpfr0 f) {
  Real r;
  f(r.get(), MPFR_RNDN);
  return r;
}

Real call(Mpfr1 f, const Real& x) {
  Real r;
  f(r.get(), x.get(), MPFR_RNDN);
  return r;
}

Real call(Mpfr2 f, const Real& x, const Real& y) {
  Real r;
  f(r.get(), x.get(), y.get(), MPFR_RNDN);
  return r;
}

Real nan() {
  Real r;
  mpfr_set_nan(r.get());
  return r;
}

// MPFR reduces arguments of periodic functions in as many bits as they have; it aborts where memory ends.
constexpr mpfr_exp_t kMaxPeriodicExponent = 1 << 20;

bool periodic(Op op) {
  switch (op) {
    case Op::sin:
    case Op::cos:
    case Op::tan: return true;
    default: return false;
  }
}

// Flagged as out of range, so that nothing is claimed of it.
Real unknown() {
  mpfr_set_overflow();
  return nan();
}

Mpfr1 library_function(Op op) {
  switch (op) {
    case Op::neg: return mpfr_neg;
    case Op::abs: return mpfr_abs;
    case Op::sqrt: return mpfr_sqrt;
    case Op::exp: return mpfr_exp;
    case Op::exp2: return mpfr_exp2;
    case Op::expm1: return mpfr_expm1;
    case Op::log: return mpfr_log;
    case Op::log2: return mpfr_log2;
    case Op::log10: return mpfr_log10;
    case Op::log1p: return mpfr_log1p;
    case Op::sin: return mpfr_sin;
    case Op::cos: return mpfr_cos;
    case Op::tan: return mpfr_tan;
    case Op::asin: return mpfr_asin;
    case Op::acos: return mpfr_acos;
    case Op::atan: return mpfr_atan;
    case Op::sinh: return mpfr_sinh;
    case Op::cosh: return mpfr_cosh;
    case Op::tanh: return mpfr_tanh;
    case Op::asinh: return mpfr_asinh;
    case Op::acosh: return mpfr_acosh;
    case Op::atanh: return mpfr_atanh;
    case Op::erf: return mpfr_erf;
    case Op::erfc: return mpfr_erfc;
    case Op::digamma: return mpfr_digamma;
    case Op::floor: return mpfr_rint_floor;
    case Op::ceil: return mpfr_rint_ceil;
    case Op::trunc: return mpfr_rint_trunc;
    case Op::round: return mpfr_rint_roundeven;
    default: return nullptr;
  }
}

Real lgamma(const Real& x) {
  Real r;
  int sign = 0;
  mpfr_lgamma(r.get(), &sign, x.get(), MPFR_RNDN);
  return r;
}

Real sign(const Real& x) {
  if (x.is_nan() || x.is_zero()) return x;
  return x.is_negative() ? Real(-1) : Real(1);
}

Real sigmoid(const Real& x) { return Real(1) / (Real(1) + call(mpfr_exp, -x)); }

Real softplus(const Real& x) {
  if (x.is_inf()) return x.is_negative() ? Real(0) : x;
  return call(mpfr_log1p, call(mpfr_exp, x));
}

Real log1mexp(const Real& x) {
  // Far below 0, expm1 would round to -1 and say nothing of it.
  if (x < Real(-1)) return call(mpfr_log1p, -call(mpfr_exp, x));
  return call(mpfr_log, -call(mpfr_expm1, x));
}

Real erfcx(const Real& x) {
  if (x.is_inf()) return x.is_negative() ? -x : Real(0);
  return call(mpfr_exp, x * x) * call(mpfr_erfc, x);
}

// y, improved by a step of Newton's method for log(erfc(y)) = goal, all in y's precision. Gives the change,
// relative to y, as an exponent of 2.
mpfr_exp_t erfinv_step(mpfr_ptr y, const Real& goal) {
  mpfr_t tail, slope, step;
  mpfr_inits2(mpfr_get_prec(y), tail, slope, step, nullptr);
  mpfr_erfc(tail, y, MPFR_RNDN);
  mpfr_sqr(slope, y, MPFR_RNDN);
  mpfr_neg(slope, slope, MPFR_RNDN);
  mpfr_exp(slope, slope, MPFR_RNDN);
  mpfr_div(slope, slope, tail, MPFR_RNDN);
  mpfr_mul_2ui(slope, slope, 1, MPFR_RNDN);
  mpfr_const_pi(step, MPFR_RNDN);
  mpfr_rec_sqrt(step, step, MPFR_RNDN);
  mpfr_mul(slope, slope, step, MPFR_RNDN);
  mpfr_log(step, tail, MPFR_RNDN);
  mpfr_sub(step, step, goal.get(), MPFR_RNDN);
  mpfr_div(step, step, slope, MPFR_RNDN);
  mpfr_add(y, y, step, MPFR_RNDN);
  const bool done = mpfr_zero_p(step) || mpfr_zero_p(y);
  const mpfr_exp_t change = done ? -mpfr_get_prec(y) : mpfr_get_exp(step) - mpfr_get_exp(y);
  mpfr_clears(tail, slope, step, nullptr);
  return change;
}

// By Newton's method on log erfc, which is nearly quadratic where erf is flat: until it settles in a few
// digits, then with twice as many each step.
Real erfinv(const Real& x) {
  if (x.is_nan() || abs(x) > Real(1)) return nan();
  if (x.is_zero()) return x;
  const Real goal = call(mpfr_log1p, -abs(x));
  if (goal.is_inf()) return x.is_negative() ? goal : -goal;
  if (x.exponent() < -kBits / 4) {  // two terms of the series
    const Real pi = call(mpfr_const_pi);
    return x * scaled(call(mpfr_sqrt, pi), -1) * (Real(1) + pi * x * x / Real(12));
  }
  const Real start = call(mpfr_sqrt, -goal);
  // Near 0, erfc(y) is 1 but for the last digits.
  const mpfr_prec_t lost = std::max<mpfr_exp_t>(0, -x.exponent());
  mpfr_t y;
  mpfr_init2(y, 64 + lost);
  mpfr_set(y, start.get(), MPFR_RNDN);
  for (int steps = 0; steps < 200 && erfinv_step(y, goal) > -30; ++steps) {
  }
  for (mpfr_prec_t bits = 64; bits < kBits;) {
    bits = std::min<mpfr_prec_t>(2 * bits - 16, kBits);
    mpfr_prec_round(y, bits + lost, MPFR_RNDN);
    erfinv_step(y, goal);
  }
  Real r;
  mpfr_set(r.get(), y, MPFR_RNDN);
  mpfr_clear(y);
  return x.is_negative() ? -r : r;
}

Real digamma(const Real& x) {
  if (x.is_zero()) {
    Real inf;
    mpfr_set_inf(inf.get(), x.is_negative() ? 1 : -1);
    return inf;
  }
  return call(mpfr_digamma, x);
}

// B_2k = (-1)^(k+1) 2 (2k)! zeta(2k) / (2 pi)^(2k), for k from 1.
std::vector<Real> bernoulli_numbers(unsigned count) {
  const Real two_pi = scaled(call(mpfr_const_pi), 1);
  std::vector<Real> numbers;
  Real factor(-2);
  for (unsigned k = 1; k <= count; ++k) {
    factor = -factor * Real((2 * k - 1) * (2 * k)) / (two_pi * two_pi);
    Real zeta;
    mpfr_zeta_ui(zeta.get(), 2 * k, MPFR_RNDN);
    numbers.push_back(factor * zeta);
  }
  return numbers;
}

// x > 0: the asymptotic series (Abramowitz and Stegun 6.4.12) from 300 on, where 180 terms give all digits;
// below, trigamma(x) = trigamma(x + 1) + 1 / x^2.
Real trigamma_of_positive(Real x) {
  static const std::vector<Real> kNumbers = bernoulli_numbers(180);
  Real sum(0);
  for (; x < Real(300); x = x + Real(1)) sum = sum + Real(1) / (x * x);
  const Real r = Real(1) / x, square = r * r;
  sum = sum + r + scaled(square, -1);
  Real power = r;
  for (const Real& number : kNumbers) {
    power = power * square;
    sum = sum + number * power;
  }
  return sum;
}

Real trigamma(const Real& x) {
  if (x.is_nan() || (x.is_inf() && x.is_negative())) return nan();
  if (x.is_inf()) return Real(0);
  if (x > Real(0)) return trigamma_of_positive(x);
  // trigamma(x) + trigamma(1 - x) = pi^2 / sin(pi x)^2
  const Real pi = call(mpfr_const_pi);
  const Real fraction = x - call(mpfr_rint_roundeven, x);
  const Real ratio = pi / call(mpfr_sin, pi * fraction);
  return fraction.is_zero() ? abs(ratio) : ratio * ratio - trigamma_of_positive(Real(1) - x);
}

Real smaller(const Real& x, const Real& y) {
  if (x.is_nan() || y.is_nan()) return nan();
  return y < x ? y : x;
}

Real larger(const Real& x, const Real& y) {
  if (x.is_nan() || y.is_nan()) return nan();
  return x < y ? y : x;
}

// As the op table: the remainder takes the sign of y.
Real modulo(const Real& x, const Real& y) {
  const Real m = call(mpfr_fmod, x, y);
  if (m.is_nan()) return m;
  if (m.is_zero()) return y.is_negative() ? -Real(0) : Real(0);
  return m.is_negative() != y.is_negative() ? m + y : m;
}

Real floor_divide(const Real& x, const Real& y) {
  if (y.is_zero()) return x / y;
  const Real m = call(mpfr_fmod, x, y);
  Real q = (x - m) / y;
  if (!m.is_zero() && m.is_negative() != y.is_negative()) q = q - Real(1);
  return call(mpfr_rint_roundeven, q);
}

}  // namespace

std::optional<Real> unary(Op op, const Real& x) {
  switch (op) {
    case Op::sign: return sign(x);
    case Op::sigmoid: return sigmoid(x);
    case Op::softplus: return softplus(x);
    case Op::log1mexp: return log1mexp(x);
    case Op::erfcx: return erfcx(x);
    case Op::erfinv: return erfinv(x);
    case Op::lgamma: return lgamma(x);
    case Op::digamma: return digamma(x);
    case Op::trigamma: return trigamma(x);
    default: break;
  }
  if (periodic(op) && x.is_finite() && !x.is_zero() && x.exponent() > kMaxPeriodicExponent) {
    return unknown();
  }
  if (const Mpfr1 f = library_function(op)) return call(f, x);
  return std::nullopt;
}

std::optional<Real> binary(Op op, const Real& x, const Real& y) {
  switch (op) {
    case Op::add: return x + y;
    case Op::sub: return x - y;
    case Op::mul: return x * y;
    case Op::div: return x / y;
    case Op::pow: return call(mpfr_pow, x, y);
    case Op::atan2: return call(mpfr_atan2, x, y);
    case Op::rem: return call(mpfr_fmod, x, y);
    case Op::mod: return modulo(x, y);
    case Op::floor_div: return floor_divide(x, y);
    case Op::min: return smaller(x, y);
    case Op::max: return larger(x, y);
    default: return std::nullopt;
  }
}

std::optional<bool> compare(Op op, const Real& x, const Real& y) {
  switch (op) {
    case Op::eq: return x == y;
    case Op::ne: return !(x == y);
    case Op::lt: return x < y;
    case Op::gt: return y < x;
    case Op::le: return mpfr_lessequal_p(x.get(), y.get()) != 0;
    case Op::ge: return mpfr_lessequal_p(y.get(), x.get()) != 0;
    default: return std::nullopt;
  }
}

}  // namespace gcomp::truth
