#pragma once
// The runtime's own structures. Rules of this folder: C++ without exceptions, RTTI, static
// constructors or the C++ library; of libc only what lib/artifact/libc_symbols.txt lists; every
// allocation may fail.

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gcomp/runtime.h"
#include "gcomp/runtime/artifact_data.h"
#include "gcomp/runtime/plan.h"

namespace gcomp::rt {

inline constexpr uint32_t kMaxThreads = 1024;
inline constexpr int kLayouts = 4;  // arena layouts remembered per segment
inline constexpr uint16_t kMaxRank = 64;
// The first version of the struct ends here; callers may know less than we do, never less than this.
inline constexpr uint64_t kTensorBytes = sizeof(gcomp_tensor);

// ---- memory ----

struct Allocator {
  void* data;
  void* (*allocate)(void* data, size_t bytes, size_t alignment);
  void (*deallocate)(void* data, void* memory);

  void* get(uint64_t bytes, size_t alignment = kBufferAlignment) const {
    return allocate(data, bytes == 0 ? 1 : bytes, alignment);
  }
  template <class T>
  T* zeroed(uint64_t count) const {
    void* const memory = get(count * sizeof(T));
    if (memory != nullptr) memset(memory, 0, count * sizeof(T));
    return static_cast<T*>(memory);
  }
  void put(void* memory) const {
    if (memory != nullptr) deallocate(data, memory);
  }
};

Allocator make_allocator(const gcomp_options& options);

// Memory that only grows. The old contents are lost unless kept.
struct Block {
  void* data;
  uint64_t bytes;

  bool ensure(const Allocator& allocator, uint64_t wanted, uint64_t keep_bytes = 0);
};

// ---- thread pool (pool.cpp) ----

struct Job {
  KernelFn kernel;
  void* const* buffers;
  const int64_t* scalars;
  int64_t extent, chunk, num_chunks;
};

struct Pool;

struct Parallel {
  uint32_t threads;  // the caller included
  Pool* pool;        // null until first needed
  void* host_data;
  void (*host_parallel_for)(void* pool_data, int64_t num_tasks, void (*task)(void*, int64_t),
                            void* task_data);
};

// kernel(buffers, scalars, ...) over [0, extent) in tasks of at least `grain` iterations.
void run_parallel(const Allocator& allocator, Parallel& parallel, KernelFn kernel,
                  void* const* buffers, const int64_t* scalars, int64_t extent, int64_t grain);
void stop_pool(const Allocator& allocator, Pool* pool);

// While one of these lives, floating-point control is the default one (round to nearest, no
// flushing of denormals): result bits do not depend on the thread or on what the host set.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() : saved_(__builtin_ia32_stmxcsr()) {
    if ((saved_ & ~kFlags) != kDefault) __builtin_ia32_ldmxcsr(kDefault);
  }
  ~DefaultFloatingPoint() {
    if ((saved_ & ~kFlags) != kDefault) __builtin_ia32_ldmxcsr(saved_);
  }
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  static constexpr unsigned kFlags = 0x3f, kDefault = 0x1f80;
  unsigned saved_;
};

// ---- futex (pool.cpp) ----

void futex_wait(const uint32_t* word, uint32_t expected);
void futex_wake(const uint32_t* word, int count);

// ---- segments (segment.cpp) ----

struct Layout {
  int64_t* sizes;     // one per arena buffer of the segment
  uint64_t* offsets;  // the same
  uint64_t bytes;
  uint64_t used_at;  // 0: empty
};

// A state's memory: its value, and where a run writes the new one. Blocks of 0 bytes are not the context's
// own: the initial value, in the artifact's constants.
struct StateMemory {
  Block pieces[2];
  bool has_value;
};

struct ArenaState {
  Block memory;
  Layout layouts[kLayouts];
  void* placed_base;  // the buffer table holds this layout at this base
  const Layout* placed;
};

struct SegmentState {
  ArenaState arenas[2];  // of the host, of the device
};

// ---- the device (cuda/) ----

struct Device;  // what a context has on the GPU

