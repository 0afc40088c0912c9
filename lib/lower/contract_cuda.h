#pragma once
// Contractions by tiles that a block of threads makes together; false: not worth it, nothing was done.

#include "plan_writer.h"

namespace gcomp::lower {

bool lower_cuda_matmul(PlanWriter& w, uint32_t group);
bool lower_cuda_conv(PlanWriter& w, uint32_t group);

}  // namespace gcomp::lower
