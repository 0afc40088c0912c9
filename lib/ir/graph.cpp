#include "gcomp/ir/graph.h"

#include <limits>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {

LocTable::LocTable() { texts_.emplace_back(); }

LocId LocTable::intern(std::string_view text) {
  if (text.empty()) return none();
  const size_t h = hash_bytes(std::as_bytes(std::span(text)));
  if (const auto found = interned_.find(h, [&](uint32_t id) { return texts_[id] == text; })) {
    return LocId(*found);
  }
  const LocId id(texts_.size());
  texts_.emplace_back(text);
  interned_.add(h, id.index);
  return id;
}

Context::Context() = default;
Context::~Context() = default;

GraphId Context::add_graph(std::unique_ptr<Graph> body) {
  bodies_.push_back(std::move(body));
  return GraphId(bodies_.size() - 1);
}

const Constant* Graph::constant(ValueId v) const {
  const Node& n = producer_node(v);
  if (n.op != Op::constant) return nullptr;
  return &context_->constants[attrs(n).constant(AttrKey::value)];
}

NodeId Graph::append(Op op, std::span<const ValueId> operands, AttrsId attrs,
                     std::span<const TypeId> result_types, LocId loc) {
  const NodeId id(nodes_.size());
  for (ValueId v : operands) GCOMP_CHECK(v.index < types_.size(), "operand not made yet");
  check_room_for_ids(nodes_.size(), 1, "nodes");
  check_room_for_ids(types_.size(), result_types.size(), "values");
  check_room_for_ids(operands_.size(), operands.size(), "operands");
  if (result_types.size() > std::numeric_limits<decltype(Node::num_results)>::max()) {
    graph_error(Code::kTooLarge, "a node of more than 65535 results", context_->locs[loc]);
  }
  nodes_.push_back({op, static_cast<uint16_t>(result_types.size()), attrs,
                    static_cast<uint32_t>(operands_.size()), static_cast<uint32_t>(operands.size()),
                    ValueId(types_.size()), loc});
  operands_.insert(operands_.end(), operands.begin(), operands.end());
  types_.insert(types_.end(), result_types.begin(), result_types.end());
  producers_.insert(producers_.end(), result_types.size(), id);
  return id;
}

void Graph::reserve(size_t nodes, size_t operands) {
  nodes_.reserve(nodes);
  operands_.reserve(operands);
  types_.reserve(nodes);
  producers_.reserve(nodes);
}

Uses::Uses(const Graph& g) : first_(g.num_values() + 1), is_output_(g.num_values()) {
  for (const Node& n : g.nodes()) {
    for (ValueId v : g.operands(n)) ++first_[v.index + 1];
  }
  for (size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  readers_.resize(first_.back());
  std::vector<uint32_t> next(first_.begin(), first_.end() - 1);
  for (size_t i = 0; i < g.num_nodes(); ++i) {
    for (ValueId v : g.operands(NodeId(i))) readers_[next[v.index]++] = NodeId(i);
  }
  for (const Port& p : g.outputs()) is_output_[p.value.index] = true;
}

}  // namespace gcomp
