// Multiplication by matrix units (Builder::warp_mma).

#include "cuda_multiply.h"

namespace gcomp::lower {

using kernel::Builder;
using kernel::MmaFormat;
using kernel::Value;
using kernel::Values;

namespace {

// Warps share a tile as a grid of `warp_rows` and `warp_columns`. Each has matrices of 16 rows and 8 columns.
class MmaMultiplier : public Multiplier {
 public:
  Values zeros() override {
    return Values(static_cast<size_t>(row_tiles_ * column_tiles_),
                  b_.constant({DType::kFloat32, 4}, 0));
  }

  Values multiply(std::span<const Value> sums, Value stage) override {
    const Values inside = b_.begin_for(b_.index(0), b_.index(left_.depth), b_.index(depth_of_step_),
                                       sums, kernel::kUnrolled);
    const Values x = left_fragments(stage, inside[0]), y = right_fragments(stage, inside[0]);
    Values next;
    for (const Value a : x) {
      for (const Value b : y) next.push_back(b_.warp_mma(format_, a, b, inside[1 + next.size()]));
    }
    return b_.end_for(next);
  }

  Value sum(const Values& sums, int i, int j) override {
    const Value four = sums[static_cast<size_t>(i / 2 * column_tiles_ + j / 2)];
    return b_.extract(four, i % 2 * 2 + j % 2);
  }

 protected:
  MmaMultiplier(Builder& b, Value thread, MmaFormat format, Tile tile, int warp_rows,
                int warp_columns)
      : Multiplier(b),
        format_(format),
        row_tiles_(tile.rows / warp_rows / 16),
        column_tiles_(tile.columns / warp_columns / 8) {
    threads_ = 32 * warp_rows * warp_columns;
    lane_ = b.index_rem(thread, b.index(32));
    const Value warp = b.index_div(thread, b.index(32));
    first_row_ = b.mul(b.index_div(warp, b.index(warp_columns)), b.index(tile.rows / warp_rows));
    first_column_ =
        b.mul(b.index_rem(warp, b.index(warp_columns)), b.index(tile.columns / warp_columns));
    g_ = b.index_div(lane_, b.index(4)), t_ = b.index_rem(lane_, b.index(4));
    rows_ = {b.add(first_row_, g_), 2 * row_tiles_, 2, 16, 8};
    columns_ = {b.add(first_column_, b.mul(t_, b.index(2))), 2 * column_tiles_, 2, 8, 1};
  }

  // At `depth` of the slice: of each 16 rows, of each 8 columns.
  virtual Values left_fragments(Value stage, Value depth) = 0;
  virtual Values right_fragments(Value stage, Value depth) = 0;

  MmaFormat format_;
  int row_tiles_, column_tiles_;  // of a warp
  int depth_of_step_ = 8;         // elements, of one warp_mma
  Value lane_, g_, t_, first_row_, first_column_;
};

// float16 and bfloat16: slices are what memory holds; matrices are loaded from them, turned where lines run across.
// 4 warps, so that each has much of the tile: the slices are read twice each.
class HalfMultiplier : public MmaMultiplier {
 public:
  HalfMultiplier(Builder& b, Value thread, MmaFormat format, const MultiplierShape& shape)
      : MmaMultiplier(b, thread, format, shape.tile, 2, 2) {
    stages_ = 3, copies_ = true, depth_of_step_ = 16;
    left_ = slices(shape.dtype, shape.tile.rows, shape.left_by_depth);
    right_ = slices(shape.dtype, shape.tile.columns, shape.right_by_depth);
    const Value matrix = b.index_div(lane_, b.index(8));
    line_ = b.index_rem(lane_, b.index(8));
    low_ = b.mul(b.index_rem(matrix, b.index(2)), b.index(8));
    high_ = b.mul(b.index_div(matrix, b.index(2)), b.index(8));
  }

  Value kept(Value elements) override { return elements; }

 private:
  static constexpr int kDepth = 32;

  Slices slices(DType dtype, int across, bool by_depth) {
    Slices s = {.across = across,
                .depth = kDepth,
                .by_depth = by_depth,
                .step = by_depth ? kDepth : across,
                .exchanged = true};
    add_slices(dtype, &s);
    return s;
  }

  // Of the matrix whose line this thread brings, (across, depth) is the first element.
  Value load(const Slices& s, Value stage, Value across, Value depth) {
    Value& line = s.by_depth ? across : depth;
    line = b_.add(line, line_);
    return b_.warp_load(s.buffer, s.place(b_, stage, across, depth), !s.by_depth);
  }

