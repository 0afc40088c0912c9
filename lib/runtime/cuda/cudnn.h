#pragma once
// What the runtime uses of cuDNN 9, declared here so that no toolkit is needed to build: names, numbers and signatures
// are the library's public ABI. Loaded at run time, where it is there.

#include "driver.h"

namespace gcomp::rt::cuda {

using DnnStatus = int;  // cudnnStatus_t
using DnnHandle = struct DnnHandleTag*;
using DnnTensor = struct DnnTensorTag*;
using DnnFilter = struct DnnFilterTag*;
using DnnConvolution = struct DnnConvolutionTag*;
using DnnActivation = struct DnnActivationTag*;

// cudnnConvolutionFwdAlgoPerf_t
struct DnnAlgorithm {
  int algorithm;  // cudnnConvolutionFwdAlgo_t
  DnnStatus state;
  float milliseconds;
  size_t workspace_bytes;
  int deterministic, math;
  int reserved[3];
};
static_assert(sizeof(DnnAlgorithm) == 48);

// cudnnDataType_t
inline constexpr int kDnnFloat32 = 0, kDnnFloat64 = 1, kDnnFloat16 = 2, kDnnBFloat16 = 9;
// cudnnTensorFormat_t
inline constexpr int kDnnChannelsFirst = 0, kDnnChannelsLast = 1;
// cudnnMathType_t; the default is that of tf32 for float32
inline constexpr int kDnnDefaultMath = 0, kDnnTensorMath = 1, kDnnFmaMath = 3;
inline constexpr int kDnnCrossCorrelation = 1;  // cudnnConvolutionMode_t
// cudnnActivationMode_t
inline constexpr int kDnnRelu = 1, kDnnIdentity = 5;
inline constexpr int kDnnKeepNan = 1;  // cudnnNanPropagation_t
// cudnnConvolutionFwdAlgo_t: up to 3 they add products, the others transform their factors
inline constexpr int kDnnPrecomputedIndices = 1, kDnnLastOfProducts = 3;

// X(member, symbol, parameters)
#define GCOMP_CUDNN(X)                                                                           \
  X(create, "cudnnCreate", (DnnHandle * handle))                                                 \
  X(destroy, "cudnnDestroy", (DnnHandle handle))                                                 \
  X(set_stream, "cudnnSetStream", (DnnHandle handle, Stream stream))                             \
  X(tensor_create, "cudnnCreateTensorDescriptor", (DnnTensor * made))                            \
  X(tensor_destroy, "cudnnDestroyTensorDescriptor", (DnnTensor tensor))                          \
  X(tensor_set, "cudnnSetTensor4dDescriptorEx",                                                  \
    (DnnTensor tensor, int type, int n, int c, int h, int w, int n_step, int c_step, int h_step, \
     int w_step))                                                                                \
  X(filter_create, "cudnnCreateFilterDescriptor", (DnnFilter * made))                            \
  X(filter_destroy, "cudnnDestroyFilterDescriptor", (DnnFilter filter))                          \
  X(filter_set, "cudnnSetFilter4dDescriptor",                                                    \
    (DnnFilter filter, int type, int format, int features, int channels, int h, int w))          \
  X(convolution_create, "cudnnCreateConvolutionDescriptor", (DnnConvolution * made))             \
  X(convolution_destroy, "cudnnDestroyConvolutionDescriptor", (DnnConvolution convolution))      \
  X(convolution_set, "cudnnSetConvolution2dDescriptor",                                          \
    (DnnConvolution convolution, int h_padding, int w_padding, int h_stride, int w_stride,       \
     int h_dilation, int w_dilation, int mode, int sum_type))                                    \
  X(set_groups, "cudnnSetConvolutionGroupCount", (DnnConvolution convolution, int groups))       \
  X(set_math, "cudnnSetConvolutionMathType", (DnnConvolution convolution, int math))             \
  X(activation_create, "cudnnCreateActivationDescriptor", (DnnActivation * made))                \
  X(activation_destroy, "cudnnDestroyActivationDescriptor", (DnnActivation activation))          \
  X(activation_set, "cudnnSetActivationDescriptor",                                              \
    (DnnActivation activation, int mode, int nan, double coefficient))                           \
  X(transform, "cudnnTransformTensor",                                                           \
    (DnnHandle handle, const void* alpha, DnnTensor x, const void* from, const void* beta,       \
     DnnTensor y, void* to))                                                                     \
  X(find_algorithms, "cudnnGetConvolutionForwardAlgorithm_v7",                                   \
    (DnnHandle handle, DnnTensor x, DnnFilter w, DnnConvolution convolution, DnnTensor y,        \
     int most, int* num_found, DnnAlgorithm* found))                                             \
  X(convolve, "cudnnConvolutionForward",                                                         \
    (DnnHandle handle, const void* alpha, DnnTensor x_tensor, const void* x, DnnFilter w_filter, \
     const void* w, DnnConvolution convolution, int algorithm, void* workspace, size_t bytes,    \
     const void* beta, DnnTensor y_tensor, void* y))                                             \
  X(convolve_biased, "cudnnConvolutionBiasActivationForward",                                    \
    (DnnHandle handle, const void* alpha, DnnTensor x_tensor, const void* x, DnnFilter w_filter, \
     const void* w, DnnConvolution convolution, int algorithm, void* workspace, size_t bytes,    \
     const void* z_factor, DnnTensor z_tensor, const void* z, DnnTensor bias_tensor,             \
     const void* bias, DnnActivation activation, DnnTensor y_tensor, void* y))

struct Cudnn {
  const char* (*status_name)(DnnStatus status);
#define GCOMP_CUDNN_MEMBER(member, symbol, parameters) DnnStatus(*member) parameters;
  GCOMP_CUDNN(GCOMP_CUDNN_MEMBER)
#undef GCOMP_CUDNN_MEMBER
};

}  // namespace gcomp::rt::cuda
