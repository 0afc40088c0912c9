#pragma once
// Compiles kernels with our code generator and loads the objects into this process.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gcomp/codegen/llvm.h"
#include "gcomp/kernel/kernel.h"

namespace gcomp::test {

class Jit {
 public:
  // Loads objects that need libc and libm only; symbols are looked up in them.
  explicit Jit(std::span<const std::string> objects);
  Jit(const kernel::Kernel& kernel, const codegen::CompileOptions& options);
  ~Jit();
  void* find(const std::string& name) const;

  // Calls the kernel given to the second constructor.
  void run(std::vector<void*> buffers, std::vector<int64_t> scalars, int64_t begin,
           int64_t end) const;

 private:
  struct State;
  std::unique_ptr<State> s_;
};

codegen::CompileOptions options_for(codegen::CpuLevel level,
                                    codegen::Effort effort = codegen::Effort::kDefault);
// What the loader must find elsewhere.
std::vector<std::string> undefined_symbols(const std::string& object);
bool host_has(codegen::CpuLevel level);

}  // namespace gcomp::test
