// Orders with less memory alive: legal ones, and as good as they say.

#include "gcomp/schedule/peak.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "gcomp/schedule/check.h"
#include "tables_maker.h"

namespace gcomp::schedule::test {
namespace {

uint32_t root_of(const ScheduleTables& t, const InplacePlan& plan, uint32_t v) {
  for (;;) {
    const ValueId next = t.view_of[v].valid() ? t.view_of[v] : plan.overwrites[v];
    if (!next.valid()) return v;
    v = next.index;
  }
}

// The most bytes alive, from first and last mentions alone.
uint64_t measured_peak(const ScheduleTables& t, const std::vector<uint64_t>& bytes,
                       const InplacePlan& plan) {
  const size_t values = t.num_values();
  std::vector<uint32_t> first(values, kNoNode), last(values, 0);
  std::vector<uint64_t> size(values, 0);
  std::set<uint32_t> given;
  for (uint32_t v = 0; v < values; ++v) {
    const uint32_t root = root_of(t, plan, v);
    size[root] = std::max(size[root], bytes[v]);
    if (t.producer[v] == kNoNode) given.insert(root);
  }
  for (uint32_t i = 0; i < plan.order.size(); ++i) {
    const auto mention = [&](uint32_t v) {
      const uint32_t root = root_of(t, plan, v);
      first[root] = std::min(first[root], i);
      last[root] = i;
    };
    for (const ValueId v : t.operands_of(plan.order[i])) mention(v.index);
    for (uint32_t v = 0; v < values; ++v) {
      if (t.producer[v] == plan.order[i]) mention(v);
    }
  }
  uint64_t most = 0;
  for (uint32_t i = 0; i < plan.order.size(); ++i) {
    uint64_t live = 0;
    for (uint32_t v = 0; v < values; ++v) {
      if (first[v] <= i && i <= last[v] && !given.contains(v)) live += size[v];
    }
    most = std::max(most, live);
  }
  return most;
}

TEST_CASE("branches one after the other, not side by side") {
  Maker m;
  const ValueId x = m.source();
  std::vector<ValueId> large, small;
  for (int i = 0; i < 50; ++i) {
    large.push_back(m.node("large" + std::to_string(i), {x}));
    m.t.bytes[large.back().index] = 1000;
  }
  for (int i = 0; i < 50; ++i) small.push_back(m.node("small" + std::to_string(i), {large[i]}));
  m.node("sum", small);
  const ScheduleTables t = m.finish();
  Schedule schedule(t);
  InplacePlan plan = decide_inplace(schedule);
  const std::vector<std::vector<uint64_t>> bytes = {t.bytes};
  const Peak peak = lower_peak(t, bytes, plan);
  CHECK(peak.before == 50 * 1000 + 8);
  CHECK(peak.after == 1000 + 50 * 8);
  check_plan(t, plan);
}

TEST_CASE("an order that is worse at another size is not taken") {
  Maker m;
  const ValueId x = m.source();
  const ValueId a = m.node("a", {x}), b = m.node("b", {x});
  const ValueId a1 = m.node("a1", {a}), b1 = m.node("b1", {b});
  m.node("end", {a1, b1});
  const ScheduleTables t = m.finish();
  Schedule schedule(t);
  const InplacePlan kept = decide_inplace(schedule);
  // By value: x a b a1 b1 end.
  const std::vector<uint64_t> one = {0, 100, 100, 1, 1, 1}, other = {0, 1, 1, 100, 1, 1};
  InplacePlan plan = kept;
  const std::vector<std::vector<uint64_t>> first = {one};
  CHECK(lower_peak(t, first, plan).after == 102);
  const uint64_t worse = measured_peak(t, other, plan), better = measured_peak(t, other, kept);
  plan = kept;
  const std::vector<std::vector<uint64_t>> both = {one, other};
  const Peak peak = lower_peak(t, both, plan);
  CHECK((peak.after == peak.before) == (worse > better));
}

TEST_CASE("random schedules: legal, and the peak is what is said") {
  size_t lower = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    ScheduleTables t = random_tables(random, {.nodes = 5 + pick(random, 60)});
    for (uint64_t& b : t.bytes) b = uint64_t{1} << pick(random, 12);
    Schedule schedule(t);
    InplacePlan plan = decide_inplace(schedule);
    const std::vector<ValueId> overwrites = plan.overwrites;
    const uint64_t before = measured_peak(t, t.bytes, plan);
    const std::vector<std::vector<uint64_t>> bytes = {t.bytes};
    const Peak peak = lower_peak(t, bytes, plan);
    check_plan(t, plan);
    CHECK(plan.overwrites == overwrites);
    CHECK(peak.before == before);
    CHECK(peak.after == measured_peak(t, t.bytes, plan));
    CHECK(peak.after <= peak.before);
    lower += peak.after < peak.before;
  }
  CHECK(lower > 100);
}

}  // namespace
}  // namespace gcomp::schedule::test
