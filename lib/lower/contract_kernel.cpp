#include "contract_kernel.h"

#include <algorithm>

namespace gcomp::lower {
namespace {

using kernel::Builder;
using kernel::Value;
using kernel::Values;

// Long sums are done in blocks, each from zero, so that rounding errors stay small: contiguous pieces that
// may be longer than one and a half of these are cut into equal blocks of about this length. If they are
// shorter, an iteration of the outermost loop over pieces is a block if it has at least half of this.
constexpr int64_t kBlock = 48;
// Steps of k in one iteration.
constexpr int kUnroll = 4;
// Rows of the tiles for the last few rows.
constexpr int kShortTile = 4;
// Of a panel: what stays near, and what a half-cycle brings from farther away.
constexpr int64_t kNearBytes = 32 << 10;
constexpr int kStreamBytes = 12;
// Rows of A this far apart lie in one set of the first-level cache, which holds 8 to 12 lines.
constexpr int64_t kCollidingBytes = 4096;
constexpr int kMostColliding = 8;
// Of rows or columns whose number is not known.
constexpr double kTypicalExtent = 96;

class Emitter {
 public:
  Emitter(Builder& b, const ContractLoops& loops)
      : b_(b),
        l_(loops),
        tile_(loops.tile),
        type_{loops.dtype, static_cast<uint16_t>(tile_.lanes)} {}

  void run() {
    const Value rows_per_unit = b_.index(l_.rows_per_unit);
    const Value panels = ceil_div(l_.columns, tile_.columns());
    const Value row_blocks = ceil_div(l_.rows, l_.rows_per_unit);
    const Value panel_blocks = ceil_div(panels, l_.panels_per_unit);
    edge_tile_ = b_.local(l_.dtype, static_cast<uint32_t>(tile_.columns()));
    b_.for_loop(b_.range_begin(), b_.range_end(), b_.index(1), [&](Value unit) {
      // Neighbouring units share the panels, so that a thread's B stays in its cache.
      const Value row_block = b_.index_rem(unit, row_blocks);
      const Value rest = b_.index_div(unit, row_blocks);
      const Value panel_block = b_.index_rem(rest, panel_blocks);
      const Value batch = b_.index_div(rest, panel_blocks);
      const Value row0 = b_.mul(row_block, rows_per_unit);
      const Value row1 = b_.min(b_.add(row0, rows_per_unit), l_.rows);
      const Value panel0 = b_.mul(panel_block, b_.index(l_.panels_per_unit));
      const Value panel1 = b_.min(b_.add(panel0, b_.index(l_.panels_per_unit)), panels);
      const Value b_base = l_.b_offset(batch);
      b_.for_loop(panel0, panel1, b_.index(1), [&](Value panel) {
        const Value column = b_.mul(panel, b_.index(tile_.columns()));
        const Value b_panel = b_.add(b_base, b_.mul(column, l_.depth));
        const auto tiles = [&](Value from, Value to, int height) {
          b_.for_loop(from, to, b_.index(height),
                      [&](Value row) { emit_tile(batch, row, row1, column, b_panel, height); });
        };
        if (tile_.rows < 2 * kShortTile || l_.whole_tiles) {
          tiles(row0, row1, tile_.rows);
          return;
        }
        // What is left after the tall tiles goes by short ones, if that is less work.
        const Value left = b_.index_rem(b_.sub(row1, row0), b_.index(tile_.rows));
        const Value few = b_.le(left, b_.index(2 * kShortTile));
        const Value tall = b_.where(few, b_.sub(row1, left), row1);
        tiles(row0, tall, tile_.rows);
        tiles(tall, row1, kShortTile);
      });
    });
  }

 private:
  Value ceil_div(Value a, int64_t d) {
    return b_.index_div(b_.add(a, b_.index(d - 1)), b_.index(d));
  }

  void emit_tile(Value batch, Value row, Value row_end, Value column, Value b_panel, int height) {
    // Rows past the end repeat the last one: computed, never stored.
    const Value last = b_.sub(row_end, b_.index(1));
    const Values a_rows = l_.row_offsets(batch, row, height, last);
    const Values sums = multiply(a_rows, b_panel);
    // Where the number of columns is known, whether each or no panel is full.
    const bool never_part = l_.known_columns > 0 && l_.known_columns % tile_.columns() == 0;
    const bool never_full = l_.known_columns > 0 && l_.known_columns < tile_.columns();
    const Value full = b_.le(b_.add(column, b_.index(tile_.columns())), l_.columns);
    for (int i = 0; i < height; ++i) {
      const Value number = b_.add(row, b_.index(i));
      const auto store_row = [&] {
        const Value r = l_.result_row ? l_.result_row(batch, number) : number;
        const Value* const row_sums = &sums[static_cast<size_t>(i * tile_.vectors)];
        if (never_part) {
          store_vectors(batch, r, column, row_sums, tile_.vectors);
        } else if (never_full) {
          store_part(batch, r, column, row_sums);
        } else {
          b_.if_else(
              full,
              [&] {
                store_vectors(batch, r, column, row_sums, tile_.vectors);
                return Values{};
              },
              [&] {
                store_part(batch, r, column, row_sums);
                return Values{};
              });
        }
      };
      if (i == 0) {
        store_row();
      } else {
        b_.if_then(b_.lt(number, row_end), store_row);
      }
    }
  }

