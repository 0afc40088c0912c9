// States: what a context keeps between runs. A run reads each state's value where it is and writes the new
// one into other memory; once it has succeeded the pieces trade places (plan.h: state_swaps). So runs copy
// no state, read all old values, and leave everything as it was when they fail. Where the compiler found that
// nothing reads the old value any more and nothing can fail any more, the new one is written over it.

#include "tensors.h"

namespace gcomp::rt {
namespace {

const PlanState& declared_state(const gcomp_context& c, uint32_t s) {
  return table<PlanState>(*c.plan, c.plan->states)[s];
}

Block& piece(gcomp_context& c, uint32_t number) { return c.states[number / 2].pieces[number % 2]; }

void put(const Allocator& allocator, Block& block) {
  if (block.bytes != 0) allocator.put(block.data);
  block = {};
}

// Memory of the context's own.
bool own(const Allocator& allocator, Block& block, uint64_t bytes) {
  if (block.bytes == 0) block = {};
  return block.ensure(allocator, bytes != 0 ? bytes : 1);
}

// A run's steps read or write it in memory of the host.
bool is_on_host(const gcomp_context& c, const PlanState& state) {
  return c.device == nullptr || state.tensor.on_host != 0 || state.overwritten == 1;
}

bool is_changed(const int64_t* a, const int64_t* b, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) {
    if (a[i] != b[i]) return true;
  }
  return false;
}

void set_extents(gcomp_context& c, const PlanTensor& t, const int64_t* extents) {
  int64_t* const last = c.last_extents + t.first_dim;
  if (!is_changed(extents, last, t.rank)) return;
  for (uint32_t d = 0; d < t.rank; ++d) last[d] = extents[d];
  c.extents_valid = c.repeatable = false;
}

gcomp_status no_value(gcomp_context& c, uint32_t s) {
  return fail(c, GCOMP_ERROR_STATE,
              TENSOR " has no value: set it first, the graph gives no initial one",
              TENSOR_ARGUMENTS("state", declared_state(c, s).tensor, s));
}

gcomp_status no_memory(gcomp_context& c, uint32_t s) {
  return fail(c, GCOMP_ERROR_MEMORY, "out of memory for state \"%s\"",
              plan_string(*c.plan, declared_state(c, s).tensor.name));
}

gcomp_status check_tensor(gcomp_context& c, uint32_t s, const gcomp_tensor* t, bool fill_dtype) {
  if (s >= c.plan->states.count) {
    return fail(c, GCOMP_ERROR_COUNT, "there is no state number %u, the graph has %u", s,
                static_cast<unsigned>(c.plan->states.count));
  }
  const PlanTensor& declared = declared_state(c, s).tensor;
  if (t == nullptr) {
    return fail(c, GCOMP_ERROR_NULL, TENSOR ": the tensor is null",
                TENSOR_ARGUMENTS("state", declared, s));
  }
  if (t->struct_size < kTensorBytes) {
    return fail(c, GCOMP_ERROR_STRUCT, TENSOR ": struct_size is %llu, at least %llu is needed",
                TENSOR_ARGUMENTS("state", declared, s),
                static_cast<unsigned long long>(t->struct_size),
                static_cast<unsigned long long>(kTensorBytes));
  }
  return check_header(c, "state", declared, s, *t, t->struct_size, fill_dtype);
}

gcomp_status check_extents(gcomp_context& c, uint32_t s, const gcomp_tensor& t) {
  const PlanTensor& declared = declared_state(c, s).tensor;
  const PlanDim* const dims = table<PlanDim>(*c.plan, c.plan->dims) + declared.first_dim;
  for (uint32_t d = 0; d < declared.rank; ++d) {
    if (t.extents[d] < 0) {
      return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": extent of axis %u is %lld",
                  TENSOR_ARGUMENTS("state", declared, s), d, static_cast<LongLong>(t.extents[d]));
    }
    if (dims[d].mode == DimMode::kConstant && t.extents[d] != c.values[dims[d].value]) {
      return bad_extent(c, "state", declared, s, d, t.extents[d], c.values[dims[d].value]);
    }
  }
  return GCOMP_OK;
}

// What lies at t's data: its bytes, whether strides are other than row-major, how far it reaches.
struct Region {
  uint64_t bytes;
  bool strided;
  int64_t low, high;
};

