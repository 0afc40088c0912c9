#include "math_truth.h"

// libquadmath, declared here: clang does not find GCC's own header.
extern "C" {
__float128 acoshq(__float128);
__float128 acosq(__float128);
__float128 asinhq(__float128);
__float128 asinq(__float128);
__float128 atan2q(__float128, __float128);
__float128 atanhq(__float128);
__float128 atanq(__float128);
__float128 copysignq(__float128, __float128);
__float128 coshq(__float128);
__float128 cosq(__float128);
__float128 erfcq(__float128);
__float128 erfq(__float128);
__float128 expm1q(__float128);
__float128 expq(__float128);
__float128 fabsq(__float128);
__float128 floorq(__float128);
__float128 fmodq(__float128, __float128);
int isinfq(__float128);
int isnanq(__float128);
__float128 lgammaq(__float128);
__float128 log10q(__float128);
__float128 log1pq(__float128);
__float128 log2q(__float128);
__float128 logq(__float128);
__float128 powq(__float128, __float128);
int signbitq(__float128);
__float128 sinhq(__float128);
__float128 sinq(__float128);
__float128 sqrtq(__float128);
__float128 tanhq(__float128);
__float128 tanq(__float128);
}

namespace gcomp::test {
namespace {

const Quad kNan = __builtin_nanf("");
const Quad kInf = __builtin_inff();
const Quad kPi = acosq(-1);

// Bernoulli numbers B2, B4, ... as fractions.
constexpr double kBernoulli[][2] = {{1, 6},       {-1, 30},      {1, 42}, {-1, 30},
                                    {5, 66},      {-691, 2730},  {7, 6},  {-3617, 510},
                                    {43867, 798}, {-174611, 330}};

Quad bernoulli(int k) { return Quad(kBernoulli[k][0]) / Quad(kBernoulli[k][1]); }

// x + n >= 60 where the series has 2^-113 after ten terms.
Quad digamma_positive(Quad x) {
  Quad sum = 0;
  for (; x < 60; x += 1) sum -= 1 / x;
  sum += logq(x) - 1 / (2 * x);
  Quad power = 1 / (x * x), w = power;
  for (int k = 0; k < 10; ++k, power *= w) sum -= bernoulli(k) / (2 * (k + 1)) * power;
  return sum;
}

Quad trigamma_positive(Quad x) {
  Quad sum = 0;
  for (; x < 60; x += 1) sum += 1 / (x * x);
  sum += 1 / x + 1 / (2 * x * x);
  Quad w = 1 / (x * x), power = w / x;
  for (int k = 0; k < 10; ++k, power *= w) sum += bernoulli(k) * power;
  return sum;
}

Quad sin_pi(Quad x) {
  Quad n = floorq(x + Quad(0.5));
  Quad s = sinq(kPi * (x - n));
  return fmodq(n, 2) == 0 ? s : -s;
}

Quad cos_pi(Quad x) {
  Quad n = floorq(x + Quad(0.5));
  Quad c = cosq(kPi * (x - n));
  return fmodq(n, 2) == 0 ? c : -c;
}

Quad digamma(Quad x) {
  if (isnanq(x) || x == -kInf) return kNan;
  if (x == kInf) return kInf;
  if (x == 0) return signbitq(x) ? kInf : -kInf;
  if (x > 0) return digamma_positive(x);
  if (x == floorq(x)) return kNan;
  return digamma_positive(1 - x) - kPi * cos_pi(x) / sin_pi(x);
}

Quad trigamma(Quad x) {
  if (isnanq(x) || x == -kInf) return kNan;
  if (x == kInf) return 0;
  if (x == floorq(x) && x <= 0) return kInf;
  if (x > 0) return trigamma_positive(x);
  Quad r = kPi / sin_pi(x);
  return r * r - trigamma_positive(1 - x);
}

// As lgammaq where that is good; its own reflection left of zero.
Quad log_gamma(Quad x) {
  if (isnanq(x)) return kNan;
  if (isinfq(x)) return kInf;
  if (x == floorq(x) && x <= 0) return kInf;
  if (x > 0) return lgammaq(x);
  if (x > Quad(-1e-25)) return -logq(-x);
  return logq(kPi / fabsq(x * sin_pi(x))) - lgammaq(-x);
}

Quad erfcx(Quad x) {
  if (x < 100) return expq(x * x) * erfcq(x);
  Quad z = 1 / (2 * x * x), term = 1, sum = 1;
  for (int k = 1; k < 14; ++k) {
    term *= -z * (2 * k - 1);
    sum += term;
  }
  return sum / (x * sqrtq(kPi));
}

Quad erf_inverse(Quad x) {
  if (isnanq(x) || fabsq(x) > 1) return kNan;
  if (fabsq(x) == 1) return x * kInf;
  Quad a = fabsq(x);
  if (a < Quad(1e-30)) return x * sqrtq(kPi) / 2;
  // Winitzki's first value, then Halley steps.
  Quad l = log1pq(-a * a), t = 2 / (kPi * Quad(0.147)) + l / 2;
  Quad y = sqrtq(sqrtq(t * t - l / Quad(0.147)) - t);
  for (int i = 0; i < 8; ++i) {
    Quad error = a > Quad(0.5) ? (1 - a) - erfcq(y) : erfq(y) - a;
    Quad u = error / (2 / sqrtq(kPi) * expq(-y * y));
    y -= u / (1 + y * u);
  }
  return copysignq(y, x);
}

Quad softplus(Quad x) {
  if (isnanq(x)) return x;
  return (x > 0 ? x : 0) + log1pq(expq(-fabsq(x)));
}

Quad log1mexp(Quad x) {
  if (x > 0 || isnanq(x)) return kNan;
  return x > Quad(-0.6931) ? logq(-expm1q(x)) : log1pq(-expq(x));
}

}  // namespace

Quad truth(Op op, Quad x, Quad y) {
  switch (op) {
    case Op::exp: return expq(x);
    case Op::exp2: return powq(2, x);
    case Op::expm1: return expm1q(x);
    case Op::log: return logq(x);
    case Op::log2: return log2q(x);
    case Op::log10: return log10q(x);
    case Op::log1p: return log1pq(x);
    case Op::sin: return sinq(x);
    case Op::cos: return cosq(x);
    case Op::tan: return tanq(x);
    case Op::asin: return asinq(x);
    case Op::acos: return acosq(x);
    case Op::atan: return atanq(x);
    case Op::atan2: return atan2q(x, y);
    case Op::sinh: return sinhq(x);
    case Op::cosh: return coshq(x);
    case Op::tanh: return tanhq(x);
    case Op::asinh: return asinhq(x);
    case Op::acosh: return acoshq(x);
    case Op::atanh: return atanhq(x);
    case Op::sigmoid: return 1 / (1 + expq(-x));
    case Op::softplus: return softplus(x);
    case Op::log1mexp: return log1mexp(x);
    case Op::erf: return erfq(x);
    case Op::erfc: return erfcq(x);
    case Op::erfcx: return erfcx(x);
    case Op::erfinv: return erf_inverse(x);
    case Op::lgamma: return log_gamma(x);
    case Op::digamma: return digamma(x);
    case Op::trigamma: return trigamma(x);
    case Op::pow: return powq(x, y);
    default: return kNan;
  }
}

Quad error_scale(Op op, Quad x) {
  if (!(x < 0)) return 0;
  if (op == Op::lgamma) return 1 + fabsq(log_gamma(-x));
  if (op == Op::digamma)
    return 1 + fabsq(digamma_positive(-x)) + fabsq(kPi * cos_pi(x) / sin_pi(x));
  return 0;
}

}  // namespace gcomp::test
