// What the device is to do is collected on a tape while the host goes through the steps, and sent when the host needs
// its results or has work of its own. A sequence that comes for the second time, word for word, is recorded as a CUDA
// graph; from then on it is launched as one. Nothing is assumed of sizes, addresses or the way through loops and
// branches: what differs is another sequence, and the one that was not used for longest is given up.

#include <stdio.h>
#include <string.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

constexpr uint32_t kTapeWords = 32 << 10, kLeastEntries = 2;  // of a graph

// The low half of an entry's first word. The high half: kLaunch: the kernel.
enum Entry : uint32_t {
  kLaunchEntry,   // ., blocks << 32 | number of words, words
  kSetEntry,      // ., address, bytes, byte value
  kCopyEntry,     // ., to, from, bytes
  kProductEntry,  // ., ProductCall
};

constexpr uint32_t kProductWords = 1 + sizeof(ProductCall) / sizeof(uint64_t);

uint32_t entry_length(const uint64_t* e) {
  switch (static_cast<uint32_t>(e[0])) {
    case kLaunchEntry: return 2 + static_cast<uint32_t>(e[1]);
    case kProductEntry: return kProductWords;
    default: return 4;
  }
}

gcomp_status issue_launch(gcomp_context& c, uint64_t* e, Stream stream) {
  const Device& d = *c.device;
  const auto number = static_cast<uint32_t>(e[0] >> 32), grid = static_cast<uint32_t>(e[1] >> 32);
  const DeviceKernel& kernel = d.data->device_kernels[number];
  size_t bytes = (e[1] & UINT32_MAX) * sizeof(uint64_t);
  void* extra[] = {kParameterBuffer, e + 2, kParameterBytes, &bytes, nullptr};
  return check_kernel(c,
                      d.driver->launch(d.shared->functions[number], grid, 1, 1, kernel.threads, 1,
                                       1, kernel.shared_bytes, stream, nullptr, extra),
                      "cuLaunchKernel", number);
}

gcomp_status issue(gcomp_context& c, uint64_t* e, Stream stream) {
  const Driver& driver = *c.device->driver;
  switch (static_cast<uint32_t>(e[0])) {
    case kLaunchEntry: return issue_launch(c, e, stream);
    case kProductEntry: {
      ProductCall call;
      memcpy(&call, e + 1, sizeof call);
      return issue_product(c, call, static_cast<uint32_t>(e[0] >> 32), stream);
    }
    case kSetEntry:
      return check(c, driver.fill(e[1], static_cast<unsigned char>(e[3]), e[2], stream),
                   "cuMemsetD8");
    default: return check(c, driver.copy(e[1], e[2], e[3], stream), "cuMemcpyDtoD");
  }
}

gcomp_status issue_all(gcomp_context& c, Stream stream) {
  const Tape& tape = c.device->tape;
  gcomp_status status = GCOMP_OK;
  for (uint32_t at = 0; at < tape.used && status == GCOMP_OK; at += entry_length(tape.words + at)) {
    status = issue(c, tape.words + at, stream);
  }
  return status;
}

Sequence* find(Device& d) {
  const Tape& tape = d.tape;
  for (Sequence& s : d.sequences) {
    if (s.used_at != 0 && s.used == tape.used &&
        memcmp(s.words, tape.words, tape.used * sizeof(uint64_t)) == 0) {
      return &s;
    }
  }
  return nullptr;
}

void forget(gcomp_context& c, Sequence& s) {
  if (s.exec != nullptr) c.device->driver->graph_exec_destroy(s.exec);
  c.allocator.put(s.words);
  s = {};
}

void remember(gcomp_context& c) {
  Device& d = *c.device;
  Sequence* oldest = &d.sequences[0];
  for (Sequence& s : d.sequences) {
    if (s.used_at < oldest->used_at) oldest = &s;
  }
  if (oldest->exec != nullptr) d.driver->stream_wait(d.stream);  // it may still be under way
  forget(c, *oldest);
  oldest->words = static_cast<uint64_t*>(c.allocator.get(d.tape.used * sizeof(uint64_t)));
  if (oldest->words == nullptr) return;
  memcpy(oldest->words, d.tape.words, d.tape.used * sizeof(uint64_t));
  oldest->used = d.tape.used;
  oldest->used_at = ++c.clock;
}

bool record(gcomp_context& c, Sequence& s) {
  const Device& d = *c.device;
  const Driver& driver = *d.driver;
  Graph graph = nullptr;
  if (driver.capture_begin(d.capture_stream, kCaptureRelaxed) != kSuccess) return false;
  bool good = issue_all(c, d.capture_stream) == GCOMP_OK;
  good = driver.capture_end(d.capture_stream, &graph) == kSuccess && good && graph != nullptr;
  good = good && driver.graph_instantiate(&s.exec, graph, 0) == kSuccess;
  if (graph != nullptr) driver.graph_destroy(graph);
  if (!good) s.exec = nullptr;
  return good;
}

