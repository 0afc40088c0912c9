#pragma once
// What contexts have on a GPU, and the helpers of this folder's files. Everything here runs with the GPU's primary
// context current (enter() of device.cpp). Errors of the driver become messages of the context at once.

#include "../context.h"
#include "cublaslt.h"
#include "cudnn.h"
#include "driver.h"

namespace gcomp::rt {

namespace cuda {

// Of one artifact on one GPU, for all its contexts: code and constants.
struct Shared {
  Shared* next;
  uint32_t references;
  int ordinal;
  Driver driver;
  DeviceNumber number;
  Context context;
  Module* modules;      // by module
  Function* functions;  // by kernel
  Address constants;
  uint32_t capability;  // 90: 9.0
  uint32_t max_grid;  // blocks: enough to fill the GPU several times, further iterations are loops
};

// Small inputs and outputs lie side by side, in pinned memory and on the device: one transfer for all of them.
struct Pack {
  static constexpr uint64_t kBytes = 256 << 10, kMost = 32 << 10;
  char* host;
  char* device;
  uint64_t used;

  // The offset of a new member, or kBytes if it is too large.
  uint64_t add(uint64_t bytes);
};

struct InputState {
  Block memory;      // on the device; where it is not in the pack or the caller's
  const void* from;  // memory of the host whose contents the device needs, or null
  void* to;
  uint64_t bytes;
  bool packed, pending;  // pending: this run has not uploaded it yet
  const void* there;     // the caller's memory of the device whose contents the host needs, or null
};

struct OutputState {
  enum Kind : uint8_t { kNothing, kDownload, kUpload } kind;
  bool packed;
  Block memory, lent, pinned;  // of the device; lent to the caller: there, on the host
  void* from;
  void* to;
  uint64_t bytes;
};

// One piece of a state's memory (plan.h): the copy on the device, and which copies are good.
struct StatePiece {
  Block block;
  bool good, host_stale;
};

// What the device is to do next (tape.cpp): entries, one behind the other.
struct Tape {
  uint64_t* words;
  uint32_t room, used, entries;  // room, used: words
};

// Entries that were sent before.
struct Sequence {
  uint64_t* words;
  uint32_t used;
  uint64_t used_at;  // 0: empty
  GraphExec exec;    // null until they come for the second time
};
inline constexpr int kSequences = 64;

// A call for a product by cuBLASLt or a convolution by cuDNN, in words of the tape.
struct ProductCall {
  uint64_t number;                   // in the plan's products
  int64_t extents[kProductExtents];  // batch, rows, columns, depth
  PlanConvolution convolution;       // zero for a product
  Address memory[4];                 // a, b, the result, the bias or 0
};

// One shape, as it was described to the library, and its algorithm for it.
struct ShapeKey {
  int64_t extents[kProductExtents];
  PlanConvolution convolution;
  uint32_t alignments[4];  // of a, b, the result and the bias, in bytes
};
struct LtShape {
  LtProduct product;
  LtLayout a, b, result;
  LtAlgorithm algorithm;
};
struct DnnShape {
  DnnTensor x, y, bias;  // bias, activation: null where there is none
  DnnActivation activation;
  DnnFilter weights;
  DnnTensor given_weights,
      turned_weights;     // null where the given ones are as the library wants them
  uint64_t turned_bytes;  // at the begin of the workspace
  DnnConvolution convolution;
  int algorithm;
};
struct Shape {
  ShapeKey key;
  bool usable;  // there is an algorithm
  bool tried;   // takes_convolution()
  LtShape product;
  DnnShape convolution;  // one of the two
};
struct ShapeList {
  Block memory;  // Shape
  uint32_t count, oldest;
};

// What a context has of the libraries, once a product asked for one.
struct Products {
  bool lt_tried, dnn_tried, no_memory;
  CublasLt lt;
  Cudnn dnn;
  LtHandle lt_handle;  // null: no library
  DnnHandle dnn_handle;
  void* workspace;
  ShapeList* shapes;  // by product of the plan
};

// A transfer to the host that waits in pinned memory for the next kWait.
struct Arrival {
  const void* from;
  void* to;
  uint64_t bytes;
};
inline constexpr uint32_t kArrivals = 64, kChunks = 3;
inline constexpr uint64_t kChunkBytes = 2 << 20, kSmallBytes = 256 << 10, kMostSmall = 32 << 10;

}  // namespace cuda

struct Device {
  cuda::Shared* shared;
  const cuda::Driver* driver;
  const DeviceData* data;
  cuda::Stream stream, own_stream, upload_stream,
      capture_stream;  // stream: the host's, or own_stream
  cuda::Event uploaded;
  bool unfinished;  // the last run may still be under way
  bool lost;        // an error after which CUDA gives no further service

