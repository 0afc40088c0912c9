#pragma once
// What the stages of a compilation are expected to take, for the estimate of the time left, and how far the
// passes are.

#include "gcomp/driver/options.h"
#include "gcomp/driver/progress.h"
#include "gcomp/pass/pass.h"

namespace gcomp::driver {

// When the graph has been read; `writes`: it is to be written again after the passes, nothing is compiled.
void expect_work(Progress& progress, const Graph& graph, const CompileOptions& options,
                 bool writes);
// When the number of different kernels is known.
void expect_kernels(Progress& progress, size_t kernels);

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
