// Maps on a GPU with operands whose neighbours in memory are no neighbours of the result, but lie along another loop: a
// block does a square of that loop and the last one. It reads such an operand's square as it lies in memory, into
// shared memory, and takes it from there as the result lies.

#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;

namespace {

// Elements of a square's side, threads of a block (a row of the square at a time, kStep rows), and the distance of
// rows in shared memory: odd, so that a column's elements are in different banks.
constexpr int kTile = 32, kThreads = 256, kStep = kThreads / kTile, kPitch = kTile + 1;
// Shared memory for squares.
constexpr int64_t kMaxTileBytes = 24 << 10;

}  // namespace

void NestEmitter::choose_tile() {
  if (!spec_.target().cuda_blocks || reduced_mask_ != 0 || loops_.size() < 2) return;
  const auto last = static_cast<uint32_t>(loops_.size() - 1);
  const auto is_long = [&](uint32_t axis) {
    return dims_.constant_value(loops_[axis]).value_or(kTile) >= kTile / 2;
  };
  if (!is_long(last)) return;
  const auto is_linear = [&](const Item& item, uint32_t axis) {
    return table_.only_linear(item.linear, axis) &&
           std::ranges::all_of(item.guards,
                               [&](const Guard& g) { return table_.only_linear(g.index, axis); });
  };
  int64_t bytes = 0;
  for (uint32_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    if (item.kind != ItemKind::kLoad || !is_linear(item, last)) continue;
    const DimId step = table_.coefficient(item.linear, last);
    if (dims_.is_constant(step, 0) || dims_.is_constant(step, 1)) continue;
    const auto square = kTile * kPitch * static_cast<int64_t>(byte_size(item.dtype));
    for (uint32_t axis = 0; axis < last && bytes + square <= kMaxTileBytes; ++axis) {
      if (!dims_.is_constant(table_.coefficient(item.linear, axis), 1)) continue;
      if (!is_linear(item, axis) || !is_long(axis)) continue;
      if (!tiled_.empty() && tile_axis_ != axis) continue;
      tile_axis_ = axis;
      tiled_.push_back({i, b_.shared(item.dtype, kTile * kPitch)});
      bytes += square;
      break;
    }
  }
  if (tiled_.empty()) return;
  axis_level_[tile_axis_] = axis_level_[last] = row_level_ = 2;
  level_log_.resize(4);
  level_terms_.resize(4);
}

// Runs `body` for the elements of the square that are this thread's: those of `lane` along `across`, of every kStep-th
// row along `down`. It is told the row's number.
void NestEmitter::for_square(uint32_t across, uint32_t down, const std::vector<Value>& first,
                             const std::function<void(Value)>& body) {
  b_.for_loop(b_.index(0), b_.index(kTile), b_.index(kStep), [&](Value k) {
    const Value row = b_.add(warp_, k);
    axis_value_[across] = b_.add(first[across], lane_);
    axis_value_[down] = b_.add(first[down], row);
    Value inside;
    for (const uint32_t axis : {across, down}) {
      const auto extent = dims_.constant_value(loops_[axis]);
      if (extent && *extent % kTile == 0) continue;
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
  const DimId tile = dims_.constant(kTile);
  const DimId squares_down = dims_.ceil_div(loops_[tile_axis_], tile);
  const DimId squares_across = dims_.ceil_div(loops_[last], tile);
  DimId squares = dims_.mul(squares_down, squares_across);
  for (uint32_t a = 0; a < last; ++a) {
    if (a != tile_axis_) squares = dims_.mul(squares, loops_[a]);
  }
  const auto at = [&](Value row, Value column) {
    return b_.add(b_.mul(row, b_.index(kPitch)), column);
  };
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    std::vector<Value> first(loops_.size());
    const Value across = spec_.dim(squares_across), down = spec_.dim(squares_down);
    first[last] = b_.mul(b_.index_rem(p, across), b_.index(kTile));
    p = b_.index_div(p, across);
    first[tile_axis_] = b_.mul(b_.index_rem(p, down), b_.index(kTile));
    decode(1, b_.index_div(p, down));
    open_level(1, early);
    emit_items(1, early, 1);
    for_square(tile_axis_, last, first, [&](Value row) {
      for (const Tiled& t : tiled_) {
        const Item& item = items_[t.item];
        const kernel::Buffer memory = spec_.input(groups_.storage[item.value.index]);
        const Value x = emit_load(item.linear, item.guards, memory, item.dtype, true, 1);
        b_.store(t.square, at(row, lane_), x);
      }
    });
    b_.barrier();
    for_square(last, tile_axis_, first, [&](Value row) {
      for (const Tiled& t : tiled_) set_value(t.item, 2, b_.load(t.square, at(lane_, row)));
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
  warp_ = b_.index_div(thread, b_.index(kTile));
  lane_ = b_.index_rem(thread, b_.index(kTile));
}

}  // namespace gcomp::lower
