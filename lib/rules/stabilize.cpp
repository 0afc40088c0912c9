// Accurate forms of what overflows or cancels, all for floats. Their contract is extends-domain: the
// error must not grow (README.md says how that is judged). Patterns are for canonical graphs: a
// constant is the second operand, x - c is x + (-c).
#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = real("x"), y = real("y"), z = real("z");
const Pattern c = scalar("c");
const std::vector<Op> kNotNegative = {Op::abs, Op::sqrt};  // and never beyond range
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

bool positive(double v) { return v > 0 && std::isfinite(v); }

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

// ---- logarithms of moved elements ----

const std::vector<Op> kMoves = {Op::gather,  Op::gather_nd, Op::gather_elements, Op::slice,
                                Op::reshape, Op::transpose, Op::reverse};

Pattern softmax_pattern() { return exp(x) / one_of({Op::broadcast}, "b", {sum_of_exp(x)}); }

// What "move" does, done to v.
ValueId moved(const Match& m, Emitter& e, ValueId v) {
  std::vector<ValueId> operands = m.operands("move");
  operands[0] = v;
  return e.like(m.node("move"), operands);
}

ValueId move_somehow(CaseMaker& make, ValueId v) {
  GraphBuilder& g = make.builder();
  const Type t = g.type(v);
  const auto first = make.dims().constant_value(t.dims[0]);
  if (first && *first > 0 && make.chance(0.5)) {
    return g.value(Op::gather, {v, g.int64s(std::vector<int64_t>{0, 0})},
                   {{AttrKey::axis, int64_t{0}}});
  }
  std::vector<DimId> shape = t.dims;
  shape.push_back(make.dims().constant(1));
  return g.value(Op::reshape, {v}, {{AttrKey::shape, shape}});
}

ValueId moved_exp(CaseMaker& make) {
  const ValueId v = make.input(make.dtype(kFloats), make.shape(1, 3));
  return move_somehow(make, make.builder().value(Op::exp, {v}));
}

// The operands of the exponentials that a tree of additions adds up; nothing if it adds anything else or
// more than a few dozen.
std::vector<ValueId> exponents(const Graph& g, ValueId sum) {
  constexpr size_t kMaxTerms = 32;
  std::vector<ValueId> found, open{sum};
  while (!open.empty() && open.size() + found.size() <= kMaxTerms) {
    const Node& n = g.producer_node(open.back());
    open.pop_back();
    if (n.op == Op::add) {
      const auto operands = g.operands(n);
      open.insert(open.end(), operands.rbegin(), operands.rend());
    } else if (n.op == Op::exp) {
      found.push_back(g.operands(n)[0]);
    } else {
      return {};
    }
  }
  return open.empty() ? found : std::vector<ValueId>{};
}

// Of at least three terms (two have a row of their own) that are not shifted by their maximum already.
bool adds_exponentials(const Match& m) {
  const std::vector<ValueId> terms = exponents(m.graph(), m["sum"]);
  const auto shifted = [&](ValueId v) {
    const Node& n = m.graph().producer_node(v);
    return n.op == Op::sub && m.graph().producer_node(m.graph().operands(n)[1]).op == Op::where;
  };
  return terms.size() > 2 && !std::all_of(terms.begin(), terms.end(), shifted);
}

Replacement log_add_exps(const Match& m, Emitter& e) {
  const std::vector<ValueId> terms = exponents(m.graph(), m["sum"]);
  ValueId max = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) max = e.value(Op::max, {max, terms[i]});
  max = e.value(Op::where, {e.value(Op::is_inf, {max}), splat_like(e, max, 0), max});
  ValueId sum;
  for (ValueId term : terms) {
    const ValueId part = e.value(Op::exp, {e.value(Op::sub, {term, max})});
    sum = sum.valid() ? e.value(Op::add, {sum, part}) : part;
  }
  return e.value(Op::add, {e.value(Op::log, {sum}), max});
}

