// A libcudnn for the fake driver: the part of the interface that the runtime uses, by plain loops over what its
// descriptors say. Numbers are those of cudnn.h; it knows nothing of the runtime's.
//
// Environment, read at each call:
//   GCOMP_FAKE_CUDNN_NO_HANDLE, GCOMP_FAKE_CUDNN_NO_ALGORITHM   1: so it does
//   GCOMP_FAKE_CUDNN_FAIL_AT     this call for a convolution since the last reset fails
//   GCOMP_FAKE_CUDNN_LOG         a file that gets a line for a convolution that runs: what it was
// It counts "algorithms" (questions for them), "convolution calls" and "convolutions" that ran (gcomp_fake_cuda_count).

#include <array>
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
  kNotInitialized = 1001,
  kBadParam = 2000,
  kNotSupported = 3000,
  kExecutionFailed = 5000
};
enum Type { kFloat = 0, kDouble = 1, kHalf = 2, kBFloat16 = 9 };
enum Math { kDefault = 0, kTensorOp = 1, kFma = 3 };

struct Handle {
  void* stream = nullptr;
};
struct Tensor {
  int type = -1;
  std::array<int, 4> extents = {}, steps = {};
};
struct Filter {
  int type = -1, format = 0;
  std::array<int, 4> extents = {};
};
struct Convolution {
  std::array<int, 2> padding = {}, strides = {}, dilations = {};
  int mode = 0, type = -1, groups = 1, math = kDefault;
};
struct Activation {
  int mode = -1, nan = 0;
};
struct Perf {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};

template <class T>
int make(T** made) {
  gcomp_fake_cuda_add("live", 1);
  *made = new T;
  return kSuccess;
}
template <class T>
int destroy(T* object) {
  gcomp_fake_cuda_add("live", -1);
  delete object;
  return kSuccess;
}

// ---- elements ----

Element element(int type) {
  switch (type) {
    case kDouble: return Element::kFloat64;
    case kHalf: return Element::kFloat16;
    case kBFloat16: return Element::kBFloat16;
    default: return Element::kFloat32;
  }
}
int64_t place(const Tensor& t, int n, int c, int h, int w) {
  return int64_t{n} * t.steps[0] + int64_t{c} * t.steps[1] + int64_t{h} * t.steps[2] +
         int64_t{w} * t.steps[3];
}
bool is_there(const Tensor& t, const void* memory) {
  const auto& e = t.extents;
  const int64_t last = place(t, e[0] - 1, e[1] - 1, e[2] - 1, e[3] - 1);
  return gcomp_fake_cuda_is_there(memory,
                                  static_cast<size_t>(last + 1) * element_bytes(element(t.type)));
}

// ---- what is to be done ----

struct Call {
  Tensor x, y, weights;  // the filter as a tensor
  Convolution convolution;
  int algorithm = 0;
  double alpha = 1;
  const void *from = nullptr, *w = nullptr;
  void* to = nullptr;
  const void* bias = nullptr;
  bool relu = false;

  bool is_valid() const {
    const auto &a = x.extents, &b = weights.extents, &c = y.extents;
    const int g = convolution.groups;
    if (x.type != y.type || x.type != weights.type || g < 1 || convolution.mode != 1) return false;
    if (convolution.type != (x.type == kDouble ? kDouble : kFloat)) return false;
    if (a[0] != c[0] || a[1] != b[1] * g || b[0] != c[1] || b[0] % g != 0) return false;
    for (size_t i = 0; i < 2; ++i) {
      const int wide = (b[i + 2] - 1) * convolution.dilations[i] + 1;
      const int room = a[i + 2] + 2 * convolution.padding[i] - wide;
      if (room < 0 || c[i + 2] != room / convolution.strides[i] + 1) return false;
    }
    return true;
  }
  bool rounds() const { return x.type == kFloat && convolution.math != kFma; }
};