gcomp_status look_at(gcomp_context& c, uint32_t s, const gcomp_tensor& t, bool output,
                     Region* found) {
  const PlanTensor& declared = declared_state(c, s).tensor;
  const uint32_t element = element_bytes(declared.dtype);
  if (!dense_bytes(t.extents, t.rank, element, &found->bytes)) {
    return fail(c, GCOMP_ERROR_SHAPE, TENSOR ": the number of bytes overflows",
                TENSOR_ARGUMENTS("state", declared, s));
  }
  found->strided = false;
  found->low = 0;
  found->high = static_cast<int64_t>(found->bytes);
  if (found->bytes == 0) return GCOMP_OK;
  found->strided = t.strides != nullptr && !is_dense(t, t.extents, element);
  gcomp_status status = GCOMP_OK;
  if (found->strided) {
    status =
        check_strides(c, "state", declared, s, t, t.extents, output, &found->low, &found->high);
  }
  if (status != GCOMP_OK) return status;
  return check_data(c, "state", declared, s, t, static_cast<uint64_t>(found->high),
                    output || t.capacity != 0);
}

gcomp_status strided_there(gcomp_context& c, uint32_t s) {
  return fail(c, GCOMP_ERROR_STRIDES, TENSOR ": memory of the GPU must be row-major here",
              TENSOR_ARGUMENTS("state", declared_state(c, s).tensor, s));
}

bool overlaps(const gcomp_tensor& t, const Region& layout, const Block& block) {
  const uintptr_t data = reinterpret_cast<uintptr_t>(t.data);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block.data);
  return data + static_cast<uintptr_t>(layout.low) < begin + block.bytes &&
         begin < data + static_cast<uintptr_t>(layout.high);
}

}  // namespace

bool make_states(gcomp_context& c) {
  c.states = c.allocator.zeroed<StateMemory>(c.plan->states.count);
  if (c.states == nullptr) return false;
  reset_states(c);
  return true;
}

void put_states(const gcomp_context& c) {
  for (uint64_t s = 0; c.states != nullptr && s < c.plan->states.count; ++s) {
    for (Block& block : c.states[s].pieces) put(c.allocator, block);
  }
  c.allocator.put(c.states);
}

void reset_states(gcomp_context& c) {
  const int64_t* const extents = table<int64_t>(*c.plan, c.plan->initial_extents);
  for (uint32_t s = 0; s < c.plan->states.count; ++s) {
    const PlanState& declared = declared_state(c, s);
    StateMemory& memory = c.states[s];
    memory.has_value = declared.initial != kNone;
    put(c.allocator, memory.pieces[0]);
    if (c.device != nullptr) c.device_functions->replace_state(c, s);
    if (!memory.has_value) continue;
    memory.pieces[0].data = c.buffers[declared.initial];
    set_extents(c, declared.tensor, extents + declared.initial_extent);
  }
}

gcomp_status prepare_states(gcomp_context& c) {
  for (uint32_t s = 0; s < c.plan->states.count; ++s) {
    const PlanState& declared = declared_state(c, s);
    StateMemory& memory = c.states[s];
    if (!memory.has_value) return no_value(c, s);
    uint64_t bytes;
    dense_bytes(c.last_extents + declared.tensor.first_dim, declared.tensor.rank,
                element_bytes(declared.tensor.dtype), &bytes);
    if (c.device != nullptr) {
      gcomp_status status = GCOMP_OK;
      if (is_on_host(c, declared)) status = c.device_functions->fetch_state(c, s, bytes);
      if (status == GCOMP_OK) status = c.device_functions->prepare_state(c, s, bytes);
      if (status != GCOMP_OK) return status;
    }
    if (declared.overwritten == 1 && memory.pieces[0].bytes == 0) {
      Block copy = {};
      if (!own(c.allocator, copy, bytes)) return no_memory(c, s);
      if (bytes != 0) memcpy(copy.data, memory.pieces[0].data, bytes);
      memory.pieces[0] = copy;
    }
    c.buffers[declared.tensor.buffer] = memory.pieces[0].data;
    if (declared.next == kNone || declared.next_on_device != 0) continue;
    if (!own(c.allocator, memory.pieces[1], bytes)) return no_memory(c, s);
    c.buffers[declared.next] = memory.pieces[1].data;
  }
  return GCOMP_OK;
}

