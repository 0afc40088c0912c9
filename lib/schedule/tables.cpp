#include "gcomp/schedule/tables.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp::schedule {
namespace {

// What a symbol is taken for where sizes are compared.
constexpr int64_t kSymbolExtent = 64;

// Bytes of each value; types are few, values many.
std::vector<uint64_t> sizes(const Graph& graph) {
  DimTable& dims = graph.context().dims;
  const std::vector<int64_t> symbols(dims.num_symbols(), kSymbolExtent);
  std::unordered_map<uint32_t, uint64_t> of_type;
  std::vector<uint64_t> bytes(graph.num_values());
  for (uint32_t v = 0; v < bytes.size(); ++v) {
    const auto [it, inserted] = of_type.try_emplace(graph.type_id(ValueId(v)).index, 0);
    if (inserted) {
      const Type& type = graph.type(ValueId(v));
      double size = static_cast<double>(byte_size(type.dtype));
      for (DimId d : type.dims) {
        size *= static_cast<double>(std::max<int64_t>(dims.evaluate(d, symbols), 0));
      }
      it->second = static_cast<uint64_t>(std::min(size, 1e18));
    }
    bytes[v] = it->second;
  }
  return bytes;
}

void protect(const Graph& graph, const TableOptions& options, ScheduleTables* t) {
  t->protection.assign(graph.num_values(), Protection::kNone);
  for (const Node& n : graph.nodes()) {
    if (n.op == Op::constant) t->protection[n.first_result.index] = Protection::kConstant;
    // Inputs of nested graphs are not ports.
    if (n.op == Op::input) t->protection[n.first_result.index] = Protection::kInput;
  }
  for (const Port& in : graph.inputs()) {
    if (in.donate) t->protection[in.value.index] = Protection::kNone;
  }
  for (const State& state : graph.states()) {
    const ValueId v = graph.inputs()[state.input].value;
    if (options.states) t->protection[v.index] = Protection::kNone;
  }
  for (const Port& out : graph.outputs()) t->protection[out.value.index] = Protection::kOutput;
}

ScheduleTables empty_tables(const Graph& graph, const TableOptions& options) {
  ScheduleTables t;
  t.producer.assign(graph.num_values(), kNoNode);
  t.view_of.assign(graph.num_values(), ValueId());
  t.bytes = sizes(graph);
  protect(graph, options, &t);
  t.first_operand.push_back(0);
  return t;
}

void add_candidates(const Graph& graph, const Node& n, ScheduleTables* t) {
  const ValueId result = n.first_result;
  const bool elementwise = has_trait(n.op, kElementwise);
  if (!elementwise && !has_trait(n.op, kUpdates)) return;
  const auto operands = graph.operands(n);
  const size_t count = elementwise ? operands.size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const bool again = std::find(operands.begin(), operands.begin() + static_cast<ptrdiff_t>(i),
                                 operands[i]) != operands.begin() + static_cast<ptrdiff_t>(i);
    if (again || graph.type_id(operands[i]) != graph.type_id(result)) continue;
    t->candidates.push_back({result, operands[i], elementwise});
  }
}

// The new value of a state over the old one, where its node does not read that.
void add_state_candidates(const Graph& graph, ScheduleTables* t) {
  for (const State& state : graph.states()) {
    if (state.output == State::kUnchanged) continue;
    const ValueId from = graph.inputs()[state.input].value;
    const ValueId to = graph.outputs()[state.output].value;
    const uint32_t node = t->producer[to.index];
    if (node == kNoNode || t->view_of[to.index].valid()) continue;
    const auto operands = t->operands_of(node);
    if (std::ranges::find(operands, from) != operands.end()) continue;  // it is one as an operand
    if (graph.type_id(from) == graph.type_id(to)) t->candidates.push_back({to, from});
  }
}

}  // namespace

ScheduleTables op_tables(const Graph& graph, const TableOptions& options) {
  ScheduleTables t = empty_tables(graph, options);
  t.first_operand.reserve(graph.num_nodes() + 1);
  for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.node(NodeId(i));
    const auto operands = graph.operands(n);
    t.operands.insert(t.operands.end(), operands.begin(), operands.end());
    t.first_operand.push_back(static_cast<uint32_t>(t.operands.size()));
    if (n.op == Op::input || n.op == Op::constant) continue;
    for (int k = 0; k < n.num_results; ++k) t.producer[n.first_result.index + k] = i;
    if (has_trait(n.op, kView)) {
      t.view_of[n.first_result.index] = operands[0];
    } else {
      add_candidates(graph, n, &t);
    }
  }
  if (options.states) add_state_candidates(graph, &t);
  t.name_of = [&graph](uint32_t n) {
    const Node& node = graph.node(NodeId(n));
    return "%" + std::to_string(node.first_result.index) + " " + std::string(name(node.op));
  };
  return t;
}

ScheduleTables group_tables(const Graph& graph, const Groups& groups, const TableOptions& options) {
  ScheduleTables t = empty_tables(graph, options);
  for (uint32_t g = 0; g < groups.groups.size(); ++g) {
    for (ValueId v : groups.groups[g].outputs) t.producer[v.index] = g;
  }
  // Another name for stored memory: made where that is, or by the group that passes it on.
  for (uint32_t i = 0; i < graph.num_values(); ++i) {
    if (!groups.stored[i] || groups.storage[i] == ValueId(i)) continue;
    t.view_of[i] = graph.operands(graph.producer(ValueId(i)))[0];
    if (t.producer[i] == kNoNode) t.producer[i] = t.producer[t.view_of[i].index];
  }
  std::vector<ValueId> open;
  std::vector<uint32_t> seen(graph.num_values(), kNoNode);  // the last group that met it
  for (uint32_t g = 0; g < groups.groups.size(); ++g) {
    for (NodeId n : groups.groups[g].nodes) {
      const auto operands = graph.operands(n);
      open.assign(operands.begin(), operands.end());
      while (!open.empty()) {
        const ValueId v = open.back();
        open.pop_back();
        if (seen[v.index] == g) continue;
        seen[v.index] = g;
        const NodeId from = graph.producer(v);
        if (groups.group_of[from.index] == g || t.producer[v.index] == g) continue;
        if (groups.stored[v.index]) {
          t.operands.push_back(v);
        } else {  // an index map, computed where it is read
          const auto more = graph.operands(from);
          open.insert(open.end(), more.begin(), more.end());
        }
      }
    }
    std::sort(t.operands.begin() + t.first_operand.back(), t.operands.end());
    t.first_operand.push_back(static_cast<uint32_t>(t.operands.size()));
  }
  t.name_of = [&graph, &groups](uint32_t g) {
    const Node& last = graph.node(groups.groups[g].nodes.back());
    return "group " + std::to_string(g) + " (" + std::string(name(last.op)) + ")";
  };
  return t;
}

}  // namespace gcomp::schedule
