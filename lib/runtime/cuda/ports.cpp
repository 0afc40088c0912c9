// Inputs and outputs: what the caller gives on one side and steps use on the other is moved here. Small ones travel
// together; a large input is uploaded when the first step needs it, so that work on the others goes on meanwhile.

#include <string.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

const PlanTensor& input(const gcomp_context& c, uint32_t i) {
  return table<PlanTensor>(*c.plan, c.plan->inputs)[i];
}
const PlanTensor& output(const gcomp_context& c, uint32_t o) {
  return table<PlanTensor>(*c.plan, c.plan->outputs)[o];
}

gcomp_status no_output_memory(gcomp_context& c, uint32_t o) {
  return fail(c, GCOMP_ERROR_MEMORY, "out of memory of the GPU for output \"%s\"",
              plan_string(*c.plan, output(c, o).name));
}

// Memory of the device for an output that steps write there and the caller wants on the host.
void* memory_of_output(gcomp_context& c, OutputState& state, uint64_t bytes) {
  Device& d = *c.device;
  const uint64_t at = d.out.add(bytes);
  state.packed = at != Pack::kBytes;
  if (state.packed) return d.out.device + at;
  return state.memory.ensure(c.device_allocator, bytes) ? state.memory.data : nullptr;
}

// Memory for a caller who gave none.
bool lend(gcomp_context& c, uint32_t o, gcomp_tensor& t, uint64_t bytes) {
  Device& d = *c.device;
  const bool there = t.device_type == GCOMP_CUDA;
  Block& block = there ? d.outputs[o].lent : d.outputs[o].pinned;
  if (!block.ensure(there ? c.device_allocator : d.pinned, bytes)) return false;
  t.data = c.lent[o] = block.data;
  t.capacity = bytes;
  return true;
}

gcomp_status upload_packed(gcomp_context& c) {
  Device& d = *c.device;
  uint64_t end = 0;
  for (uint64_t i = 0; i < c.plan->inputs.count; ++i) {
    InputState& state = d.inputs[i];
    if (!state.packed) continue;
    const auto at = static_cast<uint64_t>(static_cast<char*>(state.to) - d.in.device);
    if (state.bytes != 0) memcpy(d.in.host + at, state.from, state.bytes);
    end = at + state.bytes > end ? at + state.bytes : end;
  }
  if (end == 0) return GCOMP_OK;
  return check(c, d.driver->upload(address(d.in.device), d.in.host, end, d.stream), "cuMemcpyHtoD",
               "inputs");
}

// What the caller gave there and steps read here.
gcomp_status download_inputs(gcomp_context& c) {
  gcomp_status status = GCOMP_OK;
  for (uint64_t i = 0; i < c.plan->inputs.count && status == GCOMP_OK; ++i) {
    const InputState& state = c.device->inputs[i];
    if (state.there != nullptr) {
      status = download(c, c.input_copies[i].data, state.there, state.bytes);
    }
  }
  return status;
}

// To the host, all but the last copy into the caller's memory.
gcomp_status download_outputs(gcomp_context& c) {
  Device& d = *c.device;
  uint64_t end = 0;
  for (uint64_t o = 0; o < c.plan->outputs.count; ++o) {
    const OutputState& state = d.outputs[o];
    if (state.kind != OutputState::kDownload || !state.packed) continue;
    const auto at = static_cast<uint64_t>(static_cast<char*>(state.from) - d.out.device);
    end = at + state.bytes > end ? at + state.bytes : end;
  }
  if (end != 0) {
    const gcomp_status status =
        check(c, d.driver->download(d.out.host, address(d.out.device), end, d.stream),
              "cuMemcpyDtoH", "outputs");
    if (status != GCOMP_OK) return status;
  }
  for (uint64_t o = 0; o < c.plan->outputs.count; ++o) {
    const OutputState& state = d.outputs[o];
    if (state.kind != OutputState::kDownload || state.packed) continue;
    const bool pinned = state.to == state.pinned.data;
    const gcomp_status status =
        pinned ? check(c, d.driver->download(state.to, address(state.from), state.bytes, d.stream),
                       "cuMemcpyDtoH", "outputs")
               : download(c, state.to, state.from, state.bytes);
    if (status != GCOMP_OK) return status;
  }
  return GCOMP_OK;
}

