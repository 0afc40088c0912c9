#pragma once
// --dim batch=8: a graph in which symbols have become numbers.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "gcomp/ir/graph.h"

namespace gcomp::driver {

// UserError (kUsage) for a symbol that no input has, with a suggestion. Nested graphs change too.
std::unique_ptr<Graph> specialize(const Graph& graph, const std::map<std::string, int64_t>& dims);

}  // namespace gcomp::driver
