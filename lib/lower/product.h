#pragma once
// Products and convolutions on the GPU that a library could do as well.

#include "plan_writer.h"

namespace gcomp::lower {

// Notes on the call that computes this group, if it is one call, that it is such a one. `first`: the first of the
// group's steps.
void note_product(PlanWriter& w, uint32_t group, size_t first);

}  // namespace gcomp::lower
