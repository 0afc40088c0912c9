#pragma once
// What the stages of a compilation are expected to take, for the estimate of the time left, and how far the
// passes are.

#include <functional>

#include "gcomp/driver/options.h"
#include "gcomp/driver/progress.h"
#include "gcomp/pass/pass.h"

namespace gcomp::driver {

// Before a graph is read: a guess by the size of a JSON file; nothing of others, which read quickly. `writes`: it is
// to be written again after the passes, nothing is compiled.
void expect_reading(Progress& progress, const CompileOptions& options, bool writes);
// When the graph has been read.
void expect_work(Progress& progress, const Graph& graph, const CompileOptions& options,
                 bool writes);
// When the number of different kernels is known.
void expect_kernels(Progress& progress, size_t kernels);

// What lowering number `turn` of `turns` tells of the share it has done.
std::function<void(double)> lowering_progress(Progress& progress, int turn, int turns);

// Tells the progress how far passes are: how many are over, and the share of the present one's nodes.
class PassProgress : public pass::Observer {
 public:
  PassProgress(Progress& progress, size_t passes) : progress_(progress), passes_(passes) {}
  void begin_pass(const pass::Pass& pass, const Graph& graph) override;
  void take(NodeId node, const Graph& built) override;

 private:
  Progress& progress_;
  size_t passes_;
  size_t begun_ = 0;
  size_t nodes_ = 0, taken_ = 0;  // of the present pass
};

// The passes that will run.
size_t count_passes(const CompileOptions& options);

}  // namespace gcomp::driver
