// Slices rise through computations that nobody else reads, so that less is computed.
#include <algorithm>

#include "slices.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");

// The same node on other operands; its last ones (carriers) stay.
ValueId again(const Match& m, Emitter& e, std::string_view name, std::vector<ValueId> operands) {
  return e.like(m.node(name), operands);
}

Replacement slice_of_elementwise(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  std::vector<ValueId> operands = m.operands("f");
  for (ValueId& v : operands) v = slice(e, v, s);
  return again(m, e, "f", operands);
}

// The slice of x whose reduction over `axes` (sorted) is the root's slice.
Slice before_reduction(const Match& m, const std::vector<int64_t>& axes) {
  const Slice s = root_slice(m);
  Slice full(m.dims(), m.type("x").dims);
  size_t kept = 0;
  for (size_t a = 0; a < full.rank(); ++a) {
    if (!std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(a))) {
      full.set(a, s, kept++);
    }
  }
  return full;
}

Replacement slice_of_reduction(const Match& m, Emitter& e) {
  const Slice s = before_reduction(m, m.attrs("r").ints(AttrKey::axes));
  return again(m, e, "r", {slice(e, m["x"], s)});
}

Replacement slice_of_arg(const Match& m, Emitter& e) {
  const Slice s = before_reduction(m, {m.attrs("r").integer(AttrKey::axis)});
  return again(m, e, "r", {slice(e, m["x"], s)});
}

// Along the axis that runs the slice must take all.
Replacement slice_of_running(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const auto axis = static_cast<size_t>(m.attrs("c").integer(AttrKey::axis));
  if (!is_full(m, s, axis, m.type("x").dims[axis])) return std::nullopt;
  return again(m, e, "c", {slice(e, m["x"], s)});
}

Replacement slice_of_matmul(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const Attrs attrs = m.attrs("mm");
  const size_t rank = s.rank();
  const bool ta = attrs.integer_or(AttrKey::trans_a, 0) != 0;
  const bool tb = attrs.integer_or(AttrKey::trans_b, 0) != 0;
  Slice a(m.dims(), m.type("x").dims), b(m.dims(), m.type("w").dims);
  for (size_t i = 0; i + 2 < rank; ++i) {
    a.set(i, s, i);
    b.set(i, s, i);
  }
  a.set(ta ? rank - 1 : rank - 2, s, rank - 2);
  b.set(tb ? rank - 2 : rank - 1, s, rank - 1);
  return again(m, e, "mm", {slice(e, m["x"], a), slice(e, m["w"], b)});
}

// Slices of the indexed axis are slices of the indices.
Replacement slice_of_gather(const Match& m, Emitter& e) {
  const Slice s = root_slice(m);
  const Attrs attrs = m.attrs("g");
  if (attrs.integer_or(AttrKey::batch_dims, 0) != 0) return std::nullopt;
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  Slice table(m.dims(), m.type("x").dims), indices(m.dims(), m.type("i").dims);
  const size_t width = indices.rank();
  for (size_t i = 0; i < width; ++i) indices.set(i, s, axis + i);
  for (size_t i = 0; i < table.rank(); ++i) {
    if (i != axis) table.set(i, s, i < axis ? i : i - 1 + width);
  }
  return again(m, e, "g", {slice(e, m["x"], table), slice(e, m["i"], indices)});
}

// softmax along axes that the slice takes whole: e = f(x), e / sum(e).
Replacement slice_of_softmax(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const Slice s = root_slice(m);
  const Node& spread = g.producer_node(m["spread"]);
  const Node& sum = g.producer_node(m["sum"]);
  if (g.operands(sum)[0] != m["e"] || m.facts().uses(m["e"]) > 2) return std::nullopt;
  const std::vector<int64_t> axes = g.attrs(sum).ints(AttrKey::axes);
  const std::vector<int64_t> back = g.attrs(spread).ints(AttrKey::axes);
  for (int64_t axis : axes) {
    const auto a = static_cast<size_t>(axis);
    if (!is_full(m, s, a, m.type("e").dims[a])) return std::nullopt;
  }
  std::vector<ValueId> operands = m.operands("e");
  for (ValueId& v : operands) v = slice(e, v, s);
  const ValueId top = again(m, e, "e", operands);
  const ValueId bottom = e.broadcast(e.builder().reduce(Op::reduce_sum, top, axes), s.shape, back);
  return e.value(Op::div, {top, bottom});
}

