#include "cuda_multiply.h"

#include <optional>

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::MmaFormat;
using kernel::Value;
using kernel::Values;

namespace {

// Words added to a row of a slice in shared memory: threads that store neighbours in depth meet different banks.
constexpr int kFmaPad = 4;
// Neighbouring rows (columns) of a thread's square, which one load of shared memory takes.
constexpr int kRun = 4;

// Each thread has a square of sums, in runs of four rows and columns.
class FmaMultiplier : public Multiplier {
 public:
  FmaMultiplier(Builder& b, Value thread, DType dtype, Tile tile) : Multiplier(b) {
    if (dtype == DType::kFloat64) sum_ = dtype;
    const int square = tile.rows == 64 ? 4 : 8, depth = tile.rows == 64 ? 16 : 8;
    const int per_row = tile.columns / square;
    const Value x = b.index_rem(thread, b.index(per_row));
    const Value y = b.index_div(thread, b.index(per_row));
    left_ = slice(tile.rows, depth);
    right_ = slice(tile.columns, depth);
    rows_ = {b.mul(y, b.index(kRun)), square, kRun, tile.rows / (square / kRun), 1};
    columns_ = {b.mul(x, b.index(kRun)), square, kRun, tile.columns / (square / kRun), 1};
  }

  Value word(std::span<const Value> elements) override { return b_.cast(elements[0], sum_); }

  Values zeros() override {
    return Values(static_cast<size_t>(rows_.count * columns_.count), b_.constant({sum_, 1}, 0));
  }

  Values multiply(const Values& sums) override {
    const Values inside = b_.begin_for(b_.index(0), b_.index(left_.words), b_.index(1), sums);
    const Values x = at_depth(left_, rows_, inside[0]), y = at_depth(right_, columns_, inside[0]);
    Values next;
    for (const Value a : x) {
      for (const Value b : y) next.push_back(b_.mul_add(a, b, inside[1 + next.size()]));
    }
    return b_.end_for(next);
  }

  Value sum(const Values& sums, int i, int j) override {
    return sums[static_cast<size_t>(i * columns_.count + j)];
  }

 private:
  Slice slice(int across, int depth) {
    const int step = across + kFmaPad;
    return {b_.shared(sum_, static_cast<uint32_t>(depth * step)), across, depth, 1, step};
  }

  // A thread's elements of the slice at one place in depth.
  Values at_depth(const Slice& slice, const Positions& at, Value depth) {
    const Value first = b_.add(b_.mul(depth, b_.index(slice.word_step)), at.first);
    Values values;
    for (int i = 0; i < at.count; ++i) {
      const int offset = i / at.run * at.apart + i % at.run;
      values.push_back(load(slice, b_.add(first, b_.index(offset))));
    }
    return values;
  }
};

// Matrix units: 8 warps, two across the rows of the tile and four across its columns. The words of a slice are
// those of Builder::warp_mma.
class MmaMultiplier : public Multiplier {
 public:
  MmaMultiplier(Builder& b, Value thread, MmaFormat format, Tile tile, bool left_by_depth,
                bool right_by_depth)
      : Multiplier(b),
        format_(format),
        row_tiles_(tile.rows / 32),
        column_tiles_(tile.columns / 32) {
    if (format != MmaFormat::kTf32) elements_of_word_ = 2;
    left_ = slice(tile.rows, left_by_depth);
    right_ = slice(tile.columns, right_by_depth);
    const Value lane = b.index_rem(thread, b.index(32)), warp = b.index_div(thread, b.index(32));
    const Value first_row = b.mul(b.index_div(warp, b.index(4)), b.index(tile.rows / 2));
    const Value first_column = b.mul(b.index_rem(warp, b.index(4)), b.index(tile.columns / 4));
    const Value g = b.index_div(lane, b.index(4)), t = b.index_rem(lane, b.index(4));
    const Value t2 = b.mul(t, b.index(2));
    rows_ = {b.add(first_row, g), 2 * row_tiles_, 2, 16, 8};
    columns_ = {b.add(first_column, t2), 2 * column_tiles_, 2, 8, 1};
    first_of_left_ = first_word(left_, rows_.first, t);
    first_of_right_ = first_word(right_, b.add(first_column, g), t);
  }

  Value word(std::span<const Value> elements) override {
    if (format_ == MmaFormat::kTf32) return to_tf32(elements[0]);
    const Value low = bits_of(elements[0]), high = bits_of(elements[1]);
    return b_.bit_or(low, b_.shl(high, u32(16)));
  }

