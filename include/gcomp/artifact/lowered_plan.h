#pragma once
// The steps of a lowered module as a call plan for the runtime.

#include <string>

#include "gcomp/artifact/plan_builder.h"
#include "gcomp/lower/lower.h"

namespace gcomp::artifact {

// Kernel i is called by the symbol kernel_prefix + module.names[i]. The constants' bytes stay in the
// module's context, which must outlive the image.
PlanImage build_plan(const lower::LoweredModule& module, const std::string& kernel_prefix,
                     const PlanOptions& options = {});

}  // namespace gcomp::artifact