// ---- cases ----

ValueId elementwise_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const std::vector<DimId> shape = make.static_shape(1, 3);
  const auto in = [&](DType t) { return make.input(t, shape); };
  switch (make.pick(0, 3)) {
    case 0: return make_slice(make, g.value(Op::neg, {in(make.dtype(kNumbers))}));
    case 1:
      return make_slice(
          make, g.value(Op::where, {in(DType::kBool), in(DType::kInt32), in(DType::kInt32)}));
    case 2:
      return make_slice(
          make, g.value(Op::cast, {in(make.dtype(kNumbers))}, {{AttrKey::dtype, DType::kFloat64}}));
    default: {
      const DType t = make.dtype(kNumbers);
      const Op o = make.one_of(std::vector<Op>{Op::add, Op::mul, Op::lt, Op::max});
      return make_slice(make, g.value(o, {in(t), in(t)}));
    }
  }
}

ValueId reduction_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.static_shape(2, 3);
  const int rank = static_cast<int>(shape.size());
  const ValueId v = make.input(make.dtype(kNumbers), shape);
  const std::vector<Op> ops = {Op::reduce_sum, Op::reduce_prod, Op::reduce_max, Op::reduce_min};
  return make_slice(make, make.builder().value(make.one_of(ops), {v},
                                               {{AttrKey::axes, make.axes_of_size(rank, 1)}}));
}

ValueId arg_case(CaseMaker& make) {
  const ValueId v = make.input(make.dtype(kNumbers), make.static_shape(2, 3, 1));
  const int rank = make.builder().type(v).rank();
  return make_slice(make, make.builder().value(make.chance(0.5) ? Op::argmax : Op::argmin, {v},
                                               {{AttrKey::axis, make.pick(0, rank - 1)}}));
}

// A slice that takes everything along `axis`.
ValueId slice_others(CaseMaker& make, ValueId v, size_t axis) {
  Slice s(make.dims(), make.builder().type(v).dims);
  for (size_t a = 0; a < s.rank(); ++a) {
    const int64_t n = make.dims().constant_value(s.shape[a]).value_or(0);
    if (a == axis || n == 0) continue;
    const int64_t start = make.pick(0, n - 1);
    s.starts[a] = make.dims().constant(start);
    s.shape[a] = make.dims().constant(make.pick(0, n - start));
  }
  return make.builder().value(
      Op::slice, {v},
      {{AttrKey::starts, s.starts}, {AttrKey::shape, s.shape}, {AttrKey::strides, s.strides}});
}

ValueId running_case(CaseMaker& make) {
  const ValueId v = make.input(make.dtype(kNumbers), make.static_shape(2, 3, 1));
  const int64_t axis = make.pick(0, make.builder().type(v).rank() - 1);
  const Op o = make.chance(0.5) ? Op::cumsum : Op::cumprod;
  return slice_others(make, make.builder().value(o, {v}, {{AttrKey::axis, axis}}),
                      static_cast<size_t>(axis));
}

ValueId matmul_case(CaseMaker& make) {
  const DType t = make.dtype(kNumbers);
  std::vector<DimId> a, b;
  if (make.chance(0.5)) {
    a.push_back(make.static_extent());
    b = a;
  }
  const int64_t ta = make.pick(0, 1), tb = make.pick(0, 1);
  const DimId rows = make.static_extent(), inner = make.static_extent(),
              columns = make.static_extent();
  a.insert(a.end(), {ta ? inner : rows, ta ? rows : inner});
  b.insert(b.end(), {tb ? columns : inner, tb ? inner : columns});
  return make_slice(make, make.builder().value(Op::matmul, {make.input(t, a), make.input(t, b)},
                                               {{AttrKey::trans_a, ta}, {AttrKey::trans_b, tb}}));
}