std::vector<Rule> exponentials() {
  return {
      rule("log1p", log(x + 1), log1p(x)),
      rule("log1p_neg", log(1 - x), log1p(-x)),
      rule("expm1", exp(x) + -1, expm1(x)),
      rule("one_minus_exp", 1 - exp(x), -expm1(x)),
      rule("reciprocal_exp", 1 / exp(x), exp(-x)),
      rule("softplus", log1p(exp(x)), softplus(x)),
      rule("log1mexp", log1p(-exp(x)), log1mexp(x)),
      rule("log_of_neg_expm1", log(-expm1(x)), log1mexp(x)),
      rule("log_expm1_neg", log1p(-exp(-x)), log1mexp(-x)),
      rule("log_prod", "log(prod(x)) -> sum(log(x)), x >= 0",
           log(one_of({Op::reduce_prod}, "prod", {x})),
           [](const Match& m, Emitter& e) -> Replacement {
             const std::vector<int64_t> axes = m.attrs("prod").ints(AttrKey::axes);
             return e.value(Op::reduce_sum, {e.value(Op::log, {m["x"]})}, {{AttrKey::axes, axes}});
           })
          .when([](const Match& m) { return never_negative(m, m["x"]); })
          .cases([](CaseMaker& make) {
            const ValueId v = make.input(make.dtype(kFloats), make.shape(1, 3));
            const ValueId positive = make.builder().value(make.one_of(kNotNegative), {v});
            const std::vector<int64_t> axes = make.axes(make.builder().type(v).rank());
            return make.builder().value(Op::log, {make.builder().value(Op::reduce_prod, {positive},
                                                                       {{AttrKey::axes, axes}})});
          }),
      rule("log_pow", "log(pow(x, c)) -> log(x) * c, of |x| where c is even", log(pow(x, c)),
           [](const Match& m, Emitter& e) -> Replacement {
             const bool even = std::fmod(m.scalar("c"), 2) == 0;
             const ValueId base = even ? e.value(Op::abs, {m["x"]}) : m["x"];
             return e.value(Op::mul, {e.value(Op::log, {base}), m["c"]});
           })
          .when(scalar_is("c", [](double v) { return std::isfinite(v) && v != 0; })),
      rule("log_of_moved_exp", "log(gather(exp(x))) -> gather(x); other moves too",
           log(one_of(kMoves, "move", {exp(x)}).and_more()),
           [](const Match& m, Emitter& e) -> Replacement { return moved(m, e, m["x"]); })
          .cases([](CaseMaker& make) { return make.builder().value(Op::log, {moved_exp(make)}); }),
      rule("log_of_moved_softmax", "log(gather(softmax(x))) -> gather(log(softmax(x)))",
           log(one_of(kMoves, "move", {softmax_pattern()}).and_more()),
           [](const Match& m, Emitter& e) -> Replacement {
             return moved(m, e, log_softmax(m, e).values[0]);
           })
          .cases([](CaseMaker& make) {
            return make.builder().value(Op::log, {move_somehow(make, softmax_case(make))});
          }),
      rule("log_over_exp", log(y / exp(x)), log(y) - x),
      rule("log_exp_div", log(exp(x) / y), x - log(y)),
      rule("log_exp_mul", log(exp(x) * y), x + log(y)),
      rule("log_diff_exp", log(exp(x) - exp(y)), where(y == -INFINITY, x, x + log1mexp(y - x))),
      rule("exp_times_exp", exp(x) * exp(y), exp(x + y)),
      rule("power_times_power", pow(c, x) * pow(c, y), pow(c, x + y))
          .when(scalar_is("c", positive)),
      rule("power_over_power", pow(c, x) / pow(c, y), pow(c, x - y)).when(scalar_is("c", positive)),
      rule("exp_over_exp", exp(x) / exp(y), exp(x - y)),
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
      rule("minus_softplus", x - softplus(x), -softplus(-x)),
      rule("softplus_minus", softplus(x) - x, softplus(-x)),
      rule("softplus_difference", softplus(x) - softplus(-x), x),
      rule("exp_neg_softplus", exp(-softplus(x)), sigmoid(-x)),
      rule("tanh_half", sigmoid(x) * 2 + -1, tanh(x * 0.5)),
      rule("sigmoid_tanh", (tanh(x) + 1) * 0.5, sigmoid(x * 2)),
      rule("sigmoid_neg_tanh", (1 - tanh(x)) * 0.5, sigmoid(x * -2)),
  };
}

