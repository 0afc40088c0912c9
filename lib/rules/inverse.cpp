// A function of its inverse. Where the inner one has no value the pair has none, so it is NaN there; where
// it overflows or loses digits the pair does and the result does not: all of these extend the domain.
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = real("x");
const Pattern nan(NAN);

// x where `outside` does not hold.
Pattern unless(Pattern outside, Pattern v) { return where(std::move(outside), nan, std::move(v)); }

std::vector<Rule> logarithms() {
  return {
      rule("log_exp", log(exp(x)), x),
      rule("log2_exp2", log2(exp2(x)), x),
      rule("log1p_expm1", log1p(expm1(x)), x),
      rule("exp_log", exp(log(x)), unless(x < 0, x)),
      rule("exp2_log2", exp2(log2(x)), unless(x < 0, x)),
      rule("exp_log1p", exp(log1p(x)), unless(x < -1, x + 1)),
      rule("expm1_log", expm1(log(x)), unless(x < 0, x + -1)),
      rule("expm1_log1p", expm1(log1p(x)), unless(x < -1, x)),
      rule("exp_softplus", exp(softplus(x)), exp(x) + 1),
      rule("expm1_softplus", expm1(softplus(x)), exp(x)),
      rule("softplus_log", softplus(log(x)), unless(x < 0, log1p(x))),
      rule("exp_log1mexp", exp(log1mexp(x)), unless(x > 0, -expm1(x))),
      rule("expm1_log1mexp", expm1(log1mexp(x)), unless(x > 0, -exp(x))),
      rule("log1mexp_log", log1mexp(log(x)), unless(x < 0, log1p(-x))),
      rule("log1mexp_log1mexp", log1mexp(log1mexp(x)), unless(x > 0, x)),
      rule("sigmoid_ratio", sigmoid(x) / sigmoid(-x), exp(x)),
      rule("sigmoid_ratio_neg", sigmoid(-x) / sigmoid(x), exp(-x)),
      rule("sigmoid_logit", sigmoid(log(x / (1 - x))), unless((x < 0) | (x > 1), x)),
      rule("sigmoid_log_odds", sigmoid(log(x) - log1p(-x)), unless((x < 0) | (x > 1), x)),
  };
}

std::vector<Rule> trigonometry() {
  const Pattern beyond_one = abs(x) > 1;
  return {
      rule("sin_asin", sin(asin(x)), unless(beyond_one, x)),
      rule("cos_acos", cos(acos(x)), unless(beyond_one, x)),
      rule("tan_atan", tan(atan(x)), x),
      rule("sinh_asinh", sinh(asinh(x)), x),
      rule("asinh_sinh", asinh(sinh(x)), x),
      rule("cosh_acosh", cosh(acosh(x)), unless(x < 1, x)),
      rule("acosh_cosh", acosh(cosh(x)), abs(x)),
      rule("tanh_atanh", tanh(atanh(x)), unless(beyond_one, x)),
      rule("atanh_tanh", atanh(tanh(x)), x),
      rule("erf_erfinv", erf(erfinv(x)), unless(beyond_one, x)),
      rule("erfinv_erf", erfinv(erf(x)), x),
      rule("div_reciprocal", real("y") / (1 / x), real("y") * x),
  };
}

}  // namespace

std::vector<Rule> inverse_rules() {
  std::vector<Rule> rules;
  for (auto* table : {logarithms, trigonometry}) {
    for (Rule& r : table()) rules.push_back(std::move(r).extends_domain());
  }
  return only_in("stabilize", std::move(rules));
}

}  // namespace gcomp::rules
