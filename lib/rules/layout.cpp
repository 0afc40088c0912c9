// Chains of reshape, transpose, reverse, pad, concat, specify_shape: cancelled or merged.
#include <algorithm>
#include <functional>
#include <numeric>

#include "tables.h"

namespace gcomp::rules {
namespace {

constexpr size_t kMaxConcat = 128;  // operands of a merged concat: bounded work a node

const Pattern x = any("x");

Pattern node_of(Op o, std::string name, Pattern operand) {
  return one_of({o}, std::move(name), {std::move(operand)});
}

bool same_count(const Match& m, const Type& a, const Type& b) {
  return m.dims().product(a.dims) == m.dims().product(b.dims);
}

// A transpose that only moves axes of extent 1 is a reshape.
bool moves_only_ones(const Match& m) {
  const std::vector<DimId>& dims = m.type("x").dims;
  int64_t last = -1;
  for (int64_t axis : m.graph().attrs(m.root()).ints(AttrKey::perm)) {
    if (m.dims().is_constant(dims[static_cast<size_t>(axis)], 1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

Replacement transpose_transpose(const Match& m, Emitter& e) {
  const std::vector<int64_t> inner = m.attrs("t").ints(AttrKey::perm);
  std::vector<int64_t> perm;
  for (int64_t axis : m.graph().attrs(m.root()).ints(AttrKey::perm)) {
    perm.push_back(inner[static_cast<size_t>(axis)]);
  }
  return e.transpose(m["x"], perm);
}

Replacement reverse_reverse(const Match& m, Emitter& e) {
  const std::vector<int64_t>& a = m.attrs("r").ints(AttrKey::axes);
  const std::vector<int64_t>& b = m.graph().attrs(m.root()).ints(AttrKey::axes);
  std::vector<int64_t> axes;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(axes));
  if (axes.empty()) return m["x"];
  return e.value(Op::reverse, {m["x"]}, {{AttrKey::axes, axes}});
}

// Axes of extent 1 need no reversing.
Replacement reverse_ones(const Match& m, Emitter& e) {
  std::vector<int64_t> axes;
  for (int64_t a : m.graph().attrs(m.root()).ints(AttrKey::axes)) {
    if (!m.dims().is_constant(m.type("x").dims[static_cast<size_t>(a)], 1)) axes.push_back(a);
  }
  if (axes.empty()) return m["x"];
  return e.value(Op::reverse, {m["x"]}, {{AttrKey::axes, axes}});
}

Replacement pad_pad(const Match& m, Emitter& e) {
  const Attrs outer = m.graph().attrs(m.root()), inner = m.attrs("p");
  std::vector<DimId> low, high;
  for (size_t i = 0; i < outer.dims(AttrKey::low).size(); ++i) {
    for (const Attrs* a : {&outer, &inner}) {
      for (AttrKey key : {AttrKey::low, AttrKey::high}) {
        if (!provably_at_least(m.dims(), a->dims(key)[i], 0)) return std::nullopt;
      }
    }
    low.push_back(m.dims().add(outer.dims(AttrKey::low)[i], inner.dims(AttrKey::low)[i]));
    high.push_back(m.dims().add(outer.dims(AttrKey::high)[i], inner.dims(AttrKey::high)[i]));
  }
  return e.pad(m["x"], m["fill"], low, high);
}

// concat within concat along the same axis, and empty parts.
Replacement flatten_concat(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const Node& root = g.node(m.root());
  const int64_t axis = g.attrs(root).integer(AttrKey::axis);
  std::vector<ValueId> parts;
  for (ValueId v : g.operands(root)) {
    const Node& n = g.producer_node(v);
    const bool nested = n.op == Op::concat && g.attrs(n).integer(AttrKey::axis) == axis;
    const auto inner = g.operands(n);
    if (nested && parts.size() + inner.size() + root.num_operands <= kMaxConcat) {
      parts.insert(parts.end(), inner.begin(), inner.end());
    } else if (!m.dims().is_constant(g.type(v).dims[static_cast<size_t>(axis)], 0)) {
      parts.push_back(v);
    }
  }
  if (parts.empty()) parts.push_back(g.operands(root)[0]);
  return e.concat(parts, axis);
}

// Two slices of one tensor that meet along `axis` and agree on the others.
std::optional<ValueId> joined_slices(const Match& m, Emitter& e, ValueId a, ValueId b,
                                     size_t axis) {
  const Graph& g = m.graph();
  const Node &na = g.producer_node(a), &nb = g.producer_node(b);
  if (na.op != Op::slice || nb.op != Op::slice) return std::nullopt;
  const ValueId source = g.operands(na)[0];
  if (g.operands(nb)[0] != source) return std::nullopt;
  const Attrs first = g.attrs(na), second = g.attrs(nb);
  if (first.ints(AttrKey::strides) != second.ints(AttrKey::strides)) return std::nullopt;
  std::vector<DimId> shape = first.dims(AttrKey::shape);
  const std::vector<DimId> starts = first.dims(AttrKey::starts);
  const std::vector<int64_t> strides = first.ints(AttrKey::strides);
  for (size_t i = 0; i < shape.size(); ++i) {
    const DimId start = second.dims(AttrKey::starts)[i], extent = second.dims(AttrKey::shape)[i];
    if (i != axis) {
      if (start != starts[i] || extent != shape[i]) return std::nullopt;
      continue;
    }
    DimTable& dims = m.dims();
    if (start != dims.add(starts[i], dims.mul(shape[i], dims.constant(strides[i])))) {
      return std::nullopt;
    }
    shape[i] = dims.add(shape[i], extent);
  }
  return e.slice(source, starts, shape, strides);
}

Replacement concat_of_slices(const Match& m, Emitter& e) {
  const NodeId root = m.root();
  const auto axis = static_cast<size_t>(m.graph().attrs(root).integer(AttrKey::axis));
  const auto span = m.graph().operands(root);
  const std::vector<ValueId> operands(span.begin(), span.end());
  std::vector<ValueId> parts;
  for (ValueId v : operands) {
    if (!parts.empty()) {
      if (const auto joined = joined_slices(m, e, parts.back(), v, axis)) {
        parts.back() = *joined;
        continue;
      }
    }
    parts.push_back(v);
  }
  if (parts.size() == operands.size()) return std::nullopt;
  return e.concat(parts, static_cast<int64_t>(axis));
}

// Two promises about one value; each axis is promised the same twice, or known before, or after.
Replacement specify_specify(const Match& m, Emitter& e) {
  const std::vector<DimId> from = m.type("x").dims, inner = m.type("s").dims;
  const std::vector<DimId> outer = m.root_type().dims;
  for (size_t i = 0; i < from.size(); ++i) {
    if (inner[i] != from[i] && inner[i] != outer[i]) return std::nullopt;
  }
  return e.like(m.root(), {m["x"]});
}

// specify_shape(f(x)) -> f(specify_shape(x)): what is known of x is known to all its readers.
Replacement specify_operand(const Match& m, Emitter& e) {
  const ValueId v = e.like(m.root(), {m["x"]});
  return e.like(m.node("f"), {v});
}

// A move of f(other moves back): the operand under such a move, or the splat in the root's shape.
std::optional<ValueId> moved_back(const Match& m, Emitter& e, ValueId v,
                                  const std::function<bool(const Node&)>& undoes) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (undoes(n)) return g.operands(n)[0];
  if (n.op != Op::broadcast ||
      !m.dims().is_constant(m.dims().product(g.type(g.operands(n)[0]).dims), 1)) {
    return std::nullopt;
  }
  const ValueId scalar = e.reshape(g.operands(n)[0], {});
  const std::vector<DimId> shape = m.root_type().dims;
  return e.broadcast(scalar, shape, {});
}

Replacement move_cancels(const Match& m, Emitter& e,
                         const std::function<bool(const Node&)>& undoes) {
  std::vector<ValueId> operands = m.operands("f");
  bool found = false;
  for (ValueId& v : operands) {
    found = found || undoes(m.graph().producer_node(v));
    const auto back = moved_back(m, e, v, undoes);
    if (!back) return std::nullopt;
    v = *back;
  }
  if (!found) return std::nullopt;
  return e.like(m.node("f"), operands);
}

Replacement reshape_cancels(const Match& m, Emitter& e) {
  const std::vector<DimId> shape = m.root_type().dims;
  return move_cancels(m, e, [&m, shape](const Node& n) {
    return n.op == Op::reshape && m.graph().type(m.graph().operands(n)[0]).dims == shape;
  });
}

Replacement transpose_cancels(const Match& m, Emitter& e) {
  const std::vector<int64_t> perm = m.graph().attrs(m.root()).ints(AttrKey::perm);
  return move_cancels(m, e, [&m, perm](const Node& n) {
    if (n.op != Op::transpose) return false;
    const std::vector<int64_t>& back = m.graph().attrs(n).ints(AttrKey::perm);
    for (size_t i = 0; i < perm.size(); ++i) {
      if (back[static_cast<size_t>(perm[i])] != static_cast<int64_t>(i)) return false;
    }
    return true;
  });
}

bool any_operand(const Match& m, Op op) {
  for (ValueId v : m.graph().operands(m.root())) {
    if (m.graph().producer_node(v).op == op) return true;
  }
  return false;
}

// ---- cases ----

ValueId reshape_case(CaseMaker& make) {
  // Through the flat form, or the same shape with ones in other places.
  std::vector<DimId> shape = make.shape(1, 3);
  const ValueId v = make.input(make.dtype(kAllDTypes), shape);
  const DimId total = make.dims().product(shape);
  const ValueId flat =
      make.builder().value(Op::reshape, {v}, {{AttrKey::shape, std::vector<DimId>{total}}});
  std::reverse(shape.begin(), shape.end());
  shape.insert(shape.begin(), make.dims().constant(1));
  return make.builder().value(Op::reshape, {flat}, {{AttrKey::shape, shape}});
}

ValueId transpose_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const int rank = static_cast<int>(shape.size());
  ValueId v = make.input(make.dtype(kAllDTypes), shape);
  for (int i = 0; i < 2; ++i) {
    v = make.builder().value(Op::transpose, {v}, {{AttrKey::perm, make.permutation(rank)}});
  }
  return v;
}

ValueId reverse_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const int rank = static_cast<int>(shape.size());
  ValueId v = make.input(make.dtype(kAllDTypes), shape);
  for (int i = 0; i < 2; ++i) {
    v = make.builder().value(Op::reverse, {v}, {{AttrKey::axes, make.axes(rank)}});
  }
  return v;
}

ValueId pad_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 2);
  const DType t = make.dtype(kNumbers);
  ValueId v = make.input(t, shape);
  const ValueId fill = make.input(t, {});
  for (int i = 0; i < 2; ++i) {
    std::vector<DimId> low, high;
    for (size_t k = 0; k < shape.size(); ++k) {
      low.push_back(make.dims().constant(make.pick(i == 0 ? -1 : 0, 2)));
      high.push_back(make.dims().constant(make.pick(1, 2)));
    }
    v = make.builder().value(Op::pad, {v, fill}, {{AttrKey::low, low}, {AttrKey::high, high}});
  }
  return v;
}

