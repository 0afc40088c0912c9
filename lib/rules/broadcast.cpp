// Broadcasts: merged, and moved outwards over what can be computed on fewer elements.
#include <algorithm>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");

Pattern broadcast_of(std::string name, Pattern operand) {
  return one_of({Op::broadcast}, std::move(name), {std::move(operand)});
}

// Constants of one value are kept as the broadcast of a scalar, so that patterns see the value.
Replacement splat_constant(const Match& m, Emitter& e) {
  const auto splat = m.facts().splat(m.root_value());
  // One element stays as it is: its broadcast would be a reshape, which folds to a constant again.
  if (!splat || m.graph().constant(m.root_value())->num_elements() == 1) return std::nullopt;
  const Constant& dense = *m.graph().constant(m.root_value());
  const size_t width = byte_size(dense.dtype);
  std::vector<std::byte> one(dense.bytes.begin(), dense.bytes.begin() + width);
  const Type type = m.root_type();
  const ValueId scalar = e.builder().constant(make_constant(dense.dtype, {}, std::move(one)));
  return e.broadcast(scalar, type.dims, {});
}

Replacement broadcast_broadcast(const Match& m, Emitter& e) {
  std::vector<int64_t> axes;
  const std::vector<int64_t>& outer = m.graph().attrs(m.root()).ints(AttrKey::axes);
  for (int64_t a : m.attrs("b").ints(AttrKey::axes)) {
    axes.push_back(outer[static_cast<size_t>(a)]);
  }
  return e.broadcast(m["x"], m.root_type().dims, axes);
}

// Whether every axis of `from` provably fits `to` at its place: extent 1 or the same expression.
bool provable(const DimTable& dims, const Type& from, const Type& to,
              const std::vector<int64_t>& axes) {
  for (size_t i = 0; i < axes.size(); ++i) {
    const DimId target = to.dims[static_cast<size_t>(axes[i])];
    if (from.dims[i] != target && !dims.is_constant(from.dims[i], 1)) return false;
  }
  return true;
}

// broadcast(reshape(x)), the reshape adding extents of 1: their axes just repeat.
Replacement broadcast_of_expand(const Match& m, Emitter& e) {
  const DimTable& dims = m.dims();
  const std::vector<DimId>& from = m.type("x").dims;
  const std::vector<DimId>& to = m.type("r").dims;
  const std::vector<int64_t> outer = m.graph().attrs(m.root()).ints(AttrKey::axes);
  std::vector<int64_t> axes;
  size_t i = 0;
  for (size_t k = 0; k < to.size(); ++k) {
    if (i < from.size() && from[i] == to[k]) {
      axes.push_back(outer[k]);
      ++i;
    } else if (!dims.is_constant(to[k], 1)) {
      return std::nullopt;
    }
  }
  if (i != from.size()) return std::nullopt;
  return e.broadcast(m["x"], m.root_type().dims, axes);
}

// The operand's extents of 1 that repeat need not be there: broadcast(reshape(x) without them).
Replacement drop_repeated_ones(const Match& m, Emitter& e) {
  const DimTable& dims = m.dims();
  const std::vector<DimId> shape = m.root_type().dims;
  const std::vector<int64_t> axes = m.graph().attrs(m.root()).ints(AttrKey::axes);
  const std::vector<DimId> from = m.type("x").dims;
  std::vector<int64_t> kept_axes;
  std::vector<DimId> kept;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (dims.is_constant(from[i], 1)) continue;
    kept_axes.push_back(axes[i]);
    kept.push_back(from[i]);
  }
  if (kept.size() == from.size()) return std::nullopt;
  return e.broadcast(e.reshape(m["x"], kept), shape, kept_axes);
}

// A broadcast that only adds extents of 1 is a reshape.
bool adds_only_ones(const Match& m) {
  const std::vector<int64_t>& axes = m.graph().attrs(m.root()).ints(AttrKey::axes);
  const std::vector<DimId>& to = m.root_type().dims;
  size_t next = 0;
  for (size_t k = 0; k < to.size(); ++k) {
    if (next < axes.size() && axes[next] == static_cast<int64_t>(k)) {
      if (m.type("x").dims[next] != to[k]) return false;
      ++next;
    } else if (!m.dims().is_constant(to[k], 1)) {
      return false;
    }
  }
  return true;
}

Replacement transpose_of_broadcast(const Match& m, Emitter& e) {
  const std::vector<int64_t> perm = m.graph().attrs(m.root()).ints(AttrKey::perm);
  const std::vector<int64_t> axes = m.attrs("b").ints(AttrKey::axes);
  const std::vector<DimId> shape = m.root_type().dims;
  std::vector<int64_t> place(perm.size());  // axis of the broadcast -> axis of the result
  for (size_t i = 0; i < perm.size(); ++i) {
    place[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  }
  // The operand's axes in the order they have in the result.
  std::vector<int64_t> order(axes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  const auto target = [&](int64_t i) {
    return place[static_cast<size_t>(axes[static_cast<size_t>(i)])];
  };
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return target(a) < target(b); });
  std::vector<int64_t> moved;
  for (int64_t i : order) moved.push_back(target(i));
  return e.broadcast(e.transpose(m["x"], order), shape, moved);
}

