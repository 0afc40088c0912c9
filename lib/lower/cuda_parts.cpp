#include "cuda_parts.h"

namespace gcomp::lower {
namespace {

// Blocks of all parts, at most, and a sum's length (in parts) that is worth more kernels.
constexpr int64_t kMostBlocks = 512, kWorthParts = 4;

}  // namespace

Parts cut_into_parts(DimTable& dims, DimId length, int64_t blocks, int64_t across, int64_t step) {
  const int64_t least = kPartElements / across;
  const int64_t terms = dims.constant_value(length).value_or(kWorthParts * least);
  if (blocks == 0 || blocks >= kEnoughBlocks || terms < kWorthParts * least) return {};
  const DimId count =
      dims.min(dims.ceil_div(length, dims.constant(least)), dims.constant(kMostBlocks / blocks));
  const DimId share = dims.ceil_div(length, dims.max(count, dims.constant(1)));
  const DimId multiple = dims.constant(step);
  return {count, dims.mul(dims.ceil_div(share, multiple), multiple)};
}

}  // namespace gcomp::lower
