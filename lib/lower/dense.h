#pragma once
// Index arithmetic on dense tensors, for kernels that make their own loops.

#include <span>
#include <vector>

#include "kernel_spec.h"

namespace gcomp::lower {

// Coordinates of element `flat`.
std::vector<kernel::Value> unflatten(KernelSpec& spec, kernel::Value flat,
                                     std::span<const DimId> shape);
kernel::Value flatten(KernelSpec& spec, std::span<const kernel::Value> index,
                      std::span<const DimId> shape);

// Full vectors of `t` (half precision is computed as float32).
int vector_lanes(const Target& target, DType t);
// What sums and products of `t` accumulate in.
DType accumulator_dtype(DType t);
// The bits of the value of `t` that no other is below (above).
uint64_t least_bits(DType t);
uint64_t greatest_bits(DType t);

// A negative index counts from the end.
kernel::Value wrapped_index(KernelSpec& spec, kernel::Value raw, kernel::Value extent);
// The same; out of range: the kernel fails with `message` and `*bad` is true.
kernel::Value checked_index(KernelSpec& spec, kernel::Value raw, kernel::Value extent,
                            const std::string& message, kernel::Value* bad);

// Iterations of scalar work of about `weight` operations that are worth a task.
uint32_t grain_for(int64_t weight);

// "gather_nd: index out of range at <place>"
std::string failure(const Graph& graph, const Node& node, const std::string& what);

}  // namespace gcomp::lower
