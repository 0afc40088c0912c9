#pragma once
// Internal to lib/passes: what passes that build a graph node by node have in common.

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gcomp/ir/builder.h"
#include "gcomp/pass/pass.h"
#include "gcomp/rewrite/sweep.h"
#include "sweeps.h"

namespace gcomp::passes {

// Nested graph -> what it became; those without an entry stay.
using BodyMap = std::unordered_map<uint32_t, GraphId>;

// Copies nodes of `old` into `builder`, on what their operands became.
class Copier {
 public:
  // `memo`: old value -> new value.
  Copier(const Graph& old, const BodyMap& bodies, GraphBuilder& builder, std::vector<ValueId>& memo)
      : old_(old), bodies_(bodies), builder_(builder), memo_(memo) {}

  void inputs();
  void node(const Node& n);
  void outputs();  // and states

 private:
  AttrsId map_bodies(AttrsId id) const;

  const Graph& old_;
  const BodyMap& bodies_;
  GraphBuilder& builder_;
  std::vector<ValueId>& memo_;
  std::vector<ValueId> operands_;  // scratch
  std::vector<TypeId> types_;      // scratch
};

// A pass over a graph and those nested in it, innermost first, and a sweep where anything changed. Rebuild(graph,
// bodies, context) has run(), which gives the new graph or null, and changes(), counted as `counter`.
template <class Rebuild>
std::unique_ptr<Graph> rebuild_all(const Graph& graph, pass::PassContext& context,
                                   const char* counter) {
  Context& tables = graph.context();
  BodyMap bodies;
  size_t changes = 0;
  const auto rebuild = [&](const Graph& g) {
    Rebuild one(g, bodies, context);
    auto changed = one.run();
    changes += one.changes();
    return changed;
  };
  for (GraphId id : rewrite::nested_graphs(tables, graph)) {
    auto changed = rebuild(tables.graph(id));
    if (changed) bodies.emplace(id.index, tables.add_graph(std::move(changed)));
  }
  const auto changed = rebuild(graph);
  context.profile->counters.emplace_back(counter, changes);
  return changed ? sweep(*changed, context) : nullptr;
}

}  // namespace gcomp::passes
