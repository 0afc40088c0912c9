// Inplace decisions: on random schedules every mode is sound, and the incremental one decides what the
// plain check of the whole schedule decides.
#include "gcomp/schedule/inplace.h"

#include <doctest/doctest.h>

#include "../sanitized.h"
#include "gcomp/schedule/check.h"
#include "tables_maker.h"

using namespace gcomp;
using namespace gcomp::schedule;
using namespace gcomp::schedule::test;

namespace {

struct Decided {
  InplacePlan plan;
  InplaceStats stats;
};

Decided decide(const ScheduleTables& tables, const InplaceOptions& options) {
  Schedule schedule(tables);
  Decided d;
  d.plan = decide_inplace(schedule, options, &d.stats);
  schedule.verify();
  CHECK(find_interference(tables, d.plan).value_or("") == "");
  size_t overwrites = 0;
  for (ValueId v : d.plan.overwrites) overwrites += v.valid();
  CHECK(overwrites == d.stats.accepted());
  size_t refused = 0;
  for (size_t r : d.stats.refused) refused += r;
  CHECK(d.stats.accepted() + refused == d.stats.candidates);
  return d;
}

constexpr InplaceOptions kAudited{.audit = true};
constexpr InplaceOptions kUnlimited{.visits = IncrementalOrder::kUnlimited};
constexpr InplaceOptions kFull{.mode = CycleDetection::kFull};
constexpr InplaceOptions kOff{.mode = CycleDetection::kOff};

}  // namespace

TEST_CASE("incremental decides what full decides, on small random schedules") {
  std::mt19937 random(11);
  size_t accepted = 0, by_edges = 0, cycles = 0;
  for (int round = 0; round < 1500; ++round) {
    const ScheduleTables t =
        random_tables(random, {.nodes = 3 + pick(random, 60), .near = 2 + pick(random, 12)});
    const Decided full = decide(t, kFull), all = decide(t, kUnlimited), off = decide(t, kOff);
    CHECK(all.plan.overwrites == full.plan.overwrites);
    CHECK(all.stats.refused == full.stats.refused);
    CHECK(off.stats.by_labels == full.stats.by_labels);
    CHECK(off.stats.by_edges == 0);
    const Decided budget = decide(t, kAudited);
    CHECK(budget.stats.disagreements == 0);
    accepted += full.stats.accepted();
    by_edges += full.stats.by_edges;
    cycles += full.stats.refused[static_cast<size_t>(Refusal::kCycle)];
  }
  MESSAGE(accepted << " accepted, " << by_edges << " of them by edges, " << cycles << " cycles");
  CHECK(by_edges > 1000);
  CHECK(cycles > 1000);
}

TEST_CASE(
    "up to 10,000 nodes the budget loses under 2 % of attempts, and decides nothing wrongly") {
  std::mt19937 random(12);
  size_t attempts = 0, lost = 0, budget = 0, edges = 0;
  std::vector<size_t> sizes = {300, 1000, 3000, 10000};
  if (gcomp::test::kSanitized) {
    sizes.resize(2);
    MESSAGE("3,000 and 10,000 nodes: only without sanitizers, the plain check takes minutes");
  }
  for (const size_t nodes : sizes) {
    for (const size_t near : {4, 64}) {
      if (nodes == 10000 && near == 64) continue;  // the plain check takes its time
      const ScheduleTables t = random_tables(random, {.nodes = nodes, .near = near});
      const Decided d = decide(t, kAudited);
      CHECK(d.stats.disagreements == 0);
      attempts += d.stats.attempts;
      lost += d.stats.lost;
      budget += d.stats.refused[static_cast<size_t>(Refusal::kBudget)];
      edges += d.stats.by_edges;
      MESSAGE(nodes << " nodes, operands within " << near << ": " << d.stats.attempts
                    << " attempts, " << d.stats.by_labels << " accepted by labels, "
                    << d.stats.by_edges << " by edges, "
                    << d.stats.refused[static_cast<size_t>(Refusal::kBudget)] << " over budget, "
                    << d.stats.lost << " of them acceptable");
    }
  }
  CHECK(edges > 100);
  CHECK(static_cast<double>(lost) < 0.02 * static_cast<double>(attempts));
  MESSAGE(attempts << " attempts, " << budget << " over budget, " << lost << " lost");
}
