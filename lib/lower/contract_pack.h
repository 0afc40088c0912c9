#pragma once
// Copies that put a contraction's operands where its loops want them.

#include "contract_kernel.h"
#include "gcomp/ir/constant.h"

namespace gcomp::lower {

// B as a list of matrices: element (k, n) of matrix i is at i * batch + k * depth + n * column.
struct MatrixStrides {
  int64_t batch;
  int64_t depth;
  int64_t column;
};

// Constant B packed into panels when compiling; see contract_kernel.h for the layout.
Constant pack_panels(const Constant& b, int64_t batches, int64_t depth, int64_t columns,
                     const MatrixStrides& strides, int panel_columns);

// The same at run time, over units [begin, end) of the parallel range: batches * panels.
// `transposed`: B lies as [n][k], else as [k][n]; dense either way.
void emit_pack(kernel::Builder& b, kernel::Buffer source, kernel::Buffer packed,
               kernel::Value depth, kernel::Value columns, bool transposed,
               const ContractTile& tile);

// to[i][c][r] = from[i][r][c] over units: batches * blocks of `lanes` columns.
void emit_transpose(kernel::Builder& b, kernel::Buffer from, kernel::Buffer to, kernel::Value rows,
                    kernel::Value columns, int lanes);

}  // namespace gcomp::lower
