// A libcublasLt for the fake driver: the part of the interface that the runtime uses, by plain loops over what its
// descriptors say. Numbers are those of cublasLt.h; it knows nothing of the runtime's. Stricter than the real one: what
// an algorithm was asked for must be so when it multiplies.
//
// Environment, read at each call:
//   GCOMP_FAKE_CUBLASLT_NO_HANDLE, GCOMP_FAKE_CUBLASLT_NO_ALGORITHM   1: so it does
//   GCOMP_FAKE_CUBLASLT_FAIL_AT     this product since the last reset fails
//   GCOMP_FAKE_CUBLASLT_LOG         a file that gets a line a product: what it was
// It counts "heuristics" and "products" (gcomp_fake_cuda_count).

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "fake_cuda.h"
#include "fake_library.h"

using namespace gcomp::test;

namespace {

enum Status {
  kSuccess = 0,
  kNotInitialized = 1,
  kInvalidValue = 7,
  kExecutionFailed = 13,
  kNotSupported = 15
};
enum Type { kR32F = 0, kR64F = 1, kR16F = 2, kR16BF = 14 };
enum Compute { k32F = 68, k64F = 70, k32FastTf32 = 77 };

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t step;
  int32_t batch = 1;
  int64_t batch_step = 0;
};
struct Product {
  int compute, scale;
  int32_t trans_a = 0, trans_b = 0;
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t schemes = 7;
  uint32_t alignments[4] = {256, 256, 256, 256};
};
// Of cublasLtMatmulAlgo_t.
struct Algorithm {
  uint64_t magic, rows, columns, depth;
  uint32_t alignments[4] = {};
  uint64_t workspace, unused = 0;
};
static_assert(sizeof(Algorithm) == 64);
constexpr uint64_t kMagic = 0x616c676f;
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

template <class T>
Status take(T& member, const void* value, size_t bytes) {
  if (bytes != sizeof member) return kInvalidValue;
  std::memcpy(&member, value, bytes);
  return kSuccess;
}

template <class T>
T* made(T value) {
  gcomp_fake_cuda_add("live", 1);
  return new T(std::move(value));
}
template <class T>
Status destroyed(T* object) {
  gcomp_fake_cuda_add("live", -1);
  delete object;
  return kSuccess;
}

// ---- elements ----

Element element(int type) {
  switch (type) {
    case kR64F: return Element::kFloat64;
    case kR16F: return Element::kFloat16;
    case kR16BF: return Element::kBFloat16;
    default: return Element::kFloat32;
  }
}
// ---- what is to be done ----

struct Call {
  Product product;
  Layout a, b, c, d;

  uint64_t rows() const { return d.rows; }
  uint64_t columns() const { return d.columns; }
  uint64_t depth() const { return product.trans_a != 0 ? a.rows : a.columns; }

  bool is_valid() const {
    const bool ta = product.trans_a != 0, tb = product.trans_b != 0;
    if (product.trans_a > 1 || product.trans_b > 1) return false;
    for (const Layout* l : {&a, &b, &c, &d}) {
      if (l->rows == 0 || l->columns == 0 || l->step < static_cast<int64_t>(l->rows)) return false;
      if (l->type != a.type || l->batch != a.batch || l->batch < 1) return false;
    }
    const bool types = a.type == kR64F ? product.compute == k64F && product.scale == kR64F
                                       : product.scale == kR32F &&
                                             (product.compute == k32F ||
                                              (product.compute == k32FastTf32 && a.type == kR32F));
    return types && (ta ? a.columns : a.rows) == rows() && (tb ? b.rows : b.columns) == columns() &&
           (tb ? b.columns : b.rows) == depth() && c.rows == d.rows && c.columns == d.columns &&
           (product.epilogue == 1 || (product.epilogue & ~6u) == 0);
  }
  static size_t bytes(const Layout& l) {
    const auto one = static_cast<uint64_t>(l.step) * (l.columns - 1) + l.rows;
    return (static_cast<uint64_t>(l.batch - 1) * static_cast<uint64_t>(l.batch_step) + one) *
           element_bytes(element(l.type));
  }
};

