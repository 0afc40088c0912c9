#include "expected_work.h"

#include <algorithm>
#include <filesystem>

#include "gcomp/driver/pipeline.h"

namespace gcomp::driver {
namespace {

// Measured on user-group graphs of a million nodes, one core. A machine that is slower or faster shows in the
// first stages; the estimate follows.
constexpr double kJsonByteSeconds = 22e-9;
constexpr double kJsonNodeBytes = 100;    // of a file with few weights in it
constexpr double kPassSeconds = 0.25e-6;  // a node and pass
constexpr double kLowerSeconds = 4e-6;    // a node
constexpr double kKernelSeconds = 8e-3;
constexpr double kLinkSeconds = 0.1e-6;     // a node
constexpr double kWriteSeconds = 0.2e-6;    // a node
constexpr size_t kKernelsBeforeKnown = 20;  // repeated structure gives few
constexpr size_t kTakenBetween = 4096;      // nodes between two reports
constexpr double kGroupShare = 0.6;         // of lowering, before steps are arranged

void expect_stages(Progress& progress, double nodes, const CompileOptions& o, bool writes) {
  progress.expect("optimise", static_cast<double>(count_passes(o)) * kPassSeconds * nodes);
  if (writes) return progress.expect("write", kWriteSeconds * nodes);
  progress.expect("lower", kLowerSeconds * nodes);
  expect_kernels(progress, kKernelsBeforeKnown);
  progress.expect("link", kLinkSeconds * nodes);
}

}  // namespace

size_t count_passes(const CompileOptions& o) {
  const auto chosen = pass::select(pipeline(), o.pipeline);
  return static_cast<size_t>(
      std::ranges::count_if(chosen, [](const pass::Pass* p) { return p->run != nullptr; }));
}

void expect_reading(Progress& progress, const CompileOptions& o, bool writes) {
  std::error_code none;
  const auto bytes = static_cast<double>(std::filesystem::file_size(o.input, none));
  if (none || o.input.extension() != ".json") return;
  progress.expect("read", kJsonByteSeconds * bytes);
  expect_stages(progress, bytes / kJsonNodeBytes, o, writes);
}

void expect_work(Progress& progress, const Graph& graph, const CompileOptions& o, bool writes) {
  expect_stages(progress, static_cast<double>(graph.num_nodes()), o, writes);
}

void expect_kernels(Progress& progress, size_t kernels) {
  progress.expect("generate code", kKernelSeconds * static_cast<double>(kernels));
}

std::function<void(double)> lowering_progress(Progress& progress, int turn, int turns) {
  return [&progress, turn, turns](double share) {
    progress.reach((turn + kGroupShare * share) / turns);
  };
}

void PassProgress::begin_pass(const pass::Pass&, const Graph& graph) {
  nodes_ = graph.num_nodes();
  taken_ = 0;
  progress_.reach(static_cast<double>(begun_) / static_cast<double>(passes_));
  ++begun_;
}

void PassProgress::take(NodeId, const Graph&) {
  if (++taken_ % kTakenBetween != 0) return;
  const double share = std::min(1.0, static_cast<double>(taken_) / static_cast<double>(nodes_));
  progress_.reach((static_cast<double>(begun_ - 1) + share) / static_cast<double>(passes_));
}

}  // namespace gcomp::driver
