// Building the items of a nest: from the group's outputs back to what is in memory.

#include <algorithm>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"
#include "nest_emitter.h"

namespace gcomp::lower {
namespace {

constexpr uint32_t kMissing = 0xffffffffu;

uint64_t key_of(ValueId v, uint32_t instance) {
  return (static_cast<uint64_t>(v.index) << 32 | instance) + 1;  // 0: no key
}

size_t hash_linear(size_t h, const Linear& l) {
  h = hash_combine(h, l.constant.index);
  for (const LinearTerm& t : l.terms)
    h = hash_combine(hash_combine(h, t.term), t.coefficient.index);
  return h;
}

}  // namespace

NestEmitter::NestEmitter(const Graph& graph, const schedule::Groups& groups, uint32_t group,
                         KernelSpec& spec, std::vector<DimId> loops, std::vector<bool> reduced,
                         int phase)
    : graph_(graph),
      groups_(groups),
      group_number_(group),
      group_(groups.groups[group]),
      spec_(spec),
      b_(spec.b()),
      dims_(graph.context().dims),
      table_(dims_),
      loops_(std::move(loops)),
      reduced_(std::move(reduced)),
      rows_(dims_.constant(1)),
      length_(dims_.constant(1)),
      phase_(phase) {
  for (size_t a = 0; a < loops_.size(); ++a) {
    table_.add_loop(loops_[a]);
    if (reduced_[a]) reduced_mask_ |= AxisMask{1} << a;
    DimId& elements = reduced_[a] ? length_ : rows_;
    elements = dims_.mul(elements, loops_[a]);
  }
}

uint32_t NestEmitter::instance(Instance i) {
  size_t h = 0;
  for (const Linear& l : i.index) h = hash_linear(h, l);
  for (const Guard& g : i.guards) h = hash_linear(hash_combine(h, g.extent.index), g.index);
  std::vector<uint32_t>& bucket = instance_ids_[h];
  for (uint32_t id : bucket) {
    if (instances_[id] == i) return id;
  }
  bucket.push_back(static_cast<uint32_t>(instances_.size()));
  instances_.push_back(std::move(i));
  return bucket.back();
}

// Where a member's value lies in the group's space: all loops, or those not reduced.
uint32_t NestEmitter::native_instance(ValueId v) {
  const std::vector<DimId>& shape = graph_.type(v).dims;
  const DimId elements = dims_.product(shape);
  Index index;
  std::vector<DimId> extents;
  const bool whole = elements == dims_.product(loops_);
  for (uint32_t a = 0; a < loops_.size(); ++a) {
    if (!whole && reduced_[a]) continue;
    index.push_back(table_.loop(a));
    extents.push_back(loops_[a]);
  }
  GCOMP_CHECK(whole || elements == dims_.product(extents),
              "fusion: value " + std::to_string(v.index) + " is not in its group's space");
  return instance({table_.reshape(index, extents, shape), {}});
}

Linear NestEmitter::place_of(ValueId v) {
  return table_.flatten(instances_[native_instance(v)].index, graph_.type(v).dims);
}

bool NestEmitter::is_of_row(ValueId v) { return (table_.axes(place_of(v)) & reduced_mask_) == 0; }

bool NestEmitter::is_expanded(ValueId v) const {
  const NodeId n = graph_.producer(v);
  if (graph_.node(n).op == Op::input) return false;
  if (groups_.group_of[n.index] == group_number_) return true;
  if (!groups_.stored[v.index]) return true;
  // Another name for memory that this very kernel writes.
  const NodeId root = graph_.producer(groups_.storage[v.index]);
  return groups_.group_of[root.index] == group_number_;
}

uint32_t NestEmitter::add_item(uint64_t key, Item item) {
  for (uint32_t o : item.operands) {
    item.axes |= items_[o].axes;
    item.stage = std::max(item.stage, items_[o].stage);
  }
  // What an index needs is needed first: a gather's index may come from a reduction.
  const auto need_terms = [&](const Linear& l) {
    item.axes |= table_.axes(l);
    std::vector<uint32_t> open;
    for (const LinearTerm& t : l.terms) open.push_back(t.term);
    while (!open.empty()) {
      const IndexTerm& t = table_.term(open.back());
      open.pop_back();
      if (t.kind == TermKind::kItem) item.stage = std::max(item.stage, items_[t.number].stage);
      for (const LinearTerm& u : t.inner.terms) open.push_back(u.term);
    }
  };
  if (item.linear.constant.valid()) need_terms(item.linear);
  for (const Guard& g : item.guards) need_terms(g.index);
  if (item.kind == ItemKind::kReduce) {
    item.axes &= ~reduced_mask_;
    ++item.stage;
    reductions_.push_back(static_cast<uint32_t>(items_.size()));
  }
  items_.push_back(std::move(item));
  const auto id = static_cast<uint32_t>(items_.size() - 1);
  if (key != 0) item_of_[key] = id;
  return id;
}

uint32_t NestEmitter::need(ValueId v, const Instance& i) {
  const uint32_t at = instance(i);
  const auto it = item_of_.find(key_of(v, at));
  if (it != item_of_.end()) return it->second;
  missing_.push_back({v, at});
  return kMissing;
}

uint32_t NestEmitter::item(ValueId v, uint32_t at) {
  std::vector<std::pair<ValueId, uint32_t>> stack{{v, at}};
  while (!stack.empty()) {
    const auto [w, i] = stack.back();
    missing_.clear();
    if (item_of_.contains(key_of(w, i)) || build(w, i)) {
      stack.pop_back();
    } else {
      // In reverse, so that the first operand is built first.
      stack.insert(stack.end(), missing_.rbegin(), missing_.rend());
    }
  }
  return item_of_.at(key_of(v, at));
}

void NestEmitter::build_load(ValueId v, const Instance& at, uint64_t key) {
  add_item(key, {.kind = ItemKind::kLoad,
                 .value = v,
                 .operands = {},
                 .dtype = graph_.type(v).dtype,
                 .linear = table_.flatten(at.index, graph_.type(v).dims),
                 .extent = {},
                 .guards = at.guards});
}

// Makes the item of (v, instance), or notes in missing_ what it needs first.
bool NestEmitter::build(ValueId v, uint32_t at_id) {
  const Instance at = instances_[at_id];
  const uint64_t key = key_of(v, at_id);
  const Node& node = graph_.producer_node(v);
  const DType dtype = graph_.type(v).dtype;
  const auto operands = graph_.operands(node);
  if (given_.valid() && v == given_) {
    // Known innermost only, even where the result has one row or column.
    const AxisMask axes = (AxisMask{1} << loops_.size()) - 1;
    add_item(key, {.kind = ItemKind::kGiven,
                   .value = v,
                   .operands = {},
                   .axes = axes,
                   .dtype = dtype,
                   .linear = {},
                   .extent = {},
                   .guards = {}});
    return true;
  }
  if (schedule::is_literal(graph_, v)) {
    add_item(key, {.kind = ItemKind::kLiteral,
                   .value = v,
                   .operands = {},
                   .dtype = dtype,
                   .linear = {},
                   .extent = {},
                   .guards = {}});
    return true;
  }
  if (!is_expanded(v)) {
    build_load(v, at, key);
    return true;
  }
  if (has_trait(node.op, kElementwise)) {
    Item item{.kind = ItemKind::kOp,
              .value = v,
              .instance = at_id,
              .operands = {},
              .dtype = dtype,
              .linear = {},
              .extent = {},
              .guards = {}};
    for (ValueId o : operands) item.operands.push_back(need(o, at));
    if (missing_.empty()) add_item(key, std::move(item));
    return missing_.empty();
  }
  if (has_trait(node.op, kReduction) || node.op == Op::argmax || node.op == Op::argmin) {
    return build_reduce(v, node, at, key);
  }
  if (node.op == Op::gather) return build_gather(v, node, at, key);
  if (node.op == Op::iota || node.op == Op::dims) {
    const size_t axis =
        node.op == Op::dims ? 0 : static_cast<size_t>(graph_.attrs(node).integer(AttrKey::axis));
    add_item(key, {.kind = node.op == Op::dims ? ItemKind::kDims : ItemKind::kIndex,
                   .value = v,
                   .operands = {},
                   .dtype = dtype,
                   .linear = at.index[axis],
                   .extent = {},
                   .guards = {}});
    return true;
  }
  return build_layout(v, node, at, key);
}

bool NestEmitter::build_layout(ValueId v, const Node& node, const Instance& at, uint64_t key) {
  const Attrs attrs = graph_.attrs(node);
  const auto operands = graph_.operands(node);
  const Type& from = graph_.type(operands[0]);
  const Type& to = graph_.type(v);
  Instance source{{}, at.guards};
  switch (node.op) {
    case Op::reshape:
    case Op::specify_shape:
    case Op::check:
    case Op::bind_dims: source.index = table_.reshape(at.index, to.dims, from.dims); break;
    case Op::broadcast: {
      const auto& axes = attrs.ints(AttrKey::axes);
      for (size_t i = 0; i < axes.size(); ++i) {
        const auto a = static_cast<size_t>(axes[i]);
        if (dims_.is_constant(from.dims[i], 1)) {
          source.index.push_back(table_.constant(0));
        } else if (from.dims[i] == to.dims[a]) {
          source.index.push_back(at.index[a]);
        } else {
          // 1 or the result's extent, known when the kernel is called: index * min(extent - 1, 1).
          const DimId one = dims_.constant(1);
          source.index.push_back(
              table_.scale(at.index[a], dims_.min(dims_.sub(from.dims[i], one), one)));
        }
      }
      break;
    }
    case Op::transpose: {
      const auto& perm = attrs.ints(AttrKey::perm);
      source.index.resize(perm.size());
      for (size_t i = 0; i < perm.size(); ++i) {
        source.index[static_cast<size_t>(perm[i])] = at.index[i];
      }
      break;
    }
    case Op::slice: {
      const auto& starts = attrs.dims(AttrKey::starts);
      const auto& strides = attrs.ints(AttrKey::strides);
      for (size_t i = 0; i < starts.size(); ++i) {
        const Linear scaled = table_.scale(at.index[i], dims_.constant(strides[i]));
        source.index.push_back(table_.add(scaled, starts[i]));
      }
      break;
    }
    case Op::reverse: {
      source.index = at.index;
      for (int64_t a : attrs.ints(AttrKey::axes)) {
        const auto i = static_cast<size_t>(a);
        const DimId last = dims_.sub(from.dims[i], dims_.constant(1));
        source.index[i] = table_.add(table_.scale(at.index[i], dims_.constant(-1)), last);
      }
      break;
    }
    case Op::pad: {
      std::vector<Guard> own;
      const auto& low = attrs.dims(AttrKey::low);
      const auto& high = attrs.dims(AttrKey::high);
      for (size_t i = 0; i < low.size(); ++i) {
        const Linear shifted = table_.add(at.index[i], dims_.sub(dims_.constant(0), low[i]));
        source.index.push_back(shifted);
        const auto lo = dims_.upper_bound(low[i]), hi = dims_.upper_bound(high[i]);
        if (lo && *lo <= 0 && hi && *hi <= 0) continue;  // only crops
        own.push_back({shifted, from.dims[i]});
      }
      if (own.empty()) break;
      source.guards.insert(source.guards.end(), own.begin(), own.end());
      Item item{.kind = ItemKind::kSelect,
                .value = v,
                .operands = {},
                .dtype = to.dtype,
                .linear = {},
                .extent = {},
                .guards = std::move(own)};
      item.operands.push_back(need(operands[0], source));
      item.operands.push_back(need(operands[1], {{}, at.guards}));
      if (missing_.empty()) add_item(key, std::move(item));
      return missing_.empty();
    }
    case Op::concat: {
      const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
      std::vector<uint32_t> parts;
      std::vector<Guard> ranges;
      DimId begin = dims_.constant(0);
      for (ValueId part : operands) {
        const DimId extent = graph_.type(part).dims[axis];
        Instance i = at;
        i.index[axis] = table_.add(at.index[axis], dims_.sub(dims_.constant(0), begin));
        ranges.push_back({i.index[axis], extent});
        i.guards.push_back(ranges.back());
        parts.push_back(need(part, i));
        begin = dims_.add(begin, extent);
      }
      if (!missing_.empty()) return false;
      uint32_t chosen = parts.back();
      for (size_t p = parts.size() - 1; p-- > 0;) {
        chosen = add_item(p == 0 ? key : 0, {.kind = ItemKind::kSelect,
                                             .value = v,
                                             .operands = {parts[p], chosen},
                                             .dtype = to.dtype,
                                             .linear = {},
                                             .extent = {},
                                             .guards = {ranges[p]}});
      }
      item_of_[key] = chosen;
      return true;
    }
    default: GCOMP_CHECK(false, "fusion put " + std::string(name(node.op)) + " into a loop nest");
  }
  const uint32_t same = need(operands[0], source);
  if (same != kMissing) item_of_[key] = same;
  return same != kMissing;
}

bool NestEmitter::build_gather(ValueId v, const Node& node, const Instance& at, uint64_t key) {
  const Attrs attrs = graph_.attrs(node);
  const auto operands = graph_.operands(node);
  const Type& x = graph_.type(operands[0]);
  const auto axis = static_cast<size_t>(attrs.integer(AttrKey::axis));
  const auto batch = static_cast<size_t>(attrs.integer_or(AttrKey::batch_dims, 0));
  const size_t index_rank = graph_.type(operands[1]).dims.size();
  // Result axes: x's before axis, the indices' after the batch axes, x's after axis.
  Instance where{{}, at.guards};
  for (size_t i = 0; i < batch; ++i) where.index.push_back(at.index[i]);
  for (size_t i = batch; i < index_rank; ++i) where.index.push_back(at.index[axis + i - batch]);
  const uint32_t raw = need(operands[1], where);
  if (raw == kMissing) return false;
  // Items without a graph value of their own are found through an instance nobody else has.
  Instance tag = where;
  tag.guards.push_back({table_.constant(static_cast<int64_t>(v.index)), x.dims[axis]});
  const uint64_t wrap_key = key_of(operands[1], instance(tag));
  const auto found = item_of_.find(wrap_key);
  const uint32_t wrapped = found != item_of_.end() ? found->second
                                                   : add_item(wrap_key, {.kind = ItemKind::kWrap,
                                                                         .value = v,
                                                                         .operands = {raw},
                                                                         .dtype = DType::kInt64,
                                                                         .linear = {},
                                                                         .extent = x.dims[axis],
                                                                         .guards = at.guards});
  Instance source{{}, at.guards};
  for (size_t i = 0; i < axis; ++i) source.index.push_back(at.index[i]);
  const uint32_t term = table_.item_term(wrapped, x.dims[axis], items_[wrapped].axes);
  source.index.push_back(table_.of_term(term));
  if (dims_.lower_bound(x.dims[axis]).value_or(0) < 1) {
    source.guards.push_back({table_.of_term(term), x.dims[axis]});  // nothing to read: an error
  }
  for (size_t i = axis + 1; i < x.dims.size(); ++i) {
    source.index.push_back(at.index[i + index_rank - batch - 1]);
  }
  const uint32_t same = need(operands[0], source);
  if (same != kMissing) item_of_[key] = same;
  return same != kMissing;
}

bool NestEmitter::build_reduce(ValueId v, const Node& node, const Instance& at, uint64_t key) {
  const Type& from = graph_.type(graph_.operands(node)[0]);
  if (dims_.product(from.dims) == dims_.product(graph_.type(v).dims)) {
    // Only axes of extent 1: nothing to combine.
    if (node.op == Op::argmax || node.op == Op::argmin) {
      add_item(key, {.kind = ItemKind::kIndex,
                     .value = v,
                     .operands = {},
                     .dtype = DType::kInt64,
                     .linear = table_.constant(0),
                     .extent = {},
                     .guards = {}});
      return true;
    }
    const Index index = table_.reshape(at.index, graph_.type(v).dims, from.dims);
    const uint32_t same = need(graph_.operands(node)[0], {index, at.guards});
    if (same != kMissing) item_of_[key] = same;
    return same != kMissing;
  }
  GCOMP_CHECK(instances_[native_instance(v)] == at, "fusion: a reduction away from its loops");
  const ValueId x = graph_.operands(node)[0];
  const uint32_t operand = need(x, instances_[native_instance(x)]);
  if (operand == kMissing) return false;
  Linear position = {};
  if (node.op == Op::argmax || node.op == Op::argmin) {
    const auto axis = static_cast<size_t>(graph_.attrs(node).integer(AttrKey::axis));
    position = instances_[native_instance(x)].index[axis];
  }
  add_item(key, {.kind = ItemKind::kReduce,
                 .value = v,
                 .operands = {operand},
                 .dtype = graph_.type(v).dtype,
                 .linear = position,
                 .extent = {},
                 .guards = {}});
  return true;
}

void NestEmitter::build_outputs() {
  if (!outputs_.empty()) return;
  for (ValueId v : group_.outputs) {
    const uint32_t native = native_instance(v);
    outputs_.push_back({v, item(v, native)});
  }
}

std::pair<std::vector<DimId>, std::vector<bool>> NestEmitter::merged_loops() {
  build_outputs();
  std::vector<Linear> all;
  for (const Item& i : items_) {
    if (i.linear.constant.valid()) all.push_back(i.linear);
    for (const Guard& g : i.guards) all.push_back(g.index);
  }
  for (const auto& [v, i] : outputs_) {
    all.push_back(place_of(v));
  }
  std::vector<DimId> extents;
  std::vector<bool> reduced;
  for (uint32_t a = static_cast<uint32_t>(loops_.size()); a-- > 0;) {
    bool merge = a + 1 < loops_.size() && reduced_[a] == reduced_[a + 1];
    const bool one = dims_.is_constant(loops_[a], 1);
    for (size_t k = 0; merge && k < all.size(); ++k) {
      const DimId outer = table_.coefficient(all[k], a);
      const DimId inner = table_.coefficient(all[k], a + 1);
      merge = (one || outer == dims_.mul(inner, loops_[a + 1])) && table_.only_linear(all[k], a) &&
              table_.only_linear(all[k], a + 1);
    }
    if (merge) {
      extents.back() = dims_.mul(extents.back(), loops_[a]);
    } else {
      extents.push_back(loops_[a]);
      reduced.push_back(reduced_[a]);
    }
  }
  std::reverse(extents.begin(), extents.end());
  std::reverse(reduced.begin(), reduced.end());
  return {extents, reduced};
}

}  // namespace gcomp::lower
