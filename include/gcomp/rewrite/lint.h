#pragma once
// Faults of a rule base, one text each.

#include <span>
#include <string>
#include <vector>

#include "gcomp/rewrite/rule.h"

namespace gcomp::rewrite {

// From the rows alone: duplicate names, rows that say the same up to names of variables and order of commuting
// operands, unbound names in results, rows that an earlier row shadows, tags not in `known_tags`, rows that
// cannot be fuzzed, missing docs.
std::vector<std::string> lint(std::span<const Rule> rules, std::span<const std::string> known_tags);

// The rules of a sweep, by tags.
struct Phase {
  std::string name;
  std::vector<std::string> tags;
};

// A row whose result may cost more than its pattern, and why.
struct CostException {
  std::string rule;
  std::string reason;
};

// On random cases of every row: patterns that never match, conditions that never hold, results that cost more
// than the pattern in more cases than they cost less (cost.h; rows that extend the domain may: accuracy is
// what they are for), exceptions from that which are not needed, and rules of one phase that chase each
// other, with their names.
std::vector<std::string> lint_cases(std::span<const Rule> rules, std::span<const Phase> phases,
                                    std::span<const CostException> exceptions,
                                    int cases_per_rule = 12);

}  // namespace gcomp::rewrite
