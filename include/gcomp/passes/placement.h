#pragma once
// Which nodes run on the GPU: a side table beside the final graph, never an attribute of an op.
// lib/passes/README.md has the method.

#include <vector>

#include "gcomp/ir/device.h"
#include "gcomp/ir/graph.h"

namespace gcomp::passes {

struct PlacementCosts {};

struct Placement {
  std::vector<Device> devices;  // per node
};

Placement place(const Graph& graph, const PlacementCosts& costs = {});

}  // namespace gcomp::passes
