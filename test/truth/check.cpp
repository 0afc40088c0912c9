#include "check.h"

#include <algorithm>
#include <cstdlib>

#include "../sanitized.h"
#include "gcomp/support/error.h"

namespace gcomp::truth {
namespace {

using namespace rewrite;  // NOLINT: rules and their cases

constexpr int kWantedApplications = test::kSanitized ? 15 : 25;  // a rule
constexpr int kMaxAttempts = 1500;

SweepOptions options() {
  SweepOptions options;
  options.fold = false;
  options.fast_math = true;
  return options;
}

// What is wrong with the rule's work on one case but for values.
std::string structural_fault(const Rule& rule, const Application& a) {
  if (a.stats.refused > 0) return "changed the type of its root";
  SweepStats again;
  sweep(*a.rewritten, RuleSet({&rule}), options(), &again);
  if (again.applied != 0) return "fires again in a second sweep";
  return a.stats.chases.empty() ? "" : a.stats.chases[0];
}

}  // namespace

std::unique_ptr<Application> apply(const Rule& rule, int attempt) {
  auto a = std::make_unique<Application>();
  a->seed = 1000003ull * static_cast<uint64_t>(attempt) + 17;
  a->original = make_case(rule, a->seed);
  if (!a->original) return nullptr;
  a->rewritten = sweep(*a->original->graph, RuleSet({&rule}), options(), &a->stats);
  if (a->stats.applied == 0 && a->stats.refused == 0) return nullptr;
  return a;
}

void judge_values(const Rule& rule, const Application& application,
                  const std::function<bool(const Judgement&)>& take) {
  const Graph& original = *application.original->graph;
  GraphBuilder unused(original.context(), GraphBuilder::Mode::kRaw);
  CaseMaker make(unused, application.seed + 1);
  for (const Values values : {Values::kOrdinary, Values::kEdges, Values::kWide}) {
    const auto inputs = random_inputs(original, make, values);
    try {
      if (!take(judge(rule.contract, original, *application.rewritten, inputs))) return;
    } catch (const UserError&) {
      // The original fails on these inputs.
    }
  }
}

Verdict check_rule(const Rule& rule, int effort) {
  Verdict verdict;
  for (int attempt = 0; attempt < kMaxAttempts * effort; ++attempt) {
    if (verdict.applied >= kWantedApplications * effort || !verdict.fault.empty()) break;
    const auto a = apply(rule, attempt);
    if (!a) continue;
    ++verdict.applied;
    verdict.fault = structural_fault(rule, *a);
    if (verdict.fault.empty()) {
      judge_values(rule, *a, [&](const Judgement& j) {
        verdict.judged += j.judged;
        verdict.unknown += j.unknown;
        verdict.independent += j.independent;
        if (!j.uncovered.empty()) ++verdict.uncovered[j.uncovered];
        verdict.fault = j.fault;
        return j.fault.empty();
      });
    }
    if (!verdict.fault.empty()) verdict.fault += " (seed " + std::to_string(a->seed) + ")";
  }
  return verdict;
}

int effort_from_environment() {
  const char* text = std::getenv("GCOMP_FUZZ_EFFORT");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

}  // namespace gcomp::truth
