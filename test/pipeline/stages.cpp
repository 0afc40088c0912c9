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

struct Work {
  std::string rules;
  bool uses = false;  // a rule that looks at use counts was among them
};

// What a sweep did that should have had nothing to do.
Work work_done(const pass::PassProfile& profile) {
  Work work;
  for (const rewrite::SweepStats& stats : profile.sweeps) {
    for (const rewrite::RuleStats& r : stats.rules) {
      if (r.applied == 0) continue;
      work.rules += " " + r.name;
      work.uses = work.uses || r.looks_at_uses;
    }
    if (stats.folded > 0) work.rules += " folding";
  }
  return work;
}

pass::Pipeline pipeline() { return {passes::table(), passes::order(), rules::all()}; }

// The second sweep must find nothing to do. One exception: rules that look at use counts, which count readers
// in the graph before the sweep (as reassociate does), may find that readers are gone; what they do must die
// out.
constexpr size_t kSweeps = 4;

std::string fault_of_repetition(const pass::Pass& p, const pass::Profile& profile) {
  for (size_t i = 1; i < kSweeps; ++i) {
    const Work again = work_done(profile.passes[i]);
    if (again.rules.empty()) return "";
    const bool counts = again.uses || p.name == "reassociate";
    if (!counts || i + 1 == kSweeps) {
      return "sweep " + std::to_string(i + 1) + " of " + p.name + " still did:" + again.rules;
    }
  }
  return "";
}

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
    options.passes.assign(sweeps ? kSweeps : 1, p->name);
    pass::Profile profile;
    result.graph = pass::run(std::move(result.graph), all, options, &profile);
    if (sweeps) {
      result.fault = fault_of_repetition(*p, profile);
      for (const auto& s : profile.passes.front().sweeps) {
        if (!s.chases.empty()) result.fault = p->name + ": " + joined(s.chases);
      }
    }
    const auto faults = verify(*result.graph, sweeps);
    if (!faults.empty()) result.fault = "after " + p->name + ": " + joined(faults);
    if (!result.fault.empty()) return result;
  }
  return result;
}

}  // namespace gcomp::test