void unpack_outputs(gcomp_context& c) {
  const Device& d = *c.device;
  for (uint64_t o = 0; o < c.plan->outputs.count; ++o) {
    const OutputState& state = d.outputs[o];
    if (state.kind != OutputState::kDownload || !state.packed || state.bytes == 0) continue;
    memcpy(state.to, d.out.host + (static_cast<char*>(state.from) - d.out.device), state.bytes);
  }
}

gcomp_status upload_outputs(gcomp_context& c) {
  gcomp_status status = GCOMP_OK;
  for (uint64_t o = 0; o < c.plan->outputs.count && status == GCOMP_OK; ++o) {
    const OutputState& state = c.device->outputs[o];
    if (state.kind == OutputState::kUpload) {
      status = upload_soon(c, state.to, state.from, state.bytes);
    }
  }
  return status;
}

// Nobody on the host waits for what the run makes.
bool may_return_early(const gcomp_context& c) {
  const Device& d = *c.device;
  if (d.stream == d.own_stream || d.num_arrivals != 0 || d.statuses_set || c.copied) return false;
  for (uint64_t o = 0; o < c.plan->outputs.count; ++o) {
    if (d.outputs[o].kind == OutputState::kDownload) return false;
  }
  return true;
}

gcomp_status finish(gcomp_context& c) {
  Device& d = *c.device;
  gcomp_status status = upload_outputs(c);
  if (status == GCOMP_OK && may_return_early(c)) {
    d.unfinished = true;
    return GCOMP_OK;
  }
  if (status == GCOMP_OK) status = download_outputs(c);
  if (status == GCOMP_OK && d.statuses_set) status = fetch_statuses(c);
  if (status == GCOMP_OK) status = wait(c);
  if (status == GCOMP_OK) status = failed_call(c);
  if (status == GCOMP_OK) unpack_outputs(c);
  return status;
}

}  // namespace

void forget(gcomp_context& c) {
  Device& d = *c.device;
  d.in.used = d.out.used = 0;
  for (uint64_t o = 0; o < c.plan->outputs.count; ++o) {
    d.outputs[o].kind = OutputState::kNothing;
    d.outputs[o].packed = false;
  }
  for (uint64_t i = 0; i < c.plan->inputs.count; ++i) d.inputs[i].packed = false;
}

gcomp_status take_input(gcomp_context& c, uint32_t i, uint64_t bytes, bool there) {
  Device& d = *c.device;
  const PlanTensor& declared = input(c, i);
  InputState& state = d.inputs[i];
  state.bytes = bytes;
  state.from = state.there = nullptr;
  state.packed = false;
  void* const given = c.buffers[declared.buffer];
  if (there) {
    if (declared.device_buffer != kNone) c.buffers[declared.device_buffer] = given;
    if (declared.on_host == 0) return GCOMP_OK;
    if (!c.input_copies[i].ensure(c.allocator, bytes)) {
      return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a copy of input \"%s\"",
                  plan_string(*c.plan, declared.name));
    }
    c.buffers[declared.buffer] = c.input_copies[i].data;
    state.there = given;
    return GCOMP_OK;
  }
  if (declared.device_buffer == kNone) return GCOMP_OK;
  // A donated input's memory on the device may be overwritten by steps as well: it is filled anew each run.
  const uint64_t at = d.in.add(bytes);
  state.packed = at != Pack::kBytes;
  if (!state.packed && !state.memory.ensure(c.device_allocator, bytes)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory of the GPU for input \"%s\"",
                plan_string(*c.plan, declared.name));
  }
  state.from = given;
  state.to = state.packed ? d.in.device + at : state.memory.data;
  c.buffers[declared.device_buffer] = state.to;
  return GCOMP_OK;
}

