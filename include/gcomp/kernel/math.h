#pragma once
// Elementary and special functions written out as basic kernel arithmetic, for back ends that have
// none. Error bounds: the table in lib/kernel/README.md; checked by test/codegen/math_test.cpp.

#include <span>

#include "gcomp/kernel/builder.h"

namespace gcomp::kernel {

// Whether codegen needs `op` on `dtype` expanded (exp, log, sin, float pow, ...).
bool needs_expansion(Op op, DType dtype);

// Emits the expansion of op(args) for float32 or float64 arguments of any equal lanes.
Value emit_math(Builder& b, Op op, std::span<const Value> args);

// A copy of `kernel` in which no instruction needs expansion. Codegen calls it; lowering need not:
// kernels keep `exp` as one instruction so that they print, hash and deduplicate cheaply.
Kernel expand_math(const Kernel& kernel);

}  // namespace gcomp::kernel
