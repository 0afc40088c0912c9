#pragma once
// Where a node is computed and where memory lies.

#include <cstdint>
#include <string_view>

#include "gcomp/support/id.h"

namespace gcomp {

class Graph;
using NodeId = Id<struct NodeTag>;

enum class Device : uint8_t { kHost, kCuda };

// Why a node cannot be computed by a kernel on a GPU; "" if it can. Sources, which are computed nowhere, can.
std::string_view cuda_obstacle(const Graph& graph, NodeId node);

}  // namespace gcomp
