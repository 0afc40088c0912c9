// Accurate forms of what overflows or cancels, all for floats. Their contract is extends-domain: the
// error must not grow (README.md says how that is judged). Patterns are for canonical graphs: a
// constant is the second operand, x - c is x + (-c).
#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = real("x"), y = real("y");
const double kLog2 = 0.693147180559945309417;

Pattern sum_of_exp(const Pattern& operand) {
  return one_of({Op::reduce_sum}, "sum", {exp(operand)});
}

// Whether `v` is something minus its own maximum, so that exp(v) cannot overflow: looks through the
// few nodes by which the maximum is put back into shape.
bool shifted_by_max(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (n.op != Op::sub) return false;
  ValueId at = g.operands(n)[1];
  for (int steps = 0; steps < 6; ++steps) {
    const Node& p = g.producer_node(at);
    switch (p.op) {
      case Op::reduce_max: return true;
      case Op::broadcast:
      case Op::reshape: at = g.operands(p)[0]; break;
      case Op::where:  // the guard against an infinite maximum
        at = g.operands(p)[2];
        break;
      default: return false;
    }
  }
  return false;
}

// x's maximum over `axes`, 0 where it is infinite: then nothing is shifted, and sums of 0 or inf
// come out as they should.
ValueId finite_max(Emitter& e, ValueId v, const std::vector<int64_t>& axes) {
  const ValueId max = e.value(Op::reduce_max, {v}, {{AttrKey::axes, axes}});
  return e.value(Op::where, {e.value(Op::is_inf, {max}), splat_like(e, max, 0), max});
}

// Back to the shape of `v` after a reduction over `axes`.
ValueId spread(Emitter& e, ValueId reduced, ValueId v, const std::vector<int64_t>& axes) {
  const Type t = e.type(v);
  std::vector<int64_t> kept;
  for (int64_t a = 0; a < t.rank(); ++a) {
    if (std::find(axes.begin(), axes.end(), a) == axes.end()) kept.push_back(a);
  }
  return e.broadcast(reduced, t.dims, kept);
}

Replacement log_sum_exp(const Match& m, Emitter& e) {
  const std::vector<int64_t> axes = m.attrs("sum").ints(AttrKey::axes);
  const ValueId v = m["x"], max = finite_max(e, v, axes);
  const ValueId shifted = e.value(Op::sub, {v, spread(e, max, v, axes)});
  const ValueId sum =
      e.value(Op::reduce_sum, {e.value(Op::exp, {shifted})}, {{AttrKey::axes, axes}});
  return e.value(Op::add, {e.value(Op::log, {sum}), max});
}

// exp(x) / broadcast(sum(exp(x))) with the maximum taken off first.
Replacement softmax(const Match& m, Emitter& e) {
  const std::vector<int64_t> axes = m.attrs("sum").ints(AttrKey::axes);
  const ValueId v = m["x"], max = finite_max(e, v, axes);
  const ValueId shifted = e.value(Op::exp, {e.value(Op::sub, {v, spread(e, max, v, axes)})});
  const ValueId sum = e.value(Op::reduce_sum, {shifted}, {{AttrKey::axes, axes}});
  return e.value(Op::div, {shifted, e.like(m.node("b"), {sum})});
}

// exp(x) * broadcast(y / sum(exp(x))), the gradient of log(sum(exp(x))): y * softmax(x).
Replacement softmax_gradient(const Match& m, Emitter& e) {
  const Replacement quotient = softmax(m, e);
  ValueId factor = m["y"];
  if (m.has("minus")) factor = e.value(Op::neg, {factor});
  return e.value(Op::mul, {e.like(m.node("b"), {factor}), quotient.values[0]});
}

bool unshifted(const Match& m) {
  return !shifted_by_max(m, m["x"]) && !m.attrs("sum").ints(AttrKey::axes).empty();
}

// log(exp(x) / broadcast(sum(exp(x)))) -> x - log(sum(exp(x))), of x - max(x) in the place of x where x is
// not that already: then the difference does not cancel where the quotient is near 1.
Replacement log_softmax(const Match& m, Emitter& e) {
  ValueId v = m["x"], sum = m["sum"];
  if (unshifted(m)) {
    const std::vector<int64_t> axes = m.attrs("sum").ints(AttrKey::axes);
    v = e.value(Op::sub, {v, spread(e, finite_max(e, v, axes), v, axes)});
    sum = e.value(Op::reduce_sum, {e.value(Op::exp, {v})}, {{AttrKey::axes, axes}});
  }
  return e.value(Op::sub, {v, e.like(m.node("b"), {e.value(Op::log, {sum})})});
}

