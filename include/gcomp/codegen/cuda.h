#pragma once
// Kernels to CUDA C++ text (plain string work: no CUDA needed), and texts to cubins and PTX through NVRTC,
// which is loaded at run time (no GPU needed). Same kernels, options and NVRTC version give the same bytes
// for any number of threads.
//
// Every kernel takes one parameter, 64-bit words by value: the buffers' addresses by slot, the scalars, the
// extent (iterations of the parallel range). It loops over iterations in strides of the grid, so that any
// number of blocks is right; one block of one thread does them in order.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/codegen/code_cache.h"
#include "gcomp/kernel/kernel.h"

namespace gcomp::codegen {

struct CudaPrintOptions {
  uint32_t kernels_per_module = 16;
  // Per kernel, or empty: a comment above it, the graph's nodes it computes.
  std::span<const std::string> comments = {};
  // Compilers take a kernel's lines for those of a file "/gcomp/" and its comment.
  bool line_info = false;
  // Per kernel, or empty: no call of it does more iterations than this; 0: not known. Indices that are
  // proven small are 32-bit.
  std::span<const int64_t> most_iterations = {};
};

struct CudaModule {
  std::string text;
  std::vector<uint32_t> kernels;  // positions in the list that was printed
};

// names[i] is the name of the i-th kernel's `__global__` function. Kernels are printed in order.
std::vector<CudaModule> print_cuda(std::span<const kernel::Kernel* const> kernels,
                                   std::span<const std::string> names,
                                   const CudaPrintOptions& options = {});

// What a launch needs to know: blocks of `threads` threads, each block doing so many iterations a turn.
struct CudaLaunch {
  uint32_t threads = 256;
  uint32_t iterations_per_block = 256;  // 1 where the threads of a block work together
  uint32_t shared_bytes = 0;            // to ask for at the launch; static arrays are not counted
};
CudaLaunch cuda_launch(const kernel::Kernel& kernel);

struct CudaArch {
  int number = 0;  // 80: the GPUs of compute capability 8.0
  bool ptx =
      false;  // false: machine code (cubin); true: PTX text, which drivers compile for later GPUs
  friend bool operator==(const CudaArch&, const CudaArch&) = default;
};
// "sm_80,sm_90,compute_80". Throws UserError for anything else; whether NVRTC knows an architecture is
// checked when it compiles.
std::vector<CudaArch> parse_cuda_archs(std::string_view list);
std::string name(CudaArch arch);

struct CudaOptions {
  std::vector<CudaArch> archs;
  int threads = 1;
  bool line_info = false;  // for profilers: maps machine code to lines of the text
  std::string nvrtc =
      {};  // path of the library, or empty: see load order in lib/codegen/cuda/README.md
  CodeCache* cache = nullptr;  // may be null
};

struct CudaImage {
  uint32_t module = 0;
  CudaArch arch;
  std::string bytes;
};

// Images by module, then in the order of `archs`. Throws UserError where NVRTC is absent, too old or does
// not know an architecture, with what to do; InternalError where it refuses a text.
std::vector<CudaImage> compile_cuda(std::span<const CudaModule> modules,
                                    const CudaOptions& options);

// "13.0"; UserError as above.
std::string nvrtc_version(const CudaOptions& options);

// What a kernel takes of a multiprocessor, read from a cubin.
struct CudaResources {
  std::string kernel;
  uint32_t registers = 0;  // of a thread
  uint32_t shared_bytes =
      0;  // of a block, static; with what GPUs from 9.0 on keep for themselves, 1024
  uint32_t local_bytes = 0;  // of a thread: arrays and what did not fit into registers
};
// In the order of the cubin's symbols' names. UserError if it is no cubin.
std::vector<CudaResources> cubin_resources(std::string_view cubin);

}  // namespace gcomp::codegen
