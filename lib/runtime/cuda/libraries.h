#pragma once
// What the calls of both libraries share, and each library's part of them. Their errors are texts, null where a call
// succeeded.

#include "device.h"

namespace gcomp::rt::cuda {

constexpr uint64_t kWorkspaceBytes =
    32 << 20;  // as NVIDIA advises for cuBLASLt and compute capability 9.0

struct LibraryFunction {
  const char* symbol;
  void* member;  // pointer to it
};
// False if the library or one of them is not there.
bool load_functions(const char* library_name, const LibraryFunction* functions, size_t count);

// cublaslt.cpp
inline constexpr uint32_t kLtAlignment = 256;  // what algorithms may ask for
bool open_cublaslt(Products& p);               // tries once
// The description and the best algorithm of the shape's key. False: there is none.
bool find_product(const Products& p, const PlanProduct& product, Shape& s);
bool set_bias(const CublasLt& lt, const LtShape& s, Address bias);
const char* multiply(const Products& p, const PlanProduct& product, const ProductCall& call,
                     const Shape& s, Stream stream);
void forget(const CublasLt& lt, const LtShape& s);

// cudnn.cpp
inline constexpr uint32_t kDnnAlignment = 16;  // of all memory, else it is the own kernel's
bool open_cudnn(Products& p);
bool find_convolution(const Products& p, const PlanProduct& product, Shape& s);
// Whether it takes the calls, and into a graph: not all that it does not support can be asked for. Where there are no
// graphs the run will tell.
bool takes_convolution(gcomp_context& c, const PlanProduct& product, const ProductCall& call,
                       const Shape& s);
const char* convolve(const Products& p, const PlanProduct& product, const ProductCall& call,
                     const Shape& s, Stream stream);
void forget(const Cudnn& dnn, const DnnShape& s);

}  // namespace gcomp::rt::cuda
