#include "cuda_multiply.h"

namespace gcomp::lower {

using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

// Elements added to a line of a slice in shared memory: threads that store neighbours in depth meet different banks.
constexpr int kPad = 4;
// Neighbouring rows (columns) of a thread's square, which one load of shared memory takes.
constexpr int kRun = 4;
// Threads of a warp in a row of the tile: 8, and 4 rows of them, so that a warp reads 32 columns and 16 rows of each
// run, without conflicts and few of them twice.
constexpr int kWarpColumns = 8, kWarpRows = 32 / kWarpColumns;

// 16 times 16 threads, each with a square of sums in runs of four rows and columns.
class FmaMultiplier : public Multiplier {
 public:
  FmaMultiplier(Builder& b, Value thread, DType dtype, Tile tile) : Multiplier(b) {
    if (dtype == DType::kFloat64) sum_ = dtype;
    const int square = tile.rows == 64 ? 4 : 8, depth = tile.rows == 64 ? 16 : 8;
    left_ = slices(tile.rows, depth);
    right_ = slices(tile.columns, depth);
    const int warps = tile.columns / square / kWarpColumns;  // side by side
    const Value lane = b.index_rem(thread, b.index(32)), warp = b.index_div(thread, b.index(32));
    const auto place = [&](Value number, int many, Value inner) {
      return b.mul(b.add(b.mul(number, b.index(many)), inner), b.index(kRun));
    };
    const int apart = 16 * kRun;
    rows_ = {place(b.index_div(warp, b.index(warps)), kWarpRows,
                   b.index_div(lane, b.index(kWarpColumns))),
             square, kRun, apart, 1};
    columns_ = {place(b.index_rem(warp, b.index(warps)), kWarpColumns,
                      b.index_rem(lane, b.index(kWarpColumns))),
                square, kRun, apart, 1};
  }

  Value kept(Value elements) override { return b_.cast(elements, sum_); }

  Values zeros() override {
    return Values(static_cast<size_t>(rows_.count * columns_.count), b_.constant({sum_, 1}, 0));
  }

  Values multiply(std::span<const Value> sums, Value stage) override {
    const Values inside =
        b_.begin_for(b_.index(0), b_.index(left_.depth), b_.index(1), sums, kernel::kUnrolled);
    const Values x = at_depth(left_, rows_, stage, inside[0]);
    const Values y = at_depth(right_, columns_, stage, inside[0]);
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
  Slices slices(int across, int depth) {
    Slices s = {.across = across, .depth = depth, .step = across + kPad};
    add_slices(sum_, &s);
    return s;
  }

  // A thread's elements of the slice at one place in depth.
  Values at_depth(const Slices& slices, const Positions& at, Value stage, Value depth) {
    const Value first = slices.place(b_, stage, at.first, depth);
    Values values;
    for (int i = 0; i < at.count; ++i) {
      const int offset = i / at.run * at.apart + i % at.run;
      values.push_back(b_.load(slices.buffer, b_.add(first, b_.index(offset))));
    }
    return values;
  }
};

}  // namespace

Value Slices::place(Builder& b, Value stage, Value across, Value depth) const {
  const Value line = by_depth ? across : depth;
  Value at = by_depth ? depth : across;
  if (exchanged) {
    // The 8 lines that matrix units read at once meet 8 times 4 different banks: a line of 32 elements (64 bytes)
    // takes half of them.
    const Value turn = step == 32 ? b.index_rem(b.index_div(line, b.index(2)), b.index(4))
                                  : b.index_rem(line, b.index(8));
    const Value piece = b.bit_xor(b.index_div(at, b.index(8)), turn);
    at = b.add(b.mul(piece, b.index(8)), b.index_rem(at, b.index(8)));
  }
  return b.add(b.mul(stage, b.index(size)), b.add(b.mul(line, b.index(step)), at));
}

void Multiplier::add_slices(DType dtype, Slices* slices) {
  slices->size = (slices->by_depth ? slices->across : slices->depth) * slices->step;
  slices->buffer = b_.shared(dtype, static_cast<uint32_t>(stages_ * slices->size));
}

std::unique_ptr<Multiplier> make_multiplier(Builder& b, const Target& target, Value thread,
                                            const MultiplierShape& shape) {
  if (auto m = make_mma_multiplier(b, target, thread, shape)) return m;
  return std::make_unique<FmaMultiplier>(b, thread, shape.dtype, shape.tile);
}

}  // namespace gcomp::lower
