#pragma once
// What an artifact's descriptor points to through `internal`: written by lib/artifact next to the
// plan, read by the runtime. The same ArtifactInfo, in section .gcomp.info, is what a reader finds
// without running the file.

#include <stdint.h>

#include "gcomp/runtime.h"
#include "gcomp/runtime/plan.h"

namespace gcomp::rt {

inline constexpr uint64_t kInfoMagic = 0x3130464e49504347;     // "GCPINF01"
inline constexpr uint64_t kWeightsMagic = 0x31305447574d4347;  // "GCMWGT01"
inline constexpr uint64_t kWeightsPage = 4096;  // alignment of the weights in the file
inline constexpr uint32_t kNameBytes = 256;

struct ArtifactInfo {
  uint64_t magic;
  uint64_t bytes;         // of this struct
  uint64_t cpu_features;  // bits, see cpu.h
  // Constants appended to the file: one page holding a WeightsHeader at weights_offset -
  // kWeightsPage, then the bytes.
  uint64_t weights_offset;  // 0: none; patched after the link
  uint64_t weights_bytes;
  uint64_t weights_hash[2];
  char name[kNameBytes];  // --name, zero-terminated
};

struct WeightsHeader {
  uint64_t magic;
  uint64_t bytes;
  uint64_t hash[2];
};

// Writable, zero at load; one per artifact, only in artifacts with appended weights.
struct WeightsState {
  uint32_t lock;  // futex: 0 free, 1 held, 2 held with waiters
  uint32_t references;
  void* mapping;
  char path[4096];  // absolute, taken when the artifact is loaded
};

// Artifacts with code for a GPU: what the device's part of the runtime needs.
struct DeviceKernel {
  const char* name;   // of the function in its module
  const char* nodes;  // what it computes, for messages
  uint32_t module;
  uint32_t threads;     // of a block
  uint32_t iterations;  // that a block takes, of all that a call has
  uint32_t shared_bytes;
  uint32_t words;  // of its parameter: addresses, scalars, extent
  uint32_t reserved;
};

struct
    DeviceImage {  // of one module: machine code (cubin) for sm_<arch>, or PTX for compute_<arch>
  const char* data;
  uint64_t bytes;
  uint32_t module;
  uint32_t arch;
  uint32_t ptx;
  uint32_t reserved;
};

// Writable, zero at load.
struct DeviceState {
  uint32_t lock;    // as WeightsState
  uint32_t warned;  // this process was told that there is no GPU
  void* shared;     // what contexts on one GPU share, a list
};

struct DeviceFunctions;

struct DeviceData {
  const Plan* plan;         // some steps and buffers of which are on the device
  const KernelFn* kernels;  // of its steps on the host
  const DeviceFunctions* functions;
  const DeviceKernel* device_kernels;
  const DeviceImage* images;
  DeviceState* state;
  uint32_t num_device_kernels, num_images, num_modules;
  uint32_t num_host_kernels;  // profilers see kernels of the device numbered behind these
};

struct ArtifactData {
  const Plan* plan;
  const KernelFn* kernels;
  const char* constants;  // constants in read-only data
  const gcomp_signature* signature;
  const ArtifactInfo* info;
  WeightsState* weights;     // or null
  const DeviceData* device;  // or null
};

}  // namespace gcomp::rt
