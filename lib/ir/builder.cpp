#include "gcomp/ir/builder.h"

#include <algorithm>
#include <numeric>

#include "gcomp/ir/infer.h"
#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {
namespace {

size_t hash_node(Op op, std::span<const ValueId> operands, AttrsId attrs) {
  size_t h = hash_combine(static_cast<size_t>(op), attrs.index);
  for (ValueId v : operands) h = hash_combine(h, v.index);
  return h;
}

// Equal inputs are different inputs; everything else is pure and may be shared.
bool can_share(Op op) { return op != Op::input && !has_trait(op, kDefinesDims); }

// 0, 1, ..., n-1 shifted right by `offset`.
std::vector<int64_t> right_aligned_axes(size_t n, size_t rank) {
  std::vector<int64_t> axes(n);
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(rank - n));
  return axes;
}

}  // namespace

GraphBuilder::GraphBuilder(Context& context, Mode mode)
    : graph_(std::make_unique<Graph>(context)), mode_(mode) {}

std::unique_ptr<Graph> GraphBuilder::finish() { return std::move(graph_); }

ValueId GraphBuilder::input(std::string name, const Type& t, bool donate) {
  const AttrsId attrs =
      context().attrs.intern({{AttrKey::index, static_cast<int64_t>(graph_->inputs().size())}});
  const TypeId type = context().types.intern(t);
  const NodeId n = graph_->append(Op::input, {}, attrs, {&type, 1}, loc_);
  graph_->add_input(std::move(name), graph_->result(n), donate);
  return graph_->result(n);
}

ValueId GraphBuilder::constant(Constant c) {
  return constant(context().constants.intern(std::move(c)));
}

ValueId GraphBuilder::constant(ConstantId id) {
  return result(node(Op::constant, {}, std::vector<Attr>{{AttrKey::value, id}}));
}

std::optional<NodeId> GraphBuilder::find_equal(size_t hash, Op op,
                                               std::span<const ValueId> operands,
                                               AttrsId attrs) const {
  const auto found = interned_.find(hash, [&](uint32_t id) {
    const Node& n = graph_->node(NodeId(id));
    const auto have = graph_->operands(n);
    return n.op == op && n.attrs == attrs &&
           std::equal(have.begin(), have.end(), operands.begin(), operands.end());
  });
  return found ? std::optional(NodeId(*found)) : std::nullopt;
}

void GraphBuilder::reserve(size_t nodes, size_t operands) {
  graph_->reserve(nodes, operands);
  if (mode_ == Mode::kInterned) interned_.reserve(nodes);
}

NodeId GraphBuilder::node(Op op, std::span<const ValueId> operands, std::vector<Attr> attrs) {
  return node(op, operands, context().attrs.intern(std::move(attrs)));
}

NodeId GraphBuilder::node(Op op, std::span<const ValueId> operands_in, AttrsId attrs) {
  // A copy: the caller's span may point into the graph's own operand array, which grows below.
  operands_.assign(operands_in.begin(), operands_in.end());
  const std::span<const ValueId> operands = operands_;
  const bool shared = mode_ == Mode::kInterned && can_share(op);
  const size_t hash = shared ? hash_node(op, operands, attrs) : 0;
  if (shared) {
    if (const auto found = find_equal(hash, op, operands, attrs)) {
      ++intern_hits_;
      return *found;
    }
  }
  infer_types(op, operands, attrs);
  const NodeId id = graph_->append(op, operands, attrs, types_, loc_);
  if (shared) interned_.add(hash, id.index);
  return id;
}

NodeId GraphBuilder::typed_node(Op op, std::span<const ValueId> operands, AttrsId attrs,
                                std::span<const TypeId> types) {
  const bool shared = mode_ == Mode::kInterned && can_share(op);
  const size_t hash = shared ? hash_node(op, operands, attrs) : 0;
  if (shared) {
    if (const auto found = find_equal(hash, op, operands, attrs)) {
      ++intern_hits_;
      return *found;
    }
  }
  const NodeId id = graph_->append(op, operands, attrs, types, loc_);
  if (shared) interned_.add(hash, id.index);
  return id;
}

