// Gradients of logarithms of probabilities divide by a probability what is later multiplied by it: where it
// underflows, NaN.
#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = real("x"), y = real("y"), z = real("z");
const std::vector<Op> kScatters = {Op::scatter_nd, Op::scatter_elements};

// exp(v) / broadcast(sum(exp(v))): between 0 and 1.
bool is_softmax(const Graph& g, ValueId v) {
  const Node& quotient = g.producer_node(v);
  if (quotient.op != Op::div) return false;
  const ValueId exps = g.operands(quotient)[0];
  const Node& spread = g.producer_node(g.operands(quotient)[1]);
  if (g.producer_node(exps).op != Op::exp || spread.op != Op::broadcast) return false;
  const Node& sum = g.producer_node(g.operands(spread)[0]);
  return sum.op == Op::reduce_sum && g.operands(sum)[0] == exps;
}

// Of a softmax only: of other factors the gather costs more than the products that it saves, and an infinite
// one would meet updates of one place that cancel.
bool updates_can_be_multiplied(const Match& m) {
  const std::string reduction = m.attrs("scatter").string_or(AttrKey::reduction, "none");
  return (reduction == "none" || reduction == "add") && is_softmax(m.graph(), m["y"]);
}

// What is 0 but where updates are put, times y: only the updates are multiplied.
Replacement multiply_updates(const Match& m, Emitter& e) {
  const std::vector<ValueId> old = m.operands("scatter");
  const bool elements = m.op("scatter") == Op::scatter_elements;
  std::vector<Attr> attrs;
  if (elements) attrs.push_back({AttrKey::axis, m.attrs("scatter").integer(AttrKey::axis)});
  const ValueId factors =
      e.value(elements ? Op::gather_elements : Op::gather_nd, {m["y"], old[1]}, std::move(attrs));
  return e.like(m.node("scatter"), {old[0], old[1], e.value(Op::mul, {old[2], factors})});
}

bool divides_by_positive(const Match& m) { return mathematically_positive(m, m["x"]); }

// ---- cases ----

ValueId softmax_of(GraphBuilder& g, ValueId v) {
  const Type t = g.type(v);
  std::vector<int64_t> kept;
  for (int64_t a = 0; a + 1 < t.rank(); ++a) kept.push_back(a);
  const ValueId exps = g.value(Op::exp, {v});
  const ValueId sum = g.reduce(Op::reduce_sum, exps, {t.rank() - 1});
  const ValueId spread =
      g.value(Op::broadcast, {sum}, {{AttrKey::axes, kept}, {AttrKey::shape, t.dims}});
  return g.value(Op::div, {exps, spread});
}

ValueId scattered_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const Type t{make.dtype(kFloats), make.static_shape(1, 3, 1)};
  const ValueId bounded = g.value(Op::tanh, {make.input(t)});  // whose exponentials do not overflow
  const ValueId zeros = make.splat(t, 0), factor = softmax_of(g, bounded);
  if (make.chance(0.5)) {
    const ValueId index = g.full({DType::kInt64, t.dims}, 0);
    const ValueId s = g.value(Op::scatter_elements, {zeros, index, make.input(t)},
                              {{AttrKey::axis, make.pick(0, t.rank() - 1)}});
    return g.value(Op::mul, {s, factor});
  }
  const DimId one = make.dims().constant(1);
  const ValueId index = g.full({DType::kInt64, {one, one}}, 0);
  std::vector<DimId> row = t.dims;
  row[0] = one;
  const ValueId s = g.value(Op::scatter_nd, {zeros, index, make.input(t.dtype, row)});
  return g.value(Op::mul, {s, factor});
}

// (y / p) * p or (y * p) / p with a p > 0.
Generator cancelling(Op inner, Op outer) {
  return [=](CaseMaker& make) {
    GraphBuilder& g = make.builder();
    const Type t{make.dtype(kFloats), make.shape()};
    const ValueId p = g.value(make.one_of(std::vector<Op>{Op::exp, Op::sigmoid}), {make.input(t)});
    return g.value(outer, {g.value(inner, {make.input(t), p}), p});
  };
}

}  // namespace

std::vector<Rule> cross_entropy_rules() {
  std::vector<Rule> rules =
      only_in("stabilize",
              {
                  rule("mul_scattered", "scatter(0, i, u) * y -> scatter(0, i, u * gather(y, i))",
                       one_of(kScatters, "scatter", {Pattern(0.0), any("i"), any("u")}) * y,
                       multiply_updates)
                      .when(updates_can_be_multiplied)
                      .cases(scattered_case),
                  rule("cancel_quotient", (y / x) * x, y)
                      .when(divides_by_positive)
                      .cases(cancelling(Op::div, Op::mul)),
                  rule("cancel_in_product", (y / x) * (x * z), y * z)
                      .when(divides_by_positive)
                      .cases([](CaseMaker& make) {
                        GraphBuilder& g = make.builder();
                        const Type t{make.dtype(kFloats), make.shape()};
                        const ValueId p = g.value(Op::exp, {make.input(t)});
                        const ValueId left = g.value(Op::div, {make.input(t), p});
                        return g.value(Op::mul, {left, g.value(Op::mul, {p, make.input(t)})});
                      }),
                  rule("cancel_factor", (y * x) / x, y)
                      .when(divides_by_positive)
                      .cases(cancelling(Op::mul, Op::div)),
              });
  for (Rule& r : rules) r.contract = Contract::kExtendsDomain;
  return rules;
}

}  // namespace gcomp::rules
