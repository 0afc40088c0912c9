#pragma once
// One rule against its contract, on random graphs in which it should apply.

#include <string>
#include <vector>

#include "gcomp/rewrite/rule.h"
#include "judge.h"

namespace gcomp::truth {

struct Verdict {
  int applied = 0;
  int judged = 0;  // result elements
  std::string fault;
};

// The rule must keep the type, fire once, and keep its contract (judge.h) on ordinary values, edge values
// and all magnitudes. `effort` times as many cases as usual.
Verdict check_rule(const rewrite::Rule& rule, int effort = 1);

// GCOMP_FUZZ_EFFORT, at least 1: for deeper runs than those of every day.
int effort_from_environment();

}  // namespace gcomp::truth
