#pragma once
// Inputs and outputs of a graph as JSON: [{"name", "dtype", "dims": [3, "batch", "2*n + 1"]}, ...].

#include <nlohmann/json.hpp>

#include "gcomp/ir/graph.h"

namespace gcomp::driver {

nlohmann::ordered_json signature_json(const Graph& graph, const std::vector<Port>& ports);

}  // namespace gcomp::driver