  // Matrices: 8 rows and the 8 below, then both 8 further in depth.
  Values left_fragments(Value stage, Value depth) override {
    Values fragments;
    for (int i = 0; i < row_tiles_; ++i) {
      const Value row = b_.add(b_.add(first_row_, low_), b_.index(16 * i));
      fragments.push_back(load(left_, stage, row, b_.add(depth, high_)));
    }
    return fragments;
  }

  // Matrices: 8 columns, the same further in depth, and both of the next 8 columns.
  Values right_fragments(Value stage, Value depth) override {
    Values fragments;
    for (int j = 0; j < column_tiles_; j += 2) {
      const Value column = b_.add(b_.add(first_column_, high_), b_.index(8 * j));
      const Value four = load(right_, stage, column, b_.add(depth, low_));
      fragments.push_back(b_.slice_lanes(four, 0, 2));
      fragments.push_back(b_.slice_lanes(four, 2, 2));
    }
    return fragments;
  }

  Value line_, low_, high_;
};

// float32, rounded to tf32 on the way to the slices, which are of its bits. 8 warps.
class Tf32Multiplier : public MmaMultiplier {
 public:
  Tf32Multiplier(Builder& b, Value thread, const MultiplierShape& shape)
      : MmaMultiplier(b, thread, MmaFormat::kTf32, shape.tile, 2, 4) {
    left_ = slices(shape.tile.rows, shape.left_by_depth);
    right_ = slices(shape.tile.columns, shape.right_by_depth);
  }

  // To 10 bits of fraction, ties to even; a NaN stays one.
  Value kept(Value x) override {
    const Value bits = b_.bitcast(x, DType::kUInt32);
    const Value odd = b_.bit_and(b_.shr(bits, u32(13)), u32(1));
    const Value above = b_.add(b_.add(bits, u32(0xfff)), odd);
    return b_.where(b_.ne(x, x), u32(0x7fc00000), b_.bit_and(above, u32(0xffffe000)));
  }

 private:
  static constexpr int kDepth = 16;

  // The padding lets both those that store and the 8 times 4 threads that read a fragment meet different banks.
  Slices slices(int across, bool by_depth) {
    Slices s = {.across = across,
                .depth = kDepth,
                .by_depth = by_depth,
                .step = by_depth ? kDepth + 4 : across + 8};
    add_slices(DType::kUInt32, &s);
    return s;
  }

  Values left_fragments(Value stage, Value depth) override {
    const Value first = left_.place(b_, stage, b_.add(first_row_, g_), b_.add(depth, t_));
    Values fragments;
    for (int i = 0; i < row_tiles_; ++i) {
      Value words = b_.splat(word(left_, first, 16 * i, 0), 4);
      words = b_.insert(words, 1, word(left_, first, 16 * i + 8, 0));
      words = b_.insert(words, 2, word(left_, first, 16 * i, 4));
      fragments.push_back(b_.insert(words, 3, word(left_, first, 16 * i + 8, 4)));
    }
    return fragments;
  }

  Values right_fragments(Value stage, Value depth) override {
    const Value first = right_.place(b_, stage, b_.add(first_column_, g_), b_.add(depth, t_));
    Values fragments;
    for (int j = 0; j < column_tiles_; ++j) {
      const Value words = b_.splat(word(right_, first, 8 * j, 0), 2);
      fragments.push_back(b_.insert(words, 1, word(right_, first, 8 * j, 4)));
    }
    return fragments;
  }

  // So far after the one at `first`.
  Value word(const Slices& s, Value first, int across, int depth) {
    const int offset = s.by_depth ? across * s.step + depth : depth * s.step + across;
    return b_.load(s.buffer, b_.add(first, b_.index(offset)));
  }

  Value u32(uint32_t bits) { return b_.constant_bits({DType::kUInt32, 1}, bits); }
};

}  // namespace

std::unique_ptr<Multiplier> make_mma_multiplier(Builder& b, const Target& target, Value thread,
                                                const MultiplierShape& shape) {
  if (!target.matrix_units) return nullptr;
  switch (shape.dtype) {
    case DType::kFloat16:
      return std::make_unique<HalfMultiplier>(b, thread, MmaFormat::kFloat16, shape);
    case DType::kBFloat16:
      return std::make_unique<HalfMultiplier>(b, thread, MmaFormat::kBFloat16, shape);
    case DType::kFloat32:
      if (target.tf32) return std::make_unique<Tf32Multiplier>(b, thread, shape);
      return nullptr;
    default: return nullptr;
  }
}

}  // namespace gcomp::lower