Tensor tensor_of(const Filter& f) {
  const auto& e = f.extents;
  Tensor t{.type = f.type, .extents = e};
  t.steps = f.format == 1 ? std::array{e[1] * e[2] * e[3], 1, e[1] * e[3], e[1]}
                          : std::array{e[1] * e[2] * e[3], e[2] * e[3], e[3], 1};
  return t;
}

double sum_at(const Call& call, int image, int feature, int row, int column) {
  const Convolution& v = call.convolution;
  const int channels = call.weights.extents[1];
  const int first = feature / (call.y.extents[1] / v.groups) * channels;
  double sum = 0;
  for (int c = 0; c < channels; ++c) {
    for (int i = 0; i < call.weights.extents[2]; ++i) {
      for (int k = 0; k < call.weights.extents[3]; ++k) {
        const int h = row * v.strides[0] + i * v.dilations[0] - v.padding[0];
        const int w = column * v.strides[1] + k * v.dilations[1] - v.padding[1];
        const bool inside = h >= 0 && h < call.x.extents[2] && w >= 0 && w < call.x.extents[3];
        double p =
            inside ? load(element(call.x.type), call.from, place(call.x, image, first + c, h, w))
                   : 0;
        double q = load(element(call.x.type), call.w, place(call.weights, feature, c, i, k));
        if (call.rounds()) {
          p = tf32(p);
          q = tf32(q);
        }
        sum += p * q;
        if (v.type == kFloat) sum = static_cast<float>(sum);
      }
    }
  }
  return sum;
}

void convolve(const Call& call) {
  const auto& e = call.y.extents;
  for (int n = 0; n < e[0]; ++n) {
    for (int f = 0; f < e[1]; ++f) {
      for (int h = 0; h < e[2]; ++h) {
        for (int w = 0; w < e[3]; ++w) {
          double sum = call.alpha * sum_at(call, n, f, h, w);
          if (call.bias != nullptr) sum += load(element(call.y.type), call.bias, f);
          if (call.relu) sum = sum > 0 ? sum : 0;
          store(element(call.y.type), call.to, place(call.y, n, f, h, w), sum);
        }
      }
    }
  }
}

void log(const Call& call) {
  gcomp_fake_cuda_add("convolutions", 1);
  const char* const path = std::getenv("GCOMP_FAKE_CUDNN_LOG");
  FILE* const file = path == nullptr ? nullptr : std::fopen(path, "a");
  if (file == nullptr) return;
  const auto &x = call.x.extents, &w = call.weights.extents;
  const char* const type = call.x.type == kDouble     ? "float64"
                           : call.x.type == kHalf     ? "float16"
                           : call.x.type == kBFloat16 ? "bfloat16"
                           : call.rounds()            ? "tf32"
                                                      : "float32";
  std::fprintf(file, "%s %d x %d x %d x %d by %d x %d x %d x %d groups %d %s%s%s\n", type, x[0],
               x[1], x[2], x[3], w[0], w[1], w[2], w[3], call.convolution.groups,
               call.x.steps[1] == 1 ? "last" : "first", call.bias != nullptr ? " bias" : "",
               call.relu ? " relu" : "");
  std::fclose(file);
}

constexpr size_t kWorkspace = 4096;  // of algorithms that need one

