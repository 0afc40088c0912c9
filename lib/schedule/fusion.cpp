// Fusion in one walk over the topological order.
//
// Every group has a stage. A node's stage is the highest over its operands, plus one for an operand that
// cannot be in the node's group (another iteration space, an op of its own, a group that is full). A node
// joins the groups of those operands that can be in its group and have exactly its stage; all of them
// become one group. So stages never fall along an edge, an edge between two groups rises, and groups of
// one stage are not connected by any path: merging them is always safe, with no search. Each node is
// looked at once.
//
// Layout ops (and gather, pad, iota) are in no group: they are index maps, computed in whatever kernel
// reads them, unless somebody needs the result in memory.

#include "gcomp/schedule/fusion.h"

#include <algorithm>
#include <optional>
#include <queue>
#include <unordered_map>

#include "gcomp/support/error.h"

namespace gcomp::schedule {
namespace {

// A chain of index maps longer than this is cut: expressions stay small, and no chain is quadratic.
constexpr uint32_t kMaxInlineDepth = 8;
// From this many elements on a reduction to at most kMaxSplitKept results is worth two kernels.
constexpr int64_t kMinSplitElements = 1 << 17;
constexpr int64_t kMaxSplitKept = 16;

enum class NodeKind : uint8_t { kSource, kInline, kNest, kContract, kSingle };

NodeKind kind_of(Op op) {
  if (has_trait(op, kElementwise) || has_trait(op, kReduction)) return NodeKind::kNest;
  switch (op) {
    case Op::input:
    case Op::constant: return NodeKind::kSource;
    case Op::iota:
    case Op::dims:
    case Op::reshape:
    case Op::specify_shape:
    case Op::broadcast:
    case Op::transpose:
    case Op::slice:
    case Op::reverse:
    case Op::pad:
    case Op::gather: return NodeKind::kInline;
    case Op::argmax:
    case Op::argmin: return NodeKind::kNest;
    case Op::matmul:
    case Op::conv:
    case Op::conv_transpose: return NodeKind::kContract;
    default: return NodeKind::kSingle;
  }
}

// Reads no memory of a run: computed wherever it is read.
bool is_source(Op op) { return op == Op::constant || op == Op::iota || op == Op::dims; }

bool is_renaming(Op op) { return op == Op::reshape || op == Op::specify_shape; }

// Operands that are read as data; those after it only say where symbols are bound.
size_t num_data_operands(const Node& n) {
  switch (n.op) {
    case Op::iota:
    case Op::dims: return 0;
    case Op::reshape:
    case Op::specify_shape:
    case Op::broadcast:
    case Op::slice:
    case Op::top_k: return 1;
    case Op::pad: return 2;
    default: return n.num_operands;
  }
}

struct Shape {
  std::vector<DimId> dims;  // without ones
  DimId elements;
};

// How a value's elements relate to those of a value that is computed or stored.
struct Chain {
  enum class Kind : uint8_t { kSame, kExpand, kOther };
  ValueId base;  // kSame, kExpand
  Kind kind = Kind::kSame;
  uint32_t depth = 0;     // index maps on the way
  uint32_t extra = 0;     // highest stage among other things it depends on
  std::vector<int> axes;  // kExpand: base's axis i (ones left out) is axis axes[i] of the value
};

struct GroupState {
  GroupKind kind = GroupKind::kNest;
  uint32_t stage = 1;
  uint32_t weight = 0;
  std::vector<DimId> space;
  DimId elements;
  std::vector<bool> reduced;  // empty: no reduction yet
  DimId kept;                 // elements of the axes not reduced
  bool split = false;
  bool open = true;           // more nodes may join
  bool read_outside = false;  // by a node of another group, or through an index map
  // Read from outside, a guess of how many addresses it takes; of too many the first ones.
  std::vector<ValueId> tensors;
};

class Fuser {
 public:
  Fuser(const Graph& graph, const FusionOptions& options)
      : graph_(graph),
        options_(options),
        dims_(graph.context().dims),
        uses_(graph),
        dense_(graph.num_values(), false),
        chains_(graph.num_values()),
        parent_of_node_(graph.num_nodes(), kNoGroup) {}

  Groups run() {
    find_dense();
    for (uint32_t i = 0; i < graph_.num_nodes(); ++i) visit(NodeId(i));
    return collect();
  }

