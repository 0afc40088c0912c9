#pragma once
// Decides which results are written over which operands.
//
//   ScheduleTables tables = op_tables(graph);  // lib/lower/arrange.cpp makes its own, from steps
//   tables.candidates.push_back({.result = r, .operand = o, .same_index = true});  // what else may
//   Schedule schedule(std::move(tables));
//   InplaceStats stats;
//   const InplacePlan plan = decide_inplace(schedule, {}, &stats);
//   check_plan(schedule.tables(), plan);  // in debug builds, under --verify-each
//
// plan.order is the order in which nodes run; plan.overwrites[r] the value whose memory
// result r takes, or invalid. Chains are the norm: what r overwrites may itself overwrite something.

#include <array>

#include "gcomp/schedule/schedule.h"

namespace gcomp::schedule {

enum class CycleDetection : uint8_t {
  kIncremental,  // ordering edges, searched for cycles within a budget
  kFull,         // the whole schedule is checked at each attempt: slow, to compare with
  kOff,          // no ordering edges: only what agrees with the order as it is
};

struct InplaceOptions {
  CycleDetection mode = CycleDetection::kIncremental;
  uint32_t visits = Schedule::kVisits;  // of the search of one attempt
  bool audit = false;  // kIncremental: every verdict is compared with the plain check's
  std::vector<float>* attempt_seconds = nullptr;  // if given, appended to: of each attempt
};

struct InplaceStats {
  size_t candidates = 0;
  size_t attempts = 0;                         // a candidate refused by labels is tried again
  size_t by_labels = 0, by_edges = 0;          // accepted
  std::array<size_t, kNumRefusals> refused{};  // candidates, by the last cause; [0] is 0
  size_t visits = 0;                           // nodes visited by all searches
  size_t lost = 0;           // audit: refused kBudget, and the plain check would have accepted
  size_t disagreements = 0;  // audit: any other difference; a bug
  uint64_t bytes_saved = 0;  // by what was accepted
  double seconds = 0;

  size_t accepted() const { return by_labels + by_edges; }
};

// Accepts candidates until every one has been tried. `schedule` is valid before and after.
InplacePlan decide_inplace(Schedule& schedule, const InplaceOptions& options = {},
                           InplaceStats* stats = nullptr);

}  // namespace gcomp::schedule
