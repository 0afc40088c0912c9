#pragma once
// Products by tiles on a GPU: a block of 256 threads makes a tile of the result. Slices of both factors go through
// shared memory; the next slice is on its way while one is multiplied.

#include <functional>

#include "kernel_spec.h"

namespace gcomp::lower {

// What is multiplied: `rows` x `depth` times `depth` x `columns`, `batch` times.
struct Product {
  DimId batch, rows, columns, depth;
  DType dtype = DType::kFloat32;
  bool left_by_depth = true;    // neighbours of the left factor in memory are neighbours in depth
  bool right_by_depth = false;  // of the right one
};

// How a factor is read: the element of `batch` at (row or column, depth); not read, and 0, unless `inside`.
class Factor {
 public:
  virtual ~Factor() = default;
  virtual kernel::Value load(kernel::Builder& b, kernel::Value batch, kernel::Value at,
                             kernel::Value depth, kernel::Value inside) = 0;
};

// What becomes of an element of the result: a sum of float32, of float64 where the factors are.
using FinishSum = std::function<void(kernel::Value batch, kernel::Value row, kernel::Value column,
                                     kernel::Value sum)>;

// False where tiles would be mostly empty, or the dtype is no float.
bool is_worth_tiles(const DimTable& dims, const Product& product);

// Writes the kernel's loop over tiles; gives how many there are, the extent of its parallel range.
DimId emit_tiles(KernelSpec& spec, const Product& product, Factor& left, Factor& right,
                 const FinishSum& finish);

}  // namespace gcomp::lower
