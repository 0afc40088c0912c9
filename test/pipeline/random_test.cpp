// Whole levels on random graphs, grown from the cases of random rules so that rules meet: results must be
// as near to the truth as the original's, and a second sweep of any phase must fire nothing.
// GCOMP_FUZZ_EFFORT=N: N times as many graphs. GCOMP_FUZZ_SEED=S: graph S alone, printed.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>

#include "../sanitized.h"
#include "cases.h"
#include "check.h"
#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"
#include "stages.h"

using namespace gcomp;

namespace {

struct Outcome {
  int judged = 0;
  std::vector<std::string> uncovered;  // why there was no truth
  std::string fault;
};

Outcome check(const Graph& graph, const pass::Options& options, uint64_t seed) {
  const test::Optimised optimised = test::optimise(graph, options);
  Outcome outcome;
  outcome.fault = optimised.fault;
  if (!outcome.fault.empty()) return outcome;
  GraphBuilder unused(graph.context(), GraphBuilder::Mode::kRaw);
  rewrite::CaseMaker make(unused, seed);
  for (const auto values : {truth::Values::kOrdinary, truth::Values::kFinite}) {
    const auto inputs = truth::random_inputs(graph, make, values);
    try {
      const truth::Judgement j =
          truth::judge(rewrite::Contract::kReassociates, graph, *optimised.graph, inputs);
      outcome.judged += j.judged;
      if (!j.uncovered.empty()) outcome.uncovered.push_back(j.uncovered);
      outcome.fault = j.fault;
      if (!j.fault.empty()) return outcome;
    } catch (const UserError&) {
      // The original fails on these inputs.
    }
  }
  return outcome;
}

}  // namespace

TEST_CASE("levels keep what random graphs mean, and leave no work behind") {
  const char* only = std::getenv("GCOMP_FUZZ_SEED");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  const int count =
      only != nullptr ? 1 : (test::kSanitized ? 15 : 60) * truth::effort_from_environment();
  const std::vector<test::Variant> variants = test::variants();
  int judged = 0;
  std::map<std::string, int> uncovered;
  for (uint64_t seed = first; seed < first + static_cast<uint64_t>(count); ++seed) {
    const int cases = 2 + static_cast<int>(seed * 7 % 39);
    const auto c = truth::grow_graph(rules::all(), seed * 1000003, cases);
    if (only != nullptr) MESSAGE(print(*c->graph));
    const auto unsound = verify(*c->graph);
    REQUIRE_MESSAGE(unsound.empty(), "seed " << seed << ": " << unsound[0]);
    for (const test::Variant& variant : variants) {
      Outcome outcome;
      try {
        outcome = check(*c->graph, variant.options, seed);
      } catch (const std::exception& e) {
        outcome.fault = e.what();
      }
      judged += outcome.judged;
      for (const std::string& why : outcome.uncovered) ++uncovered[why];
      CHECK_MESSAGE(outcome.fault.empty(),
                    "seed " << seed << " at " << variant.name << ": " << outcome.fault);
    }
  }
  CHECK(judged > count);
  for (const auto& [why, times] : uncovered) {
    Op op;
    CHECK_MESSAGE(!parse_op(why, &op), why << " has no multiprecision truth");
    MESSAGE("not judged, " << times << " times: " << why);
  }
}
