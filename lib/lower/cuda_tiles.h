#pragma once
// Products by tiles on a GPU: a block of threads makes a tile of the result. Slices of both factors go through
// shared memory; the next ones are on their way while one is multiplied.

#include <functional>

#include "kernel_spec.h"

namespace gcomp::lower {

// What is multiplied: `rows` x `depth` times `depth` x `columns`, `batch` times.
struct Product {
  DimId batch, rows, columns, depth;
  DType dtype = DType::kFloat32;
  bool left_by_depth = true;    // neighbours of the left factor in memory are neighbours in depth
  bool right_by_depth = false;  // of the right one
  DimId neighbours =
      {};  // so many columns of the result lie side by side in memory; may be invalid: 1
  bool little_follows = false;  // is computed of an element of the result
};

// How a factor is read.
class Factor {
 public:
  // Where in memory an element is, and whether it is there at all: else it is 0.
  struct Place {
    kernel::Value index, inside;
  };

  explicit Factor(kernel::Buffer buffer) : buffer_(buffer) {}
  virtual ~Factor() = default;

  kernel::Buffer buffer() const { return buffer_; }
  // The element of `batch` at (row or column, depth), if that is `inside` the factor.
  virtual Place place(kernel::Builder& b, kernel::Value batch, kernel::Value at,
                      kernel::Value depth, kernel::Value inside) = 0;
  // Whether groups of `lanes` elements, from multiples of that on in depth or across, as memory runs, are neighbours
  // at multiples of their size from the buffer's begin, and inside or not as one. Bool.
  virtual kernel::Value has_groups(kernel::Builder& b, int lanes) = 0;

  kernel::Value load(kernel::Builder& b, kernel::Value batch, kernel::Value at, kernel::Value depth,
                     kernel::Value inside) {
    const Place p = place(b, batch, at, depth, inside);
    return b.masked_load(buffer_, p.index, p.inside, b.constant({b.info(buffer_).dtype, 1}, 0));
  }

 private:
  kernel::Buffer buffer_;
};

// What becomes of elements of the result, neighbours in memory from (row, column) on: sums of float32, of float64 where
// the factors are.
using FinishSum = std::function<void(kernel::Value batch, kernel::Value row, kernel::Value column,
                                     kernel::Value sum)>;

// False where tiles would be mostly empty, or the dtype is no float.
bool is_worth_tiles(const DimTable& dims, const Product& product);

// Writes the kernel's loop over tiles; gives how many there are, the extent of its parallel range.
DimId emit_tiles(KernelSpec& spec, const Product& product, Factor& left, Factor& right,
                 const FinishSum& finish);

}  // namespace gcomp::lower
