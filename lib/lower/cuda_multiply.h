#pragma once
// How the threads of a block share a tile of sums, and multiply a slice of its factors in shared memory.

#include <memory>

#include "kernel_spec.h"

namespace gcomp::lower {

inline constexpr int kTileThreads = 256;

struct Tile {
  int rows, columns;
};

// A slice of a factor in shared memory, of words: neighbours in depth where several fit into one.
struct Slice {
  kernel::Buffer buffer = {};
  int across = 0, words = 0;           // rows or columns of the tile; words of each
  int across_step = 0, word_step = 0;  // how far apart neighbours are
};

// A thread's rows (or columns) of the tile: number i is first + i / run * apart + i % run * step.
struct Positions {
  kernel::Value first;
  int count, run, apart, step;
};

class Multiplier {
 public:
  virtual ~Multiplier() = default;

  const Slice& left() const { return left_; }
  const Slice& right() const { return right_; }
  const Positions& rows() const { return rows_; }
  const Positions& columns() const { return columns_; }
  int elements_of_word() const { return elements_of_word_; }
  int depth() const { return left_.words * elements_of_word_; }  // of a slice, in elements
  DType sum_dtype() const { return sum_; }

  // The word of neighbouring elements, as many as one has.
  virtual kernel::Value word(std::span<const kernel::Value> elements) = 0;
  // A thread's sums in the form that loops carry, all 0.
  virtual kernel::Values zeros() = 0;
  // Adds the products of the slices that are in shared memory.
  virtual kernel::Values multiply(const kernel::Values& sums) = 0;
  // The sum of the thread's row number `i` and column number `j`.
  virtual kernel::Value sum(const kernel::Values& sums, int i, int j) = 0;

 protected:
  explicit Multiplier(kernel::Builder& b) : b_(b) {}
  kernel::Value load(const Slice& slice, kernel::Value at) { return b_.load(slice.buffer, at); }

  kernel::Builder& b_;
  DType sum_ = DType::kFloat32;
  int elements_of_word_ = 1;
  Slice left_, right_;
  Positions rows_ = {}, columns_ = {};
};

// By matrix units where `target` has them for the dtype, else by multiply-add instructions. `thread` is
// b.thread(); by depth: as of Product. Sums are of float32, of float64 for float64.
std::unique_ptr<Multiplier> make_multiplier(kernel::Builder& b, const Target& target,
                                            kernel::Value thread, DType dtype, Tile tile,
                                            bool left_by_depth, bool right_by_depth);

}  // namespace gcomp::lower
