#pragma once
// The expansions, one file a family. Arguments: float32 or float64 unless said, equal types.

#include "math_builder.h"

namespace gcomp::kernel::math {

// exp.cpp
Value emit_exp(MathBuilder& m, Value x);
Value emit_exp_pair(MathBuilder& m, Value x, Value low);  // e^(x + low)
Value emit_exp_short(MathBuilder& m, Value x);            // float64, for pow
Value emit_half_exp(MathBuilder& m, Value x);             // e^x / 2
Value emit_exp2(MathBuilder& m, Value x);
Value emit_expm1(MathBuilder& m, Value x);
Value emit_tanh(MathBuilder& m, Value x);
Value emit_sigmoid(MathBuilder& m, Value x);
Value emit_softplus(MathBuilder& m, Value x);
Value emit_log1mexp(MathBuilder& m, Value x);
Value emit_sinh(MathBuilder& m, Value x);
Value emit_cosh(MathBuilder& m, Value x);

// log.cpp
Value emit_log(MathBuilder& m, Value x);
Value emit_log1p(MathBuilder& m, Value x);
Value emit_log2(MathBuilder& m, Value x);                  // float64
Value emit_log10(MathBuilder& m, Value x);                 // float64
Value emit_log_short(MathBuilder& m, Value x);             // float64, for pow
MathBuilder::Pair emit_log_pair(MathBuilder& m, Value x);  // float64, positive finite

// trig.cpp
Value emit_sin(MathBuilder& m, Value x);
Value emit_cos(MathBuilder& m, Value x);
Value emit_tan(MathBuilder& m, Value x);
Value emit_sin_pi(MathBuilder& m, Value x);  // float64: sin(pi x)
Value emit_cos_pi(MathBuilder& m, Value x);  // float64

// inverse.cpp
Value emit_atan(MathBuilder& m, Value x);
Value emit_atan2(MathBuilder& m, Value y, Value x);
Value emit_asin(MathBuilder& m, Value x);
Value emit_acos(MathBuilder& m, Value x);
Value emit_asinh(MathBuilder& m, Value x);
Value emit_acosh(MathBuilder& m, Value x);
Value emit_atanh(MathBuilder& m, Value x);

// erf.cpp; all but erf float64 only
Value emit_erf(MathBuilder& m, Value x);
Value emit_erfc(MathBuilder& m, Value x);
Value emit_erfcx(MathBuilder& m, Value x);
Value emit_erfinv(MathBuilder& m, Value x);

// gamma.cpp; float64 only
Value emit_lgamma(MathBuilder& m, Value x);
Value emit_digamma(MathBuilder& m, Value x);
Value emit_trigamma(MathBuilder& m, Value x);

// pow.cpp
Value emit_pow(MathBuilder& m, Value x, Value y);

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