ValueId concat_case(CaseMaker& make) {
  std::vector<DimId> shape = make.shape(1, 3);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  const DType t = make.dtype(kAllDTypes);
  const auto part = [&] {
    std::vector<DimId> s = shape;
    s[static_cast<size_t>(axis)] = make.dims().constant(make.pick(0, 2));
    return make.input(t, s);
  };
  const ValueId inner[] = {part(), part()};
  const ValueId joined = make.builder().value(Op::concat, inner, {{AttrKey::axis, axis}});
  const ValueId outer[] = {part(), joined, part()};
  return make.builder().value(Op::concat, outer, {{AttrKey::axis, axis}});
}

ValueId concat_slices_case(CaseMaker& make) {
  std::vector<DimId> shape = make.static_shape(1, 3, 1);
  const auto axis = static_cast<size_t>(make.pick(0, static_cast<int64_t>(shape.size()) - 1));
  shape[axis] = make.dims().constant(5);
  const ValueId v = make.input(make.dtype(kAllDTypes), shape);
  const int64_t cut = make.pick(1, 3);
  const auto piece = [&](int64_t from, int64_t count) {
    std::vector<DimId> starts(shape.size(), make.dims().constant(0)), extents = shape;
    starts[axis] = make.dims().constant(from);
    extents[axis] = make.dims().constant(count);
    return make.builder().value(Op::slice, {v},
                                {{AttrKey::starts, starts},
                                 {AttrKey::shape, extents},
                                 {AttrKey::strides, std::vector<int64_t>(shape.size(), 1)}});
  };
  const ValueId parts[] = {piece(0, cut), piece(cut, 4 - cut)};
  return make.builder().value(Op::concat, parts, {{AttrKey::axis, static_cast<int64_t>(axis)}});
}

