// Order along an axis: argmax and argmin, sort, top_k, running sums.
#include <algorithm>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");
const std::vector<Op> kArg = {Op::argmax, Op::argmin};

// Increasing wherever they are a number, and a number wherever their operand is one.
const std::vector<Op> kIncreasing = {Op::exp,  Op::exp2, Op::expm1, Op::sigmoid, Op::softplus,
                                     Op::tanh, Op::sinh, Op::asinh, Op::atan,    Op::erf};

size_t root_axis(const Match& m) {
  return static_cast<size_t>(m.graph().attrs(m.root()).integer(AttrKey::axis));
}

bool one_along_axis(const Match& m) {
  return m.dims().is_constant(m.type("x").dims[root_axis(m)], 1);
}

// The root on another operand, as `o`.
Replacement root_as(const Match& m, Emitter& e, Op o, ValueId operand) {
  const AttrsId attrs = m.graph().node(m.root()).attrs;
  const ValueId operands[] = {operand};
  return e.builder().result(e.builder().node(o, operands, attrs));
}

Op other_arg(const Match& m) {
  return m.graph().node(m.root()).op == Op::argmax ? Op::argmin : Op::argmax;
}

Replacement zeros(const Match& m, Emitter& e) {
  const Type t = m.root_type();
  return e.full(t, 0);
}

Replacement arg_of_multiple(const Match& m, Emitter& e) {
  const double c = m.scalar("c");
  if (!(c != 0)) return std::nullopt;  // NaN too
  return root_as(m, e, c > 0 ? m.graph().node(m.root()).op : other_arg(m), m["x"]);
}

// `v` is broadcast(reduction over `axis` of `from`), along that axis again.
bool reduced_and_back(const Match& m, ValueId v, Op reduction, ValueId from, size_t axis) {
  const Graph& g = m.graph();
  const Node& b = g.producer_node(v);
  if (b.op != Op::broadcast) return false;
  const Node& r = g.producer_node(g.operands(b)[0]);
  if (r.op != reduction || g.operands(r)[0] != from) return false;
  const auto rank = static_cast<int64_t>(g.type(v).dims.size());
  std::vector<int64_t> kept;
  for (int64_t a = 0; a < rank; ++a) {
    if (a != static_cast<int64_t>(axis)) kept.push_back(a);
  }
  return g.attrs(r).ints(AttrKey::axes) == std::vector<int64_t>{static_cast<int64_t>(axis)} &&
         g.attrs(b).ints(AttrKey::axes) == kept;
}

// argmax(e / sum(e)), e = exp(x - max(x)): the argmax of x. Of a row with a NaN both name some element.
bool is_softmax(const Match& m) {
  const size_t axis = root_axis(m);
  return reduced_and_back(m, m["s"], Op::reduce_sum, m["e"], axis) &&
         reduced_and_back(m, m["t"], Op::reduce_max, m["x"], axis);
}

// The one largest element and its place; NaN is the largest in both.
Replacement top_one(const Match& m, Emitter& e) {
  const size_t axis = root_axis(m);
  const auto a = static_cast<int64_t>(axis);
  const std::vector<DimId> shape = m.root_type().dims;
  const ValueId value = e.builder().reduce(Op::reduce_max, m["x"], {a});
  const ValueId index = e.value(Op::argmax, {m["x"]}, {{AttrKey::axis, a}});
  return std::vector<ValueId>{e.reshape(value, shape), e.reshape(index, shape)};
}

bool top_is_one(const Match& m) {
  const Attrs a = m.graph().attrs(m.root());
  return m.dims().is_constant(a.dims(AttrKey::shape)[0], 1) &&
         a.integer_or(AttrKey::descending, 1) != 0;
}

Replacement cumulate_one(const Match& m, Emitter& e) {
  const Node& root = m.graph().node(m.root());
  if (m.graph().attrs(root).integer_or(AttrKey::exclusive, 0) == 0) return m["x"];
  const Type t = m.root_type();
  return e.full(t, root.op == Op::cumsum ? 0 : 1);
}

// ---- cases ----

ValueId arg_of(CaseMaker& make, ValueId v, std::optional<int64_t> axis = std::nullopt) {
  const int rank = make.builder().type(v).rank();
  return make.builder().value(make.one_of(kArg), {v},
                              {{AttrKey::axis, axis.value_or(make.pick(0, rank - 1))},
                               {AttrKey::select_last, make.pick(0, 1)}});
}

// An input with extent 1 along `*axis`.
ValueId thin_input(CaseMaker& make, int64_t* axis) {
  std::vector<DimId> shape = make.shape(1, 3);
  *axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  shape[static_cast<size_t>(*axis)] = make.dims().constant(1);
  return make.input(make.dtype(kNumbers), shape);
}

ValueId float_input(CaseMaker& make) {
  return make.input(make.dtype(kFloats), make.static_shape(1, 3, 1));
}

