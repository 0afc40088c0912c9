#pragma once
// From a lowered module to machine code and the plan that goes with it.

#include <optional>
#include <string>
#include <vector>

#include "gcomp/artifact/plan_builder.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/driver/options.h"
#include "gcomp/lower/lower.h"
#include "generate_cuda.h"

namespace gcomp::driver {

// UserError if there is no such level.
codegen::CpuLevel cpu_level(const std::string& text);

struct GeneratedCode {
  std::vector<std::string> objects;  // or texts, by the options' emit
  PlanImage plan;
  std::optional<PlanImage> plan_of_both;  // the one with steps on the GPU
  DeviceCode device;
  bool straight_line = false;
  std::vector<codegen::ModuleTime> modules;
};

// `cache` may be null. Constants' bytes stay in the module's context. UserError when straight-line code is asked for and the
// graph cannot have it.
GeneratedCode generate_code(const lower::LoweredModule& module, const CompileOptions& options,
                            codegen::CodeCache* cache = nullptr);

// Adds what `both`, the same graph lowered for host and GPU, needs; its kernels may be renamed.
void generate_device_code(GeneratedCode& code, const lower::LoweredModule& host,
                          lower::LoweredModule& both, const CompileOptions& options,
                          codegen::CodeCache* cache = nullptr);

}  // namespace gcomp::driver
