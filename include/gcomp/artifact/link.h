#pragma once
// Objects + plan + constants -> one file. lld runs in this process, from memory to memory: no
// temporary files; the result appears under its name whole or not at all.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/artifact/plan_builder.h"

namespace gcomp::artifact {

struct DeviceKernelInfo {
  std::string name;   // of its function
  std::string nodes;  // what it computes, for messages
  uint32_t module = 0;
  uint32_t threads = 1;     // of a block
  uint32_t iterations = 1;  // a block takes, of all that a call has
  uint32_t shared_bytes = 0;
  uint32_t words = 1;  // of its parameter
};

struct DeviceImageInfo {
  std::span<const std::byte> bytes;  // a cubin, or PTX text
  uint32_t module = 0;
  uint32_t arch = 0;  // 80: sm_80
  bool ptx = false;
};

// The second plan of an artifact and the code for the GPU that it calls.
struct DeviceInput {
  // Its host kernels are defined in the objects as well; finished with PlanOptions::shared = the first plan.
  const PlanImage* plan = nullptr;
  std::vector<DeviceKernelInfo> kernels;  // of plan->device_kernels
  std::vector<DeviceImageInfo> images;
  uint32_t num_modules = 0;
};

struct LinkInput {
  std::string name = "gcomp_model";  // prefix of the exported symbols: a C identifier
  std::vector<std::span<const std::byte>>
      objects;  // x86-64 ELF relocatables defining plan->kernels
  const PlanImage* plan = nullptr;
  const DeviceInput* device = nullptr;  // or none: for the CPU alone
  std::string json;                     // the manifest, see manifest.h
  // What the code in `objects` needs, by LLVM's names: "avx2", "fma", ... (gcomp/runtime/cpu.h
  // lists those known; an unknown one that x86-64-v1 has not is an InternalError).
  std::vector<std::string> cpu_features;
};

// Write `path` (a shared object, mode 0755; constants marked `appended` lie page-aligned behind the
// ELF image). UserError (kFiles) when it cannot be written.
void write_shared_object(const LinkInput& input, const std::string& path);

// Write `path`: one relocatable object that defines the same symbols, everything else local; to be
// linked by the host with -lm. The plan must have been finished with PlanOptions{.inline_constants
// = UINT64_MAX}.
void write_object(const LinkInput& input, const std::string& path);

// The image alone, for tests. `plan` must have no appended constants.
std::vector<std::byte> link_shared_object(const LinkInput& input);

}  // namespace gcomp::artifact