 private:
  const Shape& shape(ValueId v) {
    const auto [it, inserted] = shapes_.try_emplace(graph_.type_id(v).index);
    if (inserted) {
      for (DimId d : graph_.type(v).dims) {
        if (!dims_.is_constant(d, 1)) it->second.dims.push_back(d);
      }
      it->second.elements = dims_.product(it->second.dims);
    }
    return it->second;
  }

  uint32_t find(uint32_t g) {
    while (parent_[g] != g) g = parent_[g] = parent_[parent_[g]];
    return g;
  }
  uint32_t group_of(ValueId v) {
    const uint32_t g = parent_of_node_[graph_.producer(v).index];
    return g == kNoGroup ? kNoGroup : find(g);
  }
  uint32_t stage_of(ValueId v) {
    const uint32_t g = group_of(v);
    return g == kNoGroup ? 0 : states_[g].stage;
  }

  // Whether row-major order visits the elements of both shapes alike with `fine`'s axes nested in
  // `coarse`'s.
  bool refines(const std::vector<DimId>& fine, const std::vector<DimId>& coarse) {
    size_t i = 0;
    for (DimId whole : coarse) {
      if (i == fine.size()) return false;
      DimId p = fine[i++];
      while (p != whole) {
        if (i == fine.size()) return false;
        p = dims_.mul(p, fine[i++]);
      }
    }
    return i == fine.size();
  }

  // Values that must lie in memory as dense tensors, found from the outputs back.
  void find_dense() {
    for (const Port& out : graph_.outputs()) dense_[out.value.index] = true;
    find_crossing();
    for (size_t i = graph_.num_nodes(); i-- > 0;) {
      const Node& n = graph_.node(NodeId(i));
      const auto operands = graph_.operands(n);
      const NodeKind kind = kind_of(n.op);
      if (kind == NodeKind::kSingle || kind == NodeKind::kContract) {
        for (ValueId o : operands) dense_[o.index] = true;
      }
      if (kind != NodeKind::kInline) continue;
      const ValueId v = graph_.result(NodeId(i));
      if (is_renaming(n.op)) {
        if (dense_[v.index]) {
          dense_[operands[0].index] = true;  // another name for the same memory
        } else {
          // Quotients and remainders in an index map cost more than a copy.
          const Op from = graph_.producer_node(operands[0]).op;
          const bool map = kind_of(from) == NodeKind::kInline && !is_renaming(from);
          const bool trivial = shape(v).dims == shape(operands[0]).dims;
          if (map && !trivial && !is_splat(operands[0])) dense_[operands[0].index] = true;
        }
      } else if ((n.op == Op::pad || n.op == Op::gather) && uses_.count(v) > 1) {
        dense_[v.index] = true;  // not free: once, not in every reader
      }
    }
  }

  // Index maps read on another device than their own: what they make is copied there, not what they read.
  void find_crossing() {
    if (options_.devices.empty()) return;
    std::vector<bool> anywhere(graph_.num_nodes(),
                               false);  // computed from nothing a run has in memory
    for (uint32_t i = 0; i < graph_.num_nodes(); ++i) {
      const Node& n = graph_.node(NodeId(i));
      const auto operands =
          graph_.operands(n).first(std::min<size_t>(n.num_operands, num_data_operands(n)));
      anywhere[i] = is_source(n.op) || (kind_of(n.op) == NodeKind::kInline &&
                                        std::ranges::all_of(operands, [&](ValueId o) {
                                          return anywhere[graph_.producer(o).index];
                                        }));
      if (n.op == Op::check) continue;  // reads its condition alone, which has memory anyway
      for (ValueId o : operands) {
        const NodeId p = graph_.producer(o);
        if (kind_of(graph_.node(p).op) != NodeKind::kInline || anywhere[p.index]) continue;
        if (device_of(p) != device_of(NodeId(i))) dense_[o.index] = true;
      }
    }
  }

  // Every element the same: no index matters.
  bool is_splat(ValueId v) {
    for (uint32_t k = 0; k < kMaxInlineDepth; ++k) {
      const Node& n = graph_.producer_node(v);
      if (shape(v).dims.empty()) return true;
      if (n.op != Op::broadcast && !is_renaming(n.op)) return false;
      v = graph_.operands(n)[0];
    }
    return false;
  }

