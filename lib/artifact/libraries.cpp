#include "gcomp/artifact/libraries.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "gcomp/runtime/plan.h"

namespace gcomp::artifact {
namespace {

using lower::LibraryProduct;

std::string class_name(uint32_t size) {
  constexpr std::array<std::string_view, 3> kShapes = {"few", "narrow", "wide"},
                                            kWork = {"small", "medium", "large"};
  return std::string(kShapes.at(size / 3)) + " " + std::string(kWork.at(size % 3));
}

// Of one decimal: text that is the same everywhere.
std::string microseconds(double t) {
  const auto tenths = static_cast<int64_t>(t * 10 + 0.5);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

// Bit of its class, or of all where an extent is not known.
uint32_t classes_of(const DimTable& dims, const LibraryProduct& p) {
  std::array<int64_t, 4> extents = {};
  const std::array<DimId, 4> ids = {p.batch, p.rows, p.columns, p.depth};
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto known = dims.constant_value(ids[i]);
    if (!known) return (1u << rt::kProductClasses) - 1;
    extents[i] = *known;
  }
  return 1u << rt::product_class(extents[0], extents[1], extents[2], extents[3]);
}

void choose_measured(const DimTable& dims, const LibraryOptions& options, LibraryProduct& p) {
  const uint32_t classes = classes_of(dims, p);
  for (const MeasuredProduct& m : options.table) {
    const bool is_it = m.kind == kind_of(p) && m.dtype == p.dtype && m.tf32 == p.tf32 &&
                       (classes >> m.size & 1) != 0;
    if (!is_it || m.library >= m.own) continue;
    const auto same = std::ranges::find(p.choices, m.capability, &lower::ProductChoice::capability);
    if (same == p.choices.end()) {
      p.choices.push_back({m.capability, 1u << m.size});
    } else {
      same->classes |= 1u << m.size;
    }
    p.why += (p.why.empty() ? "faster where measured: " : ", ") + std::string("sm_") +
             std::to_string(m.capability) + " " + class_name(m.size) + " " +
             microseconds(m.library) + " us, own kernel " + microseconds(m.own);
  }
  if (p.choices.empty()) p.why = "no measurement says that it is faster";
}

}  // namespace

LibraryKind kind_of(const LibraryProduct& p) {
  return p.convolution.empty() ? LibraryKind::kProduct : LibraryKind::kConvolution;
}

std::string library_of(const LibraryProduct& p) {
  return kind_of(p) == LibraryKind::kProduct ? "cuBLASLt" : "cuDNN";
}

void choose_libraries(lower::LoweredModule& module, const LibraryOptions& options) {
  const DimTable& dims = module.graph->context().dims;
  for (LibraryProduct& p : module.products) {
    p.tf32 = options.tf32 && p.dtype == DType::kFloat32;
    p.choices.clear();
    p.why.clear();
    if (options.libraries == CudaLibraries::kNone) {
      p.why = "--cuda-libs=none";
    } else if (p.relu && !options.finite) {
      p.why = "its max(x, 0) makes NaN 0, only --fast-math allows that";
    } else if (options.libraries == CudaLibraries::kAll) {
      p.choices = {{.capability = 0, .classes = (1u << rt::kProductClasses) - 1}};
      p.why = "--cuda-libs=all";
    } else {
      choose_measured(dims, options, p);
    }
  }
}

}  // namespace gcomp::artifact