  void store_vectors(Value batch, Value r, Value column, const Value* sums, int count) {
    for (int v = 0; v < count; ++v) {
      l_.store(batch, r, b_.add(column, b_.index(v * tile_.lanes)), sums[v], tile_.lanes);
    }
  }

  // The last panel: whole vectors, then parts of one through a small array.
  void store_part(Value batch, Value row, Value column, const Value* sums) {
    if (l_.known_columns > 0) {
      const auto width = static_cast<int>(l_.known_columns % tile_.columns());
      const int whole = width / tile_.lanes, rest = width % tile_.lanes;
      store_vectors(batch, row, column, sums, whole);
      if (rest == 0) return;
      b_.store(edge_tile_, b_.index(0), sums[whole]);
      for_each_part(rest, tile_.lanes, [&](int from, int lanes) {
        const Value at = b_.add(column, b_.index(whole * tile_.lanes + from));
        l_.store(batch, row, at, b_.load(edge_tile_, b_.index(from), lanes), lanes);
      });
      return;
    }
    for (int v = 0; v < tile_.vectors; ++v) {
      b_.store(edge_tile_, b_.index(v * tile_.lanes), sums[v]);
    }
    b_.vector_loop(column, l_.columns, tile_.lanes, [&](Value c, int lanes) {
      l_.store(batch, row, c, b_.load(edge_tile_, b_.sub(c, column), lanes), lanes);
    });
  }

  // The register tile: sums[i * vectors + v] over all of k.
  Values multiply(const Values& a_rows, Value b_panel) {
    return pieces(0, a_rows, b_panel, zeros(a_rows));
  }

  Values zeros(const Values& a_rows) {
    return Values(a_rows.size() * static_cast<size_t>(tile_.vectors), b_.constant(type_, 0));
  }

  Values total(std::span<const Value> a, const Values& b) {
    Values sums;
    for (size_t i = 0; i < b.size(); ++i) sums.push_back(b_.add(a[i], b[i]));
    return sums;
  }

  // Length of one iteration of the loop over pieces at `level`, or -1.
  int64_t known_length(size_t level) const {
    int64_t length = l_.known_inner;
    for (size_t i = level + 1; i < l_.outer.size() && length >= 0; ++i) {
      length = l_.outer[i].known_count < 0 ? -1 : length * l_.outer[i].known_count;
    }
    return length;
  }

  Values pieces(size_t level, const Values& a_rows, Value b_at, const Values& sums) {
    if (level == l_.outer.size()) return inner(a_rows, b_at, sums);
    const ContractPiece& piece = l_.outer[level];
    // B's length of one piece at this level.
    Value length = b_.mul(l_.inner, b_.index(tile_.columns()));
    for (size_t i = level + 1; i < l_.outer.size(); ++i) length = b_.mul(length, l_.outer[i].count);
    const bool block = level == 0 && !cuts_inner() && known_length(0) >= kBlock / 2;
    return b_.for_loop(b_.index(0), piece.count, b_.index(1), sums,
                       [&](Value p, std::span<const Value> carried) {
                         const Value shift = b_.mul(p, piece.a_stride);
                         Values shifted;
                         for (Value a : a_rows) shifted.push_back(b_.add(a, shift));
                         const Value at = b_.add(b_at, b_.mul(p, length));
                         if (block) {
                           return total(carried, pieces(level + 1, shifted, at, zeros(shifted)));
                         }
                         return pieces(level + 1, shifted, at, {carried.begin(), carried.end()});
                       });
  }

  bool cuts_inner() const { return l_.known_inner < 0 || 2 * l_.known_inner > 3 * kBlock; }

  Values inner(const Values& a_rows, Value b_at, const Values& sums) {
    if (!cuts_inner()) return run_of_k(a_rows, b_at, b_.index(0), l_.inner, sums);
    int64_t block = kBlock;
    if (l_.known_inner > 0) {
      const int64_t blocks = (l_.known_inner + kBlock / 2) / kBlock;
      block = ((l_.known_inner + blocks - 1) / blocks + kUnroll - 1) / kUnroll * kUnroll;
    }
    return b_.for_loop(b_.index(0), l_.inner, b_.index(block), sums,
                       [&](Value k, std::span<const Value> carried) {
                         const Value end = b_.min(b_.add(k, b_.index(block)), l_.inner);
                         return total(carried, run_of_k(a_rows, b_at, k, end, zeros(a_rows)));
                       });
  }

