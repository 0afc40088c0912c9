#include "removed.h"

namespace gcomp::rewrite {

RemovedNodes::RemovedNodes(std::span<const Rule* const> rules) : counts_(rules.size()) {
  for (uint32_t i = 0; i < rules.size(); ++i) number_.emplace(rules[i], i);
}

void RemovedNodes::begin_graph(const Graph&) { replaced_.clear(); }

void RemovedNodes::applied(const Rewrite& r) {
  if (r.rule != nullptr) replaced_.emplace_back(r.root.index, number_.at(r.rule));
}

// One backward scan: readers come after what they read.
void RemovedNodes::end_graph(const Swept& swept) {
  constexpr uint32_t kNobody = 0xffffffffu;
  const Graph& g = swept.built;
  std::vector<uint32_t> remover(g.num_nodes(), kNobody);
  for (const auto& [node, rule] : replaced_) remover[node] = rule;
  for (size_t i = g.num_nodes(); i-- > 0;) {
    const Node& n = g.node(NodeId(i));
    const bool dropped = n.num_results > 0 && !swept.moved[n.first_result.index].valid();
    if (!dropped || remover[i] == kNobody) continue;
    ++counts_[remover[i]];
    for (ValueId v : g.operands(n)) {
      uint32_t& of_operand = remover[g.producer(v).index];
      if (of_operand == kNobody) of_operand = remover[i];
    }
  }
}

}  // namespace gcomp::rewrite
