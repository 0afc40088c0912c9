#pragma once
// A compiled graph in this process: loads the file as any host would, through gcomp/runtime.h.

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gcomp/ir/constant.h"
#include "gcomp/runtime.h"

namespace gcomp::driver {

struct PortInfo {
  std::string name;
  DType dtype;
  std::vector<std::string> dims;  // "3", "batch", "2*n + 1"
};

// Of all calls of one kernel in a run: their number, and the sum of each one's best time.
struct KernelTime {
  std::string name;
  int calls = 0;
  double seconds = 0;
};

class LoadedArtifact {
 public:
  // Threads 0: the runtime's choice. Device: "" (the runtime's choice, as in gcomp_options), "cpu", "cuda" or
  // "cuda:N". UserError (kFiles: not an artifact; kRun: it refuses this CPU, or there is no such GPU).
  LoadedArtifact(const std::filesystem::path& path, int threads, bool trace = false,
                 const std::string& device = "");
  ~LoadedArtifact();
  LoadedArtifact(const LoadedArtifact&) = delete;
  LoadedArtifact& operator=(const LoadedArtifact&) = delete;

  // Why it runs on the CPU although it has code for a GPU, or "".
  const std::string& note() const { return note_; }

  const std::vector<PortInfo>& inputs() const { return inputs_; }
  const std::vector<PortInfo>& outputs() const { return outputs_; }
  const std::vector<PortInfo>& states() const { return states_; }

  // What runs keep and replace, in the order of states(). UserError (kRun) as run().
  std::vector<Constant> get_states();
  void set_state(size_t i, const Constant& value);

  // Inputs in order; uint16 is taken for bfloat16. UserError (kRun) with the artifact's own message.
  std::vector<Constant> run(std::span<const Constant> inputs);

  // Seconds of each of `repeat` further runs on the same inputs, results left in the artifact.
  std::vector<double> time(std::span<const Constant> inputs, int repeat);

  // The kernels of `repeat` such runs, the slowest first. Needs `trace`; empty where the artifact is one
  // function without steps.
  std::vector<KernelTime> time_kernels(std::span<const Constant> inputs, int repeat);

 private:
  class Tensors;
  class Trace;
  void check(gcomp_status status);
  void check_inputs(std::span<const Constant> inputs) const;
  void check_dtype(const char* what, const PortInfo& port, DType given) const;

  std::string kernel_name(uint32_t number) const;

  std::string path_, note_;
  bool on_gpu_ = false;
  void* handle_ = nullptr;
  const gcomp_descriptor* descriptor_ = nullptr;
  gcomp_context* context_ = nullptr;
  std::vector<PortInfo> inputs_;
  std::vector<PortInfo> outputs_;
  std::vector<PortInfo> states_;
  std::unique_ptr<Trace> trace_;
};

}  // namespace gcomp::driver
