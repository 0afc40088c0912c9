// Every rule keeps its contract on random graphs in which it should apply; and the judge of that finds
// rules which do not.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "check.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;
using namespace gcomp::rewrite;

namespace {

const Pattern x = real("x"), y = real("y");

std::string fault_of(const Rule& rule) { return truth::check_rule(rule, 2).fault; }

}  // namespace

// Rules of results that lose a NaN, and why they may: the result does not depend on it.
const std::map<std::string, std::string> kLoseNan = {
    {"mul_where_else_zero", "it is masked out: zero where the condition is false"},
    {"mul_where_then_zero", "it is masked out"},
    {"div_where_else_zero", "it is masked out"},
    {"div_where_then_zero", "it is masked out"},
    {"mul_scattered", "it meets the zeros around what was scattered"},
    {"cancel_factor", "the factor is divided out"},
    {"cancel_quotient", "the factor is divided out"},
    {"cancel_in_product", "the factor is divided out"},
};

// What the judge could not judge, over all rules.
struct Gaps {
  int64_t judged = 0, unknown = 0;
  std::map<std::string, int> uncovered;

  void take(const truth::Verdict& v) {
    judged += v.judged;
    unknown += v.unknown;
    for (const auto& [why, count] : v.uncovered) uncovered[why] += count;
  }
  std::string text() const {
    std::string text = std::to_string(judged) + " elements judged; " + std::to_string(unknown) +
                       " left out whose truth is beyond 1280 bits or 2^62";
    for (const auto& [why, count] : uncovered) {
      text += "; " + std::to_string(count) + " graphs that decide by " + why;
    }
    return text;
  }
};

TEST_CASE("every rule keeps its contract") {
  Gaps gaps;
  for (const Rule& rule : rules::all()) {
    const truth::Verdict verdict = truth::check_rule(rule, truth::effort_from_environment());
    INFO(rule.name, ": ", rule.doc);
    CHECK_MESSAGE(verdict.fault.empty(), rule.name << ": " << verdict.fault);
    CHECK_MESSAGE(verdict.applied >= 3,
                  rule.name << ": applied only " << verdict.applied << " times");
    CHECK_MESSAGE(verdict.judged > 0, rule.name << ": no value was judged");
    CHECK_MESSAGE(verdict.judged > verdict.unknown,
                  rule.name << ": the truth of most values is not known");
    CHECK_MESSAGE(
        (verdict.independent == 0 || kLoseNan.count(rule.name) != 0),
        rule.name << ": gives a number where an input is NaN; if that is meant, say why above");
    gaps.take(verdict);
  }
  for (const auto& [why, count] : gaps.uncovered) {
    Op op;
    CHECK_MESSAGE(!parse_op(why, &op), why << " has no multiprecision truth");
  }
  MESSAGE(gaps.text());
}

TEST_CASE("rules that claim too much are found") {
  // Less accurate than before, though equal in real numbers.
  CHECK(fault_of(rule("a", log1p(x), log(x + 1)).extends_domain()) != "");
  CHECK(fault_of(rule("a", expm1(x), exp(x) - 1).extends_domain()) != "");
  CHECK(fault_of(rule("a", log1mexp(x), log(1 - exp(x))).extends_domain()) != "");
  CHECK(fault_of(rule("a", erfc(x), 1 - erf(x)).reassociates()) != "");
  CHECK(fault_of(rule("a", sinh(x), (exp(x) - exp(-x)) * 0.5).reassociates()) != "");
  // Overflows where the original does not.
  CHECK(fault_of(rule("a", softplus(x), log(exp(x) + 1)).extends_domain()) != "");
  CHECK(fault_of(rule("a", sigmoid(x), exp(x) / (exp(x) + 1)).extends_domain()) != "");
  // Another value for some numbers.
  CHECK(fault_of(rule("a", sqrt(x * x), x).extends_domain()) != "");
  CHECK(fault_of(rule("a", log(x) + log(y), log(x * y)).extends_domain()) != "");
  CHECK(fault_of(rule("a", exp(log(x)), x).extends_domain()) != "");
  CHECK(fault_of(rule("a", tanh(x), x).reassociates()) != "");
  CHECK(fault_of(rule("a", exp(x), exp(x) * (1 + 1e-4)).reassociates()) != "");
  // Another value for infinities and NaN.
  CHECK(fault_of(rule("a", x * 0.0, Pattern(0.0)).reassociates()) != "");
  CHECK(fault_of(rule("a", x - x, Pattern(0)).reassociates()) != "");
  CHECK(truth::check_rule(rule("a", x * 0.0, Pattern(0.0)).extends_domain(), 2).independent > 0);
  // One of several values that infinities may lead to.
  CHECK(fault_of(
            rule("a", x / y, where(abs(x) == abs(y), sign(x) * sign(y), x / y)).extends_domain()) !=
        "");
  // Another rounding, or another zero.
  CHECK(fault_of(rule("a", (x + y) - y, x)) != "");
  CHECK(fault_of(rule("a", x + 0, x)) != "");
}

TEST_CASE("rules that claim what they keep are not") {
  CHECK(fault_of(rule("a", log(x + 1), log1p(x)).extends_domain()) == "");
  CHECK(fault_of(rule("a", x * 0.0, Pattern(0.0)).assumes_finite()) == "");
  CHECK(fault_of(rule("a", (x + y) - y, x + (y - y)).reassociates()) == "");
  CHECK(fault_of(rule("a", x / exp(y), x * exp(-y)).reassociates()) == "");
  // inf / inf, though the limit is 1.
  CHECK(fault_of(rule("a", exp(x) / (exp(x) + 1), sigmoid(x)).extends_domain()) == "");
}
