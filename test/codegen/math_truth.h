#pragma once
// Elementary and special functions in 113-bit arithmetic (libquadmath, and a few written here on top of
// it): the truth that compiled kernels are measured against.

#include "gcomp/ir/op.h"

namespace gcomp::test {

using Quad = __float128;

Quad truth(Op op, Quad x, Quad y);

// What the error of op at x is measured in, if larger than the result: where terms cancel by nature
// (gamma functions left of zero), the size of the terms; else 0.
Quad error_scale(Op op, Quad x);

}  // namespace gcomp::test
