// Products by cuBLASLt and convolutions by cuDNN, where the plan chooses it and this machine has the library. What it
// cannot do is left to the launch's own kernel. Which of its algorithms does a shape is asked once, of an answer that
// depends on nothing else: the same artifact gives the same bits every run on the same device with the same library.

#include "libraries.h"

#include <dlfcn.h>
#include <string.h>

namespace gcomp::rt::cuda {
namespace {

constexpr uint32_t kMostShapes = 64;  // of a product; then the oldest is forgotten

bool is_convolution(const PlanProduct& product) { return (product.flags & kConvolution) != 0; }

// Once a context, when a product first wants it.
bool have_memory(gcomp_context& c) {
  Products& p = c.device->products;
  if (p.shapes != nullptr || p.no_memory) return p.shapes != nullptr;
  p.workspace = c.device_allocator.get(kWorkspaceBytes);
  if (p.workspace != nullptr) p.shapes = c.allocator.zeroed<ShapeList>(c.plan->products.count);
  p.no_memory = p.shapes == nullptr;
  return !p.no_memory;
}

bool have_library(gcomp_context& c, const PlanProduct& product) {
  Products& p = c.device->products;
  const bool here = is_convolution(product) ? open_cudnn(p) : open_cublaslt(p);
  return here && have_memory(c);
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

uint32_t alignment_of(Address memory, uint32_t most) {
  const Address address = memory | most;
  return static_cast<uint32_t>(address & -address);
}

void forget(const Products& p, const Shape& s) {
  forget(p.lt, s.product);
  forget(p.dnn, s.convolution);
}

bool describe(const gcomp_context& c, const ProductCall& call, Shape& s) {
  const Products& p = c.device->products;
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  if (is_convolution(product)) return find_convolution(p, product, s);
  return find_product(p, product, s) && set_bias(p.lt, s.product, call.memory[3]);
}

// How the library does it, asked if its shape is new. Null: it does not.
Shape* find_shape(gcomp_context& c, const ProductCall& call) {
  Products& p = c.device->products;
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  ShapeKey key = {};
  memcpy(key.extents, call.extents, sizeof key.extents);
  key.convolution = call.convolution;
  const uint32_t alignment = is_convolution(product) ? kDnnAlignment : kLtAlignment;
  for (int i = 0; i < 4; ++i) key.alignments[i] = alignment_of(call.memory[i], alignment);
  ShapeList& list = p.shapes[call.number];
  auto* shapes = static_cast<Shape*>(list.memory.data);
  for (uint32_t i = 0; i < list.count; ++i) {
    if (memcmp(&shapes[i].key, &key, sizeof key) != 0) continue;
    const bool good = shapes[i].usable && (is_convolution(product) ||
                                           set_bias(p.lt, shapes[i].product, call.memory[3]));
    return good ? &shapes[i] : nullptr;
  }
  Shape* s = nullptr;
  if (list.count == kMostShapes) {
    s = &shapes[list.oldest];
    list.oldest = (list.oldest + 1) % kMostShapes;
    forget(p, *s);
  } else {
    const uint64_t used = list.count * sizeof(Shape);
    const bool is_full = list.memory.bytes < used + sizeof(Shape);
    if (is_full && !list.memory.ensure(c.allocator, 2 * used + sizeof(Shape), used)) return nullptr;
    s = static_cast<Shape*>(list.memory.data) + list.count++;
  }
  *s = {};
  s->key = key;
  s->usable = describe(c, call, *s);
  return s->usable ? s : nullptr;
}

}  // namespace

bool load_functions(const char* library_name, const LibraryFunction* functions, size_t count) {
  void* const library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);  // never closed, as the driver
  if (library == nullptr) return false;
  for (size_t i = 0; i < count; ++i) {
    void* const function = dlsym(library, functions[i].symbol);
    if (function == nullptr) return false;
    memcpy(functions[i].member, &function, sizeof function);
  }
  return true;
}

bool choose_library(gcomp_context& c, const uint32_t* w, ProductCall& call) {
  call = {};
  call.number = w[5 + step_buffers(w[0])];
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  const int64_t* const extents = c.pool + w[2] + w[3];
  memcpy(call.extents, extents, sizeof call.extents);
  if (is_convolution(product)) {
    memcpy(&call.convolution, extents + kProductExtents, sizeof call.convolution);
  }
  for (const int64_t extent : call.extents) {
    if (extent <= 0) return false;
  }
  if (!is_chosen(c, product, call.extents) || !have_library(c, product)) return false;
  const uint16_t buffers[] = {product.a, product.b, product.result, product.bias};
  for (int i = 0; i < 4; ++i) {
    call.memory[i] = buffers[i] == kNoBias ? 0 : address(c.buffers[w[5 + buffers[i]]]);
  }
  Shape* const s = find_shape(c, call);
  if (s == nullptr) return false;
  if (is_convolution(product) && !s->tried) {
    s->usable = takes_convolution(c, product, call, *s);
    s->tried = true;
  }
  return s->usable;
}

gcomp_status issue_product(gcomp_context& c, const ProductCall& call, uint32_t kernel,
                           Stream stream) {
  const Shape* const s = find_shape(c, call);
  if (s == nullptr) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a product's description");
  const Products& p = c.device->products;
  const PlanProduct& product = table<PlanProduct>(*c.plan, c.plan->products)[call.number];
  const char *error = nullptr, *what = "cublasLtMatmul";
  if (is_convolution(product)) {
    what = "cudnnConvolutionForward";
    error = convolve(p, product, call, *s, stream);
  } else {
    error = multiply(p, product, call, *s, stream);
  }
  if (error == nullptr) return GCOMP_OK;
  const DeviceKernel& k = c.device->data->device_kernels[kernel];
  return fail(c, GCOMP_ERROR_CUDA, "the GPU failed: %.80s in %s, %.80s (%.160s)", error, what,
              k.name, k.nodes);
}

void close_products(gcomp_context& c) {
  Products& p = c.device->products;
  for (uint64_t i = 0; p.shapes != nullptr && i < c.plan->products.count; ++i) {
    for (uint32_t k = 0; k < p.shapes[i].count; ++k) {
      forget(p, static_cast<Shape*>(p.shapes[i].memory.data)[k]);
    }
    c.allocator.put(p.shapes[i].memory.data);
  }
  c.allocator.put(p.shapes);
  if (p.lt_handle != nullptr) p.lt.destroy(p.lt_handle);
  if (p.dnn_handle != nullptr) p.dnn.destroy(p.dnn_handle);
  c.device_allocator.put(p.workspace);
}

}  // namespace gcomp::rt::cuda
