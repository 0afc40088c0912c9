// Memory of the device and pinned memory, and transfers through it: the caller's memory is never read or written
// by the device itself, so it may change when a function returns, and nothing waits without need.

#include <string.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

void* allocate_there(void* data, size_t bytes, size_t) {
  const Device& d = *static_cast<Device*>(data);
  Address memory = 0;
  if (d.driver->allocate(&memory, bytes) != kSuccess) return nullptr;
  return reinterpret_cast<void*>(memory);
}

// Work that uses it may still be under way.
void deallocate_there(void* data, void* memory) {
  const Device& d = *static_cast<Device*>(data);
  d.driver->stream_wait(d.stream);
  d.driver->deallocate(address(memory));
}

void* allocate_pinned(void* data, size_t bytes, size_t) {
  const Device& d = *static_cast<Device*>(data);
  void* memory = nullptr;
  return d.driver->host_allocate(&memory, bytes, 0) == kSuccess ? memory : nullptr;
}

void deallocate_pinned(void* data, void* memory) {
  const Device& d = *static_cast<Device*>(data);
  d.driver->stream_wait(d.stream);
  d.driver->host_deallocate(memory);
}

bool make_pack(Device& d, const Allocator& there, Pack& pack) {
  pack.host = static_cast<char*>(d.pinned.get(Pack::kBytes));
  pack.device = static_cast<char*>(there.get(Pack::kBytes));
  return pack.host != nullptr && pack.device != nullptr;
}

void put_pack(const Device& d, const Allocator& there, const Pack& pack) {
  d.pinned.put(pack.host);
  there.put(pack.device);
}

// A chunk that no transfer uses any more.
gcomp_status next_chunk(gcomp_context& c, uint32_t* number) {
  Device& d = *c.device;
  const uint32_t k = *number = d.next_chunk;
  d.next_chunk = (k + 1) % kChunks;
  if (d.chunks[k] == nullptr) {
    d.chunks[k] = static_cast<char*>(d.pinned.get(kChunkBytes));
    if (d.chunks[k] == nullptr) {
      return fail(c, GCOMP_ERROR_MEMORY, "out of pinned memory for transfers to the GPU");
    }
  }
  if (!d.chunk_used[k]) return GCOMP_OK;
  d.chunk_used[k] = false;
  return check(c, d.driver->event_wait(d.chunk_done[k]), "cuEventSynchronize");
}

gcomp_status chunk_in_use(gcomp_context& c, uint32_t k, Stream stream) {
  c.device->chunk_used[k] = true;
  return check(c, c.device->driver->event_record(c.device->chunk_done[k], stream), "cuEventRecord");
}

}  // namespace

uint64_t Pack::add(uint64_t bytes) {
  constexpr uint64_t kAlignment = 256;
  const uint64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (host == nullptr || bytes > kMost || used + rounded > kBytes) return kBytes;
  used += rounded;
  return used - rounded;
}

Allocator device_memory(Device& d) { return {&d, allocate_there, deallocate_there}; }
Allocator pinned_memory(Device& d) { return {&d, allocate_pinned, deallocate_pinned}; }

gcomp_status no_device_memory(gcomp_context& c, uint64_t bytes, const char* what) {
  return fail(c, GCOMP_ERROR_MEMORY, "out of memory of the GPU: %llu bytes are needed for %s",
              static_cast<unsigned long long>(bytes), what);
}

bool make_transfers(gcomp_context& c) {
  Device& d = *c.device;
  for (Event& event : d.chunk_done) {
    if (d.driver->event_create(&event, kEventNoTiming) != kSuccess) return false;
  }
  d.small = static_cast<char*>(d.pinned.get(kSmallBytes));
  return d.small != nullptr && make_pack(d, c.device_allocator, d.in) &&
         make_pack(d, c.device_allocator, d.out);
}

void close_transfers(gcomp_context& c) {
  const Device& d = *c.device;
  put_pack(d, c.device_allocator, d.in);
  put_pack(d, c.device_allocator, d.out);
  d.pinned.put(d.small);
  for (uint32_t k = 0; k < kChunks; ++k) {
    d.pinned.put(d.chunks[k]);
    if (d.chunk_done[k] != nullptr) d.driver->event_destroy(d.chunk_done[k]);
  }
}

