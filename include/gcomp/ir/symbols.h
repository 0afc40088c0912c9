#pragma once
// Symbols of a graph: where a node may use one.

#include <functional>
#include <string>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

struct SymbolProblem {
  NodeId node;
  std::string what, advice;
};

// The nodes that use a symbol of unknown value, in order. What a node's attributes and results name must be
// an extent of an input, or be defined by the node itself, or come with an operand (in its type, or as what
// a bind_dims or dims gives): a run then knows it before the node. A symbol is defined once. Nested graphs
// are not looked into: they have symbols of their own.
std::vector<SymbolProblem> check_symbols(const Graph& graph);

// The first of them as a UserError (kGraph), its place what `path` gives (of a nested graph in its file; only
// asked then: it may be as long as the nesting is deep) and the node's.
void require_symbols(const Graph& graph, const std::string& file_name,
                     const std::function<std::string()>& path = {});

}  // namespace gcomp