// What `there` makes of inputs and splats, through an elementwise op, and `back` of that.
ValueId cancel_case(CaseMaker& make, const std::vector<DimId>& shape,
                    const std::function<ValueId(ValueId)>& there,
                    const std::function<ValueId(ValueId)>& back) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kNumbers);
  const ValueId v = there(make.input(t, shape));
  if (make.chance(0.3)) return back(g.value(Op::neg, {v}));
  const Type full = g.type(v);
  const ValueId w = make.chance(0.5) ? there(make.input(t, shape))
                                     : g.broadcast(make.input(t, {}), full.dims, {});
  return back(g.value(make.chance(0.5) ? Op::add : Op::sub, {v, w}));
}

ValueId reshape_cancel_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const std::vector<DimId> shape = make.shape(1, 3);
  std::vector<DimId> other = shape;
  std::reverse(other.begin(), other.end());
  return cancel_case(
      make, shape, [&](ValueId v) { return g.value(Op::reshape, {v}, {{AttrKey::shape, other}}); },
      [&](ValueId v) { return g.value(Op::reshape, {v}, {{AttrKey::shape, shape}}); });
}

ValueId transpose_cancel_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const std::vector<DimId> shape = make.shape(2, 3);
  const std::vector<int64_t> perm = make.permutation(static_cast<int>(shape.size()));
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) {
    inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  }
  const auto move = [&](ValueId v, const std::vector<int64_t>& by) {
    return g.value(Op::transpose, {v}, {{AttrKey::perm, by}});
  };
  return cancel_case(
      make, shape, [&](ValueId v) { return move(v, perm); },
      [&](ValueId v) { return move(v, inverse); });
}

