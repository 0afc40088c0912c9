// Functions of one real number. float is computed in double and double in long double, so that one
// rounding (nearly) remains.

#include <algorithm>
#include <boost/math/special_functions/digamma.hpp>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/trigamma.hpp>
#include <cmath>
#include <limits>

#include "call.h"

namespace gcomp::interp {
namespace {

namespace policies = boost::math::policies;
using NoThrow = policies::policy<policies::domain_error<policies::ignore_error>,
                                 policies::pole_error<policies::ignore_error>,
                                 policies::overflow_error<policies::ignore_error>,
                                 policies::evaluation_error<policies::ignore_error>>;

constexpr long double kInf = std::numeric_limits<long double>::infinity();
constexpr long double kNaN = std::numeric_limits<long double>::quiet_NaN();

bool is_negative_integer(long double x) { return x < 0 && std::floor(x) == x; }

// exp(x^2) with the rounding error of the square put back.
long double exp_of_square(long double x) {
  const long double square = x * x;
  const long double e = std::exp(square);
  if (std::isinf(e)) return kInf;  // whatever the rest, which is as large as its last place
  const long double rest = std::fma(x, x, -square);
  return e * (1 + rest);
}

long double erfcx_of_nonnegative(long double x) {
  if (x < 50) return exp_of_square(x) * std::erfc(x);
  // The asymptotic series: 1/(x sqrt(pi)) * sum of (-1)^k (2k-1)!! / (2 x^2)^k.
  const long double u = 1 / (2 * x * x);
  const long double sum = 1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u * (1 - 9 * u))));
  return sum / (x * std::sqrt(std::acos(-1.0L)));
}

long double erfcx(long double x) {
  if (std::isnan(x)) return x;
  if (x >= 0) return erfcx_of_nonnegative(x);
  const long double e = 2 * exp_of_square(x);
  return std::isinf(e) ? e : e - erfcx_of_nonnegative(-x);
}

long double erfinv(long double x) {
  if (std::isnan(x) || std::fabs(x) > 1) return kNaN;
  if (std::fabs(x) == 1) return std::copysign(kInf, x);
  if (x == 0) return x;
  return boost::math::erf_inv(x, NoThrow());
}

long double digamma(long double x) {
  if (x == 0) return std::copysign(kInf, -x);
  if (x == kInf) return kInf;
  if (std::isnan(x) || is_negative_integer(x) || x == -kInf) return kNaN;
  return boost::math::digamma(x, NoThrow());
}

long double trigamma(long double x) {
  if (std::isnan(x) || x == -kInf) return kNaN;
  if (x == kInf) return 0;
  if (x == 0 || is_negative_integer(x)) return kInf;
  if (std::fabs(x) < 1e-30L) return 1 / x / x;
  if (x < -1e9L) {  // by reflection: boost's sin_pi takes such numbers for an int
    const long double beyond = x - std::floor(x);
    const long double pi = std::acos(-1.0L), s = std::sin(pi * std::min(beyond, 1 - beyond));
    return pi / s * (pi / s) - boost::math::trigamma(1 - x, NoThrow());
  }
  return boost::math::trigamma(x, NoThrow());
}

template <class W>
W sigmoid(W x) {
  return 1 / (1 + std::exp(-x));
}

template <class W>
W softplus(W x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

template <class W>
W log1mexp(W x) {
  constexpr W kLog2 = static_cast<W>(0.693147180559945309417232121458L);
  return x > -kLog2 ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x));
}

template <class W>
W apply(Op op, W x) {
  switch (op) {
    case Op::exp: return std::exp(x);
    case Op::exp2: return std::exp2(x);
    case Op::expm1: return std::expm1(x);
    case Op::log: return std::log(x);
    case Op::log2: return std::log2(x);
    case Op::log10: return std::log10(x);
    case Op::log1p: return std::log1p(x);
    case Op::sin: return std::sin(x);
    case Op::cos: return std::cos(x);
    case Op::tan: return std::tan(x);
    case Op::asin: return std::asin(x);
    case Op::acos: return std::acos(x);
    case Op::atan: return std::atan(x);
    case Op::sinh: return std::sinh(x);
    case Op::cosh: return std::cosh(x);
    case Op::tanh: return std::tanh(x);
    case Op::asinh: return std::asinh(x);
    case Op::acosh: return std::acosh(x);
    case Op::atanh: return std::atanh(x);
    case Op::erf: return std::erf(x);
    case Op::erfc: return std::erfc(x);
    case Op::erfcx: return static_cast<W>(erfcx(x));
    case Op::erfinv: return static_cast<W>(erfinv(x));
    case Op::lgamma: return std::lgamma(x);
    case Op::digamma: return static_cast<W>(digamma(x));
    case Op::trigamma: return static_cast<W>(trigamma(x));
    case Op::sigmoid: return sigmoid(x);
    case Op::softplus: return softplus(x);
    case Op::log1mexp: return log1mexp(x);
    default: GCOMP_CHECK(false, "not a function of one real number");
  }
}

}  // namespace

Results eval_real(const Call& c) {
  const Tensor& x = c.operand(0);
  Tensor y = make_tensor(x.dtype, x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (std::is_floating_point_v<Compute<S>>) {
      using C = Compute<S>;
      using Wide = std::conditional_t<std::is_same_v<C, float>, double, long double>;
      for (int64_t i = 0; i < n; ++i) {
        const Wide value = apply<Wide>(c.op, static_cast<Wide>(load(x.data<S>()[i])));
        y.data<S>()[i] = store<S>(static_cast<C>(value));
      }
    }
  });
  return one(std::move(y));
}

}  // namespace gcomp::interp
