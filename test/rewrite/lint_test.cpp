// Each check of lint finds a planted row, and names it.
#include "gcomp/rewrite/lint.h"

#include <doctest/doctest.h>

#include "gcomp/ir/builder.h"
#include "gcomp/rewrite/cost.h"
#include "gcomp/rewrite/generate.h"

using namespace gcomp;
using namespace gcomp::rewrite;

namespace {

const Pattern x = any("x"), y = any("y"), z = any("z");
const std::vector<Phase> kPhases = {{"one", {"t"}}};

using Texts = std::vector<std::string>;

Texts faults_of(std::vector<Rule> rules) {
  return lint(tagged({"t"}, std::move(rules)), Texts{"t"});
}

Texts case_faults_of(std::vector<Rule> rules, std::vector<CostException> exceptions = {}) {
  return lint_cases(tagged({"t"}, std::move(rules)), kPhases, exceptions);
}

bool mentions(const Texts& faults, const std::string& text) {
  for (const std::string& f : faults) {
    if (f.find(text) != std::string::npos) return true;
  }
  return false;
}

bool never(const Match&) { return false; }

}  // namespace

TEST_CASE("lint finds duplicates, unbound names, shadowed rows, unknown tags, missing generators") {
  std::vector<Rule> rules;
  rules.push_back(rule("a", x + y, y + z).tag("t"));
  rules.push_back(rule("a", sin(x), x).tag("t"));
  rules.push_back(rule("b", sin(cos(x)), x).tag("t"));
  rules.push_back(rule("c", exp(x), x).tag("nonsense"));
  rules.push_back(
      rule("d", "doc", op(Op::reshape, {x}), [](const Match& m, Emitter&) -> Replacement {
        return m["x"];
      }).tag("t"));
  const std::vector<std::string> tags{"t"};
  const auto faults = lint(rules, tags);
  const std::vector<std::string> expected{"a: result uses unbound 'z'", "a: duplicate name",
                                          "c: unknown tag 'nonsense'",
                                          "d: needs a generator of cases", "b: shadowed by a"};
  CHECK(faults == expected);
}

TEST_CASE("lint finds rows that say the same in other names or another order") {
  const Texts faults = faults_of({
      rule("a", (x + y) - y, x),
      rule("b", (z + x) - z, x),  // the same, commuted and renamed
      rule("c", (x + y) - x, y).when(never),
      rule("d", (integer("x") + integer("y")) - integer("y"), integer("x")),
  });
  CHECK(mentions(faults, "b: says the same as a"));
  CHECK(mentions(faults, "c: says the same as a"));
  CHECK(!mentions(faults, "d: says the same"));  // of other dtypes
}

TEST_CASE("lint on cases finds rules that chase each other") {
  const Texts faults =
      case_faults_of({rule("to_sub", x + (-y), x - y), rule("to_add", x - y, x + (-y))});
  CHECK(mentions(faults, "chase each other: to_sub -> to_add"));
  CHECK(case_faults_of({rule("to_sub", x + (-y), x - y), rule("twice", -(-x), x)}).empty());
}

TEST_CASE("lint on cases finds results that cost more than the pattern") {
  const Pattern r = real("x");
  CHECK(mentions(case_faults_of({rule("a", r * r, exp(log(r) * 2))}), "a: its result costs more"));
  CHECK(case_faults_of({rule("a", r * r, exp(log(r) * 2))}, {{"a", "a test"}}).empty());
  CHECK(case_faults_of({rule("a", exp(log(r)), r)}).empty());
  CHECK(mentions(case_faults_of({rule("a", exp(log(r)), r)}, {{"a", "a test"}}),
                 "a: needs no exception"));
  // Accuracy may cost.
  CHECK(case_faults_of({rule("a", log(r), log1p(r + -1)).extends_domain()}).empty());
}

TEST_CASE("lint on cases finds rows that never apply") {
  const auto sine = [](CaseMaker& make) {
    return make.builder().value(Op::sin, {make.input(DType::kFloat64, make.shape())});
  };
  CHECK(mentions(case_faults_of({rule("a", exp(real("x")), real("x")).cases(sine)}),
                 "a: none of its cases matches"));
  CHECK(mentions(case_faults_of({rule("a", exp(log(real("x"))), real("x")).when(never)}),
                 "a: its condition holds in none"));
  CHECK(mentions(
      case_faults_of({rule("a", "doc", exp(real("x")),
                           [](const Match&, Emitter&) -> Replacement { return std::nullopt; })}),
      "a: its result function gives nothing"));
}

TEST_CASE("the cost model orders what is known to be cheaper") {
  CHECK(cost(Op::transpose) < cost(Op::add));
  CHECK(cost(Op::add) < cost(Op::div));
  CHECK(cost(Op::div) < cost(Op::exp));
  CHECK(cost(Op::exp) < cost(Op::lgamma));
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const ValueId v = b.input("x", {DType::kFloat64, {context.dims.constant(10)}});
  b.value(Op::exp, {v});  // dead
  b.output("y", b.value(Op::add, {v, v}));
  CHECK(cost(*b.finish()) == 10 * cost(Op::add) + 4);  // 4: of a loop
}
