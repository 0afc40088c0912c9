#pragma once
// The interface of a graph as JSON: lists of {"name", "dtype", "dims": [3, "batch", "2*n + 1"]}.

#include <nlohmann/json.hpp>

#include "gcomp/ir/graph.h"

namespace gcomp::driver {

// What a call takes and gives, and what lives between calls: {"inputs": ..., "outputs": ...}, with "states" if
// there are any. States tell whether runs change them and whether they have an initial value, donated inputs
// have "donate": true.
nlohmann::ordered_json signature_json(const Graph& graph);

}  // namespace gcomp::driver
