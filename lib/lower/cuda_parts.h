#pragma once
// Few sums of very many terms on a GPU: each is cut into parts that are blocks of their own, and joined by another
// kernel.

#include "gcomp/ir/dim.h"

namespace gcomp::lower {

struct Parts {
  DimId count, length;  // of a sum; terms of a part (the last ones may have fewer, or none)
  bool valid() const { return count.valid(); }
};

// The parts of sums of `length` terms (an extent that may not be known) that `blocks` blocks would do, each `across` of
// them: multiples of `step` terms. Not valid where the blocks fill a GPU, or the sums are too short to pay for another
// kernel. Follows from extents alone: the same bits on every GPU.
Parts cut_into_parts(DimTable& dims, DimId length, int64_t blocks, int64_t across, int64_t step);

// Terms that such a block does at least.
inline constexpr int64_t kPartElements = 8192;
// Blocks that fill a GPU.
inline constexpr int64_t kEnoughBlocks = 256;

}  // namespace gcomp::lower
