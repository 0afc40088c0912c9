#include "gcomp/pass/limit.h"

#include "gcomp/ir/op.h"

namespace gcomp::pass {
namespace {

std::string place_of(const Graph& graph, NodeId id) {
  const Node& n = graph.node(id);
  if (n.loc != LocTable::none()) return graph.context().locs[n.loc];
  return "a node without a name (" + std::string(name(n.op)) + ")";
}

}  // namespace

std::string to_string(const Change& change) {
  if (change.place.empty()) return "pass " + change.pass;
  const std::string what =
      change.rule != nullptr ? "rule " + change.rule->name : "constant folding";
  return what + " at " + change.place + " (pass " + change.pass + ")";
}

void RewriteLimit::begin_pass(const Pass& pass, const Graph&) { pass_ = pass.name; }

bool RewriteLimit::allows(const rewrite::Rewrite& rewrite) {
  if (last_.number >= most_) return false;
  last_ = {last_.number + 1, rewrite.rule, pass_, place_of(rewrite.built, rewrite.root)};
  return true;
}

bool RewriteLimit::allows_rebuilding(const Graph&) {
  if (last_.number >= most_) return false;
  last_ = {last_.number + 1, nullptr, pass_, ""};
  return true;
}

}  // namespace gcomp::pass
