// Schedules of graphs: what the op table says, what fusion groups read and make, and every sample graph.
#include "gcomp/schedule/tables.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "gcomp/formats/formats.h"
#include "gcomp/ir/text.h"
#include "gcomp/schedule/check.h"
#include "gcomp/schedule/inplace.h"

using namespace gcomp;
using namespace gcomp::schedule;

namespace {

std::vector<std::pair<uint32_t, uint32_t>> pairs(const ScheduleTables& t) {
  std::vector<std::pair<uint32_t, uint32_t>> all;
  for (const Candidate& c : t.candidates) all.emplace_back(c.result.index, c.operand.index);
  std::ranges::sort(all);
  return all;
}

using Pairs = std::vector<std::pair<uint32_t, uint32_t>>;

// Every result over every operand of its type: more than kernels can do, and no less to decide.
void add_all_candidates(const Graph& graph, ScheduleTables* t) {
  for (uint32_t r = 0; r < t->num_values(); ++r) {
    if (t->producer[r] == kNoNode || t->view_of[r].valid()) continue;
    for (ValueId o : t->operands_of(t->producer[r])) {
      if (graph.type_id(o) == graph.type_id(ValueId(r))) {
        t->candidates.push_back({ValueId(r), o, r % 2 == 0});
      }
    }
  }
}

}  // namespace

TEST_CASE("ops: elementwise ops may overwrite what has their type, updates their first operand") {
  Context c;
  const auto g = parse_graph(c, R"(graph {
  %0 = input "x" donate : float64[4]
  %1 = input "i" : int64[2]
  %2 = input "u" : float64[2]
  %3 = input "s" : float64[4]
  %4 = constant : float64[4] {1.0, 2.0, 3.0, 4.0}
  %5 = scatter_elements(%0, %1, %2) {axis=0, reduction="add"} : float64[4]
  %6 = reshape(%5) {shape=[2, 2]} : float64[2, 2]
  %7 = exp(%6) : float64[2, 2]
  %8 = lt(%3, %4) : bool[4]
  %9 = where(%8, %3, %4) : float64[4]
  %10 = reduce_sum(%9) {axes=[0]} : float64[]
  %11 = neg(%5) : float64[4]
  return "y" = %7
  return "t" = %10
  return "s_new" = %11
  state 3 -> 2 = float64[4] {0.0, 0.0, 0.0, 0.0}
}
)");
  const ScheduleTables t = op_tables(*g);
  CHECK(pairs(t) == Pairs{{5, 0}, {7, 6}, {9, 3}, {9, 4}, {11, 5}});
  CHECK(t.view_of[6] == ValueId(5));
  CHECK(t.bytes[6] == 32);
  CHECK(t.protection[0] == Protection::kNone);
  CHECK(t.protection[1] == Protection::kInput);
  CHECK(t.protection[3] == Protection::kInput);
  CHECK(t.protection[4] == Protection::kConstant);
  CHECK(t.protection[7] == Protection::kOutput);
  CHECK(t.name(7) == "%7 exp");
  const ScheduleTables with_states = op_tables(*g, {.states = true});
  CHECK(with_states.protection[3] == Protection::kNone);
  CHECK(pairs(with_states) == Pairs{{5, 0}, {7, 6}, {9, 3}, {9, 4}, {11, 3}, {11, 5}});
  Schedule s(t);
  const InplacePlan plan = decide_inplace(s);
  CHECK(plan.overwrites[5] == ValueId(0));
  check_plan(t, plan);
}

TEST_CASE(
    "groups: what index maps and other names stand for is read and made by the groups themselves") {
  Context c;
  const auto g = parse_graph(c, R"(graph {
  %0 = input "x" : float64[4, 3]
  %1 = input "w" : float64[3, 4]
  %2 = input "p" : bool[]
  %3 = transpose(%0) {perm=[1, 0]} : float64[3, 4]
  %4 = add(%3, %1) : float64[3, 4]
  %5 = exp(%4) : float64[3, 4]
  %6 = check(%5, %2) {message="no"} : float64[3, 4]
  %7 = reshape(%6) {shape=[12]} : float64[12]
  %8, %9 = sort(%7) {axis=0} : float64[12], int64[12]
  return "y" = %8
  return "i" = %9
}
)");
  const Groups groups = fuse(*g, {});
  const ScheduleTables t = group_tables(*g, groups);
  REQUIRE(t.num_nodes() == groups.groups.size());
  const uint32_t sum = groups.group_of[4], check = groups.group_of[6], sort = groups.group_of[8];
  const auto reads = [&](uint32_t n) {
    const auto v = t.operands_of(n);
    return std::vector<ValueId>(v.begin(), v.end());
  };
  CHECK(reads(sum) == std::vector{ValueId(0), ValueId(1)});  // x through the transpose
  CHECK(t.producer[5] == sum);
  CHECK(t.producer[6] == check);
  CHECK(t.view_of[6] == ValueId(5));
  CHECK(t.producer[7] == check);  // another name of what the check passes on
  CHECK(t.view_of[7] == ValueId(6));
  CHECK(reads(sort) == std::vector{ValueId(7)});
  CHECK(t.producer[8] == sort);
  CHECK(t.name(sort).find("sort") != std::string::npos);
}

TEST_CASE("every sample graph, by ops and by groups: incremental decides what full decides") {
  size_t graphs = 0, accepted = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GCOMP_SOURCE_DIR "/graphs/user")) {
    if (entry.path().extension() != ".json") continue;
    ++graphs;
    Context c;
    const auto g = formats::read_graph(c, entry.path());
    const Groups groups = fuse(*g, {});
    ScheduleTables by_groups = group_tables(*g, groups);
    add_all_candidates(*g, &by_groups);
    for (const ScheduleTables& t : {op_tables(*g), by_groups}) {
      InplaceStats audited, full;
      Schedule a(t), b(t);
      const InplacePlan plan = decide_inplace(a, {.audit = true}, &audited);
      const InplacePlan other = decide_inplace(b, {.mode = CycleDetection::kFull}, &full);
      CHECK(audited.disagreements == 0);
      CHECK(find_interference(t, plan).value_or("") == "");
      CHECK(find_interference(t, other).value_or("") == "");
      CHECK(audited.accepted() + audited.lost >= full.accepted());
      accepted += audited.accepted();
    }
  }
  CHECK(graphs >= 10);
  CHECK(accepted > 100);
}