  Allocator pinned;
  cuda::Pack in, out;
  cuda::InputState* inputs;
  cuda::OutputState* outputs;
  cuda::StatePiece* pieces;  // two a state

  char* chunks[cuda::kChunks];  // of large transfers, made by the first
  cuda::Event chunk_done[cuda::kChunks];
  bool chunk_used[cuda::kChunks];
  uint32_t next_chunk;
  char* small;  // of small transfers in the middle of a run
  uint64_t small_used;
  cuda::Arrival arrivals[cuda::kArrivals];
  uint32_t num_arrivals;

  int64_t* statuses;       // on the device
  int64_t* host_statuses;  // pinned
  bool statuses_set;       // a call may have lowered one

  cuda::Products products;
  bool one_by_one;  // GCOMP_CUDA_SYNC: wait for each launch, to name the one that fails
  bool collects;    // entries on the tape; else each is sent at once
  cuda::Tape tape;
  cuda::Sequence sequences[cuda::kSequences];
};

namespace cuda {

// Of the call `what`, for `about` (may be null): the status, with a message.
gcomp_status fail_cuda(gcomp_context& c, Result error, const char* what, const char* about);
// GCOMP_OK, or the failure of the call.
inline gcomp_status check(gcomp_context& c, Result error, const char* what,
                          const char* about = nullptr) {
  return error == kSuccess ? GCOMP_OK : fail_cuda(c, error, what, about);
}

inline Address address(const void* memory) { return reinterpret_cast<Address>(memory); }

// memory.cpp
Allocator device_memory(Device& d);
Allocator pinned_memory(Device& d);
bool make_transfers(gcomp_context& c);
void close_transfers(gcomp_context& c);
gcomp_status no_device_memory(gcomp_context& c, uint64_t bytes, const char* what);
// From memory of the host, which may change when this returns. On the upload stream if `ahead`: the run's
// stream waits for it.
gcomp_status upload(gcomp_context& c, void* to, const void* from, uint64_t bytes, bool ahead);
gcomp_status download(gcomp_context& c, void* to, const void* from,
                      uint64_t bytes);  // done on return
gcomp_status upload_soon(gcomp_context& c, void* to, const void* from, uint64_t bytes);
gcomp_status download_soon(gcomp_context& c, void* to, const void* from, uint64_t bytes);
gcomp_status wait(gcomp_context& c);  // for all of it

// ports.cpp, states.cpp
void forget(gcomp_context& c);
gcomp_status take_input(gcomp_context& c, uint32_t input, uint64_t bytes, bool there);
gcomp_status place_output(gcomp_context& c, uint32_t output, uint64_t bytes);
gcomp_status upload_input(gcomp_context& c, uint32_t input);
gcomp_status begin(gcomp_context& c);
gcomp_status end(gcomp_context& c, gcomp_status status);
void close_ports(gcomp_context& c);
gcomp_status prepare_state(gcomp_context& c, uint32_t state, uint64_t bytes);
void commit_states(gcomp_context& c);
gcomp_status fetch_state(gcomp_context& c, uint32_t state, uint64_t bytes);
void replace_state(gcomp_context& c, uint32_t state);

// steps.cpp
const uint32_t* step(gcomp_context& c, const uint32_t* words, gcomp_status* status);
gcomp_status failed_call(gcomp_context& c);  // of the statuses, after they were downloaded
void clear_statuses(gcomp_context& c);
gcomp_status fetch_statuses(gcomp_context& c);

// libraries.cpp
// Whether a library does the product of this kLaunch step, which is one; then the call.
bool choose_library(gcomp_context& c, const uint32_t* words, ProductCall& call);
gcomp_status issue_product(gcomp_context& c, const ProductCall& call, uint32_t kernel,
                           Stream stream);
void close_products(gcomp_context& c);

// tape.cpp
bool make_tape(gcomp_context& c);
void close_tape(gcomp_context& c);
gcomp_status add_launch(gcomp_context& c, const uint32_t* words);  // of a kLaunch
gcomp_status add_set(gcomp_context& c, void* to, uint64_t bytes, unsigned char value);
gcomp_status add_copy(gcomp_context& c, void* to, const void* from, uint64_t bytes);
gcomp_status flush(gcomp_context& c);  // sends what is on the tape
void drop(gcomp_context& c);           // forgets it
// The status of a call for a kernel; messages tell it and what it computes.
gcomp_status check_kernel(gcomp_context& c, Result error, const char* what, uint32_t kernel);

}  // namespace cuda
}  // namespace gcomp::rt
