#include "contract_pack.h"

#include <cstring>

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

Constant pack_panels(const Constant& b, int64_t batches, int64_t depth, int64_t columns,
                     const MatrixStrides& strides, int panel_columns) {
  const int64_t panels = (columns + panel_columns - 1) / panel_columns;
  const auto width = static_cast<int64_t>(byte_size(b.dtype));
  std::vector<std::byte> bytes(
      static_cast<size_t>(batches * panels * depth * panel_columns * width));
  for (int64_t i = 0; i < batches; ++i) {
    for (int64_t n = 0; n < columns; ++n) {
      const int64_t panel = i * panels + n / panel_columns;
      for (int64_t k = 0; k < depth; ++k) {
        const int64_t to = (panel * depth + k) * panel_columns + n % panel_columns;
        const int64_t from = i * strides.batch + k * strides.depth + n * strides.column;
        std::memcpy(bytes.data() + to * width, b.bytes.data() + from * width,
                    static_cast<size_t>(width));
      }
    }
  }
  return make_constant(b.dtype, {batches * panels, depth, panel_columns}, std::move(bytes));
}

namespace {

Value ceil_div(Builder& b, Value a, int64_t d) {
  return b.index_div(b.add(a, b.index(d - 1)), b.index(d));
}

Value round_down(Builder& b, Value a, int64_t to) {
  return b.mul(b.index_div(a, b.index(to)), b.index(to));
}

// One panel of B that lies as [k][n].
void pack_rows(Builder& b, Buffer source, Buffer packed, Value depth, Value columns, Value base,
               Value column, Value to, const ContractTile& tile) {
  const Value full = b.le(b.add(column, b.index(tile.columns())), columns);
  b.if_else(
      full,
      [&] {
        b.for_loop(b.index(0), depth, b.index(1), [&](Value k) {
          const Value from = b.add(b.add(base, b.mul(k, columns)), column);
          for (int v = 0; v < tile.vectors; ++v) {
            const Value at = b.add(b.mul(k, b.index(tile.columns())), b.index(v * tile.lanes));
            b.store(packed, b.add(to, at),
                    b.load(source, b.add(from, b.index(v * tile.lanes)), tile.lanes));
          }
        });
        return Values{};
      },
      [&] {
        const Value last = b.sub(columns, b.index(1));
        b.for_loop(b.index(0), depth, b.index(1), [&](Value k) {
          b.for_loop(b.index(0), b.index(tile.columns()), b.index(1), [&](Value c) {
            // Columns past the end repeat the last: computed with, never stored.
            const Value n = b.min(b.add(column, c), last);
            const Value x = b.load(source, b.add(b.add(base, b.mul(k, columns)), n));
            b.store(packed, b.add(to, b.add(b.mul(k, b.index(tile.columns())), c)), x);
          });
        });
        return Values{};
      });
}

// One panel of B that lies as [n][k]: squares of vectors are transposed in registers.
void pack_columns(Builder& b, Buffer source, Buffer packed, Value depth, Value columns, Value base,
                  Value column, Value to, const ContractTile& tile) {
  const Value last = b.sub(columns, b.index(1));
  const auto row_of = [&](Value c) {
    return b.add(base, b.mul(b.min(b.add(column, c), last), depth));
  };
  const Value whole = round_down(b, depth, tile.lanes);
  for (int v = 0; v < tile.vectors; ++v) {
    Values rows;
    for (int c = 0; c < tile.lanes; ++c) rows.push_back(row_of(b.index(v * tile.lanes + c)));
    const Value at = b.add(to, b.index(v * tile.lanes));
    b.for_loop(b.index(0), whole, b.index(tile.lanes), [&](Value k) {
      Values square;
      for (Value row : rows) square.push_back(b.load(source, b.add(row, k), tile.lanes));
      square = b.transpose(square);
      for (int i = 0; i < tile.lanes; ++i) {
        const Value line = b.mul(b.add(k, b.index(i)), b.index(tile.columns()));
        b.store(packed, b.add(at, line), square[static_cast<size_t>(i)]);
      }
    });
  }
  b.for_loop(b.index(0), b.index(tile.columns()), b.index(1), [&](Value c) {
    const Value row = row_of(c);
    b.for_loop(whole, depth, b.index(1), [&](Value k) {
      b.store(packed, b.add(b.add(to, c), b.mul(k, b.index(tile.columns()))),
              b.load(source, b.add(row, k)));
    });
  });
}

}  // namespace

void emit_pack(Builder& b, Buffer source, Buffer packed, Value depth, Value columns,
               bool transposed, const ContractTile& tile) {
  const Value panels = ceil_div(b, columns, tile.columns());
  const Value matrix = b.mul(depth, columns);
  const Value panel_size = b.mul(depth, b.index(tile.columns()));
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value unit) {
    const Value column = b.mul(b.index_rem(unit, panels), b.index(tile.columns()));
    const Value base = b.mul(b.index_div(unit, panels), matrix);
    const Value to = b.mul(unit, panel_size);
    const auto pack = transposed ? pack_columns : pack_rows;
    pack(b, source, packed, depth, columns, base, column, to, tile);
  });
}

void emit_transpose(Builder& b, Buffer from, Buffer to, Value rows, Value columns, int lanes) {
  const Value blocks = ceil_div(b, columns, lanes);
  const Value matrix = b.mul(rows, columns);
  const Value whole = round_down(b, rows, lanes);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value unit) {
    const Value column = b.mul(b.index_rem(unit, blocks), b.index(lanes));
    const Value base = b.mul(b.index_div(unit, blocks), matrix);
    const auto element = [&](Value r, Value c) {
      b.store(to, b.add(base, b.add(b.mul(c, rows), r)),
              b.load(from, b.add(base, b.add(b.mul(r, columns), c))));
    };
    const Value end = b.min(b.add(column, b.index(lanes)), columns);
    const Value full = b.le(b.add(column, b.index(lanes)), columns);
    const Value squares = b.where(full, whole, b.index(0));
    b.for_loop(b.index(0), squares, b.index(lanes), [&](Value r) {
      Values square;
      for (int i = 0; i < lanes; ++i) {
        const Value line = b.mul(b.add(r, b.index(i)), columns);
        square.push_back(b.load(from, b.add(base, b.add(line, column)), lanes));
      }
      square = b.transpose(square);
      for (int i = 0; i < lanes; ++i) {
        const Value line = b.mul(b.add(column, b.index(i)), rows);
        b.store(to, b.add(base, b.add(line, r)), square[static_cast<size_t>(i)]);
      }
    });
    b.for_loop(column, end, b.index(1), [&](Value c) {
      b.for_loop(squares, rows, b.index(1), [&](Value r) { element(r, c); });
    });
  });
}

}  // namespace gcomp::lower