std::vector<Rule> sums_of_exponentials() {
  return {
      rule("log_add_exp", log(exp(x) + exp(y)),
           where(x == y, x + kLog2, max(x, y) + softplus(-abs(x - y)))),
      rule("log_add_exps", "log(exp(x) + exp(y) + ...) -> log(exp(x - max) + ...) + max",
           log(one_of({Op::add}, "sum", {any("u"), any("v")})), log_add_exps)
          .when(adds_exponentials)
          .cases([](CaseMaker& make) {
            const Type t{make.dtype(kFloats), make.shape()};
            ValueId sum;
            for (int64_t i = make.pick(3, 5); i > 0; --i) {
              const ValueId part = make.builder().value(Op::exp, {make.input(t)});
              sum = sum.valid() ? make.builder().value(Op::add, {sum, part}) : part;
            }
            return make.builder().value(Op::log, {sum});
          }),
      rule("log_sum_exp", "log(sum(exp(x))) -> log(sum(exp(x - max(x)))) + max(x)",
           log(sum_of_exp(x)), log_sum_exp)
          .when(unshifted)
          .cases(log_sum_exp_case),
      rule("softmax", "exp(x) / sum(exp(x)) -> the same of x - max(x)",
           exp(x) / one_of({Op::broadcast}, "b", {sum_of_exp(x)}), softmax)
          .when(unshifted)
          .cases(softmax_case),
      rule("log_softmax", "log(exp(x) / sum(exp(x))) -> x - max(x) - log(sum(exp(x - max(x))))",
           log(exp(x) / one_of({Op::broadcast}, "b", {sum_of_exp(x)})), log_softmax)
          .cases(
              [](CaseMaker& make) { return make.builder().value(Op::log, {softmax_case(make)}); }),
  };
}

// Results that hold their own pattern hold it on a clamped argument.
bool unclamped(const Match& m) { return m.graph().producer_node(m["x"]).op != Op::min; }
bool unclamped_and_finite(const Match& m) { return unclamped(m) && std::isfinite(m.scalar("c")); }

std::vector<Rule> error_functions() {
  const Pattern low = min(x, 0);
  const Pattern gauss_over_erfc = where(x > 0, 1 / erfcx(max(x, 0)), exp(-(low * low)) / erfc(low));
  return {
      rule("one_minus_erf", 1 - erf(x), erfc(x)),
      rule("erf_minus_one", erf(x) + -1, -erfc(x)),
      rule("one_plus_erf", erf(x) + 1, erfc(-x)),
      rule("one_minus_erfc", 1 - erfc(x), erf(x)),
      rule("erfc_minus_one", erfc(x) + -1, -erf(x)),
      rule("erfc_minus_two", 2 - erfc(x), erfc(-x)),
      rule("erfcx", exp(x * x) * erfc(x), erfcx(x)),
      // The gradient of log(erfc(x)).
      rule("gauss_over_erfc", exp(-(x * x)) / erfc(x), gauss_over_erfc).when(unclamped),
      rule("gauss_times_over_erfc", (exp(-(x * x)) * c) / erfc(x), gauss_over_erfc * c)
          .when(unclamped_and_finite),
      rule("over_erfc_times_gauss", (c / erfc(x)) * exp(-(x * x)), gauss_over_erfc * c)
          .when(unclamped_and_finite),
      rule("log_erfc", log(erfc(x)),
           where(x > 1, log(erfcx(max(x, 1))) - x * x, log(erfc(min(x, 1)))))
          .when(unclamped),
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
