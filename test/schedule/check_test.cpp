// The judge, judged: schedules right and wrong are run with numbers.
#include "gcomp/schedule/check.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"
#include "tables_maker.h"

using namespace gcomp;
using namespace gcomp::schedule;
using namespace gcomp::schedule::test;

namespace {

// Runs a plan: memory holds numbers, a node's results are hashes of what it reads there.
class Run {
 public:
  Run(const ScheduleTables& t, const InplacePlan& plan)
      : t_(t), plan_(plan), expected_(t.num_values()), cell_(t.num_values()) {
    for (size_t v = 0; v < t.num_values(); ++v) {
      if (t.producer[v] == kNoNode) expected_[v] = hash_mix(v + 1);
    }
    for (uint32_t n = 0; n < t.num_nodes(); ++n) compute(n, expected_, false);
  }

  bool is_right() {
    // Where each value lies: found once, since views and overwrites do not depend on the order.
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      cell_[v] = cell_of(ValueId(v));
      if (t_.producer[v] == kNoNode) memory_[v] = expected_[v];
    }
    for (uint32_t n : plan_.order) {
      for (const auto& [a, b] : t_.before) {
        if (b == n && !ran_[a]) return false;
      }
      for (ValueId v : t_.operands_of(n)) {
        if (t_.producer[v.index] != kNoNode && !ran_[t_.producer[v.index]]) return false;
      }
      if (!compute(n, memory_, true)) return false;
      ran_[n] = true;
    }
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      if (t_.protection[v] == Protection::kNone) continue;
      if (memory_[cell_[v]] != expected_[v]) return false;
    }
    return true;
  }

 private:
  uint32_t cell_of(ValueId v) const {
    for (;;) {
      if (t_.view_of[v.index].valid()) {
        v = t_.view_of[v.index];
      } else if (plan_.overwrites[v.index].valid()) {
        v = plan_.overwrites[v.index];
      } else {
        return v.index;
      }
    }
  }

  // `real`: in memory, where what is read must be what is expected; else in `to`, by value.
  bool compute(uint32_t n, std::vector<uint64_t>& to, bool real) {
    uint64_t hash = n + 1;
    for (ValueId v : t_.operands_of(n)) {
      const uint64_t content = real ? to[cell_[v.index]] : to[v.index];
      if (real && content != expected_[v.index]) return false;
      hash = hash_combine(hash, content);
    }
    std::vector<bool> written(t_.num_values(), false);
    for (uint32_t r = 0; r < t_.num_values(); ++r) {
      if (t_.producer[r] != n) continue;
      const ValueId of = t_.view_of[r];
      if (of.valid()) {
        if (!real) to[r] = to[of.index];
        continue;
      }
      if (real) {
        if (written[cell_[r]] || !can_overwrite(n, ValueId(r))) return false;
        written[cell_[r]] = true;
      }
      to[real ? cell_[r] : r] = hash_combine(hash, r);
    }
    return true;
  }

  bool can_overwrite(uint32_t n, ValueId r) const {
    const ValueId o = plan_.overwrites[r.index];
    if (!o.valid()) return true;
    const auto c = std::ranges::find_if(
        t_.candidates, [&](const Candidate& c) { return c.result == r && c.operand == o; });
    if (c == t_.candidates.end()) return false;
    int others = 0;
    for (ValueId v : t_.operands_of(n)) others += cell_[v.index] == cell_[r.index];
    const auto operands = t_.operands_of(n);
    others -= std::ranges::find(operands, o) != operands.end();
    return c->same_index || others == 0;
  }

  const ScheduleTables& t_;
  const InplacePlan& plan_;
  std::vector<uint64_t> expected_;
  std::vector<uint32_t> cell_;
  std::vector<bool> ran_ = std::vector<bool>(t_.num_nodes(), false);
  std::vector<uint64_t> memory_ = std::vector<uint64_t>(expected_.size(), 0);
};

}  // namespace

TEST_CASE("the judge says what a run says, of schedules right and wrong") {
  std::mt19937 random(31);
  size_t right = 0, wrong = 0, stricter = 0;
  for (int round = 0; round < 20000; ++round) {
    const ScheduleTables t = random_tables(random, {.nodes = 1 + pick(random, 12), .near = 5});
    Schedule schedule(t);
    InplacePlan plan = decide_inplace(schedule);
    // A few changes, most of them for the worse.
    for (uint32_t changes = pick(random, 4); changes > 0; --changes) {
      if (pick(random, 2) == 0) {
        const uint32_t i = pick(random, plan.order.size());
        if (i + 1 < plan.order.size()) std::swap(plan.order[i], plan.order[i + 1]);
      } else if (!t.candidates.empty()) {
        const Candidate& c = t.candidates[pick(random, t.candidates.size())];
        plan.overwrites[c.result.index] = pick(random, 2) ? c.operand : ValueId();
      }
    }
    const std::string found = find_interference(t, plan).value_or("");
    const bool is_right = Run(t, plan).is_right();
    if (found.find("overwrote before") != std::string::npos) {
      ++stricter;  // a result that nobody reads is overwritten as another value: the run does not tell
      continue;
    }
    CHECK_MESSAGE(found.empty() == is_right, found);
    ++(is_right ? right : wrong);
  }
  MESSAGE(right << " right, " << wrong << " wrong, " << stricter << " overwritten twice");
  CHECK(right > 1000);
  CHECK(wrong > 1000);
}

TEST_CASE("what is wrong is told with the nodes") {
  Maker m;
  const ValueId x = m.source(Protection::kInput), c = m.source(Protection::kConstant);
  const ValueId a = m.node("a", {x}), d = m.node("d", {a, c}), r = m.node("r", {a});
  m.may_overwrite(d, a, true);
  m.may_overwrite(d, c, true);
  m.may_overwrite(r, a, true);
  m.output(r);
  const ScheduleTables t = m.finish();
  std::vector<ValueId> none(t.num_values()), over(t.num_values());
  const auto found = [&](std::vector<uint32_t> order) {
    return find_interference(t, {std::move(order), over}).value_or("");
  };
  CHECK(found({0, 1, 2}) == "");
  CHECK(found({1, 0, 2}) == "d reads value 2 of a before it is made");
  CHECK(found({0, 1}) == "r does not run");
  CHECK(found({0, 1, 1, 2}) == "node 1 runs twice");
  over[d.index] = a;
  CHECK(found({0, 1, 2}) == "r reads value 2 of a after d overwrote it");
  CHECK(found({0, 2, 1}) == "");
  over[r.index] = a;
  CHECK(found({0, 2, 1}) == "d reads value 2 of a after r overwrote it");
  over = none;
  over[d.index] = c;
  CHECK(found({0, 1, 2}) ==
        "d writes value 3 of d over value 1, which is in the memory of a constant or of an input "
        "that "
        "is not donated");
  over = none;
  over[a.index] = x;
  CHECK(found({0, 1, 2}) == "a writes value 2 of a over value 0, which it cannot");
  CHECK_THROWS_AS(check_plan(t, {{0, 1, 2}, over}), InternalError);
}
