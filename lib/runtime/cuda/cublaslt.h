#pragma once
// What the runtime uses of cuBLASLt, declared here so that no toolkit is needed to build: names, numbers and
// signatures are the library's public ABI, alike in its versions 12 and 13. Loaded at run time, where it is there.

#include "driver.h"

namespace gcomp::rt::cuda {

using LtStatus = int;  // cublasStatus_t
using LtHandle = struct LtHandleTag*;
using LtProduct = struct LtProductTag*;  // cublasLtMatmulDesc_t
using LtLayout = struct LtLayoutTag*;
using LtPreference = struct LtPreferenceTag*;

struct LtAlgorithm {
  uint64_t data[8];
};
struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  LtStatus state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(LtHeuristic) == 96);

// cudaDataType
inline constexpr int kLtFloat32 = 0, kLtFloat64 = 1, kLtFloat16 = 2, kLtBFloat16 = 14;
// cublasComputeType_t
inline constexpr int kLtCompute32 = 68, kLtCompute64 = 70, kLtComputeTf32 = 77;
// cublasLtMatmulDescAttributes_t: int32; int32; cublasLtEpilogue_t; pointer
inline constexpr int kLtTransA = 3, kLtTransB = 4, kLtEpilogue = 7, kLtBiasPointer = 8;
// cublasLtEpilogue_t
inline constexpr uint32_t kLtNoEpilogue = 1, kLtRelu = 2, kLtBias = 4;
// cublasLtMatrixLayoutAttribute_t: int32; int64
inline constexpr int kLtBatchCount = 5, kLtBatchStride = 6;
// cublasLtMatmulPreferenceAttributes_t: uint64; uint32; uint32 of A, B, C, D
inline constexpr int kLtMostWorkspace = 1, kLtReductionSchemes = 3, kLtLeastAlignment = 5;
// cublasLtReductionScheme_t: parts of sums are added in the compute type, in a step of its own. The others would round
// them to the result's type, or add them in the order in which blocks come.
inline constexpr uint32_t kLtExactReduction = 2;

// X(member, symbol, parameters)
#define GCOMP_CUBLASLT(X)                                                                     \
  X(create, "cublasLtCreate", (LtHandle * handle))                                            \
  X(destroy, "cublasLtDestroy", (LtHandle handle))                                            \
  X(product_create, "cublasLtMatmulDescCreate", (LtProduct * made, int compute, int scale))   \
  X(product_destroy, "cublasLtMatmulDescDestroy", (LtProduct product))                        \
  X(product_set, "cublasLtMatmulDescSetAttribute",                                            \
    (LtProduct product, int attribute, const void* value, size_t bytes))                      \
  X(layout_create, "cublasLtMatrixLayoutCreate",                                              \
    (LtLayout * made, int type, uint64_t rows, uint64_t columns, int64_t column_step))        \
  X(layout_destroy, "cublasLtMatrixLayoutDestroy", (LtLayout layout))                         \
  X(layout_set, "cublasLtMatrixLayoutSetAttribute",                                           \
    (LtLayout layout, int attribute, const void* value, size_t bytes))                        \
  X(preference_create, "cublasLtMatmulPreferenceCreate", (LtPreference * made))               \
  X(preference_destroy, "cublasLtMatmulPreferenceDestroy", (LtPreference preference))         \
  X(preference_set, "cublasLtMatmulPreferenceSetAttribute",                                   \
    (LtPreference preference, int attribute, const void* value, size_t bytes))                \
  X(find_algorithms, "cublasLtMatmulAlgoGetHeuristic",                                        \
    (LtHandle handle, LtProduct product, LtLayout a, LtLayout b, LtLayout c, LtLayout d,      \
     LtPreference preference, int most, LtHeuristic* found, int* num_found))                  \
  X(multiply, "cublasLtMatmul",                                                               \
    (LtHandle handle, LtProduct product, const void* alpha, const void* a, LtLayout a_layout, \
     const void* b, LtLayout b_layout, const void* beta, const void* c, LtLayout c_layout,    \
     void* d, LtLayout d_layout, const LtAlgorithm* algorithm, void* workspace, size_t bytes, \
     Stream stream))

struct CublasLt {
  const char* (*status_name)(LtStatus status);
#define GCOMP_CUBLASLT_MEMBER(member, symbol, parameters) LtStatus(*member) parameters;
  GCOMP_CUBLASLT(GCOMP_CUBLASLT_MEMBER)
#undef GCOMP_CUBLASLT_MEMBER
};

}  // namespace gcomp::rt::cuda
