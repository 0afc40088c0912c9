#pragma once
// A copy of a nested graph for one node that runs it. The symbols of a body are its own: in the copy
// those that are known where the node stands are expressed by that graph's symbols, all others are fresh.
// So every extent of a module means one thing, and a body used twice binds different symbols.

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp::lower {

// What the symbols of one graph mean in its copy.
class SymbolMap {
 public:
  // `own`: of a graph that is no copy; its symbols stay what they are.
  SymbolMap(DimTable& dims, bool own) : dims_(dims), own_(own) {}

  bool known(SymbolId s) const { return own_ || map_.contains(s.index); }
  void learn(SymbolId s, DimId meaning) { map_.try_emplace(s.index, meaning); }
  bool all_known(DimId d) const;
  // Symbols not known get fresh ones.
  DimId translate(DimId d);

 private:
  DimTable& dims_;
  bool own_;
  std::unordered_map<uint32_t, DimId> map_;
  std::vector<DimId> replacement_;
  std::unordered_map<uint32_t, DimId> done_;
};

// An equation that only a run can check.
struct ExtentDemand {
  DimId left, right;
};

// What a body's input takes: the extents in the graph that holds the node, and before its own symbols
// were mapped (equal expressions there mean equal extents).
struct GivenExtents {
  std::vector<DimId> mapped;
  std::vector<DimId> source;  // invalid: has none
};

// Learns the symbols in the types of `body`'s inputs; `outer` maps the graph that holds the node. Returns
// what has to be compared when run. UserError naming `place` if a symbol does not follow.
std::vector<ExtentDemand> learn_inputs(const Graph& body, const std::vector<GivenExtents>& given,
                                       SymbolMap& outer, SymbolMap* inner,
                                       const std::string& place);

// The copy: equal nodes and values, other extents.
std::unique_ptr<Graph> instantiate(const Graph& body, SymbolMap& symbols);

}  // namespace gcomp::lower
