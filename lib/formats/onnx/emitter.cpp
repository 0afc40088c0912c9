#include "onnx/emitter.h"

#include <algorithm>
#include <numeric>

#include "gcomp/support/error.h"

namespace gcomp::formats::onnx {

void Emitter::fail(std::string message, std::string hint) const {
  graph_error(Code::kUnsupported, std::move(message), b.graph().context().locs[b.loc()],
              std::move(hint));
}

Dims Emitter::dim_list(const Ints& values) {
  Dims list;
  for (int64_t v : values) list.push_back(dim(v));
  return list;
}

std::optional<int64_t> Emitter::static_extent(ValueId v, int64_t axis) {
  return dims().constant_value(extent(v, axis));
}

DimId Emitter::num_elements(ValueId v) { return dims().product(shape(v)); }

int64_t Emitter::axis(int64_t axis, int rank) const {
  if (axis < -rank || axis >= rank) {
    fail("axis " + std::to_string(axis) + " is not within a tensor of rank " +
         std::to_string(rank));
  }
  return axis < 0 ? axis + rank : axis;
}

Ints Emitter::axes(Ints axes, int rank) const {
  for (int64_t& a : axes) a = axis(a, rank);
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) fail("an axis is given twice");
  return axes;
}

std::optional<Ints> Emitter::known_ints(ValueId v) {
  if (const Constant* c = b.constant_of(v)) {
    if (!is_int(c->dtype)) return std::nullopt;
    Ints values;
    for (int64_t i = 0; i < c->num_elements(); ++i) values.push_back(c->as_int(i));
    return values;
  }
  const auto& known = b.dim_values(v);
  if (!known) return std::nullopt;
  Ints values;
  for (DimId d : *known) {
    const auto value = dims().constant_value(d);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<std::vector<double>> Emitter::known_reals(ValueId v) {
  const Constant* c = b.constant_of(v);
  if (c == nullptr || !is_float(c->dtype)) return std::nullopt;
  std::vector<double> values;
  for (int64_t i = 0; i < c->num_elements(); ++i) values.push_back(c->as_double(i));
  return values;
}

Ints Emitter::need_ints(ValueId v, std::string_view what) {
  const auto known = known_ints(v);
  if (!known) {
    fail("input '" + std::string(what) + "' must be known when compiling",
         "make it a constant of the model");
  }
  return *known;
}

ValueId Emitter::where(ValueId condition, ValueId x, ValueId y) {
  const Values all = broadcast({condition, x, y});
  return b.value(Op::where, all);
}

ValueId Emitter::widen(ValueId x) {
  const DType t = dtype(x);
  return t == DType::kFloat16 || t == DType::kBFloat16 ? cast(x, DType::kFloat32) : x;
}

Values Emitter::carriers(const Dims& wanted) {
  if (!b.needs_carrier(wanted)) return {};
  std::vector<SymbolId> symbols;
  for (DimId d : wanted) dims().collect_symbols(d, &symbols);
  Values found;
  for (SymbolId s : symbols) {
    const auto it = body_.binders.find(s.index);
    if (it == body_.binders.end()) continue;
    if (std::find(found.begin(), found.end(), it->second) == found.end()) {
      found.push_back(it->second);
    }
  }
  return found;
}

void Emitter::remember(ValueId v) {
  const Dims extents = shape(v);
  if (!b.needs_carrier(extents)) return;
  std::vector<SymbolId> symbols;
  for (DimId d : extents) dims().collect_symbols(d, &symbols);
  for (SymbolId s : symbols) body_.binders.try_emplace(s.index, v);
}

Dims Emitter::extents_from(ValueId v, std::string_view stem) {
  Values binders;
  const Dims extents = b.extents_from(v, stem, &binders);
  for (ValueId binder : binders) {
    if (b.graph().producer_node(binder).op != Op::bind_dims) continue;
    for (DimId d : extents) {
      if (const auto s = dims().as_symbol(d)) body_.binders.try_emplace(s->index, binder);
    }
  }
  return extents;
}

Dims Emitter::extents_of(ValueId list, std::string_view stem) {
  const Node& node = b.graph().producer_node(list);
  if (b.dim_values(list) || node.op != Op::concat) return extents_from(list, stem);
  const auto operands = b.graph().operands(node);
  const Values parts(operands.begin(), operands.end());
  Dims all;
  for (ValueId part : parts) {
    const Dims some = extents_from(part, stem);
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

DimId Emitter::common_extent(DimId a, DimId c) {
  if (a == c || dims().is_constant(c, 1)) return a;
  if (dims().is_constant(a, 1)) return c;
  if (dims().constant_value(a)) return a;
  if (dims().constant_value(c)) return c;
  return dims().max(a, c);
}

NodeId Emitter::defining(Op op, const Values& operands, std::vector<Attr> attrs) {
  const NodeId n = b.node(op, operands, std::move(attrs));
  for (int i = 0; i < b.graph().node(n).num_results; ++i) remember(b.result(n, i));
  return n;
}

ValueId Emitter::along(ValueId v, int64_t axis, int rank) {
  Dims to(static_cast<size_t>(rank), dim(1));
  to[static_cast<size_t>(axis)] = extent(v, 0);
  return reshape(v, to);
}

ValueId Emitter::squeeze(ValueId v, const Ints& axes) {
  const Dims from = shape(v);
  Dims to;
  for (size_t i = 0; i < from.size(); ++i) {
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) == axes.end()) {
      to.push_back(from[i]);
    }
  }
  return reshape(v, to);
}

ValueId Emitter::unsqueeze(ValueId v, const Ints& axes) {
  const Dims from = shape(v);
  Dims to;
  size_t next = 0;
  for (size_t i = 0; i < from.size() + axes.size(); ++i) {
    const bool added = std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) != axes.end();
    to.push_back(added ? dim(1) : from[next++]);
  }
  return reshape(v, to);
}

ValueId Emitter::move_axis(ValueId v, int64_t from, int64_t to) {
  Ints perm(static_cast<size_t>(rank(v)));
  std::iota(perm.begin(), perm.end(), 0);
  perm.erase(perm.begin() + from);
  perm.insert(perm.begin() + to, from);
  return transpose(v, perm);
}

ValueId Emitter::slice(ValueId v, Dims starts, Dims to, Ints strides) {
  Dims wanted = starts;
  wanted.insert(wanted.end(), to.begin(), to.end());
  const Values extra = carriers(wanted);
  return b.slice(v, std::move(starts), std::move(to), std::move(strides), extra);
}

ValueId Emitter::slice_axis(ValueId v, int64_t axis, DimId start, DimId extent, int64_t stride) {
  const auto a = static_cast<size_t>(axis);
  Dims to = shape(v);
  Dims starts(to.size(), dim(0));
  Ints strides(to.size(), 1);
  starts[a] = start;
  to[a] = extent;
  strides[a] = stride;
  return slice(v, std::move(starts), std::move(to), std::move(strides));
}

ValueId Emitter::pad(ValueId v, ValueId fill, Dims low, Dims high) {
  Dims wanted = low;
  wanted.insert(wanted.end(), high.begin(), high.end());
  const Values extra = carriers(wanted);
  return b.pad(v, fill, std::move(low), std::move(high), extra);
}

ValueId Emitter::concat(const Values& parts, int64_t axis) {
  // All extents but `axis` are equal; where the expressions differ, run time must show it.
  Values equal;
  Dims common = shape(parts[0]);
  for (ValueId p : parts) {
    const Dims have = shape(p);
    for (size_t i = 0; i < have.size() && i < common.size(); ++i) {
      if (dims().constant_value(have[i])) common[i] = have[i];
    }
  }
  for (ValueId p : parts) {
    Dims to = common;
    if (to.size() == shape(p).size()) {
      to[static_cast<size_t>(axis)] = extent(p, axis);
      p = specify(p, to);
    }
    equal.push_back(p);
  }
  return b.concat(equal, axis);
}

ValueId Emitter::specify(ValueId v, Dims to) {
  if (shape(v) == to) return v;
  Values operands = {v};
  for (ValueId c : carriers(to)) operands.push_back(c);
  return b.value(Op::specify_shape, operands, {{AttrKey::shape, std::move(to)}});
}

ValueId Emitter::full(DType t, Dims to, double value) {
  return b.broadcast(b.scalar(t, value), to, {}, carriers(to));
}

ValueId Emitter::iota(DType t, Dims to, int64_t axis) {
  return b.value(Op::iota, carriers(to),
                 {{AttrKey::axis, axis}, {AttrKey::dtype, t}, {AttrKey::shape, to}});
}

ValueId Emitter::extent_value(DimId d, DType t) {
  if (const auto n = dims().constant_value(d)) {
    return is_float(t) ? b.scalar(t, static_cast<double>(*n)) : b.scalar_int(t, *n);
  }
  return cast(b.reshape(shape_value({d}), {}), t);
}

Values Emitter::broadcast(Values operands) {
  const Dims common = b.common_shape(operands);
  const Values given = operands;
  for (ValueId& v : operands) {
    if (shape(v) == common) continue;
    Values extra = carriers(common);
    if (b.needs_carrier(common)) {
      for (ValueId other : given) {
        if (other != v && b.needs_carrier(shape(other))) extra.push_back(other);
      }
    }
    v = b.broadcast_to(v, common, extra);
  }
  return operands;
}

ValueId Emitter::reduce(Op op, ValueId v, Ints axes, bool keep) {
  Dims kept = shape(v);
  for (int64_t a : axes) kept[static_cast<size_t>(a)] = dim(1);
  const ValueId reduced = b.reduce(op, v, std::move(axes));
  return keep ? reshape(reduced, kept) : reduced;
}

ValueId Emitter::count(ValueId v, const Ints& axes, DType t) {
  DimId total = dim(1);
  for (int64_t a : axes) total = dims().mul(total, extent(v, a));
  return extent_value(total, t);
}

ValueId Emitter::mean(ValueId v, const Ints& axes, bool keep) {
  return div(reduce(Op::reduce_sum, v, axes, keep), count(v, axes, dtype(v)));
}

ValueId Emitter::softmax(ValueId v, const Ints& axes) {
  const DType t = dtype(v);
  v = widen(v);
  const ValueId e = unary(Op::exp, sub(v, reduce(Op::reduce_max, v, axes, true)));
  return cast(div(e, reduce(Op::reduce_sum, e, axes, true)), t);
}

ValueId Emitter::log_softmax(ValueId v, const Ints& axes) {
  const DType t = dtype(v);
  v = widen(v);
  const ValueId shifted = sub(v, reduce(Op::reduce_max, v, axes, true));
  const ValueId total = reduce(Op::reduce_sum, unary(Op::exp, shifted), axes, true);
  return cast(sub(shifted, unary(Op::log, total)), t);
}

ValueId Emitter::matmul(ValueId a, ValueId c) {
  const int rank_a = rank(a), rank_c = rank(c);
  if (rank_a == 0 || rank_c == 0) fail("a matrix product needs operands of rank 1 or more");
  if (rank_a == 1) a = unsqueeze(a, {0});
  if (rank_c == 1) c = unsqueeze(c, {1});
  const int n = std::max(rank(a), rank(c));
  Dims batch_a = shape(a), batch_c = shape(c);
  batch_a.insert(batch_a.begin(), static_cast<size_t>(n - rank(a)), dim(1));
  batch_c.insert(batch_c.begin(), static_cast<size_t>(n - rank(c)), dim(1));
  const size_t batches = static_cast<size_t>(n) - 2;
  // The inner extents must be equal; the leading ones broadcast. A matrix against a stack of
  // matrices is one product when the stack is the left operand: its axes fold into the rows.
  const DimId k = dims().constant_value(batch_c[batches]) ? batch_c[batches] : batch_a[batches + 1];
  batch_a[batches + 1] = k;
  batch_c[batches] = k;
  const bool fold = rank(c) == 2 && rank(a) > 2;
  if (fold) {
    Dims result = shape(a);
    result.back() = extent(c, 1);
    Dims exact = shape(a);
    exact.back() = k;
    a = specify(a, exact);
    c = specify(c, {k, extent(c, 1)});
    const DimId rows = dims().product(Dims(exact.begin(), exact.end() - 1));
    ValueId product = b.value(Op::matmul, {reshape(a, {rows, k}), c});
    product = reshape(product, result);
    return rank_c == 1 ? squeeze(product, {n - 1}) : product;
  }
  a = reshape(a, [&] {
    Dims s = batch_a;
    s[batches + 1] = shape(a).back();
    return s;
  }());
  c = reshape(c, [&] {
    Dims s = batch_c;
    s[batches] = shape(c)[shape(c).size() - 2];
    return s;
  }());
  a = specify(a, batch_a);
  c = specify(c, batch_c);
  for (size_t i = 0; i < batches; ++i) {
    batch_a[i] = batch_c[i] = common_extent(batch_a[i], batch_c[i]);
  }
  ValueId product = b.value(Op::matmul, {expand(a, batch_a), expand(c, batch_c)});
  if (rank_a == 1 && rank_c == 1) return squeeze(product, {n - 2, n - 1});
  if (rank_a == 1) return squeeze(product, {n - 2});
  return rank_c == 1 ? squeeze(product, {n - 1}) : product;
}

ValueId Emitter::gather(ValueId v, ValueId indices, int64_t axis) {
  return b.value(Op::gather, {v, indices}, {{AttrKey::axis, axis}});
}

}  // namespace gcomp::formats::onnx
