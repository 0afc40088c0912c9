// Products by cuBLASLt.

#include "cublaslt.h"

#include <stdlib.h>

#include "libraries.h"

namespace gcomp::rt::cuda {
namespace {

bool load_library(const char* name, CublasLt& lt) {
  const LibraryFunction functions[] = {
#define GCOMP_CUBLASLT_ROW(member, symbol, parameters) {symbol, &lt.member},
      GCOMP_CUBLASLT(GCOMP_CUBLASLT_ROW)
#undef GCOMP_CUBLASLT_ROW
          {"cublasLtGetStatusName", &lt.status_name}};
  return load_functions(name, functions, sizeof functions / sizeof functions[0]);
}

// Of the first library that works with this driver.
LtHandle open_library(CublasLt& lt) {
  const char* const given = getenv("GCOMP_CUBLASLT");
  const char* const names[] = {given != nullptr ? given : "libcublasLt.so.13",
                               given != nullptr ? nullptr : "libcublasLt.so.12"};
  for (const char* const name : names) {
    LtHandle handle = nullptr;
    if (name != nullptr && load_library(name, lt) && lt.create(&handle) == 0) return handle;
  }
  return nullptr;
}

struct Types {
  int element, compute, scale;
};
Types types_of(const PlanProduct& p) {
  switch (p.dtype) {
    case PlanDType::kFloat64: return {kLtFloat64, kLtCompute64, kLtFloat64};
    case PlanDType::kFloat16: return {kLtFloat16, kLtCompute32, kLtFloat32};
    case PlanDType::kBFloat16: return {kLtBFloat16, kLtCompute32, kLtFloat32};
    default:
      return {kLtFloat32, (p.flags & kTf32) != 0 ? kLtComputeTf32 : kLtCompute32, kLtFloat32};
  }
}

// A row-major [rows, columns] is the library's column-major [columns, rows].
bool make_layout(const CublasLt& lt, int type, int64_t batch, int64_t rows, int64_t columns,
                 LtLayout* made) {
  if (lt.layout_create(made, type, static_cast<uint64_t>(columns), static_cast<uint64_t>(rows),
                       columns) != 0) {
    return false;
  }
  const auto count = static_cast<int32_t>(batch);
  const int64_t stride = rows * columns;
  return lt.layout_set(*made, kLtBatchCount, &count, sizeof count) == 0 &&
         lt.layout_set(*made, kLtBatchStride, &stride, sizeof stride) == 0;
}

// The library sees all matrices transposed: its first factor is b, its second a.
bool describe(const CublasLt& lt, const PlanProduct& p, const ShapeKey& key, LtShape& s) {
  const auto [batch, rows, columns, depth] = key.extents;
  if (batch > INT32_MAX) return false;
  const Types types = types_of(p);
  const bool trans_a = (p.flags & kTransA) != 0, trans_b = (p.flags & kTransB) != 0;
  if (lt.product_create(&s.product, types.compute, types.scale) != 0) return false;
  const int32_t first = trans_b ? 1 : 0, second = trans_a ? 1 : 0;
  uint32_t epilogue = ((p.flags & kRelu) != 0 ? kLtRelu : 0) | (p.bias != kNoBias ? kLtBias : 0);
  if (epilogue == 0) epilogue = kLtNoEpilogue;
  return lt.product_set(s.product, kLtTransA, &first, sizeof first) == 0 &&
         lt.product_set(s.product, kLtTransB, &second, sizeof second) == 0 &&
         lt.product_set(s.product, kLtEpilogue, &epilogue, sizeof epilogue) == 0 &&
         make_layout(lt, types.element, batch, trans_a ? depth : rows, trans_a ? rows : depth,
                     &s.a) &&
         make_layout(lt, types.element, batch, trans_b ? columns : depth, trans_b ? depth : columns,
                     &s.b) &&
         make_layout(lt, types.element, batch, rows, columns, &s.result);
}

bool find_algorithm(const Products& p, const ShapeKey& key, LtShape& s) {
  const CublasLt& lt = p.lt;
  LtPreference preference = nullptr;
  if (lt.preference_create(&preference) != 0) return false;
  const uint64_t workspace = kWorkspaceBytes;
  bool good = lt.preference_set(preference, kLtMostWorkspace, &workspace, sizeof workspace) == 0 &&
              lt.preference_set(preference, kLtReductionSchemes, &kLtExactReduction,
                                sizeof kLtExactReduction) == 0;
  const uint32_t alignments[] = {key.alignments[1], key.alignments[0], key.alignments[2],
                                 key.alignments[2]};
  for (int i = 0; i < 4; ++i) {
    good = good && lt.preference_set(preference, kLtLeastAlignment + i, &alignments[i],
                                     sizeof alignments[i]) == 0;
  }
  LtHeuristic found = {};
  int num_found = 0;
  good = good &&
         lt.find_algorithms(p.lt_handle, s.product, s.b, s.a, s.result, s.result, preference, 1,
                            &found, &num_found) == 0 &&
         num_found == 1 && found.state == 0 && found.workspace_bytes <= kWorkspaceBytes;
  s.algorithm = found.algorithm;
  lt.preference_destroy(preference);
  return good;
}

}  // namespace

bool open_cublaslt(Products& p) {
  if (!p.lt_tried) p.lt_handle = open_library(p.lt);
  p.lt_tried = true;
  return p.lt_handle != nullptr;
}

bool find_product(const Products& p, const PlanProduct& product, Shape& s) {
  return describe(p.lt, product, s.key, s.product) && find_algorithm(p, s.key, s.product);
}

void forget(const CublasLt& lt, const LtShape& s) {
  if (s.product != nullptr) lt.product_destroy(s.product);
  const LtLayout layouts[] = {s.a, s.b, s.result};
  for (LtLayout layout : layouts) {
    if (layout != nullptr) lt.layout_destroy(layout);
  }
}

bool set_bias(const CublasLt& lt, const LtShape& s, Address bias) {
  return bias == 0 || lt.product_set(s.product, kLtBiasPointer, &bias, sizeof bias) == 0;
}

const char* multiply(const Products& p, const PlanProduct& product, const ProductCall& call,
                     const Shape& s, Stream stream) {
  const double alpha = product.alpha, beta = 0;
  const auto alpha32 = static_cast<float>(alpha), beta32 = static_cast<float>(beta);
  const bool is_double = product.dtype == PlanDType::kFloat64;
  const auto memory = [&](int i) { return reinterpret_cast<void*>(call.memory[i]); };
  const LtShape& t = s.product;
  const LtStatus status = p.lt.multiply(
      p.lt_handle, t.product, is_double ? static_cast<const void*>(&alpha) : &alpha32, memory(1),
      t.b, memory(0), t.a, is_double ? static_cast<const void*>(&beta) : &beta32, memory(2),
      t.result, memory(2), t.result, &t.algorithm, p.workspace, kWorkspaceBytes, stream);
  return status == 0 ? nullptr : p.lt.status_name(status);
}

}  // namespace gcomp::rt::cuda