double factor(const Layout& l, bool transposed, bool to_tf32, const void* memory, int64_t batch,
              int64_t i, int64_t k) {
  const int64_t at = batch * l.batch_step + (transposed ? k + i * l.step : i + k * l.step);
  const double value = load(element(l.type), memory, at);
  return to_tf32 ? tf32(value) : value;
}

void multiply(const Call& call, double alpha, const void* a, const void* b, void* d,
              const void* bias) {
  const bool single = call.product.compute != k64F, to_tf32 = call.product.compute == k32FastTf32;
  for (int64_t batch = 0; batch < call.d.batch; ++batch) {
    for (int64_t j = 0; j < static_cast<int64_t>(call.columns()); ++j) {
      for (int64_t i = 0; i < static_cast<int64_t>(call.rows()); ++i) {
        double sum = 0;
        for (int64_t k = 0; k < static_cast<int64_t>(call.depth()); ++k) {
          const double x = factor(call.a, call.product.trans_a != 0, to_tf32, a, batch, i, k);
          // B's columns are the result's.
          const double y = factor(call.b, call.product.trans_b == 0, to_tf32, b, batch, j, k);
          sum += x * y;
          if (single) sum = static_cast<float>(sum);
        }
        sum *= alpha;
        if ((call.product.epilogue & 4) != 0) sum += load(element(call.d.type), bias, i);
        if ((call.product.epilogue & 2) != 0) sum = sum > 0 ? sum : 0;  // NaN too, as the real one
        store(element(call.d.type), d, batch * call.d.batch_step + i + j * call.d.step, sum);
      }
    }
  }
}

void log(const Call& call, double alpha) {
  const char* const path = std::getenv("GCOMP_FAKE_CUBLASLT_LOG");
  if (path == nullptr) return;
  FILE* const file = std::fopen(path, "a");
  if (file == nullptr) return;
  const char* const type = call.a.type == kR64F                  ? "float64"
                           : call.a.type == kR16F                ? "float16"
                           : call.a.type == kR16BF               ? "bfloat16"
                           : call.product.compute == k32FastTf32 ? "tf32"
                                                                 : "float32";
  std::fprintf(file, "%s %d x %zu x %zu x %zu %c%c %g epilogue %u\n", type, call.d.batch,
               static_cast<size_t>(call.rows()), static_cast<size_t>(call.columns()),
               static_cast<size_t>(call.depth()), call.product.trans_a != 0 ? 'T' : 'N',
               call.product.trans_b != 0 ? 'T' : 'N', alpha, call.product.epilogue);
  std::fclose(file);
}

