#pragma once
// The loops of a contraction C[m, n] = sum over k of A[m, k] * B[k, n] in kernel IR: matmul and
// convolution are the same loops with another way to find the rows of A.
//
// Method (Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication", without
// packing A): B is packed into panels of `panel_columns` columns, [panel][k][column], zero-padded. A
// tile of `tile_rows` x `panel_columns` results stays in registers while k runs; a row of A is read
// where it lies, one broadcast load a row and step, so its k must be contiguous, at least in pieces
// (`outer` loops over the pieces: the rows of a convolution window).

#include <functional>
#include <vector>

#include "gcomp/kernel/builder.h"

namespace gcomp::lower {

struct ContractTile {
  int lanes;    // of a vector
  int vectors;  // a row of the tile
  int rows;
  int columns() const { return lanes * vectors; }
};

// The tile with the least work for `rows` x `columns` results, each the sum of `depth` products
// and rows of A `row_stride` elements apart (negative: not known when compiling),
// among those whose sums fit in the registers: 6 x 2 vectors of 16 registers when both are large.
ContractTile contract_tile(DType dtype, int vector_bytes, int vector_registers, int64_t rows,
                           int64_t columns, int64_t depth, int64_t row_stride);

// `width` elements as vectors of `lanes`, then of halves, quarters, ... and single ones.
void for_each_part(int width, int lanes, const std::function<void(int from, int lanes)>& part);

// A loop around the contiguous part of k: `count` pieces, `a_stride` elements of A apart. B goes on.
struct ContractPiece {
  kernel::Value count;
  kernel::Value a_stride;
  int64_t known_count = -1;  // when compiling
};

struct ContractLoops {
  DType dtype = DType::kFloat32;
  ContractTile tile;
  kernel::Buffer a;
  kernel::Buffer b;                  // packed panels
  kernel::Value rows;                // M
  kernel::Value columns;             // N
  int64_t known_columns = -1;        // when compiling
  kernel::Value inner;               // contiguous length of k
  int64_t known_inner = -1;          // when compiling
  std::vector<ContractPiece> outer;  // outermost first
  kernel::Value depth;               // length of k in all: inner * counts
  bool whole_tiles = false;          // known when compiling: the rows fill their tiles
  int rows_per_unit = 96;            // a unit of the parallel range is this many rows ...
  int panels_per_unit = 16;          // ... by this many panels
  // Offsets in A of the first elements of `count` rows from `row` on; those after row `last` repeat it.
  std::function<kernel::Values(kernel::Value batch, kernel::Value row, int count,
                               kernel::Value last)>
      row_offsets;
  // Offset in B of panel 0 of batch `batch`.
  std::function<kernel::Value(kernel::Value batch)> b_offset;
  // The row that `store` gets for row `row` of A: itself when empty. Called once a row.
  std::function<kernel::Value(kernel::Value batch, kernel::Value row)> result_row;
  // Takes `lanes` results of row `row` from column `column` on.
  std::function<void(kernel::Value batch, kernel::Value row, kernel::Value column,
                     kernel::Value sum, int lanes)>
      store;
};

// Emits the loops over units [begin, end); the number of units is batch * row blocks * panel blocks.
void emit_contract(kernel::Builder& b, const ContractLoops& loops);

}  // namespace gcomp::lower
