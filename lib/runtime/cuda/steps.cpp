// The steps on the device. Each case reads its words as gcomp/runtime/plan.h lists them.

#include <stdio.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

// With the kernel and what it computes.
gcomp_status check_kernel(gcomp_context& c, Result error, const char* what, uint32_t number) {
  if (error == kSuccess) return GCOMP_OK;
  const DeviceKernel& kernel = c.device->data->device_kernels[number];
  char about[256];
  snprintf(about, sizeof about, "%.80s (%.160s)", kernel.name, kernel.nodes);
  return fail_cuda(c, error, what, about);
}

gcomp_status launch(gcomp_context& c, const uint32_t* w, Stream stream) {
  Device& d = *c.device;
  const uint32_t num_buffers = step_buffers(w[0]), num_scalars = w[3];
  const int64_t extent = c.pool[w[4]];
  if (extent <= 0) return GCOMP_OK;
  const DeviceKernel& kernel = d.data->device_kernels[w[1]];
  uint64_t* const words = d.words;
  for (uint32_t i = 0; i < num_buffers; ++i) words[i] = address(c.buffers[w[5 + i]]);
  for (uint32_t i = 0; i < num_scalars; ++i) {
    words[num_buffers + i] = static_cast<uint64_t>(c.pool[w[2] + i]);
  }
  words[num_buffers + num_scalars] = static_cast<uint64_t>(extent);
  size_t bytes = (uint64_t{num_buffers} + num_scalars + 1) * sizeof(uint64_t);
  void* extra[] = {kParameterBuffer, words, kParameterBytes, &bytes, nullptr};
  const auto blocks = (static_cast<uint64_t>(extent) - 1) / kernel.iterations + 1;
  const auto grid =
      static_cast<uint32_t>(blocks < d.shared->max_grid ? blocks : d.shared->max_grid);
  return check_kernel(c,
                      d.driver->launch(d.shared->functions[w[1]], grid, 1, 1, kernel.threads, 1, 1,
                                       kernel.shared_bytes, stream, nullptr, extra),
                      "cuLaunchKernel", w[1]);
}

// By itself, with the trace of profilers around it.
gcomp_status launch_now(gcomp_context& c, const uint32_t* w) {
  Device& d = *c.device;
  const auto number = static_cast<uint32_t>(w[1] + d.data->num_host_kernels);
  if (c.trace != nullptr) {
    d.driver->stream_wait(d.stream);
    c.trace(c.trace_data, number);
  }
  gcomp_status status = launch(c, w, d.stream);
  if (status == GCOMP_OK && (c.trace != nullptr || d.one_by_one)) {
    status = check_kernel(c, d.driver->stream_wait(d.stream), "cuStreamSynchronize", w[1]);
  }
  if (c.trace != nullptr) c.trace(c.trace_data, GCOMP_NO_KERNEL);
  return status;
}

gcomp_status transfer(gcomp_context& c, const uint32_t* w, Stream stream) {
  const size_t bytes = byte_count(c, w[3]);
  void *const to = c.buffers[w[1]], *const from = c.buffers[w[2]];
  if (bytes == 0 || to == from) return GCOMP_OK;
  const uint32_t flags = step_flags(w[0]);
  if (flags == kToDevice) return upload_soon(c, to, from, bytes);
  if (flags == kFromDevice) return download_soon(c, to, from, bytes);
  return check(c, c.device->driver->copy(address(to), address(from), bytes, stream),
               "cuMemcpyDtoD");
}

gcomp_status reserve_there(gcomp_context& c, uint32_t buffer, uint64_t bytes, bool keep) {
  Block& block = c.owned[buffer];
  if (block.data != nullptr && bytes <= block.bytes) {
    c.buffers[buffer] = block.data;
    return GCOMP_OK;
  }
  const uint64_t wanted = growth(block, bytes);
  const Allocator& memory = c.device_allocator;
  if (!keep) memory.put(block.data);
  Block old = keep ? block : Block{};
  block = {};
  void* const fresh = memory.get(wanted);
  gcomp_status status = fresh == nullptr ? no_device_memory(c, wanted, "a loop's value") : GCOMP_OK;
  if (status == GCOMP_OK && old.bytes != 0) {
    status = check(
        c, c.device->driver->copy(address(fresh), address(old.data), old.bytes, c.device->stream),
        "cuMemcpyDtoD");
  }
  memory.put(old.data);
  if (fresh != nullptr) block = {fresh, wanted};
  c.buffers[buffer] = block.data;
  return status;
}