ValueId sum_exp_case(CaseMaker& make, ValueId* exps, ValueId* sum, std::vector<int64_t>* axes) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const ValueId v = make.input(make.dtype(kFloats), shape);
  const int rank = static_cast<int>(shape.size());
  *axes = make.axes_of_size(rank, static_cast<int>(make.pick(1, rank)));
  *exps = make.builder().value(Op::exp, {v});
  *sum = make.builder().value(Op::reduce_sum, {*exps}, {{AttrKey::axes, *axes}});
  return v;
}

ValueId log_sum_exp_case(CaseMaker& make) {
  ValueId exps, sum;
  std::vector<int64_t> axes;
  sum_exp_case(make, &exps, &sum, &axes);
  return make.builder().value(Op::log, {sum});
}

ValueId softmax_case(CaseMaker& make) {
  ValueId exps, sum;
  std::vector<int64_t> axes;
  const ValueId v = sum_exp_case(make, &exps, &sum, &axes);
  std::vector<int64_t> kept;
  const std::vector<DimId> shape = make.builder().type(v).dims;
  for (int64_t a = 0; a < static_cast<int64_t>(shape.size()); ++a) {
    if (std::find(axes.begin(), axes.end(), a) == axes.end()) kept.push_back(a);
  }
  const ValueId b =
      make.builder().value(Op::broadcast, {sum}, {{AttrKey::axes, kept}, {AttrKey::shape, shape}});
  return make.builder().value(Op::div, {exps, b});
}

ValueId softmax_gradient_case(CaseMaker& make, bool negative) {
  GraphBuilder& g = make.builder();
  ValueId exps, sum;
  std::vector<int64_t> axes;
  const ValueId v = sum_exp_case(make, &exps, &sum, &axes);
  const Type all = g.type(v), few = g.type(sum);
  std::vector<int64_t> kept;
  for (int64_t a = 0; a < all.rank(); ++a) {
    if (std::find(axes.begin(), axes.end(), a) == axes.end()) kept.push_back(a);
  }
  ValueId factor = g.value(Op::div, {make.input(few), sum});
  if (negative) factor = g.value(Op::neg, {factor});
  const ValueId b =
      g.value(Op::broadcast, {factor}, {{AttrKey::axes, kept}, {AttrKey::shape, all.dims}});
  return g.value(Op::mul, {exps, b});
}

std::vector<Rule> exponentials() {
  return {
      rule("log1p", log(x + 1), log1p(x)),
      rule("log1p_neg", log(1 - x), log1p(-x)),
      rule("log1p_expm1", log1p(expm1(x)), x),
      rule("log_exp", log(exp(x)), x),
      rule("exp_log", exp(log(x)), where(x < 0, Pattern(NAN), x)),
      rule("expm1_log1p", expm1(log1p(x)), where(x < -1, Pattern(NAN), x)),
      rule("expm1", exp(x) + -1, expm1(x)),
      rule("one_minus_exp", 1 - exp(x), -expm1(x)),
      rule("reciprocal_exp", 1 / exp(x), exp(-x)),
      rule("softplus", log1p(exp(x)), softplus(x)),
      rule("log1mexp", log1p(-exp(x)), log1mexp(x)),
      rule("log_of_neg_expm1", log(-expm1(x)), log1mexp(x)),
      rule("log_expm1_neg", log1p(-exp(-x)), log1mexp(-x)),
      rule("log_exp_div", log(exp(x) / y), x - log(y)),
      rule("log_exp_mul", log(exp(x) * y), x + log(y)),
      rule("sinh", (exp(x) - exp(-x)) * 0.5, sinh(x)),
      rule("cosh", (exp(x) + exp(-x)) * 0.5, cosh(x)),
      rule("tanh", (exp(x) - exp(-x)) / (exp(x) + exp(-x)), tanh(x)),
  };
}

