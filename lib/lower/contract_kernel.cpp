#include "contract_kernel.h"

#include <algorithm>

namespace gcomp::lower {
namespace {

using kernel::Builder;
using kernel::Value;
using kernel::Values;

// Long sums are done in blocks, each from zero, so that rounding errors stay small: an iteration of the
// outermost loop over pieces that is at least this long is a block ...
constexpr int64_t kMinBlock = 128;
// ... and contiguous pieces that may be longer than twice this are cut.
constexpr int64_t kBlock = 256;

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
        b_.for_loop(row0, row1, b_.index(tile_.rows),
                    [&](Value row) { emit_tile(batch, row, row1, column, b_panel); });
      });
    });
  }

 private:
  Value ceil_div(Value a, int64_t d) {
    return b_.index_div(b_.add(a, b_.index(d - 1)), b_.index(d));
  }

  void emit_tile(Value batch, Value row, Value row_end, Value column, Value b_panel) {
    // Rows past the end repeat the last one: computed, never stored.
    const Value last = b_.sub(row_end, b_.index(1));
    const Values a_rows = l_.row_offsets(batch, row, tile_.rows, last);
    const Values sums = multiply(a_rows, b_panel);
    const Value full = b_.le(b_.add(column, b_.index(tile_.columns())), l_.columns);
    for (int i = 0; i < tile_.rows; ++i) {
      const Value number = b_.add(row, b_.index(i));
      const auto store_row = [&] {
        const Value r = l_.result_row ? l_.result_row(batch, number) : number;
        b_.if_else(
            full,
            [&] {
              for (int v = 0; v < tile_.vectors; ++v) {
                l_.store(batch, r, b_.add(column, b_.index(v * tile_.lanes)),
                         sums[i * tile_.vectors + v], tile_.lanes);
              }
              return Values{};
            },
            [&] {
              store_part(batch, r, column, &sums[i * tile_.vectors]);
              return Values{};
            });
      };
      if (i == 0) {
        store_row();
      } else {
        b_.if_then(b_.lt(number, row_end), store_row);
      }
    }
  }

  // The last panel: through a small array, one column at a time.
  void store_part(Value batch, Value row, Value column, const Value* sums) {
    for (int v = 0; v < tile_.vectors; ++v) {
      b_.store(edge_tile_, b_.index(v * tile_.lanes), sums[v]);
    }
    b_.for_loop(column, l_.columns, b_.index(1), [&](Value c) {
      l_.store(batch, row, c, b_.load(edge_tile_, b_.sub(c, column)), 1);
    });
  }

  // The register tile: sums[i * vectors + v] over all of k.
  Values multiply(const Values& a_rows, Value b_panel) {
    return pieces(0, a_rows, b_panel, zeros());
  }

  Values zeros() {
    return Values(static_cast<size_t>(tile_.rows * tile_.vectors), b_.constant(type_, 0));
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
    const bool block = level == 0 && known_length(0) >= kMinBlock;
    return b_.for_loop(b_.index(0), piece.count, b_.index(1), sums,
                       [&](Value p, std::span<const Value> carried) {
                         const Value shift = b_.mul(p, piece.a_stride);
                         Values shifted;
                         for (Value a : a_rows) shifted.push_back(b_.add(a, shift));
                         const Value at = b_.add(b_at, b_.mul(p, length));
                         if (block) {
                           return total(carried, pieces(level + 1, shifted, at, zeros()));
                         }
                         return pieces(level + 1, shifted, at, {carried.begin(), carried.end()});
                       });
  }

  Values inner(const Values& a_rows, Value b_at, const Values& sums) {
    if (l_.known_inner >= 0 && l_.known_inner <= 2 * kBlock) {
      return run_of_k(a_rows, b_at, b_.index(0), l_.inner, sums);
    }
    return b_.for_loop(b_.index(0), l_.inner, b_.index(kBlock), sums,
                       [&](Value k, std::span<const Value> carried) {
                         const Value end = b_.min(b_.add(k, b_.index(kBlock)), l_.inner);
                         return total(carried, run_of_k(a_rows, b_at, k, end, zeros()));
                       });
  }

  Values run_of_k(const Values& a_rows, Value b_at, Value from, Value to, const Values& sums) {
    constexpr int kUnroll = 4;
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
    for (int i = 0; i < tile_.rows; ++i) {
      const Value a = b_.load_splat(l_.a, b_.add(b_.add(a_rows[i], k), b_.index(u)), tile_.lanes);
      for (int v = 0; v < tile_.vectors; ++v) {
        Value& sum = (*sums)[static_cast<size_t>(i * tile_.vectors + v)];
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

ContractTile contract_tile(DType dtype, int vector_bytes, int vector_registers, int64_t rows,
                           int64_t columns) {
  const int lanes = vector_bytes / static_cast<int>(byte_size(dtype));
  ContractTile best{lanes, 2, 1};
  double best_cost = -1;
  for (int vectors = 1; vectors <= 8; ++vectors) {
    for (int height = 1; height * vectors + vectors + 1 <= vector_registers; ++height) {
      // Half-cycles a step of k takes: two fused multiply-adds or two loads a cycle, ten sums to cover
      // the latency of an addition, and one for the loop (measured: 6x2 88, 5x2 80, 4x2 74 GFLOP/s).
      const int step = std::max({height * vectors, height + vectors, 10}) + 1;
      const auto tiles = [](int64_t n, int64_t size) {
        return n < 0 ? 1.0 / static_cast<double>(size)
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
