#pragma once
// Where a node is computed and where memory lies.

#include <cstdint>
#include <string_view>

#include "gcomp/ir/graph.h"

namespace gcomp {

enum class Device : uint8_t { kHost, kCuda };

// Why a node cannot be computed by a kernel on a GPU; "" if it can. Sources, which are computed nowhere, can.
std::string_view cuda_obstacle(const Graph& graph, NodeId node);

}  // namespace gcomp
