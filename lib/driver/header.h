#pragma once
// --header: a typed interface of a compiled graph, for C++ (gcomp/runtime/model.hpp) and, what little C can
// have, for C.

#include <string>

#include "gcomp/ir/graph.h"

namespace gcomp::driver {

// `name`: the prefix of the artifact's symbols. `graph` as it is compiled: its inputs, outputs, states and their
// extents are what the artifact tells of itself.
std::string interface_header(const Graph& graph, const std::string& name);

}  // namespace gcomp::driver