ValueId gather_case(CaseMaker& make) {
  const ValueId v = make.input(make.dtype(kAllDTypes), make.static_shape(1, 3, 1));
  const std::vector<DimId> from = make.builder().type(v).dims;
  const int64_t axis = make.pick(0, static_cast<int64_t>(from.size()) - 1);
  std::vector<int64_t> at;
  const int64_t n = *make.dims().constant_value(from[static_cast<size_t>(axis)]);
  for (int64_t i = make.pick(1, 4); i > 0; --i) at.push_back(make.pick(-n, n - 1));
  const ValueId indices = make.builder().int64s(at);
  return make_slice(make, make.builder().value(Op::gather, {v, indices}, {{AttrKey::axis, axis}}));
}

ValueId softmax_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const ValueId v = make.input(make.dtype(kFloats), make.static_shape(2, 3, 1));
  const std::vector<DimId> shape = g.type(v).dims;
  const int64_t axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  std::vector<int64_t> kept;
  for (int64_t a = 0; a < static_cast<int64_t>(shape.size()); ++a) {
    if (a != axis) kept.push_back(a);
  }
  const ValueId e = g.value(Op::exp, {v});
  const ValueId sum = g.broadcast(g.reduce(Op::reduce_sum, e, {axis}), shape, kept);
  return slice_others(make, g.value(Op::div, {e, sum}), static_cast<size_t>(axis));
}

}  // namespace

std::vector<Rule> slice_rise_rules() {
  const auto of = [](Pattern operand) { return op(Op::slice, {std::move(operand)}); };
  const auto once = [](std::string name) {
    return [name](const Match& m) { return used_once(m, name); };
  };
  const Pattern f = one_of(elementwise_ops(), "f", {x}).and_more();
  const Pattern spread =
      one_of({Op::broadcast}, "spread", {one_of({Op::reduce_sum}, "sum", {any("summed")})});
  const std::vector<Op> reductions = {Op::reduce_sum, Op::reduce_prod, Op::reduce_max,
                                      Op::reduce_min, Op::reduce_and,  Op::reduce_or};
  // Before and after stabilize has shifted what it exponentiates.
  return tagged(
      {"stabilize", "specialize", "fast_run"},
      {
          rule("slice_of_softmax", "slice(e / sum(e)) along other axes -> slice(e) / slice(sum(e))",
               of((one_of(elementwise_ops(), "e", {x}).and_more() / spread).named("q")),
               slice_of_softmax)
              .when(once("q"))
              .reassociates()
              .cases(softmax_case),
          rule("slice_of_elementwise", "slice(f(x, y)) -> f(slice(x), slice(y)), no other reader",
               of(f), slice_of_elementwise)
              .when(once("f"))
              .cases(elementwise_case),
          rule("slice_of_reduction", "slice(sum(x)) -> sum(slice(x)), no other reader",
               of(one_of(reductions, "r", {x})), slice_of_reduction)
              .when(once("r"))
              .reassociates()
              .cases(reduction_case),
          rule("slice_of_arg", "slice(argmax(x)) -> argmax(slice(x)), no other reader",
               of(one_of({Op::argmax, Op::argmin}, "r", {x})), slice_of_arg)
              .when(once("r"))
              .cases(arg_case),
          rule("slice_of_running", "slice(cumsum(x)) along other axes -> cumsum(slice(x))",
               of(one_of({Op::cumsum, Op::cumprod}, "c", {x})), slice_of_running)
              .when(once("c"))
              .cases(running_case),
          rule("slice_of_matmul", "slice(matmul(a, b)) -> matmul(slice(a), slice(b))",
               of(one_of({Op::matmul}, "mm", {x, any("w")})), slice_of_matmul)
              .when(once("mm"))
              .reassociates()
              .cases(matmul_case),
          rule("slice_of_gather", "slice(gather(x, i)) -> gather(slice(x), slice(i))",
               of(one_of({Op::gather}, "g", {x, any("i")})), slice_of_gather)
              .when(once("g"))
              .cases(gather_case),
      });
}

}  // namespace gcomp::rules
