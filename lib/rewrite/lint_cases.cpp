// Faults of a rule base that show only on graphs: on the random cases of every row.
#include <algorithm>
#include <map>
#include <set>

#include "gcomp/rewrite/cost.h"
#include "gcomp/rewrite/generate.h"
#include "gcomp/rewrite/lint.h"
#include "gcomp/rewrite/sweep.h"

namespace gcomp::rewrite {
namespace {

constexpr int kMaxAttempts = 400;  // draws that do not fit included

struct Tally {
  int cases = 0;
  size_t tried = 0, held = 0, applied = 0;  // held: pattern and condition
  int costlier = 0;                         // cases after which the graph costs more, and no ...
  int cheaper = 0;                          // ... or less
};

SweepOptions folding() {
  SweepOptions options;
  options.fast_math = true;
  options.folder = reference_folder();
  return options;
}

// One case alone with its row.
void count_case(const Graph& graph, const RuleSet& alone, const RuleSet& none, Tally* tally) {
  SweepOptions options = folding();
  SweepStats stats;
  const auto before = sweep(graph, none, options);
  const auto after = sweep(graph, alone, options, &stats);
  ++tally->cases;
  tally->tried += stats.rules[0].tried;
  const RuleStats& told = stats.rules[0];
  tally->held += told.matched - told.refused[static_cast<size_t>(Refusal::kCondition)];
  tally->applied += stats.rules[0].applied;
  if (stats.rules[0].applied == 0) return;
  const uint64_t was = cost(*before), is = cost(*after);
  if (is > was) ++tally->costlier;
  if (is < was) ++tally->cheaper;
}

void judge_tally(const Rule& rule, const Tally& tally, std::span<const CostException> exceptions,
                 std::vector<std::string>* faults) {
  if (tally.tried == 0) {
    faults->push_back(rule.name + ": none of its cases matches its pattern");
  } else if (tally.held == 0) {
    faults->push_back(rule.name + ": its condition holds in none of its cases");
  } else if (tally.applied == 0) {
    faults->push_back(rule.name + ": its result function gives nothing in any of its cases");
  }
  const bool costlier = tally.costlier > tally.cheaper;
  const bool excepted = std::any_of(exceptions.begin(), exceptions.end(),
                                    [&](const CostException& e) { return e.rule == rule.name; });
  if (costlier && !excepted && rule.contract != Contract::kExtendsDomain) {
    faults->push_back(rule.name + ": its result costs more than its pattern in " +
                      std::to_string(tally.costlier) + " of " + std::to_string(tally.cases) +
                      " cases");
  }
  if (!costlier && excepted) {
    faults->push_back(rule.name + ": needs no exception from the cost model");
  }
}

// The rule with all of its sweep: rows that undo each other are named by the engine.
void find_chases(const Graph& graph, const Rule& rule, const RuleSet& together,
                 std::set<std::string>* found, std::vector<std::string>* faults) {
  SweepStats stats;
  sweep(graph, together, folding(), &stats);
  for (const std::string& chase : stats.chases) {
    if (!found->insert(chase).second) continue;
    faults->push_back(rule.name + ": on a case of it rules chase each other: " + chase);
  }
}

}  // namespace

std::vector<std::string> lint_cases(std::span<const Rule> rules, std::span<const Phase> phases,
                                    std::span<const CostException> exceptions, int cases_per_rule) {
  std::vector<std::string> faults;
  std::set<std::string> chases;
  const RuleSet none;
  std::vector<RuleSet> sets;
  for (const Phase& phase : phases) sets.emplace_back(select(rules, {phase.tags, {}, {}}));
  for (const Rule& rule : rules) {
    const RuleSet alone({&rule});
    Tally tally;
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      if (tally.cases >= cases_per_rule && tally.applied > 0) break;
      Context context;
      const auto graph = make_case(rule, context, 7919ull * static_cast<uint64_t>(attempt) + 3);
      if (!graph) continue;
      count_case(*graph, alone, none, &tally);
      for (size_t p = 0; p < phases.size(); ++p) {
        const TagQuery query{phases[p].tags, {}, {}};
        if (query.accepts(rule.name, rule.tags)) {
          find_chases(*graph, rule, sets[p], &chases, &faults);
        }
      }
    }
    judge_tally(rule, tally, exceptions, &faults);
  }
  return faults;
}

}  // namespace gcomp::rewrite
