// Reductions on a GPU by blocks of threads. A block does some neighbouring rows (one, or a tile of columns that are
// summed down), several threads a row: each takes every so many elements of it, all reduced loops counted as one.
// Few long rows are cut into parts, a block each; a second kernel joins them. Parts, threads and the order in
// which they are joined follow from extents alone: the same bits on every GPU.

#include <algorithm>
#include <bit>

#include "gcomp/support/error.h"
#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;
using kernel::Values;

namespace {

constexpr uint32_t kWarp = 32;
// Threads of a block, and the length of a row that is not known where rows are many.
constexpr int64_t kMostThreads = 512, kGuessedRow = 512;
// Columns that are shorter, or so many, are done by a thread each.
constexpr int64_t kShortColumn = 64, kManyColumns = 1 << 16;
// Shared memory for the sums of a block's warps.
constexpr int64_t kMaxSumBytes = 24 << 10;
// Elements of a block's part of its rows, at least; blocks that fill a GPU, and a row's length (in parts) that is
// worth a second kernel.
constexpr int64_t kPartElements = 8192, kEnoughBlocks = 128, kMostBlocks = 512, kWorthParts = 4;

}  // namespace

// About four elements a thread or more.
NestEmitter::BlockShape NestEmitter::choose_block() const {
  if (!spec_.target().cuda_blocks || reduced_mask_ == 0) return {};
  const auto rows = dims_.constant_value(rows_);
  const bool few = rows && *rows < kEnoughBlocks;
  const int64_t length = dims_.constant_value(length_).value_or(few ? kPartElements : kGuessedRow);
  const bool columns = !reduced_.back();
  if (columns ? length < kShortColumn || rows.value_or(0) >= kManyColumns : length < kWarp) {
    return {};
  }
  BlockShape s;
  if (columns) {  // neighbours in a row of memory are neighbouring threads
    s.across = static_cast<uint32_t>(
        std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(rows.value_or(kWarp), 1, kWarp))));
  }
  const auto wanted = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(length) / 4));
  s.along =
      static_cast<uint32_t>(std::clamp<int64_t>(wanted, kWarp / s.across, kMostThreads / s.across));
  int64_t bytes = 0;  // of a row's accumulators
  for (uint32_t r : reductions_) {
    const auto size = static_cast<int64_t>(byte_size(items_[items_[r].operands[0]].dtype));
    bytes += num_accumulators(r) * std::max<int64_t>(size, 8);
  }
  while (s.threads() > kWarp && s.threads() / kWarp * s.across * bytes > kMaxSumBytes) s.along /= 2;
  return s;
}

void NestEmitter::choose_parts() {
  if (block_.threads() == 0 || num_passes_ != 1) return;
  const auto rows = dims_.constant_value(rows_);
  if (!rows || *rows == 0) return;
  const int64_t tiles = (*rows + block_.across - 1) / block_.across;
  const int64_t least = kPartElements / block_.across;
  const int64_t length = dims_.constant_value(length_).value_or(kWorthParts * least);
  if (tiles >= kEnoughBlocks || length < kWorthParts * least) return;
  const DimId most = dims_.constant(kMostBlocks / tiles), one = dims_.constant(1);
  parts_ = dims_.min(dims_.ceil_div(length_, dims_.constant(least)), most);
  part_length_ = dims_.ceil_div(length_, dims_.max(parts_, one));
  if (phase_ != NestPhase::kJoin) return;
  const int64_t parts = dims_.constant_value(parts_).value_or(kMostBlocks / tiles);
  const auto threads = std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(parts, 1)));
  block_ = {.across = 1, .along = static_cast<uint32_t>(std::clamp<uint64_t>(threads, kWarp, 256))};
}

bool NestEmitter::rows_are_split() {
  plan();
  return parts_.valid();
}

std::pair<DimId, uint32_t> NestEmitter::emit_tiles(const std::vector<bool>& early) {
  DimId tiles = dims_.ceil_div(rows_, dims_.constant(block_.across));
  if (phase_ == NestPhase::kParts) tiles = dims_.mul(tiles, parts_);
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    begin_tile(p);
    open_level(1, early);
    emit_items(1, early, 1);
    emit_row(1);
    close_level(1);
  });
  return {tiles, 1};
}

void NestEmitter::begin_block() {
  b_.set_block(block_.threads());
  const Value thread = b_.thread();
  warp_ = b_.index_div(thread, b_.index(kWarp));
  lane_ = b_.index_rem(thread, b_.index(kWarp));
  column_ = b_.index_rem(thread, b_.index(block_.across));
  along_ = b_.index_div(thread, b_.index(block_.across));
}