  Values run_of_k(const Values& a_rows, Value b_at, Value from, Value to, const Values& sums) {
    const Value most_of = b_.bit_and(b_.sub(to, from), b_.index(-kUnroll));
    const Value unrolled_end = b_.add(from, most_of);
    const auto step = [&](int unroll) {
      return [&, unroll](Value k, std::span<const Value> carried) {
        Values now(carried.begin(), carried.end());
        for (int u = 0; u < unroll; ++u) rank_one(a_rows, b_at, k, u, &now);
        return now;
      };
    };
    const Values most = b_.for_loop(from, unrolled_end, b_.index(kUnroll), sums, step(kUnroll));
    return b_.for_loop(unrolled_end, to, b_.index(1), most, step(1));
  }

  void rank_one(const Values& a_rows, Value b_at, Value k, int u, Values* sums) {
    Values columns;
    const Value at = b_.add(b_at, b_.mul(k, b_.index(tile_.columns())));
    for (int v = 0; v < tile_.vectors; ++v) {
      columns.push_back(
          b_.load(l_.b, b_.add(at, b_.index(u * tile_.columns() + v * tile_.lanes)), tile_.lanes));
    }
    const auto vectors = static_cast<size_t>(tile_.vectors);
    for (size_t i = 0; i < a_rows.size(); ++i) {
      const Value a = b_.load_splat(l_.a, b_.add(b_.add(a_rows[i], k), b_.index(u)), tile_.lanes);
      for (size_t v = 0; v < vectors; ++v) {
        Value& sum = (*sums)[i * vectors + v];
        sum = b_.mul_add(a, columns[v], sum);
      }
    }
  }

  Builder& b_;
  const ContractLoops& l_;
  const ContractTile tile_;
  const kernel::Type type_;
  kernel::Buffer edge_tile_;
};

}  // namespace

void for_each_part(int width, int lanes, const std::function<void(int from, int lanes)>& part) {
  constexpr int kFewest = 4;  // of a vector
  int from = 0;
  for (int n = lanes; n >= kFewest; n /= 2) {
    for (; width - from >= n; from += n) part(from, n);
  }
  for (; from < width; ++from) part(from, 1);
}

ContractTile contract_tile(DType dtype, int vector_bytes, int vector_registers, int64_t rows,
                           int64_t columns, int64_t depth, int64_t row_stride) {
  const int lanes = vector_bytes / static_cast<int>(byte_size(dtype));
  ContractTile best{lanes, 2, 1};
  double best_cost = -1;
  const bool collide =
      row_stride > 0 && row_stride * static_cast<int64_t>(byte_size(dtype)) % kCollidingBytes == 0;
  const int most_rows = collide ? kMostColliding : vector_registers;
  for (int vectors = 1; vectors <= 8; ++vectors) {
    for (int height = 1; height <= most_rows && height * vectors + vectors + 1 <= vector_registers;
         ++height) {
      // Half-cycles a step of k takes: two fused multiply-adds or two loads a cycle, ten sums to cover
      // the latency of an addition, and one for the loop (measured: 6x2 88, 5x2 80, 4x2 74 GFLOP/s).
      int step = std::max({height * vectors, height + vectors, 10}) + 1;
      // A panel that does not stay in the first-level cache comes from the second.
      const int row_bytes = vectors * vector_bytes;
      if (depth < 0 || depth * row_bytes > kNearBytes)
        step = std::max(step, row_bytes / kStreamBytes);
      // Of an extent that is not known, about half a tile is empty at the end; it may well be short.
      const auto tiles = [](int64_t n, int64_t size) {
        return n < 0 ? 1.0 / static_cast<double>(size) + 0.5 / kTypicalExtent
                     : static_cast<double>((n + size - 1) / size) / static_cast<double>(n);
      };
      const double cost = step * tiles(rows, height) * tiles(columns, vectors * lanes);
      // On ties the taller tile: it reads less of B.
      if (best_cost < 0 || cost < best_cost * 0.999 ||
          (cost < best_cost * 1.001 && height > best.rows)) {
        best_cost = best_cost < 0 ? cost : std::min(cost, best_cost);
        best = {lanes, vectors, height};
      }
    }
  }
  return best;
}

void emit_contract(Builder& b, const ContractLoops& loops) { Emitter(b, loops).run(); }

}  // namespace gcomp::lower