  Chain chain_through(ValueId v, const Node& n) {
    const auto operands = graph_.operands(n);
    Chain c;
    const size_t data = num_data_operands(n);
    for (size_t i = 0; i < operands.size(); ++i) {
      const Chain& from = chains_[operands[i].index];
      c.depth = std::max(c.depth, from.depth + 1);
      if (is_before(operands[i], v)) continue;
      c.extra = std::max(c.extra, from.extra);
      if (i == 0 && data == 1) continue;
      if (from.base.valid() && !is_before(from.base, v)) {
        c.extra = std::max(c.extra, stage_of(from.base));
      }
    }
    c.kind = Chain::Kind::kOther;
    if (data != 1) return c;
    const Chain& from = chains_[operands[0].index];
    c.base = from.base;
    const auto& to_dims = shape(v).dims;
    const auto& from_dims = shape(operands[0]).dims;
    const bool aligned =
        to_dims == from_dims || (from.kind == Chain::Kind::kSame &&
                                 (refines(to_dims, from_dims) || refines(from_dims, to_dims)));
    if (is_renaming(n.op) && aligned) {
      c.kind = from.kind;
      c.axes = from.axes;
    } else if (n.op == Op::broadcast && from.kind != Chain::Kind::kOther) {
      std::vector<int> axes;
      if (expand_axes(v, n, &axes)) {
        if (from.kind == Chain::Kind::kExpand) {
          for (int a : from.axes) c.axes.push_back(axes[static_cast<size_t>(a)]);
          c.kind = Chain::Kind::kExpand;
        } else if (from.base.valid() && shape(from.base).dims == from_dims) {
          c.axes = axes;
          c.kind = Chain::Kind::kExpand;
        }
        if (c.kind == Chain::Kind::kExpand && c.axes.size() == to_dims.size()) {
          c.kind = Chain::Kind::kSame;  // only ones were added
        }
      }
    }
    return c;
  }

  // For a broadcast that repeats whole axes only: where the operand's axes other than ones go.
  bool expand_axes(ValueId v, const Node& n, std::vector<int>* axes) {
    const auto& to = graph_.type(v).dims;
    const auto& from = graph_.type(graph_.operands(n)[0]).dims;
    const auto& map = graph_.attrs(n).ints(AttrKey::axes);
    std::vector<int> position(to.size(), -1);
    int next = 0;
    for (size_t a = 0; a < to.size(); ++a) {
      if (!dims_.is_constant(to[a], 1)) position[a] = next++;
    }
    for (size_t i = 0; i < from.size(); ++i) {
      if (dims_.is_constant(from[i], 1)) continue;
      const auto a = static_cast<size_t>(map[i]);
      if (from[i] != to[a]) return false;
      axes->push_back(position[a]);
    }
    return true;
  }

  void visit(NodeId id) {
    const Node& n = graph_.node(id);
    NodeKind kind = kind_of(n.op);
    // One feature is stored one element at a time: what follows is quicker on its own.
    if (n.op == Op::conv_transpose &&
        dims_.is_constant(graph_.type(n.first_result).dims.back(), 1)) {
      kind = NodeKind::kSingle;
    }
    for (int r = 0; r < n.num_results; ++r) {
      const ValueId v = graph_.result(id, r);
      chains_[v.index].base = v;
    }
    if (kind == NodeKind::kSource) return;
    const ValueId v = graph_.result(id);
    if (kind == NodeKind::kInline) {
      Chain c = chain_through(v, n);
      const bool renames = is_renaming(n.op) && c.depth <= kMaxInlineDepth;
      if (renames || (!dense_[v.index] && c.depth <= kMaxInlineDepth)) {
        chains_[v.index] = std::move(c);
        for (ValueId o : graph_.operands(n)) note_reader(o, kNoGroup);
        return;
      }
      kind = NodeKind::kNest;  // a copy
    }
    place(id, kind);
  }