gcomp_status place_output(gcomp_context& c, uint32_t o, uint64_t bytes) {
  Device& d = *c.device;
  const PlanTensor& declared = output(c, o);
  gcomp_tensor& t = output_tensor(c, o);
  OutputState& state = d.outputs[o];
  state.kind = OutputState::kNothing;
  state.bytes = bytes;
  if (t.data == nullptr) {
    if (!lend(c, o, t, bytes)) return no_output_memory(c, o);
    c.buffers[declared.buffer] = t.data;
  }
  // Strided ones come out of (or into) memory of the host first, see tensors.cpp.
  const bool wanted_there = t.device_type == GCOMP_CUDA && !c.output_staged[o];
  const bool written_there = declared.device_buffer != kNone;
  void* const target = c.buffers[declared.buffer];
  if (written_there && wanted_there) {
    c.buffers[declared.device_buffer] = target;
  } else if (written_there) {
    void* const memory = memory_of_output(c, state, bytes);
    if (memory == nullptr) return no_output_memory(c, o);
    c.buffers[declared.device_buffer] = state.from = memory;
    state.to = target;
    if (bytes != 0) state.kind = OutputState::kDownload;
  } else if (wanted_there) {
    if (!c.output_staging[o].ensure(c.allocator, bytes)) return no_output_memory(c, o);
    c.buffers[declared.buffer] = state.from = c.output_staging[o].data;
    state.to = target;
    if (bytes != 0) state.kind = OutputState::kUpload;
  }
  return GCOMP_OK;
}

gcomp_status upload_input(gcomp_context& c, uint32_t i) {
  InputState& state = c.device->inputs[i];
  if (!state.pending) return GCOMP_OK;
  state.pending = false;
  const gcomp_status status = flush(c);
  if (status != GCOMP_OK) return status;
  return upload(c, state.to, state.from, state.bytes, true);
}

gcomp_status begin(gcomp_context& c) {
  Device& d = *c.device;
  bool from_host = false;
  for (uint64_t i = 0; i < c.plan->inputs.count; ++i) {
    InputState& state = d.inputs[i];
    state.pending = state.from != nullptr && !state.packed && state.bytes != 0;
    from_host = from_host || state.from != nullptr;
  }
  // Memory that the last run's work still reads is not written to.
  gcomp_status status = GCOMP_OK;
  if (d.unfinished && from_host) status = wait(c);
  if (status == GCOMP_OK) status = upload_packed(c);
  if (status == GCOMP_OK) status = download_inputs(c);
  return status;
}

gcomp_status end(gcomp_context& c, gcomp_status status) {
  Device& d = *c.device;
  if (!d.lost && status != GCOMP_ERROR_CUDA) {  // a call on it may fail, and did so first
    const gcomp_status sent = flush(c);
    if (sent != GCOMP_OK) status = sent;
  }
  drop(c);
  if (status == GCOMP_OK) {
    status = finish(c);
  } else if (!d.lost && status != GCOMP_ERROR_CUDA) {
    // A call on the device that failed did so before the step on the host that did.
    char message[sizeof c.message];
    memcpy(message, c.message, sizeof message);
    gcomp_status earlier = d.statuses_set ? fetch_statuses(c) : GCOMP_OK;
    if (earlier == GCOMP_OK) earlier = wait(c);
    if (earlier == GCOMP_OK) earlier = failed_call(c);
    if (earlier == GCOMP_OK) memcpy(c.message, message, sizeof message);
    if (earlier != GCOMP_OK) status = earlier;
  }
  if (status != GCOMP_OK) {  // nothing of this run may reach memory later
    d.driver->stream_wait(d.upload_stream);
    clear_statuses(c);
    d.num_arrivals = 0;
    d.small_used = 0;
    d.unfinished = false;
    c.repeatable = false;
    for (uint32_t k = 0; k < kChunks; ++k) d.chunk_used[k] = false;
  }
  return status;
}

void close_ports(gcomp_context& c) {
  const Device& d = *c.device;
  for (uint64_t i = 0; d.inputs != nullptr && i < c.plan->inputs.count; ++i) {
    c.device_allocator.put(d.inputs[i].memory.data);
  }
  for (uint64_t o = 0; d.outputs != nullptr && o < c.plan->outputs.count; ++o) {
    c.device_allocator.put(d.outputs[o].memory.data);
    c.device_allocator.put(d.outputs[o].lent.data);
    d.pinned.put(d.outputs[o].pinned.data);
  }
  c.allocator.put(d.inputs);
  c.allocator.put(d.outputs);
}

}  // namespace gcomp::rt::cuda