std::vector<Rule> sigmoids() {
  return {
      rule("sigmoid", 1 / (exp(x) + 1), sigmoid(-x)),
      rule("sigmoid_scaled", y / (exp(x) + 1), y * sigmoid(-x)),
      rule("sigmoid_exp", exp(x) / (exp(x) + 1), sigmoid(x)),
      rule("sigmoid_two", exp(x) / (exp(x) + exp(y)), sigmoid(x - y)),
      rule("one_minus_sigmoid", 1 - sigmoid(x), sigmoid(-x)),
      rule("exp_times_sigmoid", exp(x) * sigmoid(-x), sigmoid(x)),
      rule("exp_neg_times_sigmoid", exp(-x) * sigmoid(x), sigmoid(-x)),
      rule("log_sigmoid", log(sigmoid(x)), -softplus(-x)),
      rule("log1p_neg_sigmoid", log1p(-sigmoid(x)), -softplus(x)),
      rule("softplus_difference", softplus(x) - softplus(-x), x),
      rule("exp_softplus", exp(-softplus(x)), sigmoid(-x)),
      rule("tanh_half", sigmoid(x) * 2 + -1, tanh(x * 0.5)),
  };
}

std::vector<Rule> sums_of_exponentials() {
  return {
      rule("log_add_exp", log(exp(x) + exp(y)),
           where(x == y, x + kLog2, max(x, y) + softplus(-abs(x - y)))),
      rule("log_sum_exp", "log(sum(exp(x))) -> log(sum(exp(x - max(x)))) + max(x)",
           log(sum_of_exp(x)), log_sum_exp)
          .when(unshifted)
          .cases(log_sum_exp_case),
      rule("softmax", "exp(x) / sum(exp(x)) -> the same of x - max(x)",
           exp(x) / one_of({Op::broadcast}, "b", {sum_of_exp(x)}), softmax)
          .when(unshifted)
          .cases(softmax_case),
      rule("softmax_gradient", "exp(x) * (y / sum(exp(x))) -> y * softmax(x), of x - max(x)",
           exp(x) * one_of({Op::broadcast}, "b", {any("y") / sum_of_exp(x)}), softmax_gradient)
          .when(unshifted)
          .cases([](CaseMaker& make) { return softmax_gradient_case(make, false); }),
      rule("softmax_gradient_neg", "exp(x) * -(y / sum(exp(x))) -> -y * softmax(x)",
           exp(x) * one_of({Op::broadcast}, "b", {(-(any("y") / sum_of_exp(x))).named("minus")}),
           softmax_gradient)
          .when(unshifted)
          .cases([](CaseMaker& make) { return softmax_gradient_case(make, true); }),
      rule("log_softmax", "log(exp(x) / sum(exp(x))) -> x - max(x) - log(sum(exp(x - max(x))))",
           log(exp(x) / one_of({Op::broadcast}, "b", {sum_of_exp(x)})), log_softmax)
          .cases(
              [](CaseMaker& make) { return make.builder().value(Op::log, {softmax_case(make)}); }),
  };
}

std::vector<Rule> error_functions() {
  return {
      rule("one_minus_erf", 1 - erf(x), erfc(x)),
      rule("erf_minus_one", erf(x) + -1, -erfc(x)),
      rule("one_plus_erf", erf(x) + 1, erfc(-x)),
      rule("one_minus_erfc", 1 - erfc(x), erf(x)),
      rule("erfc_minus_one", erfc(x) + -1, -erf(x)),
      rule("erfc_minus_two", 2 - erfc(x), erfc(-x)),
      rule("erfcx", exp(x * x) * erfc(x), erfcx(x)),
      // Each branch on the arguments it is for. The clamp also keeps the result from matching again.
      rule("log_erfc", log(erfc(x)),
           where(x > 1, log(erfcx(max(x, 1))) - x * x, log(erfc(min(x, 1)))))
          .when([](const Match& m) { return m.graph().producer_node(m["x"]).op != Op::min; }),
  };
}

}  // namespace

std::vector<Rule> stabilize_rules() {
  std::vector<Rule> rules;
  for (auto* table : {exponentials, sigmoids, sums_of_exponentials, error_functions}) {
    for (Rule& r : table()) {
      r.contract = Contract::kExtendsDomain;
      rules.push_back(std::move(r));
    }
  }
  return only_in("stabilize", std::move(rules));
}

}  // namespace gcomp::rules
