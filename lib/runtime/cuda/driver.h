#pragma once
// What the runtime uses of the CUDA driver's interface, declared here so that no toolkit is needed to build:
// names, numbers and signatures are the driver's public ABI. Loaded from libcuda.so.1 at run time.

#include <stddef.h>
#include <stdint.h>

namespace gcomp::rt::cuda {

using Result = int;
using DeviceNumber = int;
using Address = unsigned long long;  // CUdeviceptr
using Context = struct ContextTag*;
using Module = struct ModuleTag*;
using Function = struct FunctionTag*;
using Stream = struct StreamTag*;
using Event = struct EventTag*;
using Graph = struct GraphTag*;
using GraphExec = struct GraphExecTag*;

// CUresult
inline constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100,
                        kInvalidImage = 200, kNoBinaryForGpu = 209, kInvalidPtx = 218,
                        kUnsupportedPtxVersion = 222;
// CUdevice_attribute
inline constexpr int kMultiprocessors = 16, kMajor = 75, kMinor = 76;
// CUpointer_attribute
inline constexpr int kMemoryType = 2, kOrdinal = 9;
inline constexpr unsigned kMemoryOfDevice = 2;  // CUmemorytype
// CUfunction_attribute
inline constexpr int kMaxDynamicShared = 8;
inline constexpr unsigned kEventNoTiming = 2;   // CUevent_flags
inline constexpr unsigned kCaptureRelaxed = 2;  // CUstreamCaptureMode
// cuLaunchKernel's `extra`
inline void* const kParameterBuffer = reinterpret_cast<void*>(1);
inline void* const kParameterBytes = reinterpret_cast<void*>(2);

// X(member, symbol, parameters)
#define GCOMP_CUDA_DRIVER(X)                                                                      \
  X(init, "cuInit", (unsigned flags))                                                             \
  X(driver_version, "cuDriverGetVersion", (int* version))                                         \
  X(error_name, "cuGetErrorName", (Result error, const char** name))                              \
  X(device_count, "cuDeviceGetCount", (int* count))                                               \
  X(device_get, "cuDeviceGet", (DeviceNumber * device, int ordinal))                              \
  X(device_attribute, "cuDeviceGetAttribute", (int* value, int attribute, DeviceNumber device))   \
  X(context_retain, "cuDevicePrimaryCtxRetain", (Context * context, DeviceNumber device))         \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", (DeviceNumber device))                       \
  X(context_push, "cuCtxPushCurrent_v2", (Context context))                                       \
  X(context_pop, "cuCtxPopCurrent_v2", (Context * context))                                       \
  X(module_load, "cuModuleLoadData", (Module * module, const void* image))                        \
  X(module_unload, "cuModuleUnload", (Module module))                                             \
  X(module_function, "cuModuleGetFunction",                                                       \
    (Function * function, Module module, const char* name))                                       \
  X(function_set, "cuFuncSetAttribute", (Function function, int attribute, int value))            \
  X(allocate, "cuMemAlloc_v2", (Address * address, size_t bytes))                                 \
  X(deallocate, "cuMemFree_v2", (Address address))                                                \
  X(host_allocate, "cuMemHostAlloc", (void** memory, size_t bytes, unsigned flags))               \
  X(host_deallocate, "cuMemFreeHost", (void* memory))                                             \
  X(pointer_attribute, "cuPointerGetAttribute", (void* value, int attribute, Address address))    \
  X(upload, "cuMemcpyHtoDAsync_v2", (Address to, const void* from, size_t bytes, Stream stream))  \
  X(download, "cuMemcpyDtoHAsync_v2", (void* to, Address from, size_t bytes, Stream stream))      \
  X(copy, "cuMemcpyDtoDAsync_v2", (Address to, Address from, size_t bytes, Stream stream))        \
  X(fill, "cuMemsetD8Async", (Address to, unsigned char byte, size_t bytes, Stream stream))       \
  X(stream_create, "cuStreamCreate", (Stream * stream, unsigned flags))                           \
  X(stream_destroy, "cuStreamDestroy_v2", (Stream stream))                                        \
  X(stream_wait, "cuStreamSynchronize", (Stream stream))                                          \
  X(stream_after, "cuStreamWaitEvent", (Stream stream, Event event, unsigned flags))              \
  X(event_create, "cuEventCreate", (Event * event, unsigned flags))                               \
  X(event_destroy, "cuEventDestroy_v2", (Event event))                                            \
  X(event_record, "cuEventRecord", (Event event, Stream stream))                                  \
  X(event_wait, "cuEventSynchronize", (Event event))                                              \
  X(launch, "cuLaunchKernel",                                                                     \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,      \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** parameters, \
     void** extra))                                                                               \
  X(capture_begin, "cuStreamBeginCapture_v2", (Stream stream, unsigned mode))                     \
  X(capture_end, "cuStreamEndCapture", (Stream stream, Graph * graph))                            \
  X(graph_instantiate, "cuGraphInstantiateWithFlags",                                             \
    (GraphExec * exec, Graph graph, unsigned long long flags))                                    \
  X(graph_launch, "cuGraphLaunch", (GraphExec exec, Stream stream))                               \
  X(graph_exec_destroy, "cuGraphExecDestroy", (GraphExec exec))                                   \
  X(graph_destroy, "cuGraphDestroy", (Graph graph))

struct Driver {
#define GCOMP_CUDA_MEMBER(member, symbol, parameters) Result(*member) parameters;
  GCOMP_CUDA_DRIVER(GCOMP_CUDA_MEMBER)
#undef GCOMP_CUDA_MEMBER
};

// The name of a function that the driver of this machine lacks, "" if it has all; null: there is no driver.
const char* load_driver(Driver& driver);

}  // namespace gcomp::rt::cuda
