#pragma once
// The machine that is compiled for.

#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "gcomp/codegen/llvm.h"

namespace gcomp::codegen {

// Name and feature list for LLVM. Native takes the features this machine reports, each by itself.
struct TargetDescription {
  std::string cpu;
  std::string features;
};

TargetDescription describe_target(CpuLevel level);
std::unique_ptr<llvm::TargetMachine> make_target_machine(const CompileOptions& options);
bool has_feature(CpuLevel level, const char* feature);  // "fma", "f16c", "avx2", "avx512f"

}  // namespace gcomp::codegen
