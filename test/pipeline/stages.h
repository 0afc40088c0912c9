#pragma once
// A level's passes on a graph, each sweep a second time to see that it finds nothing to do.

#include <memory>
#include <string>
#include <vector>

#include "gcomp/pass/pass.h"

namespace gcomp::test {

struct Optimised {
  std::unique_ptr<Graph> graph;
  std::string
      fault;  // of structure: not sound, work left for a second sweep, rules that chase each other
};

Optimised optimise(const Graph& graph, const pass::Options& options);

// The levels, and fast_run without what is slow: those that differ in graph passes or rules.
struct Variant {
  std::string name;
  pass::Options options;
};
std::vector<Variant> variants();

}  // namespace gcomp::test