bool is_aligned(const void* memory, uint32_t to) {
  return reinterpret_cast<uintptr_t>(memory) % to == 0;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the library's names
extern "C" {

int cublasLtCreate(int** handle) {
  if (!gcomp_fake_cuda_is_current() || setting("GCOMP_FAKE_CUBLASLT_NO_HANDLE") != 0)
    return kNotInitialized;
  *handle = made(0);
  return kSuccess;
}
int cublasLtDestroy(int* handle) { return destroyed(handle); }
const char* cublasLtGetStatusName(int status) {
  return status == kExecutionFailed ? "CUBLAS_STATUS_EXECUTION_FAILED"
         : status == kInvalidValue  ? "CUBLAS_STATUS_INVALID_VALUE"
                                    : "CUBLAS_STATUS_OTHER";
}

int cublasLtMatmulDescCreate(Product** product, int compute, int scale) {
  *product = made(Product{.compute = compute, .scale = scale});
  return kSuccess;
}
int cublasLtMatmulDescDestroy(Product* product) { return destroyed(product); }
int cublasLtMatmulDescSetAttribute(Product* p, int attribute, const void* value, size_t bytes) {
  switch (attribute) {
    case 3: return take(p->trans_a, value, bytes);
    case 4: return take(p->trans_b, value, bytes);
    case 7: return take(p->epilogue, value, bytes);
    case 8: return take(p->bias, value, bytes);
    default: return kInvalidValue;
  }
}

int cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns,
                               int64_t step) {
  *layout = made(Layout{.type = type, .rows = rows, .columns = columns, .step = step});
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return destroyed(layout); }
int cublasLtMatrixLayoutSetAttribute(Layout* l, int attribute, const void* value, size_t bytes) {
  switch (attribute) {
    case 5: return take(l->batch, value, bytes);
    case 6: return take(l->batch_step, value, bytes);
    default: return kInvalidValue;
  }
}

int cublasLtMatmulPreferenceCreate(Preference** preference) {
  *preference = made(Preference{});
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(Preference* preference) { return destroyed(preference); }
int cublasLtMatmulPreferenceSetAttribute(Preference* p, int attribute, const void* value,
                                         size_t bytes) {
  switch (attribute) {
    case 1: return take(p->workspace, value, bytes);
    case 3: return take(p->schemes, value, bytes);
    case 5:
    case 6:
    case 7:
    case 8: return take(p->alignments[attribute - 5], value, bytes);
    default: return kInvalidValue;
  }
}

int cublasLtMatmulAlgoGetHeuristic(const int* handle, const Product* product, const Layout* a,
                                   const Layout* b, const Layout* c, const Layout* d,
                                   const Preference* preference, int most, Heuristic* found,
                                   int* num_found) {
  gcomp_fake_cuda_add("heuristics", 1);
  *num_found = 0;
  const Call call{*product, *a, *b, *c, *d};
  if (handle == nullptr || most < 1 || !call.is_valid()) return kInvalidValue;
  // It would add parts of sums as blocks come, or of the result's type.
  if ((preference->schemes & 5) != 0 || setting("GCOMP_FAKE_CUBLASLT_NO_ALGORITHM") != 0)
    return kNotSupported;
  *found = {};
  found->algorithm = {.magic = kMagic,
                      .rows = call.rows(),
                      .columns = call.columns(),
                      .depth = call.depth(),
                      .workspace = preference->workspace};
  std::memcpy(found->algorithm.alignments, preference->alignments, sizeof preference->alignments);
  found->workspace = preference->workspace;
  *num_found = 1;
  return kSuccess;
}

int cublasLtMatmul(const int* handle, const Product* product, const void* alpha, const void* a,
                   const Layout* a_layout, const void* b, const Layout* b_layout, const void* beta,
                   const void* c, const Layout* c_layout, void* d, const Layout* d_layout,
                   const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                   void* stream) {
  const Call call{*product, *a_layout, *b_layout, *c_layout, *d_layout};
  const Algorithm& g = *algorithm;
  if (handle == nullptr || !call.is_valid() || c != d ||
      load(element(product->scale), beta, 0) != 0)
    return kInvalidValue;
  if (g.magic != kMagic || g.rows != call.rows() || g.columns != call.columns() ||
      g.depth != call.depth())
    return kInvalidValue;
  const void* const memory[] = {a, b, c, d};
  const Layout* const layouts[] = {a_layout, b_layout, c_layout, d_layout};
  for (int i = 0; i < 4; ++i) {
    if (!is_aligned(memory[i], g.alignments[i]) ||
        !gcomp_fake_cuda_is_there(memory[i], Call::bytes(*layouts[i])))
      return kInvalidValue;
  }
  const bool has_bias = product->epilogue != 1 && (product->epilogue & 4) != 0;
  if (has_bias && !gcomp_fake_cuda_is_there(product->bias,
                                            call.rows() * element_bytes(element(d_layout->type))))
    return kInvalidValue;
  if (workspace_bytes < g.workspace || !gcomp_fake_cuda_is_there(workspace, workspace_bytes))
    return kInvalidValue;
  gcomp_fake_cuda_add("products", 1);
  const auto fail_at = static_cast<uint64_t>(setting("GCOMP_FAKE_CUBLASLT_FAIL_AT"));
  if (gcomp_fake_cuda_count("products") == fail_at) return kExecutionFailed;
  const double factor = load(element(product->scale), alpha, 0);
  log(call, factor);
  return gcomp_fake_cuda_issue(stream,
                               [=, bias = product->bias] {
                                 std::memset(workspace, 0x5a,
                                             std::min<size_t>(workspace_bytes, 4096));
                                 multiply(call, factor, a, b, d, bias);
                               }) == 0
             ? kSuccess
             : kExecutionFailed;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
