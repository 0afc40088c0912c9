#pragma once
// Who watches a sweep: profiles, provenance, bisecting. An observer is told what was made from what, and
// may forbid single applications of rules. Without observers a sweep does nothing for them.

#include <span>

#include "gcomp/ir/graph.h"

namespace gcomp::rewrite {

struct Rule;

// A node of the graph being built is to be replaced by other values of it.
struct Rewrite {
  const Rule* rule;                 // null: constants were folded
  NodeId old_node;                  // of the old graph: what is being settled
  const Graph& built;               // the graph being built, with nodes that will be dropped
  NodeId root;                      // of `built`
  std::span<const ValueId> values;  // of `built`: one per result of the root
  size_t first_made;                // nodes of `built` from this one on were made for the rewrite
};

// A graph has been swept. Old values go to built ones, built ones to those of the result.
struct Swept {
  const Graph& old;
  const Graph& built;
  const Graph& result;
  std::span<const ValueId> memo;   // per value of `old`; not valid: no output needs it
  std::span<const ValueId> moved;  // per value of `built`; not valid: dropped
};

class Observer {
 public:
  virtual ~Observer() = default;

  // Nested graphs are swept before the graph that holds them.
  virtual void begin_graph(const Graph& /*old*/) {}
  // Nodes of `built` made from here on are made for `old_node`, until the next one is taken.
  virtual void take(NodeId /*old_node*/, const Graph& /*built*/) {}
  // Asked when nothing else is against it, hence once per application; false: the root stays.
  virtual bool allows(const Rewrite&) { return true; }
  virtual void applied(const Rewrite&) {}
  virtual void end_graph(const Swept&) {}

  // For passes that build a graph otherwise: asked before they do; false: they change nothing.
  virtual bool allows_rebuilding(const Graph& /*old*/) { return true; }
  // What each old value became (not valid: nothing).
  virtual void rebuilt(const Graph& /*old*/, const Graph& /*result*/,
                       std::span<const ValueId> /*became*/) {}
};

}  // namespace gcomp::rewrite
