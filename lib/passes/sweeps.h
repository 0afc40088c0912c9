#pragma once
// Internal to lib/passes: sweeps with the rules of a pass.

#include <memory>
#include <string>
#include <vector>

#include "gcomp/pass/pass.h"

namespace gcomp::passes {

// One sweep, as the context says: what a pass ends with that has built a graph itself.
std::unique_ptr<Graph> sweep(const Graph& graph, pass::PassContext& context, bool fold = true);

// Whether a pass that builds a graph itself may do so: asked when there is something to do.
bool may_rebuild(const Graph& graph, const pass::PassContext& context);

// A pass that is one sweep with the rules of one tag.
pass::Pass sweep_pass(std::string name, std::string rule_tag, std::vector<std::string> tags,
                      std::string doc, bool fold);

}  // namespace gcomp::passes