  // Why `n`, reading operand `o`, may not be in the group that computes o's base.
  std::optional<Unfused> obstacle(const Node& n, ValueId v, ValueId o) {
    const Chain& c = chains_[o.index];
    const uint32_t g = c.base.valid() ? group_of(c.base) : kNoGroup;
    if (!options_.fuse) return Unfused::kOff;
    if (g == kNoGroup || c.kind == Chain::Kind::kOther) return Unfused::kIndexMap;
    const GroupState& s = states_[g];
    if (s.kind == GroupKind::kSingle) return Unfused::kOwnKernel;
    if (!s.open) return Unfused::kFull;
    if (kind_of(n.op) == NodeKind::kInline) return Unfused::kIndexMap;  // a copy through it
    if (device_of(graph_.producer(v)) != device_of(graph_.producer(c.base))) {
      return Unfused::kDevice;
    }
    if (is_early(graph_.producer(v)) != is_early(graph_.producer(c.base))) return Unfused::kTurns;
    const bool reduces = is_reduction(n, v);
    const DimId base_elements = shape(c.base).elements;
    const bool base_row = !s.reduced.empty() && base_elements != s.elements;
    if (s.split && base_row) return Unfused::kReduction;
    if (reduces) {
      if (s.kind == GroupKind::kContract) return Unfused::kOwnKernel;
      if (base_row || c.kind != Chain::Kind::kSame) return Unfused::kReduction;
      const Shape& x = shape(o);
      if (x.dims != s.space) return Unfused::kSpace;
      const std::vector<bool> axes = reduced_axes(n, o);
      return unless(s.reduced.empty() || axes == s.reduced, Unfused::kReduction);
    }
    if (c.kind == Chain::Kind::kSame) {
      const Shape& x = shape(v);
      if (x.elements != base_elements) return Unfused::kSpace;
      if (base_row) return std::nullopt;
      if (!s.reduced.empty()) return unless(x.dims == s.space, Unfused::kSpace);
      return unless(refines(x.dims, s.space) || refines(s.space, x.dims), Unfused::kSpace);
    }
    // A row's value repeated along the reduced axes.
    if (!base_row || shape(v).dims != s.space) return Unfused::kSpace;
    std::vector<int> kept;
    for (size_t a = 0; a < s.reduced.size(); ++a) {
      if (!s.reduced[a]) kept.push_back(static_cast<int>(a));
    }
    return unless(c.axes == kept, Unfused::kSpace);
  }

  // `v` is computed before all nodes like that of `reader`: their stages need not tell.
  bool is_before(ValueId v, ValueId reader) const {
    return is_early(graph_.producer(v)) && !is_early(graph_.producer(reader));
  }
  bool is_early(NodeId n) const { return !options_.early.empty() && options_.early[n.index]; }

  Device device_of(NodeId n) const {
    return options_.devices.empty() ? Device::kHost : options_.devices[n.index];
  }

  static std::optional<Unfused> unless(bool fine, Unfused why) {
    return fine ? std::nullopt : std::optional(why);
  }

  bool is_reduction(const Node& n, ValueId v) {
    if (!has_trait(n.op, kReduction) && n.op != Op::argmax && n.op != Op::argmin) return false;
    return shape(v).elements != shape(graph_.operands(n)[0]).elements;
  }

  // Over the operand's axes, ones left out.
  std::vector<bool> reduced_axes(const Node& n, ValueId o) {
    const auto& from = graph_.type(o).dims;
    std::vector<bool> all(from.size(), false);
    if (has_trait(n.op, kReduction)) {
      for (int64_t a : graph_.attrs(n).ints(AttrKey::axes)) all[static_cast<size_t>(a)] = true;
    } else {
      all[static_cast<size_t>(graph_.attrs(n).integer(AttrKey::axis))] = true;
    }
    std::vector<bool> flags;
    for (size_t a = 0; a < from.size(); ++a) {
      if (!dims_.is_constant(from[a], 1)) flags.push_back(all[a]);
    }
    return flags;
  }

  bool is_split(const Shape& x, const std::vector<bool>& axes) {
    int64_t kept = 1, reduced = 1;
    for (size_t a = 0; a < x.dims.size(); ++a) {
      const auto extent = dims_.constant_value(x.dims[a]);
      if (!extent || *extent <= 0) return false;
      (axes[a] ? reduced : kept) *= *extent;
    }
    return kept <= kMaxSplitKept && reduced >= kMinSplitElements;
  }

  void place(NodeId id, NodeKind kind) {
    const Node& n = graph_.node(id);
    const ValueId v = graph_.result(id);
    const auto operands = graph_.operands(n);
    const size_t data = num_data_operands(n);
    uint32_t stage = 1;
    std::vector<uint32_t> candidates;
    obstacles_.assign(operands.size(), Unfused::kPath);
    for (size_t i = 0; i < operands.size(); ++i) {
      const Chain& c = chains_[operands[i].index];
      const auto why =
          kind == NodeKind::kNest && i < data ? obstacle(n, v, operands[i]) : Unfused::kOwnKernel;
      if (why) obstacles_[i] = *why;
      if (!why) {
        const uint32_t g = group_of(c.base);
        stage = std::max({stage, states_[g].stage, c.extra + 1});
        if (std::find(candidates.begin(), candidates.end(), g) == candidates.end()) {
          candidates.push_back(g);
        }
      } else {
        if (is_before(operands[i], v)) continue;
        const bool waits = c.base.valid() && !is_before(c.base, v);
        stage = std::max(stage, std::max(waits ? stage_of(c.base) : 0, c.extra) + 1);
      }
    }
    std::erase_if(candidates, [&](uint32_t g) { return states_[g].stage != stage; });
    if (delay_product(stage, &candidates)) ++stage;
    uint32_t group = kNoGroup;
    if (!candidates.empty()) {
      group = try_join(id, candidates);
      if (group == kNoGroup) ++stage;
    }
    if (group == kNoGroup) group = new_group(id, kind, stage);
    parent_of_node_[id.index] = group;
    if (options_.explain) note_unfused(id, group, candidates);
    GroupState& s = states_[group];
    s.weight += weight(id);
    for (ValueId o : operands) {
      add_tensor(&s, o, group);
      note_reader(o, group);
    }
  }