  Values zeros() override {
    return Values(static_cast<size_t>(row_tiles_ * column_tiles_),
                  b_.constant({DType::kFloat32, 4}, 0));
  }

  Values multiply(const Values& sums) override {
    const Values inside =
        b_.begin_for(b_.index(0), b_.index(left_.words), b_.index(kWordsOfStep), sums);
    Values x, y, next;
    for (int i = 0; i < row_tiles_; ++i) x.push_back(left_fragment(inside[0], 16 * i));
    for (int j = 0; j < column_tiles_; ++j) y.push_back(right_fragment(inside[0], 8 * j));
    for (const Value a : x) {
      for (const Value b : y) next.push_back(b_.warp_mma(format_, a, b, inside[1 + next.size()]));
    }
    return b_.end_for(next);
  }

  Value sum(const Values& sums, int i, int j) override {
    const Value four = sums[static_cast<size_t>(i / 2 * column_tiles_ + j / 2)];
    return b_.extract(four, i % 2 * 2 + j % 2);
  }

 private:
  static constexpr int kWords = 16, kWordsOfStep = 8;  // of a slice; of one warp_mma

  // Where memory runs in depth a slice does too. The padding lets both those that store and the 8 times 4 threads that
  // read a fragment meet different banks.
  Slice slice(int across, bool by_depth) {
    const int step = by_depth ? kWords + 4 : across + 8;
    const int size = by_depth ? across * step : kWords * step;
    const Buffer buffer = b_.shared(DType::kUInt32, static_cast<uint32_t>(size));
    return {buffer, across, kWords, by_depth ? step : 1, by_depth ? 1 : step};
  }

  Value first_word(const Slice& s, Value across, Value word) {
    const Value at = b_.mul(across, b_.index(s.across_step));
    return b_.add(at, b_.mul(word, b_.index(s.word_step)));
  }

  Value word_at(const Slice& s, Value first, Value step, int across, int word) {
    const Value at = b_.add(first, b_.mul(step, b_.index(s.word_step)));
    return load(s, b_.add(at, b_.index(across * s.across_step + word * s.word_step)));
  }

  Value left_fragment(Value step, int row) {
    Value words = b_.splat(word_at(left_, first_of_left_, step, row, 0), 4);
    words = b_.insert(words, 1, word_at(left_, first_of_left_, step, row + 8, 0));
    words = b_.insert(words, 2, word_at(left_, first_of_left_, step, row, 4));
    return b_.insert(words, 3, word_at(left_, first_of_left_, step, row + 8, 4));
  }

  Value right_fragment(Value step, int column) {
    const Value words = b_.splat(word_at(right_, first_of_right_, step, column, 0), 2);
    return b_.insert(words, 1, word_at(right_, first_of_right_, step, column, 4));
  }

  Value u32(uint32_t bits) { return b_.constant_bits({DType::kUInt32, 1}, bits); }
  Value bits_of(Value half) { return b_.cast(b_.bitcast(half, DType::kUInt16), DType::kUInt32); }

  // Rounded to 10 bits of fraction, ties to even; a NaN stays one.
  Value to_tf32(Value x) {
    const Value bits = b_.bitcast(x, DType::kUInt32);
    const Value odd = b_.bit_and(b_.shr(bits, u32(13)), u32(1));
    const Value above = b_.add(b_.add(bits, u32(0xfff)), odd);
    return b_.where(b_.ne(x, x), u32(0x7fc00000), b_.bit_and(above, u32(0xffffe000)));
  }

  MmaFormat format_;
  int row_tiles_, column_tiles_;  // of a warp: 16 rows, 8 columns
  Value first_of_left_, first_of_right_;
};

std::optional<MmaFormat> mma_format(const Target& target, DType dtype) {
  if (!target.matrix_units) return std::nullopt;
  if (dtype == DType::kFloat16) return MmaFormat::kFloat16;
  if (dtype == DType::kBFloat16) return MmaFormat::kBFloat16;
  if (dtype == DType::kFloat32 && target.tf32) return MmaFormat::kTf32;
  return std::nullopt;
}

}  // namespace

std::unique_ptr<Multiplier> make_multiplier(Builder& b, const Target& target, Value thread,
                                            DType dtype, Tile tile, bool left_by_depth,
                                            bool right_by_depth) {
  const auto format = mma_format(target, dtype);
  if (!format) return std::make_unique<FmaMultiplier>(b, thread, dtype, tile);
  return std::make_unique<MmaMultiplier>(b, thread, *format, tile, left_by_depth, right_by_depth);
}

}  // namespace gcomp::lower
