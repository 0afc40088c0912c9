#pragma once
// The tests of this folder on an emulated GPU, in two runs of the same executable, so that one compiler run serves
// them all: with GCOMP_CUDA_RECORD=folder every compared graph is lowered for a GPU and nothing is run; at the end
// the kernels' texts are written to the folder and compiled. With GCOMP_CUDA_RUN=folder those kernels are run and
// their results compared with the reference evaluator's.

#include <map>
#include <memory>
#include <string>

#include "emulated.h"
#include "run_module.h"

namespace gcomp::test {

class CudaMode {
 public:
  static CudaMode* get();  // null: neither variable is set
  ~CudaMode();

  bool records() const { return !record_folder_.empty(); }
  // As for a GPU; remembers the kernels while recording.
  lower::LoweredModule lower(const Graph& g, lower::LowerOptions options);
  ModuleRunner runner(const lower::LoweredModule& module) const;

 private:
  CudaMode(std::string record_folder, const std::string& run_folder);

  struct Recorded {
    kernel::Kernel kernel;
    int64_t most_iterations = 0;
  };
  std::string record_folder_;
  std::map<std::string, Recorded> kernels_;  // by name
  std::vector<std::shared_ptr<Emulated>> libraries_;
};

}  // namespace gcomp::test