// How the rest of the runtime reaches the device's part, which only artifacts with code for it contain. All but
// open() need c.device, which is null where a context uses the CPU alone; between enter() and leave().
struct DeviceFunctions {
  // Sets c.device, c.plan and c.kernels if there is a GPU that can run the artifact's code and nobody asked for
  // the CPU. If not, that is no error unless somebody insists; the message tells why.
  gcomp_status (*open)(gcomp_context& c, const gcomp_options& options);
  gcomp_status (*make)(gcomp_context& c);  // once the context's tables are there
  void (*close)(gcomp_context& c);         // gives its memory back
  void (*forsake)(gcomp_context& c);       // then the GPU; without enter() before it
  gcomp_status (*enter)(gcomp_context& c);
  void (*leave)(gcomp_context& c);
  int32_t (*number)(const gcomp_context& c);
  // Is this memory of the GPU that the context uses?
  bool (*owns)(const gcomp_context& c, const gcomp_tensor& t);
  // Between any two places; done when it returns.
  gcomp_status (*copy)(gcomp_context& c, void* to, const void* from, uint64_t bytes, bool to_device,
                       bool from_device);
  // A run: forget() before tensors are looked at; each input, whose buffer of the host is set (or of the device,
  // if `there`), each output once its extents are known; begin() before the steps; end() after them.
  void (*forget)(gcomp_context& c);
  gcomp_status (*take_input)(gcomp_context& c, uint32_t input, uint64_t bytes, bool there);
  gcomp_status (*place_output)(gcomp_context& c, uint32_t output, uint64_t bytes);
  gcomp_status (*begin)(gcomp_context& c);
  gcomp_status (*end)(gcomp_context& c, gcomp_status status);
  // The step at `words`; the next one.
  const uint32_t* (*step)(gcomp_context& c, const uint32_t* words, gcomp_status* status);
  // Starts what steps have left to be done: before work of the host, and before memory of the device is given back.
  gcomp_status (*flush)(gcomp_context& c);
  // States, in step with states.cpp: their values on the device for a run; which copies are good after it; the
  // host's copy made good; the device's no longer good.
  gcomp_status (*prepare_state)(gcomp_context& c, uint32_t state, uint64_t bytes);
  void (*commit_states)(gcomp_context& c);
  gcomp_status (*fetch_state)(gcomp_context& c, uint32_t state, uint64_t bytes);
  void (*replace_state)(gcomp_context& c, uint32_t state);
};

}  // namespace gcomp::rt

struct gcomp_context {
  const gcomp::rt::ArtifactData* artifact;
  const gcomp::rt::Plan* plan;
  gcomp::rt::Allocator allocator;
  gcomp::rt::Parallel parallel;
  const gcomp::rt::KernelFn* kernels;
  gcomp::rt::Device* device;  // or null: on the CPU alone
  const gcomp::rt::DeviceFunctions* device_functions;
  gcomp::rt::Allocator device_allocator;
  uint32_t busy;
  int64_t kernel_status;  // the kStatus buffer
  void (*trace)(void* trace_data, uint32_t kernel);
  void* trace_data;

  int64_t* values;
  int64_t* pool;  // scalar pool; points into the plan when all of it is static
  void** buffers;
  void** call_buffers;  // max_call_buffers
  gcomp::rt::SegmentState* segments;
  gcomp::rt::Block pack_scratch;
  uint64_t clock;

  const char* weights;    // mapped, or null
  int64_t* last_extents;  // of all inputs, as validated last
  bool extents_valid;     // segment 0 is evaluated for last_extents

  gcomp::rt::Block* input_copies;    // dense copies of strided inputs
  gcomp::rt::Block* output_owned;    // memory lent to the caller
  gcomp::rt::Block* output_staging;  // dense results on their way to strided outputs
  bool* output_staged;
  void** lent;              // what the last run lent the caller for each output
  gcomp::rt::Block* owned;  // kOwned buffers, by buffer index
  uint32_t num_owned;
  gcomp::rt::StateMemory* states;

  struct Range {
    uintptr_t begin, end;
    uint32_t tensor;
    bool output;
    bool written;  // outputs and donated inputs
  };
  Range* ranges;  // inputs and outputs of the current run

  gcomp_tensor* last_tensors;  // inputs, then outputs, as the last run left them
  bool repeatable;             // a run with just those needs no checks
  bool copied;                 // this run copied a strided tensor

  const gcomp_tensor* run_inputs;
  gcomp_tensor* run_outputs;
  uint64_t input_stride, output_stride;
  uint32_t num_ranges;

  char message[640];
};

