#include "stages.h"

#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

namespace gcomp::test {
namespace {

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& t : texts) all += (all.empty() ? "" : "; ") + t;
  return all;
}

// What a sweep did that should have had nothing to do.
std::string work_done(const pass::PassProfile& profile) {
  std::string work;
  for (const rewrite::SweepStats& stats : profile.sweeps) {
    for (const rewrite::RuleStats& r : stats.rules) {
      if (r.applied > 0) work += " " + r.name;
    }
    if (stats.folded > 0) work += " folding";
  }
  return work;
}

}  // namespace

Optimised optimise(const Graph& graph, const std::string& level) {
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.level = level;
  const std::vector<const pass::Pass*> passes = pass::select(pipeline, options);
  Optimised result{std::make_unique<Graph>(graph), ""};
  for (const pass::Pass* p : passes) {
    const bool sweeps = !p->rule_tag.empty();
    options.passes.assign(sweeps ? 2 : 1, p->name);
    pass::Profile profile;
    result.graph = pass::run(std::move(result.graph), pipeline, options, &profile);
    const auto faults = verify(*result.graph, true);
    if (!faults.empty()) result.fault = "after " + p->name + ": " + joined(faults);
    if (sweeps) {
      const std::string again = work_done(profile.passes.back());
      if (!again.empty()) result.fault = "a second " + p->name + " still did:" + again;
      for (const auto& s : profile.passes.front().sweeps) {
        if (!s.chases.empty()) result.fault = p->name + ": " + joined(s.chases);
      }
    }
    if (!result.fault.empty()) return result;
  }
  return result;
}

}  // namespace gcomp::test
