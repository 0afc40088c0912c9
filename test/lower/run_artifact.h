#pragma once
// A lowered module linked into a shared object and run by the runtime in it.

#include <string>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/lower/lower.h"

namespace gcomp::test {

std::vector<interp::Tensor> run_artifact(const lower::LoweredModule& module,
                                         const std::vector<interp::Tensor>& inputs, int threads,
                                         bool straight_line, std::string* error);

}  // namespace gcomp::test
