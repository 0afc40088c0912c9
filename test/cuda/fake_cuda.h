#pragma once
// What tests may ask the fake driver (fake_cuda.cpp) beside the driver's own interface; by dlsym.
//
// Environment, read at each call:
//   GCOMP_FAKE_CUDA_KERNELS         libraries with gcomp_emulate(), separated by colons; read when a module is loaded
//   GCOMP_FAKE_CUDA_DEVICES         how many GPUs there are (1)
//   GCOMP_FAKE_CUDA_CAPABILITY      90: compute capability 9.0
//   GCOMP_FAKE_CUDA_MULTIPROCESSORS (4)
//   GCOMP_FAKE_CUDA_REFUSE_CUBIN, GCOMP_FAKE_CUDA_REFUSE_PTX, GCOMP_FAKE_CUDA_NO_GRAPHS    1: so it does
//   GCOMP_FAKE_CUDA_NO_MEMORY_AT    this allocation since the last reset fails
//   GCOMP_FAKE_CUDA_MOST_MIB        no allocation is larger
//   GCOMP_FAKE_CUDA_LOST_AT         at this kernel since the last reset the device is lost

#include <cstddef>
#include <cstdint>
#include <functional>

extern "C" {
// "launches", "kernels" (that ran), "graphs", "graph launches", "uploads", "uploaded bytes", "downloads",
// "allocations", "waits", "cubins", "ptx" since the last reset; "live": objects not given back.
uint64_t gcomp_fake_cuda_count(const char* what);
void gcomp_fake_cuda_reset();  // a lost device is found again
}

// For fake libraries that work on its streams (fake_cublaslt.cpp).
bool gcomp_fake_cuda_is_current();                                // some context is
bool gcomp_fake_cuda_is_there(const void* memory, size_t bytes);  // on the device
int gcomp_fake_cuda_issue(void* stream, std::function<void()> work);
void gcomp_fake_cuda_add(const char* what, int64_t n);  // to counts, "live" too
