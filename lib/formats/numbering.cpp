#include "numbering.h"

#include "gcomp/support/hash.h"
#include "gcomp/support/intern.h"

namespace gcomp::formats {
namespace {

// Takes memory by what is in it: a graph may be one of a million nested ones.
class IdSet {
 public:
  // Whether it is new.
  bool insert(uint32_t id) {
    const size_t hash = hash_mix(id + 1);
    if (ids_.find(hash, [id](uint32_t other) { return other == id; })) return false;
    ids_.add(hash, id);
    return true;
  }

 private:
  InternTable ids_;
};

}  // namespace

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
  std::vector<SymbolId> order, found;
  IdSet seen_dims, seen_symbols, seen_attrs;
  const auto look_at = [&](std::span<const DimId> dims) {
    for (DimId d : dims) {
      if (c.dims.constant_value(d) || !seen_dims.insert(d.index)) continue;
      found.clear();
      c.dims.collect_symbols(d, &found);
      for (SymbolId s : found) {
        if (seen_symbols.insert(s.index)) order.push_back(s);
      }
    }
  };
  for (const Port& p : g.inputs()) look_at(g.type(p.value).dims);
  for (const Node& n : g.nodes()) {
    if (n.attrs == AttrTable::none() || !seen_attrs.insert(n.attrs.index)) continue;
    for (const Attr& a : g.attrs(n)) {
      if (const auto* list = std::get_if<std::vector<DimId>>(&a.value)) look_at(*list);
    }
  }
  return order;
}

}  // namespace gcomp::formats
