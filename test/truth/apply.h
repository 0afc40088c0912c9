#pragma once
// One node on true values. Ops that only move elements run in the reference evaluator on the elements' numbers
// (ids), and it tells where windows, contractions and scatters find theirs; so only arithmetic is written here.

#include <functional>
#include <span>
#include <vector>

#include "elements.h"

namespace gcomp::truth {

struct Task {
  const Graph& graph;
  const Node& node;
  std::span<const Value* const> operands;
  const std::function<int64_t(DimId)>& extent;
  Elements& pool;

  DType dtype() const { return graph.type(node.first_result).dtype; }
  Attrs attrs() const { return graph.attrs(node); }
};

// The results of a node that is neither an input nor control flow. Throws NotCovered, RunFailure.
std::vector<Value> apply(const Task& task);

}  // namespace gcomp::truth
