#pragma once
// The second half of an artifact for two devices: what runs on the GPU, and which host kernels both halves share.

#include <string>
#include <vector>

#include "gcomp/artifact/link.h"
#include "gcomp/codegen/cuda.h"
#include "gcomp/driver/options.h"
#include "gcomp/lower/lower.h"

namespace gcomp::driver {

struct DeviceCode {
  std::vector<codegen::CudaModule> modules;
  std::vector<artifact::DeviceKernelInfo>
      kernels;  // in the order of the module's kernels on the GPU
  std::vector<std::string>
      libraries;  // per kernel: which may do what it is called for, and why, or ""
  std::vector<codegen::CudaImage> images;  // empty before compile_device_code
  std::string nvrtc;                       // the version that made them
};

// Texts and launches of all kernels that are on the GPU. `line_info`: see codegen::CudaPrintOptions.
DeviceCode print_device_code(const lower::LoweredModule& both, bool line_info);

// UserError if an architecture is none.
void check_cuda_archs(const CompileOptions& options);

// Whether all of the options' GPUs can do Builder::warp_mma.
bool have_matrix_units(const CompileOptions& options);

// Machine code for the options' architectures, and PTX of the lowest unless the options have any.
// `cache` may be null.
void compile_device_code(DeviceCode& code, const CompileOptions& options,
                         codegen::CodeCache* cache);

// Host kernels of `both` get the names of the equal ones in `host` (if those are symbols of their own), else names
// that `host` has not. The kernels that have to be compiled for `both`.
std::vector<uint32_t> share_kernels(const lower::LoweredModule& host, bool host_has_symbols,
                                    lower::LoweredModule& both);

}  // namespace gcomp::driver
