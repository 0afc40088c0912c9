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

}  // namespace gcomp::lower