int issue(const Handle* handle, const Call& call, void* workspace, size_t bytes) {
  if (handle == nullptr || !call.is_valid()) return kBadParam;
  if (!is_there(call.x, call.from) || !is_there(call.y, call.to) || !is_there(call.weights, call.w))
    return kBadParam;
  for (const void* memory : {call.from, call.w, static_cast<const void*>(call.to), call.bias}) {
    if (reinterpret_cast<uintptr_t>(memory) % 16 != 0) return kBadParam;
  }
  if (bytes < kWorkspace || !gcomp_fake_cuda_is_there(workspace, bytes)) return kBadParam;
  gcomp_fake_cuda_add("convolution calls", 1);
  const auto fail_at = static_cast<uint64_t>(setting("GCOMP_FAKE_CUDNN_FAIL_AT"));
  if (gcomp_fake_cuda_count("convolution calls") == fail_at) return kExecutionFailed;
  const auto work = [=] {
    std::memset(workspace, 0x5a, kWorkspace);
    log(call);
    convolve(call);
  };
  return gcomp_fake_cuda_issue(handle->stream, work) == 0 ? kSuccess : kExecutionFailed;
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the library's names
extern "C" {

int cudnnCreate(Handle** handle) {
  if (!gcomp_fake_cuda_is_current() || setting("GCOMP_FAKE_CUDNN_NO_HANDLE") != 0)
    return kNotInitialized;
  return make(handle);
}
int cudnnDestroy(Handle* handle) { return destroy(handle); }
const char* cudnnGetErrorString(int status) {
  return status == kExecutionFailed ? "CUDNN_STATUS_EXECUTION_FAILED"
         : status == kBadParam      ? "CUDNN_STATUS_BAD_PARAM"
                                    : "CUDNN_STATUS_OTHER";
}
int cudnnSetStream(Handle* handle, void* stream) {
  handle->stream = stream;
  return kSuccess;
}

int cudnnCreateTensorDescriptor(Tensor** t) { return make(t); }
int cudnnDestroyTensorDescriptor(Tensor* t) { return destroy(t); }
int cudnnSetTensor4dDescriptorEx(Tensor* t, int type, int n, int c, int h, int w, int n_step,
                                 int c_step, int h_step, int w_step) {
  *t = {.type = type, .extents = {n, c, h, w}, .steps = {n_step, c_step, h_step, w_step}};
  for (const int extent : t->extents) {
    if (extent < 1) return kBadParam;
  }
  return kSuccess;
}
int cudnnCreateFilterDescriptor(Filter** f) { return make(f); }
int cudnnDestroyFilterDescriptor(Filter* f) { return destroy(f); }
int cudnnSetFilter4dDescriptor(Filter* f, int type, int format, int k, int c, int h, int w) {
  *f = {.type = type, .format = format, .extents = {k, c, h, w}};
  return k < 1 || c < 1 || h < 1 || w < 1 || format > 1 ? kBadParam : kSuccess;
}
int cudnnCreateConvolutionDescriptor(Convolution** v) { return make(v); }
int cudnnDestroyConvolutionDescriptor(Convolution* v) { return destroy(v); }
int cudnnSetConvolution2dDescriptor(Convolution* v, int pad_h, int pad_w, int stride_h,
                                    int stride_w, int dilation_h, int dilation_w, int mode,
                                    int type) {
  v->padding = {pad_h, pad_w};
  v->strides = {stride_h, stride_w};
  v->dilations = {dilation_h, dilation_w};
  v->mode = mode;
  v->type = type;
  return pad_h < 0 || pad_w < 0 || stride_h < 1 || stride_w < 1 || dilation_h < 1 || dilation_w < 1
             ? kBadParam
             : kSuccess;
}
int cudnnSetConvolutionGroupCount(Convolution* v, int groups) {
  v->groups = groups;
  return kSuccess;
}
int cudnnSetConvolutionMathType(Convolution* v, int math) {
  v->math = math;
  return kSuccess;
}
int cudnnCreateActivationDescriptor(Activation** a) { return make(a); }
int cudnnDestroyActivationDescriptor(Activation* a) { return destroy(a); }
int cudnnSetActivationDescriptor(Activation* a, int mode, int nan, double /*coefficient*/) {
  *a = {.mode = mode, .nan = nan};
  return kSuccess;
}

int cudnnTransformTensor(const Handle* handle, const void* alpha, const Tensor* x, const void* from,
                         const void* beta, const Tensor* y, void* to) {
  const int scale = x->type == kDouble ? kDouble : kFloat;
  if (load(element(scale), alpha, 0) != 1 || load(element(scale), beta, 0) != 0 ||
      x->extents != y->extents || x->type != y->type || !is_there(*x, from) || !is_there(*y, to))
    return kBadParam;
  const auto work = [=, a = *x, b = *y] {
    const auto& e = a.extents;
    for (int n = 0; n < e[0]; ++n) {
      for (int c = 0; c < e[1]; ++c) {
        for (int h = 0; h < e[2]; ++h) {
          for (int w = 0; w < e[3]; ++w)
            store(element(b.type), to, place(b, n, c, h, w),
                  load(element(a.type), from, place(a, n, c, h, w)));
        }
      }
    }
  };
  return gcomp_fake_cuda_issue(handle->stream, work) == 0 ? kSuccess : kExecutionFailed;
}

// The fastest first, as the real one: none of the first three may be taken by who wants the same sums each time, in
// the memory there is.
int cudnnGetConvolutionForwardAlgorithm_v7(const Handle* handle, const Tensor* x, const Filter* w,
                                           const Convolution* convolution, const Tensor* y,
                                           int most, int* num_found, Perf* found) {
  gcomp_fake_cuda_add("algorithms", 1);
  *num_found = 0;
  const Call call{.x = *x, .y = *y, .weights = tensor_of(*w), .convolution = *convolution};
  if (handle == nullptr || most < 6 || !call.is_valid()) return kBadParam;
  if (setting("GCOMP_FAKE_CUDNN_NO_ALGORITHM") != 0) return kNotSupported;
  const int math = convolution->math;
  const Perf all[] = {{6, kSuccess, 0.1F, kWorkspace, 1, math, {}},        // Winograd
                      {2, kNotSupported, -1, 0, 1, math, {}},              //
                      {2, kSuccess, 0.2F, size_t{1} << 40, 1, math, {}},   //
                      {0, kSuccess, 0.3F, kWorkspace, 0, math, {}},        // not deterministic
                      {0, kSuccess, 0.35F, kWorkspace, 1, kTensorOp, {}},  //
                      {1, kSuccess, 0.4F, kWorkspace, 1, math, {}}};
  for (const Perf& p : all) found[(*num_found)++] = p;
  return kSuccess;
}

int cudnnConvolutionForward(const Handle* handle, const void* alpha, const Tensor* x,
                            const void* from, const Filter* w, const void* weights,
                            const Convolution* convolution, int algorithm, void* workspace,
                            size_t bytes, const void* beta, const Tensor* y, void* to) {
  const int scale = x->type == kDouble ? kDouble : kFloat;
  if (load(element(scale), beta, 0) != 0 || algorithm < 0 || algorithm > 1) return kBadParam;
  return issue(handle,
               {.x = *x,
                .y = *y,
                .weights = tensor_of(*w),
                .convolution = *convolution,
                .algorithm = algorithm,
                .alpha = load(element(scale), alpha, 0),
                .from = from,
                .w = weights,
                .to = to},
               workspace, bytes);
}

int cudnnConvolutionBiasActivationForward(const Handle* handle, const void* alpha, const Tensor* x,
                                          const void* from, const Filter* w, const void* weights,
                                          const Convolution* convolution, int algorithm,
                                          void* workspace, size_t bytes, const void* z_factor,
                                          const Tensor* /*z_tensor*/, const void* /*z*/,
                                          const Tensor* bias_tensor, const void* bias,
                                          const Activation* activation, const Tensor* y, void* to) {
  const int scale = x->type == kDouble ? kDouble : kFloat;
  const std::array<int, 4> channels = {1, y->extents[1], 1, 1};
  if (load(element(scale), z_factor, 0) != 0 || algorithm != 1 ||
      bias_tensor->extents != channels || bias_tensor->type != x->type ||
      !is_there(*bias_tensor, bias) || (activation->mode != 1 && activation->mode != 5))
    return kBadParam;
  return issue(handle,
               {.x = *x,
                .y = *y,
                .weights = tensor_of(*w),
                .convolution = *convolution,
                .algorithm = algorithm,
                .alpha = load(element(scale), alpha, 0),
                .from = from,
                .w = weights,
                .to = to,
                .bias = bias,
                .relu = activation->mode == 1},
               workspace, bytes);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
