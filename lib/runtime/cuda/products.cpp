// Products by cuBLASLt, where the plan chooses it and this machine has it. What it cannot do is left to the launch's
// own kernel. Which of its algorithms does a product is asked once for each shape, of an answer that depends on
// nothing else: the same artifact gives the same bits every run on the same device with the same library.

#include <dlfcn.h>
#include <stdlib.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

constexpr uint64_t kWorkspaceBytes = 32 << 20;  // as NVIDIA advises for compute capability 9.0
constexpr uint32_t kMostShapes = 64;            // of a product; then the oldest is forgotten

// ---- the library ----

bool load_library(const char* name, CublasLt& lt) {
  void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);  // never closed, as the driver
  if (library == nullptr) return false;
  struct Row {
    const char* symbol;
    void* member;
  };
  const Row rows[] = {
#define GCOMP_CUBLASLT_ROW(member, symbol, parameters) {symbol, &lt.member},
      GCOMP_CUBLASLT(GCOMP_CUBLASLT_ROW)
#undef GCOMP_CUBLASLT_ROW
          {"cublasLtGetStatusName", &lt.status_name}};
  for (const Row& row : rows) {
    void* const function = dlsym(library, row.symbol);
    if (function == nullptr) return false;
    memcpy(row.member, &function, sizeof function);
  }
  return true;
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

// Once a context, when a product first wants it.
bool have_library(gcomp_context& c) {
  Products& p = c.device->products;
  if (p.opened) return p.handle != nullptr;
  p.opened = true;
  p.shapes = c.allocator.zeroed<ShapeList>(c.plan->products.count);
  if (p.shapes == nullptr) return false;
  p.handle = open_library(p.lt);
  if (p.handle == nullptr) return false;
  p.workspace = c.device_allocator.get(kWorkspaceBytes);
  if (p.workspace != nullptr) return true;
  p.lt.destroy(p.handle);
  p.handle = nullptr;
  return false;
}

bool is_chosen(const gcomp_context& c, const PlanProduct& product, const int64_t* extents) {
  const PlanProductChoice* const choices =
      table<PlanProductChoice>(*c.plan, c.plan->product_choices) + product.first_choice;
  const uint32_t size = product_class(extents[0], extents[1], extents[2], extents[3]);
  for (uint32_t i = 0; i < product.num_choices; ++i) {
    const bool is_here =
        choices[i].capability == 0 || choices[i].capability == c.device->shared->capability;
    if (is_here && (choices[i].classes >> size & 1) != 0) return true;
  }
  return false;
}

// ---- shapes ----

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

