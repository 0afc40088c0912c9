#pragma once
// The steps of a lowered module as a call plan for the runtime.

#include <cstdint>
#include <string>
#include <vector>

#include "gcomp/artifact/plan_builder.h"
#include "gcomp/lower/lower.h"

namespace gcomp::artifact {

// Where the rows of a plan come from.
struct PlanOrigin {
  std::vector<uint32_t> step;    // per step of the plan: that of the module
  std::vector<uint32_t> memory;  // per buffer of the plan: the module's memory; rt::kNone: its own
};

// Kernel i is called by the symbol kernel_prefix + module.names[i]. The constants' bytes stay in the
// module's context, which must outlive the image.
PlanImage build_plan(const lower::LoweredModule& module, const std::string& kernel_prefix,
                     const PlanOptions& options = {}, PlanOrigin* origin = nullptr);

}  // namespace gcomp::artifact