gcomp_status row_there(gcomp_context& c, const uint32_t* w) {
  int64_t offset, end;
  if (!row_range(c, w, &offset, &end)) return GCOMP_ERROR_MEMORY;
  if ((step_flags(w[0]) & kGrows) != 0) {
    const gcomp_status status = reserve_there(c, w[2], static_cast<uint64_t>(end), true);
    if (status != GCOMP_OK) return status;
  }
  c.buffers[w[1]] = static_cast<char*>(c.buffers[w[2]]) + offset;
  return GCOMP_OK;
}

gcomp_status verify(gcomp_context& c) {
  if (!c.device->statuses_set) return GCOMP_OK;
  gcomp_status status = fetch_statuses(c);
  if (status == GCOMP_OK) status = wait(c);
  return status == GCOMP_OK ? failed_call(c) : status;
}

}  // namespace

gcomp_status fetch_statuses(gcomp_context& c) {
  Device& d = *c.device;
  const uint64_t bytes = c.plan->device_failures.count * sizeof(int64_t);
  return check(c, d.driver->download(d.host_statuses, address(d.statuses), bytes, d.stream),
               "cuMemcpyDtoH");
}

void clear_statuses(gcomp_context& c) {
  Device& d = *c.device;
  const uint64_t bytes = c.plan->device_failures.count * sizeof(int64_t);
  if (bytes != 0) d.driver->fill(address(d.statuses), 0x7f, bytes, d.stream);
  d.driver->stream_wait(d.stream);
  d.statuses_set = false;
}

gcomp_status failed_call(gcomp_context& c) {
  Device& d = *c.device;
  if (!d.statuses_set) return GCOMP_OK;
  d.statuses_set = false;
  const uint64_t n = c.plan->device_failures.count;
  for (uint64_t i = 0; i < n; ++i) {
    if (d.host_statuses[i] == kNoCode) continue;
    const uint32_t message = table<uint32_t>(*c.plan, c.plan->device_failures)[i];
    const auto code = static_cast<uint64_t>(d.host_statuses[i]);
    clear_statuses(c);
    return fail_message(c, message + code);
  }
  return GCOMP_OK;
}

uint32_t step_length(const uint32_t* w) {
  switch (step_kind(w[0])) {
    case StepKind::kLaunch: return 5 + step_buffers(w[0]);
    case StepKind::kCall: {
      const uint32_t flags = step_flags(w[0]);
      return ((flags & kMayFail) != 0 ? 6 : 5) +
             ((flags & kContiguous) != 0 ? 1 : step_buffers(w[0]));
    }
    case StepKind::kUpload: return 2;
    case StepKind::kWait:
    case StepKind::kVerify:
    case StepKind::kEnd: return 1;
    case StepKind::kRowThere: return 5;
    default: return 4;  // kTransfer, kSet, kReserveThere, kCopy, kFill, kStore, kCheck
  }
}

gcomp_status issue(gcomp_context& c, const uint32_t* w, Stream stream) {
  switch (step_kind(w[0])) {
    case StepKind::kLaunch: return launch(c, w, stream);
    case StepKind::kTransfer: return transfer(c, w, stream);
    default: break;
  }
  const size_t bytes = byte_count(c, w[2]);
  if (bytes == 0) return GCOMP_OK;
  return check(c,
               c.device->driver->fill(address(c.buffers[w[1]]), static_cast<unsigned char>(w[3]),
                                      bytes, stream),
               "cuMemsetD8");
}

const uint32_t* step(gcomp_context& c, const uint32_t* w, gcomp_status* status) {
  Device& d = *c.device;
  if (c.plan->device_failures.count != 0) d.statuses_set = true;
  if (d.set != nullptr) {
    const uint32_t* const next = launch_piece(c, w, status);
    if (next != nullptr) return next;
  }
  switch (step_kind(w[0])) {
    case StepKind::kLaunch: *status = launch_now(c, w); break;
    case StepKind::kUpload: *status = upload_input(c, w[1]); break;
    case StepKind::kReserveThere:
      *status = reserve_there(c, w[1], byte_count(c, w[2]), w[3] != 0);
      break;
    case StepKind::kRowThere: *status = row_there(c, w); break;
    case StepKind::kWait: *status = wait(c); break;
    case StepKind::kVerify: *status = verify(c); break;
    default: *status = issue(c, w, d.stream); break;
  }
  return w + step_length(w);
}

}  // namespace gcomp::rt::cuda
