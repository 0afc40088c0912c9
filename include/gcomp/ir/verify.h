#pragma once
// The graph's invariants (stated at the top of lib/ir/verify.cpp), checked in one linear pass.

#include <string>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

// Every violation, as "node 12 (add, Conv_3): message"; empty when the graph is sound. Nested graphs
// are checked too. `require_interned`: equal pure nodes must not coexist.
std::vector<std::string> verify(const Graph& graph, bool require_interned = false);

// Throws InternalError listing the violations and naming `after`, the pass that made the graph.
void verify_or_throw(const Graph& graph, const std::string& after, bool require_interned = false);

}  // namespace gcomp