  void note_reader(ValueId o, uint32_t by) {
    const ValueId base = chains_[o.index].base.valid() ? chains_[o.index].base : o;
    const uint32_t g = group_of(base);
    if (g != kNoGroup && g != by) states_[g].read_outside = true;
  }

  // A sum of two products (matmul, conv) can be in the kernel of one only, and only after the other: the
  // last one, with what else would be in the sum's kernel, is put off by a stage. That is safe while
  // nothing outside has read them, since no stage rests on theirs.
  bool delay_product(uint32_t stage, std::vector<uint32_t>* candidates) {
    const auto is_product = [&](uint32_t g) { return states_[g].kind == GroupKind::kContract; };
    if (std::count_if(candidates->begin(), candidates->end(), is_product) < 2) return false;
    uint32_t last = kNoGroup;
    for (uint32_t g : *candidates) {
      const bool free = is_product(g) && !states_[g].read_outside;
      if (free && (last == kNoGroup || g > last)) last = g;
    }
    if (last == kNoGroup) return false;
    std::erase_if(*candidates, [&](uint32_t g) {
      return g != last && (is_product(g) || states_[g].read_outside);
    });
    for (uint32_t g : *candidates) states_[g].stage = stage + 1;
    return true;
  }

  // `candidates`: the groups that it could have joined.
  void note_unfused(NodeId id, uint32_t group, const std::vector<uint32_t>& candidates) {
    const auto operands = graph_.operands(id);
    for (size_t i = 0; i < operands.size(); ++i) {
      const ValueId base = chains_[operands[i].index].base;
      const uint32_t g = base.valid() ? group_of(base) : kNoGroup;
      if (i >= num_data_operands(graph_.node(id)) || g == kNoGroup || g == group) continue;
      const bool refused = std::ranges::find(candidates, g) != candidates.end();
      unfused_.push_back({id, graph_.producer(base), refused ? join_refusal_ : obstacles_[i]});
    }
  }

  uint32_t weight(NodeId id) {
    const Node& n = graph_.node(id);
    if (!has_trait(n.op, kElementwise)) return 2;
    return op_weight(n.op, graph_.type(graph_.operands(n)[0]).dtype);
  }

  void add_tensor(GroupState* s, ValueId o, uint32_t group) {
    if (is_literal(graph_, o)) return;
    const Chain& c = chains_[o.index];
    const ValueId base = c.base.valid() ? c.base : o;
    if (is_literal(graph_, base) || group_of(base) == group) return;
    note_tensor(s, base);
  }

  // Beyond the limit the group takes nobody in, whatever more it reads: a concat may read a million.
  void note_tensor(GroupState* s, ValueId tensor) const {
    if (s->tensors.size() > options_.max_tensors) return;
    if (std::ranges::find(s->tensors, tensor) == s->tensors.end()) s->tensors.push_back(tensor);
  }

  uint32_t new_group(NodeId id, NodeKind kind, uint32_t stage) {
    const Node& n = graph_.node(id);
    const ValueId v = graph_.result(id);
    GroupState s;
    s.stage = stage;
    s.kind = kind == NodeKind::kNest       ? GroupKind::kNest
             : kind == NodeKind::kContract ? GroupKind::kContract
                                           : GroupKind::kSingle;
    if (kind == NodeKind::kNest && is_reduction(n, v)) {
      const ValueId x = graph_.operands(n)[0];
      s.space = shape(x).dims;
      s.elements = shape(x).elements;
      set_reduced(&s, n, v, x);
    } else {
      s.space = shape(v).dims;
      s.elements = shape(v).elements;
      s.kept = s.elements;
    }
    const auto g = static_cast<uint32_t>(states_.size());
    states_.push_back(std::move(s));
    parent_.push_back(g);
    return g;
  }