void GraphBuilder::infer_types(Op op, std::span<const ValueId> operands, AttrsId attrs) {
  // Elementwise results have their operands' type (or bool): the common case, without allocation of
  // an inference object, decides the speed of a sweep. Anything unusual goes the general way.
  if (operands.size() >= 1 && attrs == AttrTable::none() && op != Op::cast && op != Op::where &&
      has_trait(op, kElementwise) && !has_trait(op, kPredicate) &&
      static_cast<int>(operands.size()) == info(op).min_operands) {
    const TypeId first = graph_->type_id(operands[0]);
    const bool same = std::all_of(operands.begin(), operands.end(),
                                  [&](ValueId v) { return graph_->type_id(v) == first; });
    if (same && is_float(context().types[first].dtype)) {
      const bool bitwise = op == Op::bit_and || op == Op::bit_or || op == Op::bit_xor ||
                           op == Op::bit_not || op == Op::shl || op == Op::shr;
      if (!bitwise) return types_.assign(1, first);
    }
  }
  std::vector<const Type*> types;
  types.reserve(operands.size());
  for (ValueId v : operands) types.push_back(&graph_->type(v));
  types_ = gcomp::infer_types(context(), op, types, attrs, loc_);
}

ValueId GraphBuilder::value(Op op, std::initializer_list<ValueId> operands,
                            std::vector<Attr> attrs) {
  return value(op, std::span<const ValueId>(operands.begin(), operands.size()), std::move(attrs));
}

ValueId GraphBuilder::value(Op op, std::span<const ValueId> operands, std::vector<Attr> attrs) {
  const NodeId n = node(op, operands, std::move(attrs));
  GCOMP_CHECK(graph_->node(n).num_results == 1, "op has several results");
  return graph_->result(n);
}

ValueId GraphBuilder::scalar(DType t, double v) { return constant(make_splat(t, {}, v)); }

ValueId GraphBuilder::scalar_int(DType t, int64_t v) { return constant(make_scalar_int(t, v)); }

ValueId GraphBuilder::int64s(std::span<const int64_t> values) {
  return constant(make_int64s(values));
}

ValueId GraphBuilder::full(const Type& t, double v, std::span<const ValueId> carriers) {
  return broadcast(scalar(t.dtype, v), t.dims, {}, carriers);
}

ValueId GraphBuilder::full_like(ValueId v, double x) {
  const Type t = type(v);  // a copy: the table may move
  const ValueId carriers[] = {v};
  return full(
      t, x,
      needs_carrier(t.dims) ? std::span<const ValueId>(carriers) : std::span<const ValueId>());
}

bool GraphBuilder::needs_carrier(std::span<const DimId> wanted) {
  std::vector<SymbolId> symbols;
  for (DimId d : wanted) dims().collect_symbols(d, &symbols);
  return std::any_of(symbols.begin(), symbols.end(),
                     [this](SymbolId s) { return !is_input_symbol(s); });
}

bool GraphBuilder::is_input_symbol(SymbolId s) {
  // Inputs are few and made first; the set grows only when one was added since the last look.
  for (; inputs_seen_ < graph_->inputs().size(); ++inputs_seen_) {
    for (DimId d : graph_->type(graph_->inputs()[inputs_seen_].value).dims) {
      std::vector<SymbolId> symbols;
      dims().collect_symbols(d, &symbols);
      for (SymbolId found : symbols) input_symbols_.insert(found.index);
    }
  }
  return input_symbols_.contains(s.index);
}

ValueId GraphBuilder::cast(ValueId v, DType t) {
  if (type(v).dtype == t) return v;
  return value(Op::cast, {v}, {{AttrKey::dtype, t}});
}

namespace {
std::vector<ValueId> with_carriers(std::initializer_list<ValueId> operands,
                                   std::span<const ValueId> carriers) {
  std::vector<ValueId> all(operands);
  all.insert(all.end(), carriers.begin(), carriers.end());
  return all;
}
}  // namespace

ValueId GraphBuilder::reshape(ValueId v, std::vector<DimId> shape,
                              std::span<const ValueId> carriers) {
  if (type(v).dims == shape) return v;
  return value(Op::reshape, with_carriers({v}, carriers), {{AttrKey::shape, std::move(shape)}});
}

ValueId GraphBuilder::broadcast_to(ValueId v, std::vector<DimId> shape,
                                   std::span<const ValueId> carriers) {
  const size_t rank = type(v).dims.size();
  GCOMP_CHECK(rank <= shape.size(), "broadcast_to a lower rank");
  std::vector<int64_t> axes = right_aligned_axes(rank, shape.size());
  return broadcast(v, std::move(shape), std::move(axes), carriers);
}

ValueId GraphBuilder::broadcast(ValueId v, std::vector<DimId> shape, std::vector<int64_t> axes,
                                std::span<const ValueId> carriers) {
  if (type(v).dims == shape) return v;
  return value(Op::broadcast, with_carriers({v}, carriers),
               {{AttrKey::shape, std::move(shape)}, {AttrKey::axes, std::move(axes)}});
}

