#include "copy.h"

namespace gcomp::passes {

void Copier::inputs() {
  for (const Port& p : old_.inputs()) {
    builder_.set_loc(old_.producer_node(p.value).loc);
    memo_[p.value.index] = builder_.input(p.name, old_.type(p.value), p.donate);
  }
}

void Copier::node(const Node& n) {
  builder_.set_loc(n.loc);
  operands_.clear();
  for (ValueId v : old_.operands(n)) operands_.push_back(memo_[v.index]);
  types_.clear();
  for (int k = 0; k < n.num_results; ++k) {
    types_.push_back(old_.type_id(ValueId(n.first_result.index + k)));
  }
  const AttrsId attrs = has_trait(n.op, kHasBody) ? map_bodies(n.attrs) : n.attrs;
  const NodeId made = builder_.typed_node(n.op, operands_, attrs, types_);
  for (int k = 0; k < n.num_results; ++k) {
    memo_[n.first_result.index + k] = builder_.result(made, k);
  }
}

void Copier::outputs() {
  for (const Port& p : old_.outputs()) builder_.output(p.name, memo_[p.value.index]);
  for (const State& s : old_.states()) builder_.state(s);
}

AttrsId Copier::map_bodies(AttrsId id) const {
  AttrTable& table = old_.context().attrs;
  std::vector<Attr> list(table[id].begin(), table[id].end());
  for (Attr& a : list) {
    auto* graphs = std::get_if<std::vector<GraphId>>(&a.value);
    if (graphs == nullptr) continue;
    for (GraphId& g : *graphs) {
      if (const auto found = bodies_.find(g.index); found != bodies_.end()) g = found->second;
    }
  }
  return table.intern(std::move(list));
}

}  // namespace gcomp::passes
