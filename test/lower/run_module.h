#pragma once
// Runs a lowered module in this process: kernels through the JIT, steps by a small interpreter that
// checks what the runtime need not (writes outside a buffer).

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/lower/lower.h"
#include "jit.h"

namespace gcomp::test {

// Nodes of the graph and of those nested in it, each with a kernel on the GPU: there if `on_gpu` says so.
void place_nodes(const Graph& g, lower::LowerOptions& options,
                 const std::function<bool(const Node&)>& on_gpu);

// Steps that touch memory of a device they do not run on; empty if there are none.
std::vector<std::string> device_faults(const lower::LoweredModule& module);

// Kernels of the GPU are compiled for the CPU: each iteration by itself, in shuffled order.
class ModuleRunner {
 public:
  explicit ModuleRunner(const lower::LoweredModule& module,
                        codegen::Effort effort = codegen::Effort::kDefault);
  // Does all iterations of kernel number `kernel` of the module: [begin, end).
  using Call = std::function<void(uint32_t kernel, void* const* buffers, const int64_t* scalars,
                                  int64_t begin, int64_t end)>;
  ModuleRunner(const lower::LoweredModule& module, Call call)
      : module_(module), call_(std::move(call)), whole_calls_(true) {}
  // Of a module with the kernels of `other`'s.
  ModuleRunner(const lower::LoweredModule& module, const ModuleRunner& other)
      : module_(module), call_(other.call_) {}
  // `parts`: into how many pieces each call's range is cut. The error message is set when the run fails.
  std::vector<interp::Tensor> run(const std::vector<interp::Tensor>& inputs, int parts,
                                  std::string* error) const;

 private:
  const lower::LoweredModule& module_;
  Call call_;
  bool whole_calls_ = false;
};

}  // namespace gcomp::test
