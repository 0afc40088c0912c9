// The steps on the device. Each case reads its words as gcomp/runtime/plan.h lists them.

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

// With the trace of profilers around it, or waited for.
gcomp_status launch(gcomp_context& c, const uint32_t* w) {
  const Device& d = *c.device;
  if (c.trace != nullptr) {
    d.driver->stream_wait(d.stream);
    c.trace(c.trace_data, static_cast<uint32_t>(w[1] + d.data->num_host_kernels));
  }
  gcomp_status status = add_launch(c, w);
  if (status == GCOMP_OK && (c.trace != nullptr || d.one_by_one)) {
    status = check_kernel(c, d.driver->stream_wait(d.stream), "cuStreamSynchronize", w[1]);
  }
  if (c.trace != nullptr) c.trace(c.trace_data, GCOMP_NO_KERNEL);
  return status;
}

gcomp_status transfer(gcomp_context& c, const uint32_t* w) {
  const size_t bytes = byte_count(c, w[3]);
  void *const to = c.buffers[w[1]], *const from = c.buffers[w[2]];
  if (bytes == 0 || to == from) return GCOMP_OK;
  const uint32_t flags = step_flags(w[0]);
  if (flags == (kToDevice | kFromDevice)) return add_copy(c, to, from, bytes);
  const gcomp_status status = flush(c);
  if (status != GCOMP_OK) return status;
  return flags == kToDevice ? upload_soon(c, to, from, bytes) : download_soon(c, to, from, bytes);
}

gcomp_status reserve_there(gcomp_context& c, uint32_t buffer, uint64_t bytes, bool keep) {
  Block& block = c.owned[buffer];
  if (block.data != nullptr && bytes <= block.bytes) {
    c.buffers[buffer] = block.data;
    return GCOMP_OK;
  }
  gcomp_status status = flush(c);  // which may use the old memory
  if (status != GCOMP_OK) return status;
  const uint64_t wanted = growth(block, bytes);
  const Allocator& memory = c.device_allocator;
  if (!keep) memory.put(block.data);
  Block old = keep ? block : Block{};
  block = {};
  void* const fresh = memory.get(wanted);
  if (fresh == nullptr) status = no_device_memory(c, wanted, "a loop's value");
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
  const gcomp_status status = flush(c);
  if (status != GCOMP_OK) return status;
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

const uint32_t* step(gcomp_context& c, const uint32_t* w, gcomp_status* status) {
  if (c.plan->device_failures.count != 0) c.device->statuses_set = true;
  switch (step_kind(w[0])) {
    case StepKind::kLaunch:
      *status = launch(c, w);
      return w + step_buffers(w[0]) + ((step_flags(w[0]) & kIsProduct) != 0 ? 6 : 5);
    case StepKind::kUpload: *status = upload_input(c, w[1]); return w + 2;
    case StepKind::kTransfer: *status = transfer(c, w); return w + 4;
    case StepKind::kSet:
      *status = add_set(c, c.buffers[w[1]], byte_count(c, w[2]), static_cast<unsigned char>(w[3]));
      return w + 4;
    case StepKind::kReserveThere:
      *status = reserve_there(c, w[1], byte_count(c, w[2]), w[3] != 0);
      return w + 4;
    case StepKind::kRowThere: *status = row_there(c, w); return w + 5;
    case StepKind::kWait: *status = wait(c); return w + 1;
    default: *status = verify(c); return w + 1;  // kVerify
  }
}

}  // namespace gcomp::rt::cuda
