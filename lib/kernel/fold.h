#pragma once
// Arithmetic on constants, one element held as zero-extended bits: what codegen would compute.

#include <cstdint>
#include <span>

#include "gcomp/ir/dtype.h"
#include "gcomp/ir/op.h"

namespace gcomp::kernel {

int64_t as_int(DType t, uint64_t bits);  // sign-extended for signed dtypes; bool and integers only
double as_double(DType t, uint64_t bits);
uint64_t from_int(DType t, int64_t value);    // wraps
uint64_t from_double(DType t, double value);  // rounds once; integers saturate, NaN gives 0
uint64_t fold_cast(DType from, DType to, uint64_t bits);

// False when `op` is not folded for this dtype (elementary functions, float pow, ...).
bool fold_op(Op op, DType t, std::span<const uint64_t> args, uint64_t* result);

}  // namespace gcomp::kernel