// The row of this thread in tile `p`, and which elements of it are the block's. Behind the last row there are none.
void NestEmitter::begin_tile(Value p) {
  from_ = b_.index(0), to_ = spec_.dim(length_);
  if (phase_ == NestPhase::kParts) {
    const Value parts = spec_.dim(parts_), length = spec_.dim(part_length_);
    part_ = b_.index_rem(p, parts);
    p = b_.index_div(p, parts);
    from_ = b_.mul(part_, length);
    to_ = b_.min(b_.add(from_, length), to_);
  }
  row_ = b_.add(b_.mul(p, b_.index(block_.across)), column_);
  has_row_ = b_.boolean(true);
  const auto rows = dims_.constant_value(rows_);
  if (block_.across > 1 && !(rows && *rows % block_.across == 0)) {
    const Value end = spec_.dim(rows_);
    has_row_ = b_.lt(row_, end);
    to_ = b_.where(has_row_, to_, from_);
    row_ = b_.min(row_, b_.sub(end, b_.index(1)));
  }
  decode(1, row_);
}

void NestEmitter::emit_strided(uint32_t pass, Values* carried) {
  constexpr int level = 2;
  const auto step = static_cast<int>(block_.along);
  const DimId length = phase_ == NestPhase::kParts ? part_length_ : length_;
  emit_blocks(length, from_, to_, step, carried, [&](Value from, Value to, Values* sums) {
    const Values inside = b_.begin_for(b_.add(from, along_), to, b_.index(step), *sums);
    decode(level, inside[0]);
    Values now(inside.begin() + 1, inside.end());
    open_level(level, needed_);
    emit_body(pass, 1, false, &now);
    close_level(level);
    *sums = b_.end_for(now);
  });
}

// ---- parts

kernel::Buffer NestEmitter::part_buffer(uint32_t reduction, size_t accumulator, DType dtype) {
  const bool reads = phase_ == NestPhase::kJoin;
  return spec_.temporary(static_cast<int>(2 * reduction + accumulator), dtype,
                         dims_.mul(rows_, parts_), reads ? kernel::Role::kIn : kernel::Role::kOut);
}

void NestEmitter::store_part(uint32_t reduction, std::span<const Value> acc) {
  const Value at = b_.add(b_.mul(row_, spec_.dim(parts_)), part_);
  by_first_thread([&] {
    for (size_t i = 0; i < acc.size(); ++i) {
      b_.store(part_buffer(reduction, i, b_.type(acc[i]).dtype), at, acc[i]);
    }
  });
}

// The parts of a row, each thread every so many of them.
void NestEmitter::join_parts(Values* carried) {
  const Value parts = spec_.dim(parts_);
  const Value first = b_.mul(row_, parts);
  const Values inside = b_.begin_for(along_, parts, b_.index(block_.along), *carried);
  const Value at = b_.add(first, inside[0]);
  Values joined;
  for (uint32_t r : pass_reductions_) {
    Values theirs;
    const std::span<const Value> ours(inside.data() + 1 + joined.size(), num_accumulators(r));
    for (size_t i = 0; i < ours.size(); ++i) {
      theirs.push_back(b_.load(part_buffer(r, i, b_.type(ours[i]).dtype), at));
    }
    for (const Value v : reduce_join(r, ours, theirs)) joined.push_back(v);
  }
  *carried = b_.end_for(joined);
}

// ---- threads

void NestEmitter::by_first_thread(const std::function<void()>& body) {
  b_.if_then(b_.bit_and(b_.eq(along_, b_.index(0)), has_row_), body);
}

// The accumulators of a row's threads joined, in a fixed order: in each warp by halves, then the warps in order.
Values NestEmitter::reduce_threads(uint32_t id, Values acc) {
  const uint32_t across = block_.across, warps = block_.threads() / kWarp;
  for (uint32_t other = kWarp / 2; other >= across; other /= 2) {
    Values theirs;
    for (const Value v : acc) theirs.push_back(b_.warp_xor(v, static_cast<int>(other)));
    acc = reduce_join(id, acc, theirs);
  }
  if (warps == 1) return acc;
  std::vector<kernel::Buffer> sums;
  for (const Value v : acc) sums.push_back(b_.shared(b_.type(v).dtype, warps * across));
  const Value mine = b_.add(b_.mul(warp_, b_.index(across)), column_);
  b_.if_then(b_.lt(lane_, b_.index(across)), [&] {
    for (size_t i = 0; i < acc.size(); ++i) b_.store(sums[i], mine, acc[i]);
  });
  b_.barrier();
  for (uint32_t w = 0; w < warps; ++w) {
    Values theirs;
    for (const kernel::Buffer s : sums) {
      theirs.push_back(b_.load(s, b_.add(column_, b_.index(w * across))));
    }
    acc = w == 0 ? theirs : reduce_join(id, acc, theirs);
  }
  return acc;
}

}  // namespace gcomp::lower
