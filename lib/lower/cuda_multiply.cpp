#include "cuda_multiply.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

// Columns added to a slice in shared memory: threads that store neighbours in depth meet different banks.
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

}  // namespace

std::unique_ptr<Multiplier> multiply_by_fma(Builder& b, Value thread, DType dtype, Tile tile) {
  return std::make_unique<FmaMultiplier>(b, thread, dtype, tile);
}

}  // namespace gcomp::lower
