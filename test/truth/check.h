#pragma once
// One rule against its contract, on random graphs in which it should apply.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cases.h"
#include "gcomp/rewrite/sweep.h"
#include "judge.h"

namespace gcomp::truth {

struct Verdict {
  int applied = 0;
  int judged = 0;                        // result elements
  int unknown = 0;                       // as in Judgement
  int independent = 0;                   // as in Judgement
  std::map<std::string, int> uncovered;  // why there was no truth of a graph: how often
  std::string fault;
};

// The rule must keep the type, fire once, and keep its contract (judge.h) on ordinary values, edge values
// and all magnitudes. `effort` times as many cases as usual.
Verdict check_rule(const rewrite::Rule& rule, int effort = 1);

// GCOMP_FUZZ_EFFORT, at least 1: for deeper runs than those of every day.
int effort_from_environment();

// A random graph and what the rule alone makes of it.
struct Application {
  uint64_t seed = 0;
  std::unique_ptr<Case> original;
  std::unique_ptr<Graph> rewritten;
  rewrite::SweepStats stats;
};

// Nothing where the draw does not fit or the rule does not apply.
std::unique_ptr<Application> apply(const rewrite::Rule& rule, int attempt);

// The judgements on three kinds of values, until `take` gives false. Those on which the original fails are
// left out.
void judge_values(const rewrite::Rule& rule, const Application& application,
                  const std::function<bool(const Judgement&)>& take);

}  // namespace gcomp::truth
