#pragma once
// Which products and convolutions a library does instead of gcomp's own kernels, where it is there when an artifact runs.

#include <cstdint>
#include <span>
#include <string>

#include "gcomp/lower/lower.h"

namespace gcomp::artifact {

enum class CudaLibraries : uint8_t {
  kMeasured,  // where the table says that the library is faster
  kAll,       // wherever one can
  kNone,
};

enum class LibraryKind : uint8_t { kProduct, kConvolution };

LibraryKind kind_of(const lower::LibraryProduct& p);
std::string library_of(const lower::LibraryProduct& p);  // "cuBLASLt", "cuDNN"

// A row of the table: the times of products of one kind on one GPU, in microseconds.
struct MeasuredProduct {
  LibraryKind kind;
  uint32_t capability;  // 90: 9.0
  DType dtype;
  bool tf32;      // factors rounded to 11 bits, both times
  uint32_t size;  // rt::product_class()
  double own, library;
};

// library_table.cpp; `scripts/bench gpu` prints its rows.
std::span<const MeasuredProduct> measured_products();

struct LibraryOptions {
  CudaLibraries libraries = CudaLibraries::kMeasured;
  bool tf32 = false;    // --allow-tf32
  bool finite = false;  // --fast-math: numbers are finite, so that a library's max(x, 0) is ours
  std::span<const MeasuredProduct> table = measured_products();
};

// Fills in the choices of the module's products, whether they may be rounded, and why.
void choose_libraries(lower::LoweredModule& module, const LibraryOptions& options);

}  // namespace gcomp::artifact
