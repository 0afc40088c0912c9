#include "gcomp/ir/device.h"

#include "gcomp/ir/graph.h"

namespace gcomp {

std::string_view cuda_obstacle(const Graph& graph, NodeId node) {
  switch (graph.node(node).op) {
    case Op::check: return "the host looks at what it checks";
    case Op::bind_dims:
    case Op::nonzero: return "the host learns extents from it";
    case Op::cond:
    case Op::loop: return "the host runs nested graphs";
    default: return "";
  }
}

}  // namespace gcomp
