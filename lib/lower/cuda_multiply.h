#pragma once
// How the threads of a block share a tile of sums, and multiply slices of its factors in shared memory.

#include <memory>

#include "kernel_spec.h"

namespace gcomp::lower {

struct Tile {
  int rows, columns;
};

// Slices of a factor in shared memory, a ring of them: one is multiplied while the next ones are on their way.
// A slice has `across` rows or columns of the tile and is `depth` elements deep; neighbours in depth are neighbours
// in it (`by_depth`), else those across are.
struct Slices {
  kernel::Buffer buffer = {};
  int across = 0, depth = 0;
  bool by_depth = false;
  int step = 0;            // from one line of neighbours to the next
  bool exchanged = false;  // pieces of 8 elements change places, by the line's number
  int size = 0;            // of a slice, in elements

  // Where an element is; `stage` is the slice's place in the ring.
  kernel::Value place(kernel::Builder& b, kernel::Value stage, kernel::Value across,
                      kernel::Value depth) const;
};

// A thread's rows (or columns) of the tile: number i is first + i / run * apart + i % run * step.
struct Positions {
  kernel::Value first;
  int count, run, apart, step;
};

class Multiplier {
 public:
  virtual ~Multiplier() = default;

  const Slices& left() const { return left_; }
  const Slices& right() const { return right_; }
  const Positions& rows() const { return rows_; }
  const Positions& columns() const { return columns_; }
  int threads() const { return threads_; }
  int stages() const { return stages_; }     // of the rings
  bool copies() const { return copies_; }    // slices hold elements as memory does
  int depth() const { return left_.depth; }  // of a slice
  DType sum_dtype() const { return sum_; }

  // What slices hold of an element of a factor, or of several.
  virtual kernel::Value kept(kernel::Value elements) = 0;
  // A thread's sums in the form that loops carry, all 0.
  virtual kernel::Values zeros() = 0;
  // Adds the products of the slices at `stage`.
  virtual kernel::Values multiply(std::span<const kernel::Value> sums, kernel::Value stage) = 0;
  // The sum of the thread's row number `i` and column number `j`.
  virtual kernel::Value sum(const kernel::Values& sums, int i, int j) = 0;

 protected:
  explicit Multiplier(kernel::Builder& b) : b_(b) {}
  void add_slices(DType dtype, Slices* slices);

  kernel::Builder& b_;
  DType sum_ = DType::kFloat32;
  int threads_ = 256, stages_ = 2;
  bool copies_ = false;
  Slices left_, right_;
  Positions rows_ = {}, columns_ = {};
};

// What a tile is made of; by depth: as of Product.
struct MultiplierShape {
  DType dtype;
  Tile tile;
  bool left_by_depth, right_by_depth;
};

// By matrix units where `target` has them for the dtype, else by multiply-add instructions. `thread` is
// b.thread(). Sums are of float32, of float64 for float64.
std::unique_ptr<Multiplier> make_multiplier(kernel::Builder& b, const Target& target,
                                            kernel::Value thread, const MultiplierShape& shape);
// The former (cuda_mma.cpp); null where there are none.
std::unique_ptr<Multiplier> make_mma_multiplier(kernel::Builder& b, const Target& target,
                                                kernel::Value thread, const MultiplierShape& shape);

}  // namespace gcomp::lower
