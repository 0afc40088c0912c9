// Where cuBLASLt and cuDNN were measured against gcomp's own kernels: `scripts/bench gpu` prints these rows, of the GPU
// it runs on, for products and convolutions of each class of sizes. Nothing has been measured yet.

#include <array>

#include "gcomp/artifact/libraries.h"

namespace gcomp::artifact {

std::span<const MeasuredProduct> measured_products() {
  // {kind, capability, dtype, tf32, class of sizes, own kernel, library}:
  // {LibraryKind::kProduct, 90, DType::kFloat32, false, 8, 1234.5, 1200.0},
  static constexpr std::array<MeasuredProduct, 0> kRows = {};
  return kRows;
}

}  // namespace gcomp::artifact
