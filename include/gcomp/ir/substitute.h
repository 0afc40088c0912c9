#pragma once
// A graph with other extents for some of its symbols.

#include <memory>
#include <span>

#include "gcomp/ir/graph.h"

namespace gcomp {

// The graph and its bodies, node for node, with replacement[s] for each symbol s (invalid: keep).
std::unique_ptr<Graph> substitute(const Graph& graph, std::span<const DimId> replacement);

}  // namespace gcomp
