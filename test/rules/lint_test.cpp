#include "gcomp/rewrite/lint.h"

#include <doctest/doctest.h>

#include <string>

#include "gcomp/rules/rules.h"

using namespace gcomp;

TEST_CASE("the rule base has no fault that lint knows") {
  const auto faults = rewrite::lint(rules::all(), rules::known_tags());
  for (const std::string& fault : faults) FAIL_CHECK(fault);
}

TEST_CASE("the rule base has no fault that lint finds on random cases") {
  const std::vector<rewrite::Phase> phases = {{"canonicalize", {"basic", "canonicalize"}},
                                              {"stabilize", {"basic", "stabilize"}},
                                              {"specialize", {"basic", "specialize"}}};
  const auto faults = rewrite::lint_cases(rules::all(), phases, rules::cost_exceptions());
  for (const std::string& fault : faults) FAIL_CHECK(fault);
}

TEST_CASE("the rule base is at least as large as promised, and every level has rules") {
  CHECK(rules::all().size() >= 120);
  CHECK(rewrite::select(rules::all(), {{"fast_compile"}, {}, {}}).size() >= 60);
  for (const char* sweep : {"basic", "stabilize", "specialize"}) {
    CHECK(!rewrite::select(rules::all(), {{"fast_run"}, {}, {sweep}}).empty());
  }
}