void commit_states(gcomp_context& c) {
  if (c.device != nullptr) c.device_functions->commit_states(c);
  const PlanSwap* const swaps = table<PlanSwap>(*c.plan, c.plan->state_swaps);
  for (uint64_t i = 0; i < c.plan->state_swaps.count; ++i) {
    Block &a = piece(c, swaps[i].a), &b = piece(c, swaps[i].b);
    const Block block = a;
    a = b;
    b = block;
  }
}

gcomp_status get_state(gcomp_context& c, uint32_t s, gcomp_tensor* value) {
  gcomp_status status = check_tensor(c, s, value, true);
  if (status != GCOMP_OK) return status;
  const PlanTensor& declared = declared_state(c, s).tensor;
  const StateMemory& memory = c.states[s];
  if (!memory.has_value) return no_value(c, s);
  gcomp_tensor& t = *value;
  t.dtype = dlpack(declared.dtype);
  for (uint32_t d = 0; d < declared.rank; ++d)
    t.extents[d] = c.last_extents[declared.first_dim + d];
  const uint32_t element = element_bytes(declared.dtype);
  if (c.device != nullptr) {
    uint64_t bytes;
    dense_bytes(t.extents, t.rank, element, &bytes);
    status = c.device_functions->fetch_state(c, s, bytes);
    if (status != GCOMP_OK) return status;
  }
  const bool there = t.device_type == GCOMP_CUDA;
  if (t.data == nullptr && !there) {
    if (t.strides != nullptr && !is_dense(t, t.extents, element)) {
      return fail(c, GCOMP_ERROR_STRIDES,
                  TENSOR ": strides are given without data; the context's memory is row-major",
                  TENSOR_ARGUMENTS("state", declared, s));
    }
    dense_bytes(t.extents, t.rank, element, &t.capacity);
    t.data = memory.pieces[0].data;
    return GCOMP_OK;
  }
  Region layout;
  status = look_at(c, s, t, true, &layout);
  if (status != GCOMP_OK || layout.bytes == 0) return status;
  if (there) {
    if (layout.strided) return strided_there(c, s);
    return c.device_functions->copy(c, t.data, memory.pieces[0].data, layout.bytes, true, false);
  }
  if (layout.strided) {
    scatter_strided(t.data, memory.pieces[0].data, t.rank, t.extents, t.strides, element);
  } else {
    memmove(t.data, memory.pieces[0].data, layout.bytes);
  }
  return GCOMP_OK;
}

gcomp_status set_state(gcomp_context& c, uint32_t s, const gcomp_tensor* value) {
  Region layout;
  gcomp_status status = check_tensor(c, s, value, false);
  if (status == GCOMP_OK) status = check_extents(c, s, *value);
  if (status == GCOMP_OK) status = look_at(c, s, *value, false, &layout);
  if (status != GCOMP_OK) return status;
  const gcomp_tensor& t = *value;
  StateMemory& memory = c.states[s];
  const PlanTensor& declared = declared_state(c, s).tensor;
  Block block = memory.pieces[0];
  // Into other memory where the old is too small, or what the caller gives lies in it.
  const bool there = t.device_type == GCOMP_CUDA;
  if (there && layout.strided) return strided_there(c, s);
  const bool fresh = block.bytes == 0 || block.bytes < layout.bytes || overlaps(t, layout, block);
  if (fresh) block = {};
  if (!own(c.allocator, block, layout.bytes)) return no_memory(c, s);
  if (there) {
    status = c.device_functions->copy(c, block.data, t.data, layout.bytes, false, true);
    if (status != GCOMP_OK) {
      if (fresh) put(c.allocator, block);
      return status;
    }
  } else if (layout.strided) {
    gather_strided(block.data, t.data, t.rank, t.extents, t.strides, element_bytes(declared.dtype));
  } else if (layout.bytes != 0) {
    memcpy(block.data, t.data, layout.bytes);
  }
  if (fresh) put(c.allocator, memory.pieces[0]);
  memory.pieces[0] = block;
  memory.has_value = true;
  if (c.device != nullptr) c.device_functions->replace_state(c, s);
  set_extents(c, declared, t.extents);
  return GCOMP_OK;
}

}  // namespace gcomp::rt
