#pragma once
// The float ops of one and two operands on reals, as the op table defines them.

#include <optional>

#include "gcomp/ir/op.h"
#include "real.h"

namespace gcomp::truth {

// Nothing where the op has no truth here.
std::optional<Real> unary(Op op, const Real& x);
std::optional<Real> binary(Op op, const Real& x, const Real& y);
std::optional<bool> compare(Op op, const Real& x, const Real& y);

}  // namespace gcomp::truth
