#pragma once
// What a graph costs to run, roughly: the cost model by which rows of a rule base are linted. Not used by
// the sweep: rules are directed by how they are written.

#include <cstdint>

#include "gcomp/ir/graph.h"

namespace gcomp::rewrite {

// Of one element of the op's result (for reductions and products of matrices: of one term). Arbitrary units;
// an addition is 4.
uint32_t cost(Op op);

// The sum over the nodes that outputs need and over bodies, with a little for each node itself; a symbolic
// extent counts as 3. Constants and their broadcasts cost nothing.
uint64_t cost(const Graph& graph);

}  // namespace gcomp::rewrite