gcomp_status upload(gcomp_context& c, void* to, const void* from, uint64_t bytes, bool ahead) {
  Device& d = *c.device;
  const Stream stream = ahead ? d.upload_stream : d.stream;
  gcomp_status status = GCOMP_OK;
  for (uint64_t at = 0; at < bytes && status == GCOMP_OK; at += kChunkBytes) {
    const uint64_t n = bytes - at < kChunkBytes ? bytes - at : kChunkBytes;
    uint32_t k;
    status = next_chunk(c, &k);
    if (status != GCOMP_OK) return status;
    memcpy(d.chunks[k], static_cast<const char*>(from) + at, n);
    status = check(c, d.driver->upload(address(to) + at, d.chunks[k], n, stream), "cuMemcpyHtoD");
    if (status == GCOMP_OK) status = chunk_in_use(c, k, stream);
  }
  if (status != GCOMP_OK || !ahead) return status;
  status = check(c, d.driver->event_record(d.uploaded, stream), "cuEventRecord");
  if (status != GCOMP_OK) return status;
  return check(c, d.driver->stream_after(d.stream, d.uploaded, 0), "cuStreamWaitEvent");
}

gcomp_status download(gcomp_context& c, void* to, const void* from, uint64_t bytes) {
  Device& d = *c.device;
  struct Part {
    uint32_t chunk;
    uint64_t at, bytes;
  } parts[kChunks];
  uint32_t first = 0, under_way = 0;
  uint64_t asked = 0;
  gcomp_status status = GCOMP_OK;
  // All chunks but one are under way while the host copies from the oldest.
  while (status == GCOMP_OK && (asked < bytes || under_way != 0)) {
    if (asked < bytes && under_way + 1 < kChunks) {
      Part& part = parts[(first + under_way) % kChunks];
      part.at = asked;
      part.bytes = bytes - asked < kChunkBytes ? bytes - asked : kChunkBytes;
      status = next_chunk(c, &part.chunk);
      if (status != GCOMP_OK) break;
      status = check(
          c, d.driver->download(d.chunks[part.chunk], address(from) + asked, part.bytes, d.stream),
          "cuMemcpyDtoH");
      if (status == GCOMP_OK) status = chunk_in_use(c, part.chunk, d.stream);
      asked += part.bytes;
      ++under_way;
      continue;
    }
    const Part& oldest = parts[first];
    status = check(c, d.driver->event_wait(d.chunk_done[oldest.chunk]), "cuEventSynchronize");
    if (status != GCOMP_OK) break;
    d.chunk_used[oldest.chunk] = false;
    memcpy(static_cast<char*>(to) + oldest.at, d.chunks[oldest.chunk], oldest.bytes);
    first = (first + 1) % kChunks;
    --under_way;
  }
  return status;
}

gcomp_status wait(gcomp_context& c) {
  Device& d = *c.device;
  gcomp_status status = flush(c);
  if (status != GCOMP_OK) return status;
  status = check(c, d.driver->stream_wait(d.stream), "cuStreamSynchronize", "the run's kernels");
  for (uint32_t i = 0; status == GCOMP_OK && i < d.num_arrivals; ++i) {
    memcpy(d.arrivals[i].to, d.arrivals[i].from, d.arrivals[i].bytes);
  }
  d.num_arrivals = 0;
  d.small_used = 0;
  d.unfinished = false;
  return status;
}

namespace {

// Room among the small transfers, or null if there can be none.
gcomp_status find_small(gcomp_context& c, uint64_t bytes, char** room) {
  Device& d = *c.device;
  *room = nullptr;
  if (bytes > kMostSmall) return GCOMP_OK;
  if (d.small_used + bytes > kSmallBytes || d.num_arrivals == kArrivals) {
    const gcomp_status status = wait(c);
    if (status != GCOMP_OK) return status;
  }
  *room = d.small + d.small_used;
  d.small_used += (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  return GCOMP_OK;
}

}  // namespace

gcomp_status upload_soon(gcomp_context& c, void* to, const void* from, uint64_t bytes) {
  char* room;
  const gcomp_status status = find_small(c, bytes, &room);
  if (status != GCOMP_OK) return status;
  if (room == nullptr) return upload(c, to, from, bytes, false);
  memcpy(room, from, bytes);
  return check(c, c.device->driver->upload(address(to), room, bytes, c.device->stream),
               "cuMemcpyHtoD");
}

gcomp_status download_soon(gcomp_context& c, void* to, const void* from, uint64_t bytes) {
  Device& d = *c.device;
  char* room;
  const gcomp_status status = find_small(c, bytes, &room);
  if (status != GCOMP_OK) return status;
  if (room == nullptr) return download(c, to, from, bytes);
  d.arrivals[d.num_arrivals++] = {room, to, bytes};
  return check(c, d.driver->download(room, address(from), bytes, d.stream), "cuMemcpyDtoH");
}

}  // namespace gcomp::rt::cuda
