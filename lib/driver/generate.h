#pragma once
// From a lowered module to machine code and the plan that goes with it.

#include <string>
#include <vector>

#include "gcomp/artifact/plan_builder.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/driver/options.h"
#include "gcomp/lower/lower.h"

namespace gcomp::driver {

// UserError if there is no such level.
codegen::CpuLevel cpu_level(const std::string& text);

struct GeneratedCode {
  std::vector<std::string> objects;  // or texts, by the options' emit
  PlanImage plan;
  bool straight_line = false;
  std::vector<codegen::ModuleTime> modules;
};

// Constants' bytes stay in the module's context. UserError when straight-line code is asked for and the
// graph cannot have it.
GeneratedCode generate_code(const lower::LoweredModule& module, const CompileOptions& options);

}  // namespace gcomp::driver
