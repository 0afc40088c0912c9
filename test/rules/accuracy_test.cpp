// The table of what rules do for accuracy says what is measured here and now.
#include "accuracy.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "../sanitized.h"
#include "gcomp/rules/rules.h"
#include "judge.h"

using namespace gcomp;
using truth::Accuracy;
using truth::Spread;

namespace {

const std::string kPath = GCOMP_SOURCE_DIR "/lib/rules/ACCURACY.md";
const std::string kCure =
    "; if the rules or their cases were meant to change, write the table anew and look at the "
    "difference: "
    "GCOMP_WRITE_ACCURACY_MD=1 build/test_rules -tc=\"ACCURACY.md*\"";

std::string committed() {
  std::stringstream text;
  text << std::ifstream(kPath).rdbuf();
  return text.str();
}

// The table has two digits, and the C library's functions may differ in their last bits between machines.
bool near(double stated, double measured) {
  if (std::isinf(stated) || std::isinf(measured)) return stated == measured;
  return std::fabs(stated - measured) <= 0.1 + 0.1 * std::fmax(stated, measured);
}

bool near(const Spread& stated, const Spread& measured) {
  return near(stated.median, measured.median) && near(stated.most, measured.most) &&
         near(stated.max, measured.max);
}

bool near(const Accuracy& stated, const Accuracy& measured) {
  return stated.compared == measured.compared && near(stated.before, measured.before) &&
         near(stated.after, measured.after) && stated.overflowed == measured.overflowed &&
         stated.recovered == measured.recovered && stated.undefined == measured.undefined &&
         stated.limits == measured.limits;
}

std::string key(const Accuracy& a) { return a.rule + " " + std::string(name(a.dtype)); }

}  // namespace

TEST_CASE("ACCURACY.md says what each rule does to the error") {
  if (gcomp::test::kSanitized) {
    MESSAGE("skipped: without optimisation other operations are fused, and the digits differ");
    return;
  }
  const std::string document = truth::accuracy_document(rules::all());
  if (std::getenv("GCOMP_WRITE_ACCURACY_MD") != nullptr) std::ofstream(kPath) << document;
  const std::vector<Accuracy> measured = truth::read_accuracy(document);
  const std::vector<Accuracy> stated = truth::read_accuracy(committed());
  REQUIRE(measured.size() > 100);
  for (size_t i = 0; i < std::max(stated.size(), measured.size()); ++i) {
    const std::string want = i < measured.size() ? key(measured[i]) : "no row";
    const std::string have = i < stated.size() ? key(stated[i]) : "no row";
    REQUIRE_MESSAGE(have == want,
                    "row " << i << " is of " << have << " and should be of " << want << kCure);
    CHECK_MESSAGE(near(stated[i], measured[i]), have << ": other figures than stated" << kCure);
  }
  // What is not a figure: the words, and the rules' documents.
  const auto words = [](const std::string& text) {
    return text.substr(0, text.find("| [")) + text.substr(text.find("\n## "));
  };
  CHECK_MESSAGE(words(committed()) == words(document), "other words than stated" << kCure);
}

TEST_CASE("ACCURACY.md: no rule makes errors worse, or leaves overflows, but for those it names") {
  std::set<std::string> worse;
  for (const Accuracy& a : truth::read_accuracy(committed())) {
    CHECK_MESSAGE(a.after.median <= a.before.median + 1, key(a));
    const bool fine = a.after.most <= a.before.most + truth::kAllowedUlps &&
                      a.after.max <= a.before.max + truth::kAllowedUlps &&
                      a.recovered == a.overflowed;
    if (!fine) worse.insert(a.rule);
  }
  std::set<std::string> named;
  for (const truth::Tradeoff& t : truth::tradeoffs()) named.insert(t.rule);
  CHECK_MESSAGE(worse == named,
                "tradeoffs() in test/truth/accuracy.cpp names other rules than the table shows");
  for (const std::string& rule : worse) CHECK_MESSAGE(named.contains(rule), rule);
  for (const std::string& rule : named) CHECK_MESSAGE(worse.contains(rule), rule);
}