// A symbolic tensor with extents promised, some twice.
ValueId specify_chain_case(CaseMaker& make, bool through_op) {
  GraphBuilder& g = make.builder();
  std::vector<DimId> shape = make.shape(1, 3);
  ValueId v = make.input(make.dtype(kNumbers), shape);
  for (int i = 0; i < 2; ++i) {
    for (DimId& d : shape) {
      if (make.dims().as_symbol(d) && make.chance(0.5)) d = make.static_extent();
    }
    if (i == 1 && through_op) v = g.value(Op::neg, {v});
    if (i == 1 || !through_op) v = g.value(Op::specify_shape, {v}, {{AttrKey::shape, shape}});
  }
  return v;
}

ValueId specify_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(0, 3);
  ValueId v = make.input(make.dtype(kAllDTypes), shape);
  for (int i = 0; i < 2; ++i) {
    v = make.builder().value(Op::specify_shape, {v}, {{AttrKey::shape, shape}});
  }
  return v;
}

}  // namespace

std::vector<Rule> layout_rules() {
  const auto operand = [](const Match& m, Emitter&) -> Replacement { return m["x"]; };
  const auto unchanged = [](const Match& m) { return m.type("x") == m.root_type(); };
  return everywhere({
      rule("reshape_to_same", "reshape(x, shape of x) -> x", op(Op::reshape, {x}), operand)
          .when(unchanged)
          .cases([](CaseMaker& make) {
            const std::vector<DimId> shape = make.shape();
            return make.builder().value(Op::reshape, {make.input(make.dtype(kAllDTypes), shape)},
                                        {{AttrKey::shape, shape}});
          }),
      rule("reshape_reshape", "reshape(reshape(x)) -> reshape(x)",
           op(Op::reshape, {node_of(Op::reshape, "r", x)}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.reshape(m["x"], m.root_type().dims);
           })
          .when([](const Match& m) { return same_count(m, m.type("x"), m.root_type()); })
          .cases(reshape_case),
      rule("transpose_identity", "transpose that moves nothing -> x", op(Op::transpose, {x}),
           operand)
          .when([](const Match& m) {
            const auto& perm = m.graph().attrs(m.root()).ints(AttrKey::perm);
            return std::is_sorted(perm.begin(), perm.end());
          })
          .cases(transpose_case),
      rule("transpose_transpose", "transpose(transpose(x)) -> transpose(x)",
           op(Op::transpose, {node_of(Op::transpose, "t", x)}), transpose_transpose)
          .cases(transpose_case),
      rule("transpose_of_ones", "transpose that moves only extents 1 -> reshape",
           op(Op::transpose, {x}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.reshape(m["x"], m.root_type().dims);
           })
          .when(moves_only_ones)
          .cases(transpose_case),
      rule("reverse_reverse", "reverse(reverse(x)) -> reverse along the axes of one of them",
           op(Op::reverse, {node_of(Op::reverse, "r", x)}), reverse_reverse)
          .cases(reverse_case),
      rule("reverse_ones", "axes of extent 1 need no reverse", op(Op::reverse, {x}), reverse_ones)
          .cases(reverse_case),
      rule("pad_nothing", "pad by 0 -> x", op(Op::pad, {x, any("fill")}),
           [](const Match& m, Emitter& e) -> Replacement {
             const Attrs a = m.graph().attrs(m.root());
             const std::vector<DimId> low = a.dims(AttrKey::low), high = a.dims(AttrKey::high);
             return e.pad(m["x"], m["fill"], low, high);  // gives x where there is nothing to pad
           })
          .when(unchanged)
          .cases([](CaseMaker& make) {
            const std::vector<DimId> shape = make.shape();
            const DType t = make.dtype(kNumbers);
            const std::vector<DimId> none(shape.size(), make.dims().constant(0));
            return make.builder().value(Op::pad, {make.input(t, shape), make.input(t, {})},
                                        {{AttrKey::low, none}, {AttrKey::high, none}});
          }),
      rule("pad_pad", "pad(pad(x)) with one fill -> pad(x)",
           op(Op::pad, {one_of({Op::pad}, "p", {x, any("fill")}), any("fill")}), pad_pad)
          .cases(pad_case),
      rule("concat_flatten", "concat(concat(x, y), z) -> concat(x, y, z); empty parts go",
           op(Op::concat, {}), flatten_concat)
          .cases(concat_case),
      rule("concat_of_slices", "concat of slices that meet -> one slice", op(Op::concat, {}),
           concat_of_slices)
          .when([](const Match& m) { return any_operand(m, Op::slice); })
          .cases(concat_slices_case),
      rule("specify_same_shape", "specify_shape(x, shape of x) -> x", op(Op::specify_shape, {x}),
           operand)
          .when(unchanged)
          .cases(specify_case),
      rule("specify_specify", "specify_shape(specify_shape(x)) -> specify_shape(x)",
           op(Op::specify_shape, {node_of(Op::specify_shape, "s", x)}), specify_specify)
          .cases([](CaseMaker& make) { return specify_chain_case(make, false); }),
      rule("specify_operand", "specify_shape(f(x)) -> f(specify_shape(x))",
           op(Op::specify_shape, {one_of(elementwise_ops(), "f", {x})}), specify_operand)
          .cases([](CaseMaker& make) { return specify_chain_case(make, true); }),
      rule("reshape_cancels", "reshape(f(reshape(x), reshape(y))) of their shape -> f(x, y)",
           op(Op::reshape, {one_of(elementwise_ops(), "f", {x}).and_more()}), reshape_cancels)
          .cases(reshape_cancel_case),
      rule("transpose_cancels", "transpose(f(transpose(x), transpose(y))) back -> f(x, y)",
           op(Op::transpose, {one_of(elementwise_ops(), "f", {x}).and_more()}), transpose_cancels)
          .cases(transpose_cancel_case),
  });
}

}  // namespace gcomp::rules
