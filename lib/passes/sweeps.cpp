#include "sweeps.h"

#include <algorithm>

#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/sweep.h"

namespace gcomp::passes {

using pass::Pass;
using pass::PassContext;

std::unique_ptr<Graph> sweep(const Graph& graph, PassContext& context, bool fold) {
  rewrite::SweepOptions options;
  options.fold = fold;
  options.fast_math = context.fast_math;
  options.folder = rewrite::reference_folder();
  options.observers = context.observers;
  options.profile = context.timed;
  context.profile->sweeps.emplace_back();
  return rewrite::sweep(graph, rewrite::RuleSet(context.rules), options,
                        &context.profile->sweeps.back());
}

bool may_rebuild(const Graph& graph, const PassContext& context) {
  return std::ranges::all_of(context.observers,
                             [&](rewrite::Observer* o) { return o->allows_rebuilding(graph); });
}

Pass sweep_pass(std::string name, std::string rule_tag, std::vector<std::string> tags,
                std::string doc, bool fold) {
  const auto run = [fold](const Graph& graph, PassContext& context) {
    return sweep(graph, context, fold);
  };
  return {std::move(name), run, false, std::move(tags), std::move(doc), std::move(rule_tag)};
}

Pass merge() {
  return sweep_pass("merge", "", {"merge"},
                    "equal nodes become one and dead nodes go, nothing else", false);
}

Pass canonicalize() {
  return sweep_pass("canonicalize", "canonicalize", {"fast_compile", "fast_run"},
                    "one form for equal things: identities, constant folding, shape arithmetic, "
                    "layout chains",
                    true);
}

Pass stabilize() {
  return sweep_pass("stabilize", "stabilize", {"fast_run"},
                    "accurate forms of what overflows or cancels: log1p, softplus, log-sum-exp",
                    true);
}

Pass specialize() {
  return sweep_pass("specialize", "specialize", {"fast_run"},
                    "cheaper forms: small powers, division by powers of two, bias into conv", true);
}

std::vector<Pass> table() {
  std::vector<Pass> rows = {merge(),       extents(),    canonicalize(), control(),    captures(),
                            reassociate(), join_terms(), stabilize(),    specialize(), layout()};
  for (Pass& row : stages()) rows.push_back(std::move(row));
  return rows;
}

std::vector<pass::OrderPair> order() {
  return {
      {"extents", "canonicalize",
       "checks of extents that are one then vanish, and equal values meet"},
      {"canonicalize", "control", "bodies show what they need once they are canonical"},
      {"control", "captures", "a carried value that never changes may be a constant"},
      {"canonicalize", "captures", "what bodies capture is a constant once it is folded"},
      {"canonicalize", "reassociate",
       "equal terms are one value, and signs and constants are where sums and products look"},
      {"captures", "reassociate", "a constant that a body captured is a coefficient there"},
      {"reassociate", "join_terms", "equal terms are counted before they are joined"},
      {"join_terms", "stabilize",
       "slices of joined terms are resolved before stabilize and specialize look at them"},
      {"reassociate", "stabilize", "what cancels needs no accurate form"},
      {"canonicalize", "stabilize",
       "stabilize's patterns are written for canonical graphs: constants second, no double casts"},
      {"stabilize", "specialize",
       "specialize turns logarithms and powers into forms that stabilize does not look for"},
      {"specialize", "layout",
       "padding, scales and biases are to be in the convolutions before their kernels are "
       "transposed"},
      {"layout", kFusion, "stages come after the last graph pass"},
  };
}

}  // namespace gcomp::passes