ValueId GraphBuilder::transpose(ValueId v, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return v;
  return value(Op::transpose, {v}, {{AttrKey::perm, std::move(perm)}});
}

ValueId GraphBuilder::slice(ValueId v, std::vector<DimId> starts, std::vector<DimId> shape,
                            std::vector<int64_t> strides, std::span<const ValueId> carriers) {
  const bool whole = type(v).dims == shape &&
                     std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 1; });
  if (whole) return v;
  return value(Op::slice, with_carriers({v}, carriers),
               {{AttrKey::starts, std::move(starts)},
                {AttrKey::shape, std::move(shape)},
                {AttrKey::strides, std::move(strides)}});
}

ValueId GraphBuilder::pad(ValueId v, ValueId fill, std::vector<DimId> low, std::vector<DimId> high,
                          std::span<const ValueId> carriers) {
  const auto is_zero = [this](DimId d) { return dims().is_constant(d, 0); };
  if (std::all_of(low.begin(), low.end(), is_zero) &&
      std::all_of(high.begin(), high.end(), is_zero)) {
    return v;
  }
  return value(Op::pad, with_carriers({v, fill}, carriers),
               {{AttrKey::low, std::move(low)}, {AttrKey::high, std::move(high)}});
}

ValueId GraphBuilder::concat(std::span<const ValueId> parts, int64_t axis) {
  if (parts.size() == 1) return parts[0];
  return value(Op::concat, parts, {{AttrKey::axis, axis}});
}

ValueId GraphBuilder::dims_value(std::span<const DimId> wanted, std::span<const ValueId> carriers) {
  std::vector<int64_t> fixed;
  for (DimId d : wanted) {
    if (const auto v = dims().constant_value(d)) fixed.push_back(*v);
  }
  if (fixed.size() == wanted.size()) return int64s(fixed);
  return value(Op::dims, carriers,
               {{AttrKey::values, std::vector<DimId>(wanted.begin(), wanted.end())}});
}

ValueId GraphBuilder::shape_of(ValueId v) {
  const std::vector<DimId> shape = type(v).dims;
  const ValueId carriers[] = {v};
  return dims_value(shape, needs_carrier(shape) ? std::span<const ValueId>(carriers)
                                                : std::span<const ValueId>());
}

ValueId GraphBuilder::reduce(Op op, ValueId v, std::vector<int64_t> axes) {
  if (axes.empty()) return v;
  std::sort(axes.begin(), axes.end());
  return value(op, {v}, {{AttrKey::axes, std::move(axes)}});
}

std::vector<DimId> GraphBuilder::common_shape(std::span<const ValueId> operands) {
  size_t rank = 0;
  for (ValueId v : operands) rank = std::max(rank, type(v).dims.size());
  std::vector<DimId> shape(rank, dims().constant(1));
  for (ValueId v : operands) {
    const std::vector<DimId> have = type(v).dims;
    const size_t offset = rank - have.size();
    for (size_t i = 0; i < have.size(); ++i) {
      DimId& d = shape[offset + i];
      if (d == have[i] || dims().is_constant(have[i], 1)) continue;
      if (dims().is_constant(d, 1)) {
        d = have[i];
        continue;
      }
      const auto x = dims().constant_value(d), y = dims().constant_value(have[i]);
      if (x && y) {
        graph_error(Code::kExtents,
                    "extents " + std::to_string(*x) + " and " + std::to_string(*y) +
                        " cannot be broadcast together (axis " + std::to_string(offset + i) + ")",
                    context().locs[loc_]);
      }
      // A number other than 1 decides; two symbols: whichever is not 1 at run time.
      if (x) continue;
      d = y ? have[i] : dims().max(d, have[i]);
    }
  }
  return shape;
}

ValueId GraphBuilder::elementwise(Op op, std::initializer_list<ValueId> operands) {
  return elementwise(op, std::span<const ValueId>(operands.begin(), operands.size()));
}

ValueId GraphBuilder::elementwise(Op op, std::span<const ValueId> operands) {
  const std::vector<DimId> shape = common_shape(operands);
  std::vector<ValueId> same_shape;
  for (ValueId v : operands) {
    if (type(v).dims == shape) {
      same_shape.push_back(v);
      continue;
    }
    // Symbols that the operand itself does not bring come from the other operands.
    std::vector<ValueId> carriers;
    if (needs_carrier(shape)) {
      for (ValueId other : operands) {
        if (other != v && needs_carrier(type(other).dims)) carriers.push_back(other);
      }
    }
    same_shape.push_back(broadcast_to(v, shape, carriers));
  }
  return value(op, same_shape);
}

}  // namespace gcomp