namespace gcomp::rt {

inline const gcomp_tensor& input_tensor(const gcomp_context& c, uint32_t i) {
  return *reinterpret_cast<const gcomp_tensor*>(reinterpret_cast<const char*>(c.run_inputs) +
                                                c.input_stride * i);
}
inline gcomp_tensor& output_tensor(const gcomp_context& c, uint32_t i) {
  return *reinterpret_cast<gcomp_tensor*>(reinterpret_cast<char*>(c.run_outputs) +
                                          c.output_stride * i);
}

// message.cpp: sets the message, returns the status.
[[gnu::format(printf, 3, 4)]] gcomp_status fail(gcomp_context& c, gcomp_status status,
                                                const char* format, ...);
const char* status_name(gcomp_status status);

// dtype.cpp
gcomp_dtype dlpack(PlanDType t);
uint32_t element_bytes(PlanDType t);
const char* dtype_name(gcomp_dtype t, char* scratch_32);

// tensors.cpp: checks inputs, solves the symbols; prepare_output runs once an output's extents are
// known.
gcomp_status take_inputs(gcomp_context& c);
// Samplers and solvers call with the same tensors over and over: then all checks would end as before.
bool same_as_last_run(const gcomp_context& c, uint32_t num_inputs, uint32_t num_outputs);
void remember_run(gcomp_context& c);
gcomp_status check_outputs(gcomp_context& c);
gcomp_status prepare_output(gcomp_context& c, uint32_t output);
gcomp_status check_aliases(gcomp_context& c);
gcomp_status check_alias_of(gcomp_context& c, uint32_t output);  // just prepared
void forget_output(gcomp_context& c, uint32_t output);  // before it is prepared again (loops)
gcomp_status deliver_outputs(gcomp_context& c);

// states.cpp
bool make_states(gcomp_context& c);  // with their initial values
void put_states(const gcomp_context& c);
gcomp_status prepare_states(gcomp_context& c);  // before a run, once the extents are known
void commit_states(gcomp_context& c);           // after one that succeeded
gcomp_status get_state(gcomp_context& c, uint32_t state, gcomp_tensor* value);
gcomp_status set_state(gcomp_context& c, uint32_t state, const gcomp_tensor* value);
void reset_states(gcomp_context& c);

// strided.cpp: between a strided tensor and dense row-major memory.
void gather_strided(void* dense, const void* data, int rank, const int64_t* extents,
                    const int64_t* strides, uint32_t element);
void scatter_strided(void* data, const void* dense, int rank, const int64_t* extents,
                     const int64_t* strides, uint32_t element);

// segment.cpp
gcomp_status evaluate_segment(gcomp_context& c, uint32_t segment);
void place_io_views(gcomp_context& c);

// execute.cpp
gcomp_status execute(gcomp_context& c);
gcomp_status fail_message(gcomp_context& c, uint64_t message);  // a check of the graph: its text
// Of a kRow or kRowThere step: the bytes of its row in the stack. False: too many, the message is set.
bool row_range(gcomp_context& c, const uint32_t* words, int64_t* offset, int64_t* end);
// A byte count of a step; negative ones (bugs of the writer) move nothing.
inline size_t byte_count(const gcomp_context& c, uint32_t scalar) {
  return c.pool[scalar] > 0 ? static_cast<size_t>(c.pool[scalar]) : 0;
}
// What to ask for when an owned block must hold `bytes`: a value that grows with each turn must not be
// allocated each time.
inline uint64_t growth(const Block& block, uint64_t bytes) {
  const bool grows = block.bytes != 0 && bytes > block.bytes;
  return grows && bytes < block.bytes + block.bytes / 2 ? block.bytes + block.bytes / 2 : bytes;
}

// cpu.cpp: the name of a needed feature that this CPU lacks, or null.
const char* missing_cpu_feature(uint64_t needed);

// weights.cpp
gcomp_status map_weights(gcomp_context& c);
void unmap_weights(const ArtifactData& artifact);
void lock(uint32_t& word);
void unlock(uint32_t& word);

}  // namespace gcomp::rt

extern "C" {
// The entry points an artifact's descriptor and prefixed functions refer to (abi.cpp).
extern const gcomp_functions gcomp_rt_functions;  // NOLINT(readability-identifier-naming)
const gcomp_signature* gcomp_rt_describe(const gcomp_descriptor* descriptor);
gcomp_status gcomp_rt_create(const gcomp_descriptor* descriptor, const gcomp_options* options,
                             gcomp_context** context);
void gcomp_rt_destroy(gcomp_context* context);
gcomp_status gcomp_rt_run(gcomp_context* context, const gcomp_tensor* inputs, uint32_t num_inputs,
                          gcomp_tensor* outputs, uint32_t num_outputs);
const char* gcomp_rt_last_error(const gcomp_context* context);
gcomp_status gcomp_rt_get_state(gcomp_context* context, uint32_t state, gcomp_tensor* value);
gcomp_status gcomp_rt_set_state(gcomp_context* context, uint32_t state, const gcomp_tensor* value);
gcomp_status gcomp_rt_reset_states(gcomp_context* context);
int32_t gcomp_rt_device(const gcomp_context* context, int32_t* device_id);
void gcomp_rt_remember_path(gcomp::rt::WeightsState* state);
extern const gcomp::rt::DeviceFunctions
    gcomp_rt_cuda;  // cuda/device.cpp NOLINT(readability-identifier-naming)
}
