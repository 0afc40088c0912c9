#include "check.h"

#include <algorithm>
#include <cstdlib>

#include "cases.h"
#include "gcomp/rewrite/sweep.h"
#include "gcomp/support/error.h"

namespace gcomp::truth {
namespace {

using namespace rewrite;  // NOLINT: rules and their cases

constexpr int kWantedApplications = 25;  // a rule
constexpr int kMaxAttempts = 1500;

// What is wrong with the rule's work on one case but for values.
std::string structural_fault(const Graph& swept, const RuleSet& set, const SweepOptions& options,
                             const SweepStats& stats) {
  if (stats.refused > 0) return "changed the type of its root";
  SweepStats again;
  sweep(swept, set, options, &again);
  if (again.applied != 0) return "fires again in a second sweep";
  return stats.chases.empty() ? "" : stats.chases[0];
}

// On three kinds of values; "" when all is well.
std::string value_fault(const Rule& rule, const Graph& original, const Graph& swept, uint64_t seed,
                        int* judged) {
  GraphBuilder unused(original.context(), GraphBuilder::Mode::kRaw);
  CaseMaker make(unused, seed);
  for (const Values values : {Values::kOrdinary, Values::kEdges, Values::kWide}) {
    const auto inputs = random_inputs(original, make, values);
    try {
      const Judgement j = judge(rule.contract, original, swept, inputs);
      *judged += j.judged;
      if (!j.fault.empty()) return j.fault;
    } catch (const UserError&) {
      // The original fails on these inputs.
    }
  }
  return "";
}

}  // namespace

Verdict check_rule(const Rule& rule, int effort) {
  Verdict verdict;
  const RuleSet set({&rule});
  SweepOptions options;
  options.fold = false;
  options.fast_math = true;
  for (int attempt = 0; attempt < kMaxAttempts * effort; ++attempt) {
    if (verdict.applied >= kWantedApplications * effort || !verdict.fault.empty()) break;
    const uint64_t seed = 1000003ull * static_cast<uint64_t>(attempt) + 17;
    const auto c = make_case(rule, seed);
    if (!c) continue;
    SweepStats stats;
    const auto swept = sweep(*c->graph, set, options, &stats);
    if (stats.applied == 0 && stats.refused == 0) continue;
    ++verdict.applied;
    verdict.fault = structural_fault(*swept, set, options, stats);
    if (verdict.fault.empty()) {
      verdict.fault = value_fault(rule, *c->graph, *swept, seed + 1, &verdict.judged);
    }
    if (!verdict.fault.empty()) verdict.fault += " (seed " + std::to_string(seed) + ")";
  }
  return verdict;
}

int effort_from_environment() {
  const char* text = std::getenv("GCOMP_FUZZ_EFFORT");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

}  // namespace gcomp::truth