gcomp_status send(gcomp_context& c) {
  Device& d = *c.device;
  if (!d.collects || d.tape.entries < kLeastEntries) return issue_all(c, d.stream);
  Sequence* const s = find(d);
  if (s == nullptr) {
    remember(c);
    return issue_all(c, d.stream);
  }
  s->used_at = ++c.clock;
  if (s->exec == nullptr && !record(c, *s)) {  // graphs are an advantage only
    d.collects = false;
    c.message[0] = 0;
    return issue_all(c, d.stream);
  }
  return check(c, d.driver->graph_launch(s->exec, d.stream), "cuGraphLaunch");
}

// Room for an entry at the tape's end.
uint64_t* new_entry(gcomp_context& c, uint32_t words, gcomp_status* status) {
  Tape& tape = c.device->tape;
  *status = tape.used + words > tape.room ? flush(c) : GCOMP_OK;
  if (*status != GCOMP_OK) return nullptr;
  uint64_t* const entry = tape.words + tape.used;
  tape.used += words;
  ++tape.entries;
  return entry;
}

gcomp_status added(gcomp_context& c) { return c.device->collects ? GCOMP_OK : flush(c); }

gcomp_status add_product(gcomp_context& c, const ProductCall& call, uint32_t kernel) {
  gcomp_status status;
  uint64_t* const e = new_entry(c, kProductWords, &status);
  if (e == nullptr) return status;
  e[0] = kProductEntry | uint64_t{kernel} << 32;
  memcpy(e + 1, &call, sizeof call);
  return added(c);
}

}  // namespace

gcomp_status check_kernel(gcomp_context& c, Result error, const char* what, uint32_t number) {
  if (error == kSuccess) return GCOMP_OK;
  const DeviceKernel& kernel = c.device->data->device_kernels[number];
  char about[256];
  snprintf(about, sizeof about, "%.80s (%.160s)", kernel.name, kernel.nodes);
  return fail_cuda(c, error, what, about);
}

gcomp_status add_launch(gcomp_context& c, const uint32_t* w) {
  const Device& d = *c.device;
  const uint32_t num_buffers = step_buffers(w[0]), num_scalars = w[3];
  const int64_t extent = c.pool[w[4]];
  if (extent <= 0) return GCOMP_OK;
  ProductCall product;
  if ((step_flags(w[0]) & kIsProduct) != 0 && choose_library(c, w, product)) {
    return add_product(c, product, w[1]);
  }
  const auto iterations = static_cast<uint64_t>(d.data->device_kernels[w[1]].iterations);
  const uint64_t blocks = (static_cast<uint64_t>(extent) - 1) / iterations + 1;
  const uint64_t grid = blocks < d.shared->max_grid ? blocks : d.shared->max_grid;
  const uint32_t n = num_buffers + num_scalars + 1;
  gcomp_status status;
  uint64_t* const e = new_entry(c, 2 + n, &status);
  if (e == nullptr) return status;
  e[0] = kLaunchEntry | uint64_t{w[1]} << 32;
  e[1] = n | grid << 32;
  uint64_t* const words = e + 2;
  for (uint32_t i = 0; i < num_buffers; ++i) words[i] = address(c.buffers[w[5 + i]]);
  for (uint32_t i = 0; i < num_scalars; ++i) {
    words[num_buffers + i] = static_cast<uint64_t>(c.pool[w[2] + i]);
  }
  words[n - 1] = static_cast<uint64_t>(extent);
  return added(c);
}

gcomp_status add_set(gcomp_context& c, void* to, uint64_t bytes, unsigned char value) {
  if (bytes == 0) return GCOMP_OK;
  gcomp_status status;
  uint64_t* const e = new_entry(c, 4, &status);
  if (e == nullptr) return status;
  e[0] = kSetEntry;
  e[1] = address(to);
  e[2] = bytes;
  e[3] = value;
  return added(c);
}

gcomp_status add_copy(gcomp_context& c, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0 || to == from) return GCOMP_OK;
  gcomp_status status;
  uint64_t* const e = new_entry(c, 4, &status);
  if (e == nullptr) return status;
  e[0] = kCopyEntry;
  e[1] = address(to);
  e[2] = address(from);
  e[3] = bytes;
  return added(c);
}

gcomp_status flush(gcomp_context& c) {
  if (c.device->tape.entries == 0) return GCOMP_OK;
  const gcomp_status status = send(c);
  drop(c);
  return status;
}

void drop(gcomp_context& c) { c.device->tape.used = c.device->tape.entries = 0; }

bool make_tape(gcomp_context& c) {
  Device& d = *c.device;
  d.collects = c.trace == nullptr && !d.one_by_one;
  uint32_t most = kProductWords;
  for (uint32_t k = 0; k < d.data->num_device_kernels; ++k) {
    const uint32_t words = 2 + d.data->device_kernels[k].words;
    if (words > most) most = words;
  }
  d.tape.room = most < kTapeWords && d.collects ? kTapeWords : most;
  d.tape.words = static_cast<uint64_t*>(c.allocator.get(d.tape.room * sizeof(uint64_t)));
  return d.tape.words != nullptr;
}

void close_tape(gcomp_context& c) {
  for (Sequence& s : c.device->sequences) forget(c, s);
  c.allocator.put(c.device->tape.words);
}

}  // namespace gcomp::rt::cuda