// Up to 256 bytes, which is what algorithms may ask for.
uint32_t alignment_of(Address memory) {
  const Address address = memory | 256;
  return static_cast<uint32_t>(address & -address);
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
bool describe(const CublasLt& lt, const PlanProduct& p, Shape& s) {
  const auto [batch, rows, columns, depth] = s.key.extents;
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

bool find_algorithm(const Products& p, Shape& s) {
  const CublasLt& lt = p.lt;
  LtPreference preference = nullptr;
  if (lt.preference_create(&preference) != 0) return false;
  const uint64_t workspace = kWorkspaceBytes;
  bool good = lt.preference_set(preference, kLtMostWorkspace, &workspace, sizeof workspace) == 0 &&
              lt.preference_set(preference, kLtReductionSchemes, &kLtExactReduction,
                                sizeof kLtExactReduction) == 0;
  const uint32_t alignments[] = {s.key.alignments[1], s.key.alignments[0], s.key.alignments[2],
                                 s.key.alignments[2]};
  for (int i = 0; i < 4; ++i) {
    good = good && lt.preference_set(preference, kLtLeastAlignment + i, &alignments[i],
                                     sizeof alignments[i]) == 0;
  }
  LtHeuristic found = {};
  int num_found = 0;
  good = good &&
         lt.find_algorithms(p.handle, s.product, s.b, s.a, s.result, s.result, preference, 1,
                            &found, &num_found) == 0 &&
         num_found == 1 && found.state == 0 && found.workspace_bytes <= kWorkspaceBytes;
  s.algorithm = found.algorithm;
  lt.preference_destroy(preference);
  return good;
}

void forget(const CublasLt& lt, const Shape& s) {
  if (s.product != nullptr) lt.product_destroy(s.product);
  const LtLayout layouts[] = {s.a, s.b, s.result};
  for (LtLayout layout : layouts) {
    if (layout != nullptr) lt.layout_destroy(layout);
  }
}

bool set_bias(const CublasLt& lt, const Shape& s, Address bias) {
  return bias == 0 || lt.product_set(s.product, kLtBiasPointer, &bias, sizeof bias) == 0;
}

// How the library does it, asked if its shape is new. Null: it does not.
const Shape* find_shape(gcomp_context& c, const ProductCall& call) {
  Products& p = c.device->products;
  ShapeKey key = {};
  memcpy(key.extents, call.extents, sizeof key.extents);
  for (int i = 0; i < 4; ++i) key.alignments[i] = alignment_of(call.memory[i]);
  ShapeList& list = p.shapes[call.number];
  auto* shapes = static_cast<Shape*>(list.memory.data);
  for (uint32_t i = 0; i < list.count; ++i) {
    if (memcmp(&shapes[i].key, &key, sizeof key) != 0) continue;
    return shapes[i].usable && set_bias(p.lt, shapes[i], call.memory[3]) ? &shapes[i] : nullptr;
  }
  Shape* s = nullptr;
  if (list.count == kMostShapes) {
    s = &shapes[list.oldest];
    list.oldest = (list.oldest + 1) % kMostShapes;
    forget(p.lt, *s);
  } else {
    const uint64_t used = list.count * sizeof(Shape);
    const bool is_full = list.memory.bytes < used + sizeof(Shape);
    if (is_full && !list.memory.ensure(c.allocator, 2 * used + sizeof(Shape), used)) return nullptr;
    s = static_cast<Shape*>(list.memory.data) + list.count++;
  }
  *s = {};
  s->key = key;
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  s->usable =
      describe(p.lt, product, *s) && set_bias(p.lt, *s, call.memory[3]) && find_algorithm(p, *s);
  return s->usable ? s : nullptr;
}

}  // namespace

bool choose_library(gcomp_context& c, const uint32_t* w, ProductCall& call) {
  call.number = w[5 + step_buffers(w[0])];
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  memcpy(call.extents, c.pool + w[2] + w[3], sizeof call.extents);
  for (const int64_t extent : call.extents) {
    if (extent <= 0) return false;
  }
  if (!is_chosen(c, product, call.extents) || !have_library(c)) return false;
  const uint16_t buffers[] = {product.a, product.b, product.result, product.bias};
  for (int i = 0; i < 4; ++i) {
    call.memory[i] = buffers[i] == kNoBias ? 0 : address(c.buffers[w[5 + buffers[i]]]);
  }
  return find_shape(c, call) != nullptr;
}

gcomp_status issue_product(gcomp_context& c, const ProductCall& call, uint32_t kernel,
                           Stream stream) {
  const Shape* const s = find_shape(c, call);
  if (s == nullptr) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a product's description");
  const Products& p = c.device->products;
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  const double alpha = product.alpha, beta = 0;
  const auto alpha32 = static_cast<float>(alpha), beta32 = static_cast<float>(beta);
  const bool is_double = product.dtype == PlanDType::kFloat64;
  const auto memory = [&](int i) { return reinterpret_cast<void*>(call.memory[i]); };
  const LtStatus status = p.lt.multiply(
      p.handle, s->product, is_double ? static_cast<const void*>(&alpha) : &alpha32, memory(1),
      s->b, memory(0), s->a, is_double ? static_cast<const void*>(&beta) : &beta32, memory(2),
      s->result, memory(2), s->result, &s->algorithm, p.workspace, kWorkspaceBytes, stream);
  if (status == 0) return GCOMP_OK;
  const DeviceKernel& k = c.device->data->device_kernels[kernel];
  return fail(c, GCOMP_ERROR_CUDA, "the GPU failed: %.80s in cublasLtMatmul, %.80s (%.160s)",
              p.lt.status_name(status), k.name, k.nodes);
}

void close_products(gcomp_context& c) {
  Products& p = c.device->products;
  for (uint64_t i = 0; p.shapes != nullptr && i < c.plan->products.count; ++i) {
    for (uint32_t k = 0; k < p.shapes[i].count; ++k) {
      forget(p.lt, static_cast<Shape*>(p.shapes[i].memory.data)[k]);
    }
    c.allocator.put(p.shapes[i].memory.data);
  }
  c.allocator.put(p.shapes);
  if (p.handle != nullptr) p.lt.destroy(p.handle);
  c.device_allocator.put(p.workspace);
}

}  // namespace gcomp::rt::cuda