// op(broadcast(x), broadcast(y)) -> broadcast(op(x', y')) on the axes that one of them really has.
class SinkBroadcasts {
 public:
  SinkBroadcasts(const Match& m, Emitter& e) : m_(m), e_(e), type_(m.root_type()) {}

  Replacement run() {
    const NodeId root = m_.root();
    const auto span = m_.graph().operands(root);
    operands_.assign(span.begin(), span.end());
    if (!find_axes()) return std::nullopt;
    std::vector<ValueId> small;
    for (ValueId v : operands_) small.push_back(shrink(v));
    const Node n = m_.graph().node(root);
    const ValueId made = e_.builder().result(e_.builder().node(n.op, small, n.attrs));
    return e_.broadcast(made, type_.dims, axes_);
  }

 private:
  // The result axes along which some operand varies, if fewer elements than the whole.
  bool find_axes() {
    const Graph& g = m_.graph();
    std::vector<bool> varies(type_.dims.size());
    for (ValueId v : operands_) {
      const Node& n = g.producer_node(v);
      if (n.op != Op::broadcast) return false;
      const ValueId source = g.operands(n)[0];
      const std::vector<int64_t>& axes = g.attrs(n).ints(AttrKey::axes);
      if (!provable(m_.dims(), g.type(source), type_, axes)) return false;
      for (size_t i = 0; i < axes.size(); ++i) {
        const auto axis = static_cast<size_t>(axes[i]);
        if (!m_.dims().is_constant(g.type(source).dims[i], 1)) varies[axis] = true;
      }
    }
    bool smaller = false;
    for (size_t k = 0; k < varies.size(); ++k) {
      if (varies[k]) {
        axes_.push_back(static_cast<int64_t>(k));
        shape_.push_back(type_.dims[k]);
      } else {
        smaller = smaller || !m_.dims().is_constant(type_.dims[k], 1);
      }
    }
    return smaller;
  }

  // The operand on the axes in axes_ alone.
  ValueId shrink(ValueId v) {
    const Graph& g = m_.graph();
    const Node n = g.producer_node(v);
    const ValueId source = g.operands(n)[0];
    const std::vector<int64_t> axes = g.attrs(n).ints(AttrKey::axes);
    const std::vector<DimId> from = g.type(source).dims;
    std::vector<DimId> kept;
    std::vector<int64_t> at;
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto found = std::find(axes_.begin(), axes_.end(), axes[i]);
      if (found == axes_.end() || m_.dims().is_constant(from[i], 1)) continue;
      kept.push_back(from[i]);
      at.push_back(found - axes_.begin());
    }
    return e_.broadcast(e_.reshape(source, kept), shape_, at);
  }

  const Match& m_;
  Emitter& e_;
  const Type type_;
  std::vector<ValueId> operands_;
  std::vector<int64_t> axes_;  // of the result, on which the small op runs
  std::vector<DimId> shape_;
};

// ---- cases ----

