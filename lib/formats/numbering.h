#pragma once
// The canonical order of a graph's values in files: inputs, then constants, then the results of the
// other nodes in graph order. The JSON and binary forms share it, so converting between them is
// exact.

#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp::formats {

struct Numbering {
  explicit Numbering(const Graph& g);
  std::vector<uint32_t> id;        // per value
  std::vector<NodeId> constants;   // nodes, in graph order
  std::vector<NodeId> operations;  // the other nodes but inputs
};

// All symbols that the extents of the graph (not of nested graphs) mention, in order of occurrence.
std::vector<SymbolId> symbols_of(const Graph& g);

}  // namespace gcomp::formats
