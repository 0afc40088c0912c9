// Reductions on a GPU by blocks of threads, as nest_block_plan.cpp has chosen. A block does some neighbouring rows, each
// of its threads every so many pieces of a row, all reduced loops counted as one. Few long rows are cut into parts, a
// block each: each pass is a kernel, which stores what its parts come to; those after it join them.

#include <algorithm>

#include "gcomp/support/error.h"
#include "nest_emitter.h"

namespace gcomp::lower {

using kernel::Value;
using kernel::Values;

namespace {

constexpr uint32_t kWarp = 32;
constexpr int kRowLevel = 1, kPieceLevel = 2;

}  // namespace

std::pair<DimId, uint32_t> NestEmitter::emit_tiles(const std::vector<bool>& early) {
  DimId tiles = dims_.ceil_div(rows_, dims_.constant(int64_t{block_.across} * row_lanes()));
  if (is_part()) tiles = dims_.mul(tiles, parts_.count);
  current_lanes_ = row_lanes();
  b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value p) {
    begin_tile(p);
    open_level(kRowLevel, early);
    emit_items(kRowLevel, early, row_lanes());
    emit_row(row_lanes());
    close_level(kRowLevel);
  });
  return {tiles, 1};
}

void NestEmitter::begin_block() {
  b_.set_block(block_.threads());
  const Value thread = b_.thread();
  warp_ = b_.index_div(thread, b_.index(kWarp));
  lane_ = b_.index_rem(thread, b_.index(kWarp));
  const auto [columns, across, along] = block_;
  const Value n = b_.index(columns ? across : along);
  const bool one = across == 1 || along == 1;
  const Value quotient = one ? b_.index(0) : b_.index_div(thread, n);
  const Value rest = one ? thread : b_.index_rem(thread, n);
  const bool rest_is_column = one ? along == 1 : columns;
  column_ = rest_is_column ? rest : quotient;
  along_ = rest_is_column ? quotient : rest;
}

// The row of this thread in tile `p`, and which elements of it are the block's. Behind the last row there are none.
void NestEmitter::begin_tile(Value p) {
  from_ = b_.index(0), to_ = spec_.dim(length_);
  if (is_part()) {
    const Value parts = spec_.dim(parts_.count), length = spec_.dim(parts_.length);
    part_ = b_.index_rem(p, parts);
    p = b_.index_div(p, parts);
    from_ = b_.min(b_.mul(part_, length), to_);
    to_ = b_.min(b_.add(from_, length), to_);
  }
  const Value lanes = b_.index(row_lanes());
  row_ = b_.mul(b_.add(b_.mul(p, b_.index(block_.across)), column_), lanes);
  has_row_ = b_.boolean(true);
  const auto rows = dims_.constant_value(rows_);
  if (block_.across > 1 && !(rows && *rows % (int64_t{block_.across} * row_lanes()) == 0)) {
    const Value end = spec_.dim(rows_);
    has_row_ = b_.lt(row_, end);
    to_ = b_.where(has_row_, to_, from_);
    row_ = b_.min(row_, b_.sub(end, lanes));
  }
  middle_ = to_;
  if (has_rest_) {
    const DimId step = dims_.constant(lanes_);
    const Value whole = spec_.dim(dims_.mul(dims_.floor_div(length_, step), step));
    middle_ = b_.min(b_.max(from_, whole), to_);
  }
  decode(kRowLevel, row_);
  begin_pieces();
}

// All of a row that is this thread's.
void NestEmitter::begin_pieces() {
  pieces_.clear();
  if (num_pieces_ == 0) return;
  const int64_t length = dims_.constant_value(length_).value();
  const int64_t whole = length / piece_lanes() * piece_lanes();
  int64_t known;
  const bool all_rows = b_.constant_value(has_row_, &known);
  const auto add = [&](int64_t from, int64_t to, int64_t each, Value end) {
    const int64_t step = block_.along * each;
    const Value first = b_.mul(along_, b_.index(each));
    for (int64_t k = from; k < to; k += step) {
      Piece piece{.at = b_.add(first, b_.index(k)), .values = Values(items_.size())};
      if (!all_rows || k + step > to) piece.inside = b_.lt(piece.at, end);
      piece.is_rest = from != 0;
      pieces_.push_back(std::move(piece));
    }
  };
  add(0, whole, piece_lanes(), middle_);
  add(whole, length, 1, to_);
}