  void set_reduced(GroupState* s, const Node& n, ValueId v, ValueId x) {
    s->reduced = reduced_axes(n, x);
    s->kept = shape(v).elements;
    s->split = is_split(shape(x), s->reduced);
  }

  // All of `candidates` (of one stage) and node `id` as one group; kNoGroup if that cannot be.
  uint32_t try_join(NodeId id, const std::vector<uint32_t>& candidates) {
    const Node& n = graph_.node(id);
    const ValueId v = graph_.result(id);
    join_refusal_ = Unfused::kSpace;
    // The one with the richest space first: others are parts of it.
    uint32_t lead = candidates[0];
    for (uint32_t g : candidates) {
      const bool richer = (!states_[g].reduced.empty() && states_[lead].reduced.empty()) ||
                          (states_[g].kind == GroupKind::kContract);
      if (richer) lead = g;
    }
    GroupState merged = states_[lead];
    merged.weight += weight(id);
    for (uint32_t g : candidates) {
      if (g == lead) continue;
      if (!merge_into(&merged, states_[g])) return kNoGroup;
    }
    if (is_reduction(n, v)) {
      const ValueId x = graph_.operands(n)[0];
      if (merged.kind == GroupKind::kContract || shape(x).dims != merged.space) return kNoGroup;
      join_refusal_ = Unfused::kReduction;
      if (!merged.reduced.empty() && reduced_axes(n, x) != merged.reduced) return kNoGroup;
      if (merged.reduced.empty()) set_reduced(&merged, n, v, x);
    } else {
      const Shape& x = shape(v);
      if (x.elements == merged.elements) {
        const bool fixed = !merged.reduced.empty() || merged.kind == GroupKind::kContract;
        if (fixed && x.dims != merged.space) return kNoGroup;
        if (merged.reduced.empty() && refines(x.dims, merged.space)) merged.space = x.dims;
        if (merged.reduced.empty() && !refines(merged.space, x.dims)) return kNoGroup;
      } else if (merged.reduced.empty() || x.elements != merged.kept) {
        return kNoGroup;
      }
    }
    join_refusal_ = Unfused::kReduction;
    if (merged.split && merged.kept != merged.elements && uses_rows(n, merged)) return kNoGroup;
    join_refusal_ = Unfused::kFull;
    const bool scalar = merged.space.empty();
    const uint32_t limit = scalar ? options_.max_scalar_weight : options_.max_weight;
    if (merged.weight > limit || merged.tensors.size() > options_.max_tensors) {
      for (uint32_t g : candidates)
        states_[g].open = false;  // cut here: the next group starts anew
      return kNoGroup;
    }
    for (uint32_t g : candidates) parent_[g] = lead;
    merged.weight -= weight(id);  // counted by the caller
    states_[lead] = std::move(merged);
    return lead;
  }

  bool uses_rows(const Node& n, const GroupState& s) {
    for (ValueId o : graph_.operands(n)) {
      const Chain& c = chains_[o.index];
      if (c.base.valid() && group_of(c.base) != kNoGroup && shape(c.base).elements == s.kept) {
        return true;
      }
    }
    return false;
  }

  bool merge_into(GroupState* a, const GroupState& b) {
    if (b.kind == GroupKind::kContract || b.kind == GroupKind::kSingle) return false;
    if (!b.reduced.empty()) {
      if (a->reduced != b.reduced || a->space != b.space) return false;
      if (a->split || b.split) return false;
    } else if (b.elements == a->elements) {
      if (!a->reduced.empty() && a->space != b.space) return false;
      if (a->reduced.empty()) {
        if (refines(b.space, a->space)) {
          if (a->kind == GroupKind::kContract && a->space != b.space) return false;
          a->space = b.space;
        } else if (!refines(a->space, b.space)) {
          return false;
        }
      }
    } else if (a->reduced.empty() || b.elements != a->kept || a->split) {
      return false;
    }
    a->weight += b.weight;
    a->read_outside = a->read_outside || b.read_outside;
    for (ValueId t : b.tensors) note_tensor(a, t);
    return true;
  }

  // ---- the result

