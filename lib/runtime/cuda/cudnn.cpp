// Convolutions by cuDNN.

#include "cudnn.h"

#include <stdlib.h>

#include "libraries.h"

namespace gcomp::rt::cuda {
namespace {

constexpr int kMostAlgorithms = 16;

bool load_library(const char* name, Cudnn& dnn) {
  const LibraryFunction functions[] = {
#define GCOMP_CUDNN_ROW(member, symbol, parameters) {symbol, &dnn.member},
      GCOMP_CUDNN(GCOMP_CUDNN_ROW)
#undef GCOMP_CUDNN_ROW
          {"cudnnGetErrorString", &dnn.status_name}};
  return load_functions(name, functions, sizeof functions / sizeof functions[0]);
}

int type_of(PlanDType t) {
  switch (t) {
    case PlanDType::kFloat64: return kDnnFloat64;
    case PlanDType::kFloat16: return kDnnFloat16;
    case PlanDType::kBFloat16: return kDnnBFloat16;
    default: return kDnnFloat32;
  }
}

bool is_exact(const PlanProduct& p) {
  return p.dtype == PlanDType::kFloat32 && (p.flags & kTf32) == 0;
}

// Extents of a tensor of four axes: n, c, h, w, whatever their order in memory.
struct Extents {
  int64_t n, c, h, w;
};

// cuDNN counts elements in int32.
bool is_small(const Extents& e) {
  const int64_t all[] = {e.n, e.c, e.h, e.w};
  int64_t elements = 1;
  for (const int64_t extent : all) {
    if (extent <= 0 || extent > INT32_MAX / elements) return false;
    elements *= extent;
  }
  return true;
}

// Elements between neighbours.
struct Steps {
  int64_t n, c, h, w;
};
Steps steps_of(const Extents& e, bool channels_last) {
  if (channels_last) return {e.c * e.h * e.w, 1, e.c * e.w, e.c};
  return {e.c * e.h * e.w, e.h * e.w, e.w, 1};
}

bool make_tensor(const Cudnn& dnn, int type, const Extents& e, const Steps& s, DnnTensor* made) {
  const auto n = [](int64_t v) { return static_cast<int>(v); };
  return is_small(e) && dnn.tensor_create(made) == 0 &&
         dnn.tensor_set(*made, type, n(e.n), n(e.c), n(e.h), n(e.w), n(s.n), n(s.c), n(s.h),
                        n(s.w)) == 0;
}

// Where channels are last, our weights are [h, w, channels, features], the library's [features, h, w, channels].
bool describe_weights(const Cudnn& dnn, const PlanProduct& p, const Extents& e, DnnShape& s) {
  const bool last = (p.flags & kChannelsLast) != 0;
  const int type = type_of(p.dtype);
  if (!is_small(e) || dnn.filter_create(&s.weights) != 0 ||
      dnn.filter_set(s.weights, type, last ? kDnnChannelsLast : kDnnChannelsFirst,
                     static_cast<int>(e.n), static_cast<int>(e.c), static_cast<int>(e.h),
                     static_cast<int>(e.w)) != 0) {
    return false;
  }
  if (!last) return true;
  const Steps given = {1, e.n, e.n * e.c * e.w, e.n * e.c};
  const int64_t element = p.dtype == PlanDType::kFloat64   ? 8
                          : p.dtype == PlanDType::kFloat32 ? 4
                                                           : 2;
  s.turned_bytes = static_cast<uint64_t>(e.n * e.c * e.h * e.w * element + 255) / 256 * 256;
  return s.turned_bytes <= kWorkspaceBytes && make_tensor(dnn, type, e, given, &s.given_weights) &&
         make_tensor(dnn, type, e, steps_of(e, true), &s.turned_weights);
}

bool describe_bias(const Cudnn& dnn, const PlanProduct& p, int64_t features, DnnShape& s) {
  if (p.bias == kNoBias) return (p.flags & kRelu) == 0;
  const Extents e = {1, features, 1, 1};
  const int mode = (p.flags & kRelu) != 0 ? kDnnRelu : kDnnIdentity;
  return make_tensor(dnn, type_of(p.dtype), e, steps_of(e, false), &s.bias) &&
         dnn.activation_create(&s.activation) == 0 &&
         dnn.activation_set(s.activation, mode, kDnnKeepNan, 0) == 0;
}

bool describe(const Cudnn& dnn, const PlanProduct& p, const ShapeKey& key, DnnShape& s) {
  const PlanConvolution& v = key.convolution;
  const int64_t groups = key.extents[0];
  const bool last = (p.flags & kChannelsLast) != 0;
  const Extents x = {v.images, v.channels, v.in[0], v.in[1]};
  const Extents w = {v.features, v.channels / groups, v.window[0], v.window[1]};
  const Extents y = {v.images, v.features, v.out[0], v.out[1]};
  const int type = type_of(p.dtype);
  const int64_t others[] = {groups,       v.padding[0],   v.padding[1],  v.strides[0],
                            v.strides[1], v.dilations[0], v.dilations[1]};
  int n[7];
  for (int i = 0; i < 7; ++i) {
    if (others[i] > INT32_MAX) return false;
    n[i] = static_cast<int>(others[i]);
  }
  const int sums = p.dtype == PlanDType::kFloat64 ? kDnnFloat64 : kDnnFloat32;
  const int math = is_exact(p) ? kDnnFmaMath
                   : p.dtype == PlanDType::kFloat16 || p.dtype == PlanDType::kBFloat16
                       ? kDnnTensorMath
                       : kDnnDefaultMath;
  return make_tensor(dnn, type, x, steps_of(x, last), &s.x) &&
         make_tensor(dnn, type, y, steps_of(y, last), &s.y) && describe_weights(dnn, p, w, s) &&
         describe_bias(dnn, p, v.features, s) && dnn.convolution_create(&s.convolution) == 0 &&
         dnn.convolution_set(s.convolution, n[1], n[2], n[3], n[4], n[5], n[6],
                             kDnnCrossCorrelation, sums) == 0 &&
         dnn.set_groups(s.convolution, n[0]) == 0 && dnn.set_math(s.convolution, math) == 0;
}

// The library's best, of those that always add the same products in the same order.
bool find_algorithm(const Products& p, const PlanProduct& product, DnnShape& s) {
  DnnAlgorithm found[kMostAlgorithms];
  int num_found = 0;
  if (p.dnn.find_algorithms(p.dnn_handle, s.x, s.weights, s.convolution, s.y, kMostAlgorithms,
                            &num_found, found) != 0) {
    return false;
  }
  for (int i = 0; i < num_found; ++i) {
    const DnnAlgorithm& a = found[i];
    if (a.state != 0 || a.deterministic == 0 || a.algorithm > kDnnLastOfProducts) continue;
    if (a.workspace_bytes > kWorkspaceBytes - s.turned_bytes) continue;
    // All that the library allows together with a bias.
    if (product.bias != kNoBias && a.algorithm != kDnnPrecomputedIndices) continue;
    const bool rounds = a.math != kDnnFmaMath && a.math != kDnnDefaultMath;
    if (is_exact(product) && rounds) continue;
    s.algorithm = a.algorithm;
    return is_exact(product) || p.dnn.set_math(s.convolution, a.math) == 0;
  }
  return false;
}

DnnStatus convolve(const Products& p, const PlanProduct& product, const ProductCall& call,
                   const DnnShape& s, Stream stream) {
  const double factors[] = {product.alpha, 1, 0};
  const float factors32[] = {static_cast<float>(product.alpha), 1, 0};
  const bool is_double = product.dtype == PlanDType::kFloat64;
  const auto factor = [&](int i) {
    return is_double ? static_cast<const void*>(factors + i) : factors32 + i;
  };
  const void *const alpha = factor(0), *const one = factor(1), *const zero = factor(2);
  const auto memory = [&](int i) { return reinterpret_cast<void*>(call.memory[i]); };
  void* const workspace = static_cast<char*>(p.workspace) + s.turned_bytes;
  const size_t bytes = kWorkspaceBytes - s.turned_bytes;
  DnnStatus status = p.dnn.set_stream(p.dnn_handle, stream);
  const void* weights = memory(1);
  if (status == 0 && s.given_weights != nullptr) {
    status = p.dnn.transform(p.dnn_handle, one, s.given_weights, weights, zero, s.turned_weights,
                             p.workspace);
    weights = p.workspace;
  }
  if (status != 0) return status;
  if (s.bias == nullptr) {
    return p.dnn.convolve(p.dnn_handle, alpha, s.x, memory(0), s.weights, weights, s.convolution,
                          s.algorithm, workspace, bytes, zero, s.y, memory(2));
  }
  return p.dnn.convolve_biased(p.dnn_handle, alpha, s.x, memory(0), s.weights, weights,
                               s.convolution, s.algorithm, workspace, bytes, zero, s.y, memory(2),
                               s.bias, memory(3), s.activation, s.y, memory(2));
}

}  // namespace

bool open_cudnn(Products& p) {
  if (p.dnn_tried) return p.dnn_handle != nullptr;
  p.dnn_tried = true;
  const char* const given = getenv("GCOMP_CUDNN");
  if (load_library(given != nullptr ? given : "libcudnn.so.9", p.dnn) &&
      p.dnn.create(&p.dnn_handle) != 0) {
    p.dnn_handle = nullptr;
  }
  return p.dnn_handle != nullptr;
}

bool find_convolution(const Products& p, const PlanProduct& product, Shape& s) {
  for (const uint32_t alignment : s.key.alignments) {
    if (alignment < kDnnAlignment) return false;
  }
  return describe(p.dnn, product, s.key, s.convolution) &&
         find_algorithm(p, product, s.convolution);
}

bool takes_convolution(gcomp_context& c, const PlanProduct& product, const ProductCall& call,
                       const Shape& s) {
  const Device& d = *c.device;
  Graph graph = nullptr;
  if (d.driver->capture_begin(d.capture_stream, kCaptureRelaxed) != kSuccess) return true;
  bool good = convolve(d.products, product, call, s.convolution, d.capture_stream) == 0;
  good = d.driver->capture_end(d.capture_stream, &graph) == kSuccess && good;
  if (graph != nullptr) d.driver->graph_destroy(graph);
  return good;
}

const char* convolve(const Products& p, const PlanProduct& product, const ProductCall& call,
                     const Shape& s, Stream stream) {
  const DnnStatus status = convolve(p, product, call, s.convolution, stream);
  return status == 0 ? nullptr : p.dnn.status_name(status);
}

void forget(const Cudnn& dnn, const DnnShape& s) {
  const DnnTensor tensors[] = {s.x, s.y, s.bias, s.given_weights, s.turned_weights};
  for (DnnTensor tensor : tensors) {
    if (tensor != nullptr) dnn.tensor_destroy(tensor);
  }
  if (s.weights != nullptr) dnn.filter_destroy(s.weights);
  if (s.convolution != nullptr) dnn.convolution_destroy(s.convolution);
  if (s.activation != nullptr) dnn.activation_destroy(s.activation);
}

}  // namespace gcomp::rt::cuda
