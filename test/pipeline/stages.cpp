#include "stages.h"

#include <algorithm>

#include "gcomp/ir/verify.h"
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

pass::Pipeline pipeline() { return {passes::table(), passes::order(), rules::all()}; }

// The graph passes that run and the rules they apply, as text.
std::string selection(const pass::Options& options) {
  const pass::Pipeline all = pipeline();
  std::string text;
  for (const pass::Pass* p : pass::select(all, options)) {
    if (!p->run) continue;  // a stage of code generation
    text += p->name + ":";
    for (const rewrite::Rule* r : pass::select_rules(all, *p, options)) text += " " + r->name;
  }
  return text;
}

}  // namespace

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const pass::Level& level : pass::levels()) {
    all.push_back({std::string(level.name), {}});
    all.back().options.level = level.name;
  }
  const std::vector<std::string> tags = pass::all_tags(pipeline());
  if (std::find(tags.begin(), tags.end(), "slow") != tags.end()) {
    all.push_back({"fast_run without slow", {}});
    all.back().options.excluding = {"slow"};
  }
  std::vector<Variant> distinct;
  std::vector<std::string> seen = {""};  // nothing is done at all
  for (Variant& v : all) {
    const std::string s = selection(v.options);
    if (std::find(seen.begin(), seen.end(), s) != seen.end()) continue;
    seen.push_back(s);
    distinct.push_back(std::move(v));
  }
  return distinct;
}

Optimised optimise(const Graph& graph, const pass::Options& wanted) {
  const pass::Pipeline all = pipeline();
  const std::vector<const pass::Pass*> passes = pass::select(all, wanted);
  pass::Options options = wanted;
  Optimised result{std::make_unique<Graph>(graph), ""};
  for (const pass::Pass* p : passes) {
    if (!p->run) continue;
    const bool sweeps = !p->rule_tag.empty();
    options.passes.assign(sweeps ? 2 : 1, p->name);
    pass::Profile profile;
    result.graph = pass::run(std::move(result.graph), all, options, &profile);
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