  Groups collect() {
    const size_t num_nodes = graph_.num_nodes();
    Groups result;
    result.group_of.assign(num_nodes, kNoGroup);
    result.stored.assign(graph_.num_values(), false);
    result.storage.resize(graph_.num_values());
    std::vector<uint32_t> number(states_.size(), kNoGroup);
    order_groups(&number);
    for (uint32_t n : number) {
      if (n != kNoGroup && n >= result.groups.size()) result.groups.resize(n + 1);
    }
    for (uint32_t i = 0; i < num_nodes; ++i) {
      if (parent_of_node_[i] == kNoGroup) continue;
      const uint32_t root = find(parent_of_node_[i]);
      const uint32_t g = number[root];
      result.group_of[i] = g;
      Group& group = result.groups[g];
      if (group.nodes.empty()) {
        const GroupState& s = states_[root];
        group.kind = s.kind;
        group.space = s.space;
        group.reduced = s.reduced.empty() ? std::vector<bool>(s.space.size(), false) : s.reduced;
        group.split = s.split;
      }
      group.nodes.push_back(NodeId(i));
      if (kind_of(graph_.node(NodeId(i)).op) == NodeKind::kContract) {
        std::swap(group.nodes.front(), group.nodes.back());
        std::sort(group.nodes.begin() + 1, group.nodes.end());
      }
    }
    find_outputs(&result);
    result.unfused = std::move(unfused_);
    return result;
  }

  // Groups in an order that follows the graph's own (so that lifetimes stay as short as in the file):
  // of those whose operands are done, the one whose last node comes first.
  void order_groups(std::vector<uint32_t>* number) {
    const auto num_nodes = static_cast<uint32_t>(graph_.num_nodes());
    const size_t units = states_.size();
    std::vector<uint32_t> waiting(units, 0), last(units, 0), head(units + 1, 0);
    std::vector<ValueId> open;
    // Calls edge(from, to) for each operand slot of a group, seen through index maps.
    const auto for_each_edge = [&](const auto& edge) {
      for (uint32_t i = 0; i < num_nodes; ++i) {
        if (parent_of_node_[i] == kNoGroup) continue;
        const uint32_t u = find(parent_of_node_[i]);
        const auto operands = graph_.operands(NodeId(i));
        open.assign(operands.begin(), operands.end());
        while (!open.empty()) {
          const ValueId o = open.back();
          open.pop_back();
          const uint32_t p = group_of(o);
          if (p != kNoGroup) {
            if (p != u) edge(p, u);
            continue;
          }
          const auto more = graph_.operands(graph_.producer(o));
          open.insert(open.end(), more.begin(), more.end());
        }
      }
    };
    for (uint32_t i = 0; i < num_nodes; ++i) {
      if (parent_of_node_[i] != kNoGroup) last[find(parent_of_node_[i])] = i;
    }
    for_each_edge([&](uint32_t from, uint32_t to) { ++waiting[to], ++head[from + 1]; });
    for (size_t u = 0; u < units; ++u) head[u + 1] += head[u];
    std::vector<uint32_t> fill(head.begin(), head.end() - 1), next(head.back());
    for_each_edge([&](uint32_t from, uint32_t to) { next[fill[from]++] = to; });
    using Entry = std::pair<uint32_t, uint32_t>;  // (last node, group)
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    uint32_t count = 0, expected = 0;
    for (uint32_t u = 0; u < units; ++u) {
      if (find(u) != u) continue;
      ++expected;
      if (waiting[u] == 0) ready.push({last[u], u});
    }
    while (!ready.empty()) {
      const uint32_t u = ready.top().second;
      ready.pop();
      (*number)[u] = count++;
      for (uint32_t k = head[u]; k < head[u + 1]; ++k) {
        if (--waiting[next[k]] == 0) ready.push({last[next[k]], next[k]});
      }
    }
    GCOMP_CHECK(count == expected, "fusion made a cycle of groups");
  }