ValueId softmax_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const ValueId v = float_input(make);
  const std::vector<DimId> shape = g.type(v).dims;
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = make.pick(0, rank - 1);
  std::vector<int64_t> kept;
  for (int64_t a = 0; a < rank; ++a) {
    if (a != axis) kept.push_back(a);
  }
  const auto along = [&](Op o, ValueId u) {
    return g.broadcast(g.reduce(o, u, {axis}), shape, kept);
  };
  const ValueId e = g.value(Op::exp, {g.value(Op::sub, {v, along(Op::reduce_max, v)})});
  return arg_of(make, g.value(Op::div, {e, along(Op::reduce_sum, e)}), axis);
}

}  // namespace

std::vector<Rule> order_rules() {
  const auto arg = [](Pattern operand) { return one_of(kArg, "a", {std::move(operand)}); };
  const auto same = [](const Match& m, Emitter& e) -> Replacement {
    return root_as(m, e, m.graph().node(m.root()).op, m["x"]);
  };
  const Pattern shifted = exp(real("x") - any("t")).named("e");
  return everywhere({
      rule("arg_of_one", "argmax along an extent of 1 -> 0; argmin too", arg(x), zeros)
          .when(one_along_axis)
          .cases([](CaseMaker& make) {
            int64_t axis = 0;
            const ValueId v = thin_input(make, &axis);
            return arg_of(make, v, axis);
          }),
      rule("arg_of_neg", "argmax(-x) -> argmin(x), and the reverse", arg(-real("x")),
           [](const Match& m, Emitter& e) { return root_as(m, e, other_arg(m), m["x"]); })
          .cases([](CaseMaker& make) {
            return arg_of(make, make.builder().value(Op::neg, {float_input(make)}));
          }),
      rule("arg_of_increasing", "argmax(exp(x)) -> argmax(x), and other increasing functions",
           arg(one_of(kIncreasing, "f", {real("x")})), same)
          .extends_domain()
          .cases([](CaseMaker& make) {
            return arg_of(make,
                          make.builder().value(make.one_of(kIncreasing), {float_input(make)}));
          }),
      rule("arg_of_multiple", "argmax(x * c) -> argmax(x), argmin(x) for negative c",
           arg(real("x") * scalar("c")), arg_of_multiple)
          .extends_domain()
          .cases([](CaseMaker& make) {
            const ValueId v = float_input(make);
            const Type t = make.builder().type(v);
            return arg_of(make, make.builder().value(
                                    Op::mul, {v, make.splat(t, make.small_number(t.dtype))}));
          }),
      rule("arg_of_softmax", "argmax(softmax(x)) -> argmax(x)", arg(shifted / any("s")), same)
          .when(is_softmax)
          .extends_domain()
          .cases(softmax_case),
      rule("sort_of_one", "sort along an extent of 1 -> x and zeros", op(Op::sort, {x}),
           [](const Match& m, Emitter& e) -> Replacement {
             const ValueId v = m["x"];
             const Type t = m.graph().type(m.root_value(1));
             return std::vector<ValueId>{v, e.full(t, 0)};
           })
          .when(one_along_axis)
          .cases([](CaseMaker& make) {
            int64_t axis = 0;
            const ValueId v = thin_input(make, &axis);
            const ValueId operands[] = {v};
            const NodeId n = make.builder().node(Op::sort, operands, {{AttrKey::axis, axis}});
            return make.builder().result(n, static_cast<int>(make.pick(0, 1)));
          }),
      rule("top_k_of_one", "top_k with k = 1 -> max and argmax", op(Op::top_k, {x}).and_more(),
           top_one)
          .when(top_is_one)
          .reassociates()
          .cases([](CaseMaker& make) {
            const ValueId v = make.input(make.dtype(kNumbers), make.static_shape(1, 3, 1));
            const int rank = make.builder().type(v).rank();
            const ValueId operands[] = {v};
            const NodeId n = make.builder().node(
                Op::top_k, operands,
                {{AttrKey::axis, make.pick(0, rank - 1)},
                 {AttrKey::shape, std::vector<DimId>{make.dims().constant(1)}}});
            return make.builder().result(n, static_cast<int>(make.pick(0, 1)));
          }),
      rule("cumulate_one", "cumsum along an extent of 1 -> x, or 0 if exclusive; cumprod too",
           one_of({Op::cumsum, Op::cumprod}, "c", {x}), cumulate_one)
          .when(one_along_axis)
          .reassociates()  // 0 + -0.0 is 0
          .cases([](CaseMaker& make) {
            int64_t axis = 0;
            const ValueId v = thin_input(make, &axis);
            return make.builder().value(
                make.chance(0.5) ? Op::cumsum : Op::cumprod, {v},
                {{AttrKey::axis, axis}, {AttrKey::exclusive, make.pick(0, 1)}});
          }),
  });
}

}  // namespace gcomp::rules
