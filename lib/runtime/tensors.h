#pragma once
// The checks of one tensor that the caller gave against what is declared: `side` is "input", "output" or
// "state", `i` its number there.

#include "context.h"

#define TENSOR "%s \"%s\" (number %u)"
#define TENSOR_ARGUMENTS(side, tensor, i) side, plan_string(*c.plan, (tensor).name), (i)

namespace gcomp::rt {

using LongLong = long long;

// struct_size .. extents: what all have in common. `fill_dtype`: bits 0 is allowed.
gcomp_status check_header(gcomp_context& c, const char* side, const PlanTensor& declared,
                          uint32_t i, const gcomp_tensor& t, uint64_t stride, bool fill_dtype);

// The number of bytes; false if it does not fit.
bool dense_bytes(const int64_t* extents, int rank, uint32_t element, uint64_t* bytes);

// Whether t's strides, which are not null, are row-major.
bool is_dense(const gcomp_tensor& t, const int64_t* extents, uint32_t element);

gcomp_status check_data(gcomp_context& c, const char* side, const PlanTensor& declared, uint32_t i,
                        const gcomp_tensor& t, uint64_t needed, bool check_capacity);

// Also gives the byte offsets that t reaches from its data: [low, high).
gcomp_status check_strides(gcomp_context& c, const char* side, const PlanTensor& declared,
                           uint32_t i, const gcomp_tensor& t, const int64_t* extents, bool output,
                           int64_t* low, int64_t* high);

gcomp_status bad_extent(gcomp_context& c, const char* side, const PlanTensor& declared, uint32_t i,
                        uint32_t axis, int64_t given, int64_t wanted);

}  // namespace gcomp::rt