void NestEmitter::emit_block_pass(uint32_t pass, Values* carried) {
  const std::vector<bool> loads = early_loads(pass);
  if (num_pieces_ == 0) return emit_strided(pass, loads, carried);
  const auto most = static_cast<size_t>(pieces_at_once(loads));
  for (size_t i = 0; i < pieces_.size(); i += most) {
    const size_t count = std::min(most, pieces_.size() - i);
    emit_pieces(pass, std::span(pieces_).subspan(i, count), loads, carried);
  }
}

// Several pieces at once, then one by one, then single elements.
void NestEmitter::emit_strided(uint32_t pass, const std::vector<bool>& loads, Values* carried) {
  const auto loop = [&](Value from, Value to, int64_t each, int64_t count, Values* sums) {
    const int64_t step = block_.along * each;
    const Value first = b_.add(from, b_.mul(along_, b_.index(each)));
    const Values inside = b_.begin_for(first, to, b_.index(count * step), *sums);
    std::vector<Piece> pieces;
    for (int64_t k = 0; k < count; ++k) {
      pieces.push_back({.at = b_.add(inside[0], b_.index(k * step)),
                        .is_rest = each < piece_lanes(),
                        .values = Values(items_.size())});
    }
    Values now(inside.begin() + 1, inside.end());
    emit_pieces(pass, pieces, loads, &now);
    *sums = b_.end_for(now);
  };
  const int64_t each = piece_lanes(), most = pieces_at_once(loads), step = block_.along * each;
  const auto body = [&](Value from, Value to, Values* sums) {
    if (most > 1) {
      const Value turn = b_.index(most * step);
      const Value middle = b_.add(from, b_.mul(b_.index_div(b_.sub(to, from), turn), turn));
      loop(from, middle, each, most, sums);
      from = middle;
    }
    loop(from, to, each, 1, sums);
  };
  emit_blocks(is_part() ? parts_.length : length_, from_, middle_, static_cast<int>(step), carried,
              body);
  if (has_rest_) loop(middle_, to_, 1, 1, carried);
}

// Loads of all pieces come first: they are on their way together.
void NestEmitter::emit_pieces(uint32_t pass, std::span<Piece> pieces,
                              const std::vector<bool>& loads, Values* carried) {
  const bool load = pieces.size() > 1 && std::ranges::count(loads, true) > 0;
  for (Piece& piece : load ? pieces : std::span<Piece>()) {
    Values none;
    in_piece(piece, loads, &none, [&](Values*) {
      for (uint32_t i = 0; i < items_.size(); ++i) {
        if (loads[i]) emit_deep_item(i, pass, current_lanes_);
      }
    });
  }
  for (Piece& piece : pieces) {
    in_piece(piece, held_, carried,
             [&](Values* sums) { emit_body(pass, current_lanes_, piece.is_rest, sums); });
  }
}

// Runs `body` for the elements of `piece`, if they are there, and keeps what it finds of the items `results`.
void NestEmitter::in_piece(Piece& piece, const std::vector<bool>& results, Values* carried,
                           const std::function<void(Values*)>& body) {
  std::vector<uint32_t> found;
  const auto elements = [&] {
    const int outer_lanes = current_lanes_;
    current_lanes_ = piece.is_rest ? 1 : lanes_;
    decode(kPieceLevel, piece.at);
    open_level(kPieceLevel, needed_);
    for (uint32_t i = 0; i < items_.size(); ++i) {
      if (piece.values[i].valid()) set_value(i, kPieceLevel, piece.values[i]);
    }
    Values values = *carried;
    body(&values);
    for (uint32_t i = 0; i < results.size(); ++i) {
      if (!results[i] || !values_[i].valid() || piece.values[i].valid()) continue;
      found.push_back(i);
      values.push_back(values_[i]);
    }
    close_level(kPieceLevel);
    current_lanes_ = outer_lanes;
    return values;
  };
  Values values;
  if (piece.inside.valid()) {
    std::vector<kernel::Type> types;
    const auto then = [&] {
      const Values all = elements();
      for (size_t k = carried->size(); k < all.size(); ++k) types.push_back(b_.type(all[k]));
      return all;
    };
    values = b_.if_else(piece.inside, then, [&] {
      Values none = *carried;
      for (const kernel::Type t : types) none.push_back(b_.constant_bits(t, 0));
      return none;
    });
  } else {
    values = elements();
  }
  const size_t n = carried->size();
  for (size_t k = 0; k < found.size(); ++k) piece.values[found[k]] = values[n + k];
  values.resize(n);
  *carried = std::move(values);
}

