#pragma once
// Kernels printed as CUDA C++, compiled for this host against the emulator, and run.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gcomp/codegen/cuda.h"
#include "gcomp/kernel/kernel.h"

namespace gcomp::test {

// A loaded library of emulated kernels.
class Emulated {
 public:
  // Prints and compiles all of them, in `parts` compiler runs at a time.
  Emulated(std::span<const kernel::Kernel* const> kernels, std::span<const std::string> names,
           const codegen::CudaPrintOptions& options = {}, uint32_t parts = 2);
  // One that was compiled before (compile_emulated).
  explicit Emulated(const std::filesystem::path& library);

  // Words: addresses of buffers, scalars, number of iterations. Throws std::runtime_error if there is no such
  // kernel or it breaks a rule of the GPU (a race, a barrier that not all threads reach).
  void run(const std::string& name, std::span<const uint64_t> words, codegen::CudaLaunch launch,
           uint32_t grid) const;
  // False if there is no such kernel.
  bool try_run(const std::string& name, std::span<const uint64_t> words, codegen::CudaLaunch launch,
               uint32_t grid) const;

 private:
  void load(const std::filesystem::path& library);

  using Entry = int (*)(const char*, uint32_t, uint32_t, uint32_t, const uint64_t*);
  std::vector<Entry> entries_;
  std::vector<std::shared_ptr<void>> handles_;
};

// text.cu -> text.so, by the system's compiler. Throws std::runtime_error with its messages.
void compile_emulated(std::span<const std::filesystem::path> texts);

}  // namespace gcomp::test