  void find_outputs(Groups* r) {
    constexpr uint32_t kNobody = 0xffffffffu, kSeveral = 0xfffffffeu;
    // The one group that reads a value, through index maps too.
    std::vector<uint32_t> reader(graph_.num_values(), kNobody);
    const auto read = [&](ValueId v, uint32_t g) {
      uint32_t& have = reader[v.index];
      have = have == kNobody || have == g ? g : kSeveral;
    };
    for (const Port& out : graph_.outputs()) read(out.value, kSeveral);
    for (size_t i = graph_.num_nodes(); i-- > 0;) {
      const Node& n = graph_.node(NodeId(i));
      const uint32_t g = r->group_of[i];
      if (n.op == Op::input || n.op == Op::constant) {
        r->stored[graph_.result(NodeId(i)).index] = true;
        continue;
      }
      if (g == kNoGroup) {
        const ValueId v = graph_.result(NodeId(i));
        const uint32_t by = reader[v.index];
        if (by == kNobody) continue;
        for (ValueId o : graph_.operands(n)) read(o, by);
        if (dense_[v.index]) r->stored[v.index] = true;  // renames what is stored
        continue;
      }
      for (ValueId o : graph_.operands(n)) read(o, g);
      for (int k = 0; k < n.num_results; ++k) {
        const ValueId v = graph_.result(NodeId(i), k);
        const bool single = r->groups[g].kind == GroupKind::kSingle;
        if (single || (reader[v.index] != g && reader[v.index] != kNobody) || dense_[v.index]) {
          r->stored[v.index] = true;
        }
      }
    }
    for (uint32_t i = 0; i < graph_.num_nodes(); ++i) {
      const Node& n = graph_.node(NodeId(i));
      for (int k = 0; k < n.num_results; ++k) {
        const ValueId v = graph_.result(NodeId(i), k);
        r->storage[v.index] = v;
        if (r->group_of[i] != kNoGroup && r->stored[v.index]) {
          r->groups[r->group_of[i]].outputs.push_back(v);
        }
      }
      if (n.op == Op::bind_dims || n.op == Op::check ||
          (r->group_of[i] == kNoGroup && is_renaming(n.op))) {
        const ValueId v = graph_.result(NodeId(i)), from = graph_.operands(n)[0];
        if (r->stored[from.index]) {
          r->stored[v.index] = true;
          r->storage[v.index] = r->storage[from.index];
        }
      }
    }
    // Groups that nobody reads (dead code) have no outputs; their emitter does nothing.
  }

  const Graph& graph_;
  const FusionOptions& options_;
  DimTable& dims_;
  Uses uses_;
  std::vector<bool> dense_;
  std::vector<Chain> chains_;
  std::vector<uint32_t> parent_of_node_;  // group (not its root) of each node
  std::vector<uint32_t> parent_;          // union-find over groups
  std::vector<GroupState> states_;
  std::unordered_map<uint32_t, Shape> shapes_;
  std::vector<Unfused> obstacles_;          // of each operand of the node that is placed
  Unfused join_refusal_ = Unfused::kSpace;  // why try_join said no
  std::vector<UnfusedEdge> unfused_;
};

}  // namespace

std::string_view name(Unfused u) {
  constexpr std::string_view kNames[kNumUnfused] = {
      "off", "own kernel", "index map", "space", "reduction", "full", "path", "turns", "device"};
  return kNames[static_cast<size_t>(u)];
}

std::string_view reason(Unfused u) {
  constexpr std::string_view kReasons[kNumUnfused] = {
      "fusion is switched off",
      "one of them has a kernel of its own",
      "it is read through an index map that moves elements",
      "they iterate over different extents",
      "another reduction lies between them",
      "the kernel would be too large",
      "another kernel has to run between them",
      "one of them is the same in every turn of the loop",
      "they are computed on different devices",
  };
  return kReasons[static_cast<size_t>(u)];
}

uint32_t op_weight(Op op, DType dtype) {
  if (!is_float(dtype)) {
    return op == Op::div || op == Op::floor_div || op == Op::mod || op == Op::rem || op == Op::pow
               ? 10
               : 1;
  }
  switch (op) {
    case Op::exp:
    case Op::exp2: return 12;
    case Op::log:
    case Op::log2:
    case Op::log10:
    case Op::sigmoid:
    case Op::tanh: return 20;
    case Op::sin:
    case Op::cos:
    case Op::expm1:
    case Op::log1p:
    case Op::sinh:
    case Op::cosh:
    case Op::softplus:
    case Op::log1mexp:
    case Op::atan:
    case Op::asin:
    case Op::acos: return 28;
    case Op::tan:
    case Op::atan2:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh:
    case Op::erf:
    case Op::pow: return 45;
    case Op::erfc:
    case Op::erfcx:
    case Op::erfinv:
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma: return 80;
    case Op::div:
    case Op::sqrt:
    case Op::mod:
    case Op::rem:
    case Op::floor_div: return 3;
    default: return 1;
  }
}

bool is_literal(const Graph& graph, ValueId v) {
  const Constant* c = graph.constant(v);
  return c != nullptr && c->bytes.size() == byte_size(c->dtype);
}

Groups fuse(const Graph& graph, const FusionOptions& options) {
  return Fuser(graph, options).run();
}

}  // namespace gcomp::schedule
