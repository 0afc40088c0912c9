#pragma once
// Kernels to x86-64 object files through LLVM. Same kernels and options give the same bytes for any
// number of threads. Objects need libc and libm only.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gcomp/codegen/code_cache.h"
#include "gcomp/kernel/kernel.h"
#include "gcomp/support/jobserver.h"

namespace gcomp::codegen {

enum class CpuLevel : uint8_t {
  kV2,  // x86-64-v2: SSE4.2
  kV3,  // x86-64-v3: AVX2, FMA, F16C (default: fixed, so that bytes do not depend on the machine)
  kV4,  // x86-64-v4: AVX-512 F BW CD DQ VL
  kNative,  // the features this machine reports (never its name: a VM may hide some)
};

// What lowering asks about the CPU that is compiled for.
struct CpuTraits {
  int vector_bytes;      // 16, 32 or 64
  int vector_registers;  // 16 or 32
  bool fma;
  int lanes(DType t) const { return vector_bytes / static_cast<int>(byte_size(t)); }
};

enum class Effort : uint8_t {
  kFast,     // IR passes skipped, FastISel and the fast register allocator: 0.2 ms a small kernel
  kDefault,  // early-cse, instcombine, simplifycfg, licm; codegen level "less": 1.5 ms
  kFull,     // the O3 pipeline: 5 ms; for comparison
};

enum class Emit : uint8_t { kObject, kAssembly, kLlvmText };

struct CompileOptions {
  CpuLevel cpu = CpuLevel::kV3;
  Effort effort = Effort::kDefault;
  Emit emit = Emit::kObject;
  int threads = 1;
  JobServer* jobs = nullptr;  // whose tokens the threads beyond the first need; null: none needed
  int kernels_per_module = 128;
  bool verify = false;  // LLVM's own verifier on what it is handed
  // What each kernel takes of a run. If given, those that together take little are compiled with
  // Effort::kFast: a third of the time for code that takes about twice as long.
  std::span<const double> work = {};
  double other_work = 0;       // of a run, in the same unit
  CodeCache* cache = nullptr;  // of modules' objects; may be null
};

// What it took to compile one module.
struct ModuleTime {
  double begin = 0;  // seconds after compile_kernels was called
  double seconds = 0;
  size_t bytes = 0;  // of the object, or text
  Effort effort = Effort::kDefault;
  std::vector<std::string> functions;  // kernels, or math functions that kernels call
  // Of each function, from its share of the module's estimated weight: the optimiser sees them together.
  std::vector<double> function_seconds;
};

CpuTraits cpu_traits(CpuLevel level);

// What a CPU must have beyond x86-64-v1 to run the code, by LLVM's names. Native: all that this
// machine reports, also what no code uses.
std::vector<std::string> cpu_features(CpuLevel level);

// Modules' texts or bytes, in order: at most kernels_per_module kernels each, fewer if they are large,
// then the math functions that kernels call. names[i] is the symbol
// of kernels[i] (hidden visibility). Throws InternalError when LLVM refuses what it was handed.
std::vector<std::string> compile_kernels(std::span<const kernel::Kernel* const> kernels,
                                         std::span<const std::string> names,
                                         const CompileOptions& options,
                                         std::vector<ModuleTime>* times = nullptr);

// A whole graph as one function, for tiny graphs: steps in order, kernels inlined or called.
struct StraightLine {
  // Memory that steps name. Stack storages become registers where all indices are constant.
  struct Storage {
    enum class Kind : uint8_t { kBuffer, kStack, kData };
    Kind kind = Kind::kBuffer;
    uint32_t buffer = 0;                   // kBuffer: entry of the function's `buffers`
    uint32_t bytes = 0;                    // kStack: uninitialised, 64-byte aligned
    std::span<const std::byte> data = {};  // kData: read only, 64-byte aligned
  };
  struct Place {
    uint32_t storage = 0;
    int64_t offset = 0;  // bytes
  };
  struct Step {
    enum class Kind : uint8_t {
      kCall,   // kernel over [0, extent)
      kCopy,   // `extent` bytes from places[1] to places[0] (may overlap)
      kFill,   // `extent` bytes of places[0] = byte scalars[0]
      kStore,  // int64 elements of places[0] = scalars
    };
    Kind kind = Kind::kCall;
    const kernel::Kernel* kernel = nullptr;
    std::string symbol = {};             // not empty: a function of another module to call instead
    std::vector<Place> places = {};      // kCall: one a parameter
    std::vector<uint64_t> scalars = {};  // kCall: one a scalar parameter
    int64_t extent = 0;
    // A kernel that may fail (its error parameter lies at `status`): code c becomes error + c, and the
    // function returns.
    int64_t error = -1;
  };
  std::vector<Storage> storages = {};
  std::vector<Step> steps = {};
  Place status = {};
};

// An object defining `void name(void* const* buffers, const int64_t* scalars, int64_t begin, int64_t
// end)`, which has the signature of a kernel and looks at `buffers` only.
std::string compile_straight_line(const StraightLine& code, const std::string& name,
                                  const CompileOptions& options);

}  // namespace gcomp::codegen
