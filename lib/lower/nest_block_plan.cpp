// Reductions on a GPU by blocks of threads: how many threads do a row, how many blocks, and what each thread takes at
// once. All of it follows from extents alone, and so does the order of a sum: the same bits on every GPU.
//
// A GPU reads at full speed with some 40 KiB on their way to each multiprocessor. So a thread takes 16 bytes at a time
// and asks for up to four such pieces before it works on the first. Rows that fit are read once: each thread keeps its
// pieces in registers from pass to pass.

#include <algorithm>
#include <bit>

#include "cuda_parts.h"
#include "nest_emitter.h"

namespace gcomp::lower {
namespace {

constexpr int64_t kWarp = 32;
// Threads of a block, at most and where a row needs less; and the length of a row that is not known where rows are
// many, in accesses.
constexpr int64_t kMostThreads = 512, kSmallBlock = 128, kGuessedAccesses = 512;
// Columns that are shorter and no neighbours, and rows of less than a warp, are done by a thread each.
constexpr int64_t kShortColumn = 64;
// Threads that a GPU has at a time, twice: more need not share columns.
constexpr int64_t kEnoughThreads = 1 << 19;
// Shared memory for the sums of a block's warps.
constexpr int64_t kMaxSumBytes = 24 << 10;
// Pieces that a thread asks for at once, in all loads, and threads that read neighbouring pieces (128 bytes), at least.
constexpr int64_t kPiecesAtOnce = 4, kPiecesOfLine = 8;
// Pieces that a thread may keep from pass to pass, their bytes in registers, and how much work they may be in all (in
// op_weight): each is written out.
constexpr int64_t kMostPieces = 8, kHeldBytes = 160, kMostWork = 2048;

int64_t bit_ceil(int64_t n) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
}
int64_t bit_floor(int64_t n) {
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
}
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

uint32_t NestEmitter::BlockShape::warps_of_row() const {
  if (along == 1) return 1;
  return std::max<uint32_t>(1, (columns ? threads() : along) / static_cast<uint32_t>(kWarp));
}

int64_t NestEmitter::BlockShape::sums() const {
  return warps_of_row() == 1 ? 0 : int64_t{threads()} / kWarp * across;
}

// Neighbours in a row of memory are neighbouring threads.
void NestEmitter::choose_block() {
  lanes_ = choose_access_lanes();
  lanes_reduced_ = !reduced_.empty() && reduced_.back();
  if (spec_.target().cuda_blocks && reduced_mask_ != 0) {
    block_ = lanes_reduced_ ? block_of_rows() : block_of_columns();
  }
  if (reduced_mask_ != 0 && block_.threads() == 0) lanes_ = 1;
  int64_t bytes = 0;  // of a row's accumulators
  for (uint32_t r : reductions_) {
    const auto size = static_cast<int64_t>(byte_size(items_[items_[r].operands[0]].dtype));
    bytes += num_accumulators(r) * std::max<int64_t>(size, 8);
  }
  while (block_.sums() * bytes * row_lanes() > kMaxSumBytes) block_.along /= 2;
  lane_axis_ = lanes_ > 1 ? static_cast<int>(loops_.size()) - 1 : -1;
  lanes_reduced_ = lanes_reduced_ && lanes_ > 1;
  const auto length = dims_.constant_value(length_);
  has_rest_ = lanes_reduced_ && !(length && *length % lanes_ == 0);
}

// About four pieces a thread; short rows several a block.
NestEmitter::BlockShape NestEmitter::block_of_rows() const {
  const auto rows = dims_.constant_value(rows_);
  const int64_t guess = rows && *rows < kEnoughBlocks ? kPartElements : kGuessedAccesses * lanes_;
  const int64_t length = dims_.constant_value(length_).value_or(guess);
  if (lanes_ == 1 && length < kWarp) return {};
  const int64_t pieces = ceil_div(length, lanes_);
  const int64_t least = bit_ceil(std::min(pieces, lanes_ > 1 ? kPiecesOfLine : kWarp));
  const int64_t along = std::clamp(bit_ceil(ceil_div(pieces, kPiecesAtOnce)), least, kMostThreads);
  if (along > kWarp) return {.along = static_cast<uint32_t>(along)};
  const int64_t across =
      std::clamp(bit_ceil(rows.value_or(kSmallBlock)), kWarp / along, kSmallBlock / along);
  return {.across = static_cast<uint32_t>(across), .along = static_cast<uint32_t>(along)};
}

// A block does a tile of columns, with several threads a column unless there are very many.
NestEmitter::BlockShape NestEmitter::block_of_columns() const {
  const auto rows = dims_.constant_value(rows_);
  const bool few = rows && *rows < kEnoughBlocks;
  const int64_t length =
      dims_.constant_value(length_).value_or(few ? kPartElements : kGuessedAccesses);
  if (lanes_ == 1 && length < kShortColumn) return {};
  const int64_t groups = ceil_div(rows.value_or(kWarp * lanes_), lanes_);
  int64_t across = bit_ceil(std::min(groups, kWarp));
  int64_t along = std::min({kMostThreads / across, bit_ceil(ceil_div(length, kPiecesAtOnce)),
                            bit_ceil(kEnoughThreads / std::max<int64_t>(groups, 1))});
  along = std::max(along, kWarp / across);
  if (along == 1) across = kSmallBlock;
  return {.columns = true,
          .across = static_cast<uint32_t>(across),
          .along = static_cast<uint32_t>(along)};
}

void NestEmitter::choose_parts() {
  if (block_.threads() == 0) return;
  const auto rows = dims_.constant_value(rows_);
  if (!rows) return;
  const int64_t tile = int64_t{block_.across} * row_lanes();
  parts_ = cut_into_parts(dims_, length_, ceil_div(*rows, tile), tile, piece_lanes());
  if (!parts_.valid()) return;
  if (phase_ != static_cast<int>(num_passes_)) return;
  // Parts lie row by row: those that are joined are a matrix of parts and rows, to be reduced down.
  lanes_ = 1, lane_axis_ = -1, lanes_reduced_ = has_rest_ = false;
  const int64_t parts = dims_.constant_value(parts_.count).value_or(kSmallBlock);
  const int64_t across = bit_ceil(std::min(*rows, kWarp));
  const int64_t along = std::clamp(bit_floor(parts), kWarp / across, 2 * kSmallBlock / across);
  block_ = {.columns = true,
            .across = static_cast<uint32_t>(across),
            .along = static_cast<uint32_t>(along)};
}

int NestEmitter::num_phases() {
  plan();
  if (!parts_.valid()) return 0;
  const bool has_rows =
      std::ranges::any_of(outputs_, [&](const auto& output) { return is_of_row(output.first); });
  return static_cast<int>(num_passes_) + (has_rows ? 1 : 0);
}

// Whether each thread keeps its pieces of the row from pass to pass, and what of them.
void NestEmitter::choose_pieces() {
  const auto length = dims_.constant_value(length_);
  if (block_.threads() == 0 || parts_.valid() || !length) return;
  const int64_t along = block_.along, lanes = piece_lanes();
  const int64_t pieces = ceil_div(*length / lanes, along) + ceil_div(*length % lanes, along);
  if (pieces > kMostPieces || pieces * lanes_ * total_weight() > kMostWork) return;
  num_pieces_ = pieces;
  first_pass_.assign(items_.size(), num_passes_);
  std::vector<uint32_t> last_pass(items_.size(), 0);
  for (uint32_t pass = 0; pass < num_passes_; ++pass) {
    const std::vector<bool> needed = needed_in_pass(pass);
    for (uint32_t i = 0; i < items_.size(); ++i) {
      if (!needed[i] || !is_deep(items_[i])) continue;
      first_pass_[i] = std::min(first_pass_[i], pass);
      last_pass[i] = pass;
    }
  }
  held_.resize(items_.size());
  int64_t most = 0;
  for (uint32_t pass = 1; pass < num_passes_; ++pass) {
    int64_t bytes = 0;
    for (uint32_t i = 0; i < items_.size(); ++i) {
      if (first_pass_[i] >= pass || last_pass[i] < pass) continue;
      held_[i] = true;
      bytes += std::max<int64_t>(static_cast<int64_t>(byte_size(items_[i].dtype)), 4);
    }
    most = std::max(most, bytes);
  }
  if (most * pieces * lanes_ > kHeldBytes) num_pieces_ = 0;
}

// Of a pass: loads that wait for nothing else of the element.
std::vector<bool> NestEmitter::early_loads(uint32_t pass) const {
  const auto waits = [&](const Linear& at) {
    return std::ranges::any_of(at.terms, [&](const LinearTerm& t) {
      const IndexTerm& term = table_.term(t.term);
      return term.kind != TermKind::kLoop && (term.axes & reduced_mask_) != 0;
    });
  };
  std::vector<bool> early(items_.size(), false);
  for (uint32_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    if (!needed_[i] || !is_deep(item)) continue;
    if (is_read_back(i, pass)) {
      early[i] = num_pieces_ == 0;
    } else {
      early[i] = item.kind == ItemKind::kLoad && !waits(item.linear) &&
                 std::ranges::none_of(item.guards, [&](const Guard& g) { return waits(g.index); });
    }
  }
  return early;
}

int64_t NestEmitter::pieces_at_once(const std::vector<bool>& loads) const {
  if (kPiecesAtOnce * lanes_ * total_weight() > kMostWork) return 1;
  const int64_t count = std::ranges::count(loads, true);
  return std::max<int64_t>(kPiecesAtOnce / std::max<int64_t>(count, 1), 1);
}

}  // namespace gcomp::lower
