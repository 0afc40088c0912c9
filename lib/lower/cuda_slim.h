#pragma once
// Products with few rows or few columns on a GPU: a matrix times a vector and the like. They are as quick as the long
// factor is read, once, by neighbouring threads from neighbours in memory.

#include "cuda_tiles.h"

namespace gcomp::lower {

// Whether the product has less than 16 rows or columns and sums that threads can share; floats only.
bool is_slim(const DimTable& dims, const Product& product);

// Of a slim product: writes the kernel's loop over blocks; gives how many there are, the extent of its parallel range.
DimId emit_slim(KernelSpec& spec, const Product& product, Factor& left, Factor& right,
                const FinishSum& finish);

// Whether the product's sums are few and long: two kernels then, emit_slim_parts and emit_slim_joined, instead.
bool is_slim_in_parts(DimTable& dims, const Product& product);
// Stores the parts of all sums in a temporary of the group, for the other one.
DimId emit_slim_parts(KernelSpec& spec, const Product& product, Factor& left, Factor& right);
DimId emit_slim_joined(KernelSpec& spec, const Product& product, const FinishSum& finish);

}  // namespace gcomp::lower