ValueId broadcast_to(CaseMaker& make, DType t, const std::vector<DimId>& shape) {
  const int rank = static_cast<int>(shape.size());
  const std::vector<int64_t> axes = make.axes(rank);
  std::vector<DimId> from;
  for (int64_t a : axes) {
    from.push_back(make.chance(0.3) ? make.dims().constant(1) : shape[static_cast<size_t>(a)]);
  }
  return make.builder().value(Op::broadcast, {make.input(t, from)},
                              {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
}

ValueId double_broadcast_case(CaseMaker& make) {
  const DType t = make.dtype(kAllDTypes);
  const std::vector<DimId> shape = make.shape(1, 3);
  const int rank = static_cast<int>(shape.size());
  const std::vector<int64_t> axes = make.axes(rank);
  std::vector<DimId> middle;
  for (int64_t a : axes) middle.push_back(shape[static_cast<size_t>(a)]);
  return make.builder().value(Op::broadcast, {broadcast_to(make, t, middle)},
                              {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
}

ValueId expand_case(CaseMaker& make) {
  const std::vector<DimId> from = make.shape(0, 2);
  const ValueId v = make.input(make.dtype(kAllDTypes), from);
  std::vector<DimId> middle = from, shape;
  middle.insert(middle.begin() + make.pick(0, static_cast<int64_t>(from.size())),
                make.dims().constant(1));
  const ValueId r = make.builder().value(Op::reshape, {v}, {{AttrKey::shape, middle}});
  std::vector<int64_t> axes;
  for (size_t i = 0; i < middle.size(); ++i) {
    axes.push_back(static_cast<int64_t>(i));
    shape.push_back(make.dims().is_constant(middle[i], 1) ? make.extent() : middle[i]);
  }
  return make.builder().value(Op::broadcast, {r}, {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
}

ValueId ones_case(CaseMaker& make) {
  const std::vector<DimId> from = make.shape(0, 2);
  std::vector<DimId> shape = from;
  const int64_t at = make.pick(0, static_cast<int64_t>(from.size()));
  shape.insert(shape.begin() + at, make.dims().constant(1));
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i) {
    if (i != at) axes.push_back(i);
  }
  return make.builder().value(Op::broadcast, {make.input(make.dtype(kAllDTypes), from)},
                              {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
}

ValueId transpose_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const ValueId b = broadcast_to(make, make.dtype(kAllDTypes), shape);
  return make.builder().value(Op::transpose, {b},
                              {{AttrKey::perm, make.permutation(static_cast<int>(shape.size()))}});
}

ValueId elementwise_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const auto b = [&](DType t) { return broadcast_to(make, t, shape); };
  GraphBuilder& g = make.builder();
  switch (make.pick(0, 3)) {
    case 0: return g.value(Op::neg, {b(make.dtype(kNumbers))});
    case 1: return g.value(Op::where, {b(DType::kBool), b(DType::kInt32), b(DType::kInt32)});
    case 2:
      return g.value(Op::cast, {b(make.dtype(kNumbers))}, {{AttrKey::dtype, DType::kFloat64}});
    default: {
      const DType t = make.dtype(kNumbers);
      return g.value(make.one_of(std::vector<Op>{Op::add, Op::mul, Op::lt, Op::max}), {b(t), b(t)});
    }
  }
}

}  // namespace

std::vector<Rule> broadcast_rules() {
  return everywhere({
      rule("splat_constant", "a constant of one value -> broadcast of a scalar",
           op(Op::constant, {}), splat_constant)
          .cases([](CaseMaker& make) {
            const DType t = make.dtype(kNumbers);
            const std::vector<int64_t> shape{make.pick(1, 3), make.pick(1, 3)};
            return make.builder().constant(make_splat(t, shape, make.small_number(t)));
          }),
      rule("broadcast_to_same", "broadcast(x, shape of x) -> x", op(Op::broadcast, {x}),
           [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
          .when([](const Match& m) { return m.type("x") == m.root_type(); })
          .cases([](CaseMaker& make) {
            const std::vector<DimId> shape = make.shape();
            std::vector<int64_t> axes;
            for (size_t i = 0; i < shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
            return make.builder().value(Op::broadcast, {make.input(make.dtype(kAllDTypes), shape)},
                                        {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
          }),
      rule("broadcast_broadcast", "broadcast(broadcast(x)) -> broadcast(x)",
           op(Op::broadcast, {broadcast_of("b", x)}), broadcast_broadcast)
          .when([](const Match& m) {
            return provable(m.dims(), m.type("b"), m.root_type(),
                            m.graph().attrs(m.root()).ints(AttrKey::axes));
          })
          .cases(double_broadcast_case),
      rule("broadcast_of_expand", "broadcast(reshape(x)), extents 1 added -> broadcast(x)",
           op(Op::broadcast, {one_of({Op::reshape}, "r", {x})}), broadcast_of_expand)
          .cases(expand_case),
      rule("broadcast_is_reshape", "broadcast that adds extents 1 only -> reshape",
           op(Op::broadcast, {x}),
           [](const Match& m, Emitter& e) -> Replacement {
             return e.reshape(m["x"], m.root_type().dims);
           })
          .when(adds_only_ones)
          .cases(ones_case),
      rule("broadcast_drop_ones", "broadcast(x) with extents 1 in x -> broadcast(reshape(x))",
           op(Op::broadcast, {x}), drop_repeated_ones)
          .when([](const Match& m) {
            return provable(m.dims(), m.type("x"), m.root_type(),
                            m.graph().attrs(m.root()).ints(AttrKey::axes));
          })
          .cases(double_broadcast_case),
      rule("transpose_of_broadcast", "transpose(broadcast(x)) -> broadcast(transpose(x))",
           op(Op::transpose, {broadcast_of("b", x)}), transpose_of_broadcast)
          .cases(transpose_case),
      rule("sink_broadcasts", "f(broadcast(x), broadcast(y)) -> broadcast(f(x, y))",
           one_of(elementwise_ops(), "f", {broadcast_of("b", x)}).and_more(),
           [](const Match& m, Emitter& e) { return SinkBroadcasts(m, e).run(); })
          .cases(elementwise_case),
  });
}

}  // namespace gcomp::rules
