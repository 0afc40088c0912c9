// Maps on a GPU with operands whose neighbours in memory are no neighbours of the result, but lie along another loop: a
// block does a square of that loop and the last one. It reads such an operand's square as it lies in memory, into
// shared memory, and takes it from there as the result lies.

#include <algorithm>

#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;

namespace {

// Elements of a square's side, twice that of those of half a word, so that a thread asks for as many bytes at once; and
// threads of a block, some rows of the square at a time.
constexpr int kSide = 32, kThreads = 256;
// Shared memory for squares.
constexpr int64_t kMaxTileBytes = 24 << 10;

// The distance of rows in shared memory: a column's elements are in different banks.
int64_t pitch(int side, DType t) {
  return side + std::max<int64_t>(4 / static_cast<int64_t>(byte_size(t)), 1);
}

}  // namespace

void NestEmitter::choose_tile() {
  if (!spec_.target().cuda_blocks || reduced_mask_ != 0 || loops_.size() < 2) return;
  const auto last = static_cast<uint32_t>(loops_.size() - 1);
  const auto is_long = [&](uint32_t axis, int extent) {
    return dims_.constant_value(loops_[axis]).value_or(extent) >= extent;
  };
  if (!is_long(last, kSide / 2)) return;
  const auto is_linear = [&](const Item& item, uint32_t axis) {
    return table_.only_linear(item.linear, axis) &&
           std::ranges::all_of(item.guards,
                               [&](const Guard& g) { return table_.only_linear(g.index, axis); });
  };
  std::vector<uint32_t> loads;
  size_t widest = 1;
  int64_t bytes = 0;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    if (item.kind != ItemKind::kLoad || !is_linear(item, last)) continue;
    const DimId step = table_.coefficient(item.linear, last);
    if (dims_.is_constant(step, 0) || dims_.is_constant(step, 1)) continue;
    const auto square =
        kSide * pitch(kSide, item.dtype) * static_cast<int64_t>(byte_size(item.dtype));
    for (uint32_t axis = 0; axis < last && bytes + square <= kMaxTileBytes; ++axis) {
      if (!dims_.is_constant(table_.coefficient(item.linear, axis), 1)) continue;
      if (!is_linear(item, axis) || !is_long(axis, kSide / 2)) continue;
      if (!loads.empty() && tile_axis_ != axis) continue;
      tile_axis_ = axis;
      loads.push_back(i);
      widest = std::max(widest, byte_size(item.dtype));
      bytes += square;
      break;
    }
  }
  if (loads.empty()) return;
  const bool large = widest <= 2 && 4 * bytes <= kMaxTileBytes && is_long(last, 2 * kSide) &&
                     is_long(tile_axis_, 2 * kSide);
  tile_side_ = large ? 2 * kSide : kSide;
  for (const uint32_t i : loads) {
    const auto elements = tile_side_ * pitch(tile_side_, items_[i].dtype);
    tiled_.push_back({i, b_.shared(items_[i].dtype, static_cast<uint32_t>(elements))});
  }
  axis_level_[tile_axis_] = axis_level_[last] = row_level_ = 2;
  level_log_.resize(4);
  level_terms_.resize(4);
}

// Runs `body` for the elements of the square that are this thread's: those of `lane` along `across`, of every so many
// rows along `down`. It is told the row's number.
void NestEmitter::for_square(uint32_t across, uint32_t down, const std::vector<Value>& first,
                             const std::function<void(Value)>& body) {
  const Value zero = b_.index(0), side = b_.index(tile_side_);
  b_.for_loop(zero, side, b_.index(kThreads / tile_side_), [&](Value k) {
    const Value row = b_.add(warp_, k);
    axis_value_[across] = b_.add(first[across], lane_);
    axis_value_[down] = b_.add(first[down], row);
    Value inside;
    for (const uint32_t axis : {across, down}) {
      const auto extent = dims_.constant_value(loops_[axis]);
      if (extent && *extent % tile_side_ == 0) continue;
      const Value is = b_.lt(axis_value_[axis], spec_.dim(loops_[axis]));
      inside = inside.valid() ? b_.bit_and(inside, is) : is;
    }
    const auto element = [&] {
      level_ = 2;
      body(row);
      close_level(2);
    };
    if (inside.valid()) return b_.if_then(inside, element);
    element();
  });
}

std::pair<DimId, uint32_t> NestEmitter::emit_squares(const std::vector<bool>& early) {
  const auto last = static_cast<uint32_t>(loops_.size() - 1);
  const DimId tile = dims_.constant(tile_side_);
  const DimId squares_down = dims_.ceil_div(loops_[tile_axis_], tile);
  const DimId squares_across = dims_.ceil_div(loops_[last], tile);
  DimId squares = dims_.mul(squares_down, squares_across);
  for (uint32_t a = 0; a < last; ++a) {
    if (a != tile_axis_) squares = dims_.mul(squares, loops_[a]);
  }
  const auto at = [&](const Tiled& t, Value row, Value column) {
    return b_.add(b_.mul(row, b_.index(pitch(tile_side_, items_[t.item].dtype))), column);
  };
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    std::vector<Value> first(loops_.size());
    const Value across = spec_.dim(squares_across), down = spec_.dim(squares_down);
    first[last] = b_.mul(b_.index_rem(p, across), b_.index(tile_side_));
    p = b_.index_div(p, across);
    first[tile_axis_] = b_.mul(b_.index_rem(p, down), b_.index(tile_side_));
    decode(1, b_.index_div(p, down));
    open_level(1, early);
    emit_items(1, early, 1);
    for_square(tile_axis_, last, first, [&](Value row) {
      for (const Tiled& t : tiled_) {
        const Item& item = items_[t.item];
        const kernel::Buffer memory = spec_.input(groups_.storage[item.value.index]);
        const Value x = emit_load(item.linear, item.guards, memory, item.dtype, true, 1);
        b_.store(t.square, at(t, row, lane_), x);
      }
    });
    b_.barrier();
    for_square(last, tile_axis_, first, [&](Value row) {
      for (const Tiled& t : tiled_) set_value(t.item, 2, b_.load(t.square, at(t, lane_, row)));
      emit_items(2, early, 1);
      emit_row(1);
    });
    close_level(1);
  });
  return {squares, 1};
}

void NestEmitter::begin_square() {
  b_.set_block(kThreads);
  const Value thread = b_.thread();
  warp_ = b_.index_div(thread, b_.index(tile_side_));
  lane_ = b_.index_rem(thread, b_.index(tile_side_));
}

}  // namespace gcomp::lower
