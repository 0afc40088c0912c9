#pragma once
// A lowered module as one straight-line function: for tiny graphs, where stepping through a plan would
// be a noticeable part of a call. The plan that goes with it checks tensors as ever and has one step,
// which calls the function as a kernel whose buffers are the whole buffer table:
//   inputs, outputs (those of states among them), constants, status, arena
// Everything runs on the caller's thread; results are the same bits as the plan's, but
// for the sign and payload of NaNs.

#include <memory>
#include <string>
#include <vector>

#include "gcomp/artifact/plan_builder.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/lower/lower.h"

namespace gcomp::artifact {

struct StraightLineModule {
  codegen::StraightLine code;
  std::vector<uint32_t> called;       // kernels of the module that stay functions
  std::vector<ConstantId> constants;  // in the buffer table
  uint64_t arena_bytes = 0;
  std::vector<std::string> messages;
  std::vector<std::unique_ptr<kernel::Kernel>>
      own;  // kernels that `code` mentions besides the module's
};

// Why `module` cannot be one such function ("an extent is known only when it runs"), or "".
std::string straight_line_obstacle(const lower::LoweredModule& module);

// Whether it should be one, by the thresholds in lib/artifact/straight_line.cpp: few calls, little code,
// and no call large enough for several threads.
bool prefers_straight_line(const lower::LoweredModule& module);

// Kernels that stay functions are called by the symbol kernel_prefix + their name. There must be no
// obstacle. Constants' bytes stay in the module's context, kernels in the module.
StraightLineModule make_straight_line(const lower::LoweredModule& module,
                                      const std::string& kernel_prefix = "");

// `symbol`: of the compiled function.
PlanImage build_straight_line_plan(const lower::LoweredModule& module,
                                   const StraightLineModule& straight, const std::string& symbol,
                                   const PlanOptions& options = {});

}  // namespace gcomp::artifact
