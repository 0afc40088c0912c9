#include "numbering.h"

#include <unordered_set>

namespace gcomp::formats {

Numbering::Numbering(const Graph& g) : id(g.num_values()) {
  uint32_t next = 0;
  for (const Port& p : g.inputs()) id[p.value.index] = next++;
  for (size_t i = 0; i < g.num_nodes(); ++i) {
    const Node& n = g.node(NodeId(i));
    if (n.op == Op::constant) {
      constants.push_back(NodeId(i));
      id[n.first_result.index] = next++;
    } else if (n.op != Op::input) {
      operations.push_back(NodeId(i));
    }
  }
  for (NodeId o : operations) {
    const Node& n = g.node(o);
    for (int r = 0; r < n.num_results; ++r) id[g.result(o, r).index] = next++;
  }
}

std::vector<SymbolId> symbols_of(const Graph& g) {
  const Context& c = g.context();
  std::vector<SymbolId> order;
  std::unordered_set<uint32_t> seen_dims, seen_symbols;
  const auto look_at = [&](std::span<const DimId> dims) {
    for (DimId d : dims) {
      if (!seen_dims.insert(d.index).second) continue;
      std::vector<SymbolId> found;
      c.dims.collect_symbols(d, &found);
      for (SymbolId s : found) {
        if (seen_symbols.insert(s.index).second) order.push_back(s);
      }
    }
  };
  for (const Port& p : g.inputs()) look_at(g.type(p.value).dims);
  std::unordered_set<uint32_t> seen_attrs;
  for (const Node& n : g.nodes()) {
    if (n.attrs == AttrTable::none() || !seen_attrs.insert(n.attrs.index).second) continue;
    for (const Attr& a : g.attrs(n)) {
      if (const auto* list = std::get_if<std::vector<DimId>>(&a.value)) look_at(*list);
    }
  }
  return order;
}

}  // namespace gcomp::formats
