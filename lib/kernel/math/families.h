#pragma once
// The expansions, one file a family. Arguments: float32 or float64 unless said, equal types.

#include "math_builder.h"

namespace gcomp::kernel::math {

// integer.cpp
Value emit_integer_pow(Builder& b, Value x, Value y);

// modulo.cpp
Value emit_rem(MathBuilder& m, Value x, Value y);
Value emit_mod(MathBuilder& m, Value x, Value y);
Value emit_floor_div(MathBuilder& m, Value x, Value y);

// half.cpp: float32 to and from the half formats, in integer arithmetic.
Value emit_half_to_float(Builder& b, Value h);  // float16 or bfloat16
Value emit_float_to_half(Builder& b, Value x, DType to);

}  // namespace gcomp::kernel::math