// ---- parts

kernel::Buffer NestEmitter::part_buffer(uint32_t reduction, size_t accumulator, DType dtype) {
  const bool reads = joins(items_[reduction].stage - 1);
  return spec_.temporary(static_cast<int>(2 * reduction + accumulator), dtype,
                         dims_.mul(rows_, parts_.count),
                         reads ? kernel::Role::kIn : kernel::Role::kOut);
}

// Parts lie one after another, each with all rows.
void NestEmitter::store_part(uint32_t reduction, std::span<const Value> acc) {
  const Value at = b_.add(b_.mul(part_, spec_.dim(rows_)), row_);
  by_first_thread([&] {
    for (size_t i = 0; i < acc.size(); ++i) {
      b_.store(part_buffer(reduction, i, b_.type(acc[i]).dtype), at, acc[i]);
    }
  });
}

// The parts of a row, each thread every so many of them.
void NestEmitter::join_parts(Values* carried) {
  const Value parts = spec_.dim(parts_.count), step = b_.index(block_.along);
  const Values inside = b_.begin_for(along_, parts, step, *carried);
  const Value at = b_.add(b_.mul(inside[0], spec_.dim(rows_)), row_);
  Values joined;
  for (uint32_t r : pass_reductions_) {
    Values theirs;
    const std::span<const Value> ours(inside.data() + 1 + joined.size(), num_accumulators(r));
    for (size_t i = 0; i < ours.size(); ++i) {
      const kernel::Type t = b_.type(ours[i]);
      theirs.push_back(b_.load(part_buffer(r, i, t.dtype), at, t.lanes));
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
Values NestEmitter::reduce_threads(uint32_t id, const Values& acc) {
  if (block_.along == 1) return acc;
  const auto lanes = static_cast<uint32_t>(b_.type(acc[0]).lanes);  // each a row of its own
  std::vector<Values> sums(lanes);
  const uint32_t farthest = block_.columns ? kWarp : std::min(kWarp, block_.along);
  const uint32_t nearest = block_.columns ? block_.across : 1;
  for (uint32_t l = 0; l < lanes; ++l) {
    for (const Value v : acc) sums[l].push_back(b_.extract(v, static_cast<int>(l)));
    for (uint32_t other = farthest / 2; other >= nearest; other /= 2) {
      Values theirs;
      for (const Value v : sums[l]) theirs.push_back(b_.warp_xor(v, static_cast<int>(other)));
      sums[l] = reduce_join(id, sums[l], theirs);
    }
  }
  if (block_.warps_of_row() > 1) join_warps(id, &sums);
  Values joined;
  for (size_t i = 0; i < acc.size(); ++i) {
    Value v = b_.splat(sums[0][i], static_cast<int>(lanes));
    for (uint32_t l = 1; l < lanes; ++l) v = b_.insert(v, static_cast<int>(l), sums[l][i]);
    joined.push_back(v);
  }
  return joined;
}

// `sums`: of each lane the accumulators of this thread's warp, then those of all warps.
void NestEmitter::join_warps(uint32_t id, std::vector<Values>* sums) {
  const uint32_t across = block_.across, warps = block_.warps_of_row();
  std::vector<kernel::Buffer> shared;
  for (const Values& of_lane : *sums) {
    for (const Value v : of_lane) shared.push_back(b_.shared(b_.type(v).dtype, warps * across));
  }
  const Value mine = b_.add(b_.mul(warp_, b_.index(across)), column_);
  b_.if_then(b_.lt(lane_, b_.index(across)), [&] {
    size_t k = 0;
    for (const Values& of_lane : *sums) {
      for (const Value v : of_lane) b_.store(shared[k++], mine, v);
    }
  });
  b_.barrier();
  size_t first = 0;
  for (Values& of_lane : *sums) {
    const size_t n = of_lane.size();
    for (uint32_t w = 0; w < warps; ++w) {
      Values theirs;
      for (size_t i = 0; i < n; ++i) {
        theirs.push_back(b_.load(shared[first + i], b_.add(column_, b_.index(w * across))));
      }
      of_lane = w == 0 ? theirs : reduce_join(id, of_lane, theirs);
    }
    first += n;
  }
}

}  // namespace gcomp::lower
