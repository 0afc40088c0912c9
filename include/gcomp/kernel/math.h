#pragma once
// Elementary and special functions written out as basic kernel arithmetic, for back ends that have
// none. Error bounds: the table in lib/kernel/README.md; checked by test/codegen/math_test.cpp.

#include <functional>
#include <span>

#include "gcomp/kernel/builder.h"

namespace gcomp::kernel {

// Whether `op` on `dtype` is expanded (exp, log, sin, float pow and mod, integer pow, ...).
bool needs_expansion(Op op, DType dtype);

struct ExpandOptions {
  bool native_float16 = true;    // casts between float16 and float32 are left to the back end
  bool native_bfloat16 = false;  // the same of bfloat16
  // Expansions not to make: the back end calls functions of its own there. Null: expand all.
  std::function<bool(Op, Type)> keep;
  bool fma = true;  // the CPU has it; else exact products are made of other operations
};

// Emits the expansion of op(args) for arguments of equal lanes and a dtype that needs it.
Value emit_math(Builder& b, Op op, std::span<const Value> args, const ExpandOptions& options = {});

// A copy of `kernel` in which no instruction needs expansion; bfloat16 casts become integer arithmetic.
// Codegen calls it, lowering need not: kernels keep `exp` as one instruction so that they print, hash
// and deduplicate cheaply.
Kernel expand_math(const Kernel& kernel, const ExpandOptions& options = {});

}  // namespace gcomp::kernel
