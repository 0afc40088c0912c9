#pragma once
// A level's passes on a graph, each sweep a second time to see that it finds nothing to do.

#include <memory>
#include <string>

#include "gcomp/ir/graph.h"

namespace gcomp::test {

struct Optimised {
  std::unique_ptr<Graph> graph;
  std::string
      fault;  // of structure: not sound, work left for a second sweep, rules that chase each other
};

Optimised optimise(const Graph& graph, const std::string& level);

}  // namespace gcomp::test
