// Times the Schedule of one graph, op by op:
//   bench_inplace [--full ATTEMPTS] GRAPH
// Prints one figure a line, "name value", times in nanoseconds unless the name says otherwise; each is the
// best of several runs except the worst attempt. --full: so many attempts, evenly chosen, are also decided
// by the plain check of the whole schedule. scripts/bench_inplace.py makes tables of it.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>

#include "gcomp/formats/formats.h"
#include "gcomp/schedule/check.h"
#include "gcomp/schedule/inplace.h"

namespace gcomp::schedule {
namespace {

constexpr int kRuns = 5;

double now() {  // of this process alone, so that a busy machine does not count
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <class F>
double seconds(F f) {
  const double begin = now();
  f();
  return now() - begin;
}

template <class F>
double best_of(int runs, F f) {
  double best = 1e300;
  for (int i = 0; i < runs; ++i) best = std::min(best, f());
  return best;
}

void report(const char* name, double value) { std::printf("%s %.6g\n", name, value); }

// Results whose operand has one reader in the whole graph, may be overwritten, and is a result or donated:
// what a check without ordering edges and without an order accepts. Chains are allowed.
size_t single_client(const ScheduleTables& t) {
  std::vector<uint32_t> readers(t.num_values(), 0);
  for (ValueId v : t.operands) ++readers[v.index];
  std::vector<bool> taken(t.num_values(), false);
  size_t accepted = 0;
  for (const Candidate& c : t.candidates) {
    const ValueId o = c.operand;
    if (taken[c.result.index] || readers[o.index] != 1) continue;
    if (t.view_of[o.index].valid() || t.protection[o.index] != Protection::kNone) continue;
    taken[c.result.index] = true;
    ++accepted;
  }
  return accepted;
}

// Edges from earlier to later nodes: neighbours in turn, and pairs anywhere.
void bench_edges(const ScheduleTables& t) {
  constexpr uint32_t kEdges = 200000;
  const uint32_t n = t.num_nodes();
  std::mt19937 random(1);
  std::vector<std::pair<uint32_t, uint32_t>> near, far;
  for (uint32_t i = 0; i < kEdges; ++i) {
    const uint32_t at = static_cast<uint32_t>(uint64_t{i} * (n - 9) / kEdges);
    near.emplace_back(at, at + 1 + static_cast<uint32_t>(random() % 8));
    const auto a = static_cast<uint32_t>(random() % n), b = static_cast<uint32_t>(random() % n);
    if (a != b) far.emplace_back(std::min(a, b), std::max(a, b));
  }
  const auto time = [&](const auto& edges) {
    return best_of(kRuns, [&] {
      std::vector<uint32_t> ids(n);
      for (uint32_t i = 0; i < n; ++i) ids[i] = i;
      IncrementalOrder order(ids);
      order.reserve(n, t.operands.size() + edges.size());
      uint32_t visits = IncrementalOrder::kUnlimited;
      for (uint32_t r = 0; r < n; ++r) {
        for (ValueId v : t.operands_of(r)) {
          if (t.producer[v.index] != kNoNode) order.add_edge(t.producer[v.index], r, &visits);
        }
      }
      return seconds([&] {
        for (const auto& [a, b] : edges) order.add_edge(a, b, &visits);
      });
    });
  };
  report("edge_near", time(near) / static_cast<double>(near.size()) * 1e9);
  report("edge_far", time(far) / static_cast<double>(far.size()) * 1e9);
}

// A copy of a value that one reader of it reads, each edit validated: on the schedule with its overwrites.
void bench_edits(const ScheduleTables& t) {
  constexpr uint32_t kEdits = 50000;
  double undo = 1e300;
  const double edit = best_of(kRuns, [&] {
    Schedule s(t);
    decide_inplace(s);
    std::mt19937 random(2);
    std::vector<std::pair<ValueId, uint32_t>> reads;
    while (reads.size() < kEdits) {
      const auto node = static_cast<uint32_t>(random() % t.num_nodes());
      const auto operands = t.operands_of(node);
      if (!operands.empty()) reads.emplace_back(operands[random() % operands.size()], node);
    }
    const size_t mark = s.mark();
    size_t refused = 0;
    const double forward = seconds([&] {
      for (const auto& [v, node] : reads) {
        s.insert_copy(v, {&node, 1});
        refused += s.validate().has_value();
      }
    });
    if (refused > 0) std::fprintf(stderr, "%zu copies were refused\n", refused);
    undo = std::min(undo, seconds([&] { s.rollback(mark); }));
    return forward;
  });
  report("copy", edit / kEdits * 1e9);
  report("copy_taken_back", undo / kEdits * 1e9);
}

void bench_decisions(const ScheduleTables& t) {
  InplaceStats stats;
  InplacePlan plan;
  const double all = best_of(2 * kRuns, [&] {
    Schedule s(t);
    return seconds([&] { plan = decide_inplace(s, {}, &stats); });
  });
  report("check_seconds", best_of(kRuns, [&] { return seconds([&] { check_plan(t, plan); }); }));
  // Each attempt is the same in every run; what interrupts one run is not.
  std::vector<float> least;
  for (int i = 0; i < 2 * kRuns; ++i) {
    Schedule s(t);
    std::vector<float> times;
    decide_inplace(s, {.attempt_seconds = &times});
    if (least.empty()) least = times;
    for (size_t k = 0; k < times.size(); ++k) least[k] = std::min(least[k], times[k]);
  }
  report("candidates", static_cast<double>(stats.candidates));
  report("attempts", static_cast<double>(stats.attempts));
  report("by_labels", static_cast<double>(stats.by_labels));
  report("by_edges", static_cast<double>(stats.by_edges));
  report("single_client", static_cast<double>(single_client(t)));
  for (size_t r = 1; r < kNumRefusals; ++r) {
    std::string name = "refused_" + std::string(schedule::name(static_cast<Refusal>(r)));
    std::replace(name.begin(), name.end(), ' ', '_');
    report(name.c_str(), static_cast<double>(stats.refused[r]));
  }
  report("visits", static_cast<double>(stats.visits));
  report("decide_seconds", all);
  report("attempt_mean", all / static_cast<double>(std::max<size_t>(stats.attempts, 1)) * 1e9);
  report("attempt_worst", least.empty() ? 0 : *std::ranges::max_element(least) * 1e9);
}

void bench_full(ScheduleTables t, size_t attempts) {
  const size_t step = std::max<size_t>(1, t.candidates.size() / attempts);
  std::vector<Candidate> chosen;
  for (size_t i = 0; i < t.candidates.size(); i += step) chosen.push_back(t.candidates[i]);
  t.candidates = std::move(chosen);
  InplaceStats full;
  Schedule s(t);
  const double time = seconds([&] { decide_inplace(s, {.mode = CycleDetection::kFull}, &full); });
  report("full_attempt_mean", time / static_cast<double>(full.attempts) * 1e9);
  report("full_attempts", static_cast<double>(full.attempts));
}

void bench(const char* path, size_t full) {
  Context context;
  const std::unique_ptr<Graph> graph = formats::read_graph(context, path);
  ScheduleTables tables;
  report("tables_seconds",
         best_of(kRuns, [&] { return seconds([&] { tables = op_tables(*graph); }); }));
  report("nodes", tables.num_nodes());
  report("freeze_seconds", best_of(kRuns, [&] {
           ScheduleTables copy = tables;
           return seconds([&] { const Schedule s(std::move(copy)); });
         }));
  bench_edges(tables);
  bench_edits(tables);
  bench_decisions(tables);
  if (full > 0) bench_full(tables, full);
}

}  // namespace
}  // namespace gcomp::schedule

int main(int argc, char** argv) {
  size_t full = 0;
  const char* path = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--full") == 0 && i + 1 < argc) {
      full = std::strtoull(argv[++i], nullptr, 10);
    } else {
      path = argv[i];
    }
  }
  if (!path) return std::fprintf(stderr, "usage: bench_inplace [--full ATTEMPTS] GRAPH\n"), 2;
  gcomp::schedule::bench(path, full);
}
