// The functions of the C interface: contexts and runs.

#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "context.h"

using namespace gcomp::rt;

namespace {

// The first version of this struct ends here; callers may know less than we do, never less than
// this.
constexpr uint64_t kOptionsBytes = offsetof(gcomp_options, trace_data);

uint32_t usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    uint32_t n = 0;
    for (unsigned char byte : reinterpret_cast<unsigned char(&)[sizeof set]>(set)) {
      n += static_cast<uint32_t>(__builtin_popcount(byte));
    }
    if (n != 0) return n;
  }
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<uint32_t>(online) : 1;
}

gcomp_status choose_threads(gcomp_context& c, uint32_t wanted) {
  const char* const text = getenv("GCOMP_NUM_THREADS");
  if (wanted == 0 && text != nullptr && *text != 0) {
    char* end;
    const long n = strtol(text, &end, 10);
    if (*end != 0 || n < 1 || n > static_cast<long>(kMaxThreads)) {
      return fail(c, GCOMP_ERROR_STRUCT, "GCOMP_NUM_THREADS=%.40s is not a number from 1 to %u",
                  text, kMaxThreads);
    }
    wanted = static_cast<uint32_t>(n);
  }
  if (wanted == 0) wanted = usable_cpus();
  c.parallel.threads = wanted < kMaxThreads ? wanted : kMaxThreads;
  return GCOMP_OK;
}

uint32_t num_owned_buffers(const Plan& plan) {
  const PlanBuffer* const buffers = table<PlanBuffer>(plan, plan.buffers);
  uint32_t end = 0;
  for (uint32_t i = 0; i < plan.buffers.count; ++i) {
    if (buffers[i].kind == BufferKind::kOwned) end = i + 1;
  }
  return end;
}

bool allocate_tables(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const Allocator& a = c.allocator;
  const uint64_t num_inputs = plan.inputs.count, num_outputs = plan.outputs.count;
  c.num_owned = num_owned_buffers(plan);
  c.values = a.zeroed<int64_t>(plan.num_symbols + plan.num_constants + plan.instructions.count);
  c.buffers = a.zeroed<void*>(plan.buffers.count);
  c.call_buffers = a.zeroed<void*>(plan.max_call_buffers);
  c.segments = a.zeroed<SegmentState>(plan.segments.count);
  c.last_extents = a.zeroed<int64_t>(plan.dims.count);
  c.input_copies = a.zeroed<Block>(num_inputs);
  c.output_owned = a.zeroed<Block>(num_outputs);
  c.output_staging = a.zeroed<Block>(num_outputs);
  c.output_staged = a.zeroed<bool>(num_outputs);
  c.lent = a.zeroed<void*>(num_outputs);
  c.owned = a.zeroed<Block>(c.num_owned);
  c.ranges = a.zeroed<gcomp_context::Range>(num_inputs + num_outputs);
  c.last_tensors = a.zeroed<gcomp_tensor>(num_inputs + num_outputs);
  const bool dynamic = plan.pool_sources.count != 0;
  if (dynamic) c.pool = a.zeroed<int64_t>(plan.static_scalars.count + plan.pool_sources.count);
  return c.values && c.buffers && c.call_buffers && c.segments && c.last_extents &&
         c.input_copies && c.output_owned && c.output_staging && c.output_staged && c.lent &&
         c.owned && c.ranges && c.last_tensors && (!dynamic || c.pool);
}

void fill_tables(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const int64_t* const constants = table<int64_t>(plan, plan.constants);
  for (uint32_t i = 0; i < plan.num_constants; ++i) c.values[plan.num_symbols + i] = constants[i];
  const int64_t* const scalars = table<int64_t>(plan, plan.static_scalars);
  if (c.pool == nullptr) {
    c.pool = const_cast<int64_t*>(scalars);  // never written: no segment has scalars
  } else if (plan.static_scalars.count != 0) {
    memcpy(c.pool, scalars, plan.static_scalars.count * sizeof(int64_t));
  }
  const PlanBuffer* const buffers = table<PlanBuffer>(plan, plan.buffers);
  for (uint32_t i = 0; i < plan.buffers.count; ++i) {
    const PlanBuffer& b = buffers[i];
    if (b.device != 0) continue;
    if (b.kind == BufferKind::kStatus) c.buffers[i] = &c.kernel_status;
    if (b.kind != BufferKind::kConstant) continue;
    const char* const base = b.index == 0 ? c.artifact->constants : c.weights;
    c.buffers[i] = const_cast<char*>(base + b.offset);
  }
}

gcomp_status initialise(gcomp_context& c, const gcomp_options& options) {
  const ArtifactData& artifact = *c.artifact;
  const Plan& plan = *c.plan;
  if (plan.magic != kPlanMagic || plan.version != kPlanVersion) {
    return fail(c, GCOMP_ERROR_PLAN, "the artifact's plan has version %u, its runtime %u",
                plan.version, kPlanVersion);
  }
  const char* const missing = missing_cpu_feature(artifact.info->cpu_features);
  if (missing != nullptr) {
    return fail(c, GCOMP_ERROR_CPU,
                "this CPU lacks %s, which \"%s\" was compiled for; compile it again with --mcpu",
                missing, artifact.info->name);
  }
  c.trace = options.trace;
  c.trace_data = options.trace_data;
  gcomp_status status = choose_threads(c, options.threads);
  if (status == GCOMP_OK) status = map_weights(c);
  if (status == GCOMP_OK && artifact.device != nullptr) {
    status = artifact.device->functions->open(c, options);
  }
  if (status != GCOMP_OK) return status;
  if (options.device_type == GCOMP_CUDA && c.device == nullptr) {
    return fail(c, GCOMP_ERROR_DEVICE,
                "\"%s\" has no code for a GPU; compile it with --target cpu,cuda",
                artifact.info->name);
  }
  if (!allocate_tables(c)) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  fill_tables(c);
  if (c.device != nullptr) status = c.device_functions->make(c);
  if (status != GCOMP_OK) return status;
  if (!make_states(c)) return fail(c, GCOMP_ERROR_MEMORY, "out of memory for a context");
  c.parallel.host_data = options.pool_data;
  c.parallel.host_parallel_for = options.parallel_for;
  return GCOMP_OK;
}

void put_blocks(const Allocator& a, Block* blocks, uint64_t n) {
  for (uint64_t i = 0; blocks != nullptr && i < n; ++i) a.put(blocks[i].data);
  a.put(blocks);
}

void put_arena(const gcomp_context& c, const ArenaState& arena, const Allocator& allocator) {
  allocator.put(arena.memory.data);
  for (const Layout& layout : arena.layouts) {
    c.allocator.put(layout.sizes);
    c.allocator.put(layout.offsets);
  }
}

void put_segments(const gcomp_context& c) {
  if (c.segments == nullptr) return;
  for (uint64_t s = 0; s < c.plan->segments.count; ++s) {
    put_arena(c, c.segments[s].arenas[0], c.allocator);
    put_arena(c, c.segments[s].arenas[1], c.device_allocator);
  }
  c.allocator.put(c.segments);
}

void put_owned(const gcomp_context& c) {
  const PlanBuffer* const buffers = table<PlanBuffer>(*c.plan, c.plan->buffers);
  for (uint32_t i = 0; c.owned != nullptr && i < c.num_owned; ++i) {
    (buffers[i].device != 0 ? c.device_allocator : c.allocator).put(c.owned[i].data);
  }
  c.allocator.put(c.owned);
}

void tell(const gcomp_options& options, const char* message) {
  if (options.message == nullptr || options.message_bytes == 0) return;
  snprintf(options.message, options.message_bytes, "%s", message);
}

gcomp_status check_arrays(gcomp_context& c, const char* side, const gcomp_tensor* tensors,
                          uint32_t given, uint64_t declared, uint64_t* stride) {
  if (given != declared) {
    return fail(c, GCOMP_ERROR_COUNT, "%u %ss given, the graph has %u", given, side,
                static_cast<unsigned>(declared));
  }
  *stride = kTensorBytes;
  if (declared == 0) return GCOMP_OK;
  if (tensors == nullptr) return fail(c, GCOMP_ERROR_NULL, "the array of %ss is null", side);
  *stride = tensors->struct_size;
  if (*stride < kTensorBytes || *stride % alignof(gcomp_tensor) != 0) {
    return fail(
        c, GCOMP_ERROR_STRUCT, "struct_size of the first %s is %llu, at least %llu is needed", side,
        static_cast<unsigned long long>(*stride), static_cast<unsigned long long>(kTensorBytes));
  }
  return GCOMP_OK;
}

gcomp_status prepare_outputs(gcomp_context& c) {
  const Plan& plan = *c.plan;
  const PlanSegment& first = table<PlanSegment>(plan, plan.segments)[0];
  const uint32_t* const outputs = table<uint32_t>(plan, plan.segment_outputs) + first.first_output;
  for (uint32_t i = 0; i < first.num_outputs; ++i) {
    const gcomp_status status = prepare_output(c, outputs[i]);
    if (status != GCOMP_OK) return status;
  }
  return check_aliases(c);
}

// `moved`: inputs, outputs or states lie elsewhere than in the last run.
gcomp_status execute_steps(gcomp_context& c, bool moved) {
  const gcomp_status status = prepare_states(c);
  if (status != GCOMP_OK) return status;
  if (moved) place_io_views(c);
  DefaultFloatingPoint floating_point;
  if (c.device == nullptr) return execute(c);
  const gcomp_status begun = c.device_functions->begin(c);
  return c.device_functions->end(c, begun == GCOMP_OK ? execute(c) : begun);
}

gcomp_status run_locked(gcomp_context& c, uint32_t num_inputs, uint32_t num_outputs) {
  gcomp_status status = GCOMP_OK;
  if (same_as_last_run(c, num_inputs, num_outputs)) {
    status = execute_steps(c, c.plan->states.count != 0);
    if (status == GCOMP_OK) commit_states(c);
    return status;
  }
  const Plan& plan = *c.plan;
  c.repeatable = c.copied = false;
  if (c.device != nullptr) c.device_functions->forget(c);
  status = check_arrays(c, "input", c.run_inputs, num_inputs, plan.inputs.count, &c.input_stride);
  if (status == GCOMP_OK) {
    status =
        check_arrays(c, "output", c.run_outputs, num_outputs, plan.outputs.count, &c.output_stride);
  }
  if (status == GCOMP_OK) status = take_inputs(c);
  if (status == GCOMP_OK) status = check_outputs(c);
  if (status == GCOMP_OK) status = prepare_outputs(c);
  if (status != GCOMP_OK) return status;
  status = execute_steps(c, true);
  if (status != GCOMP_OK) return status;
  status = deliver_outputs(c);
  if (status != GCOMP_OK) return status;
  commit_states(c);
  remember_run(c);
  return GCOMP_OK;
}

// One call at a time on a context.
template <class Call>
gcomp_status exclusively(gcomp_context* c, Call call) {
  if (__atomic_exchange_n(&c->busy, 1, __ATOMIC_ACQUIRE) != 0) return GCOMP_ERROR_BUSY;
  c->message[0] = 0;
  gcomp_status status = c->device == nullptr ? GCOMP_OK : c->device_functions->enter(*c);
  if (status == GCOMP_OK) {
    status = call();
    if (c->device != nullptr) c->device_functions->leave(*c);
  }
  __atomic_store_n(&c->busy, 0, __ATOMIC_RELEASE);
  return status;
}

}  // namespace

const gcomp_signature* gcomp_rt_describe(const gcomp_descriptor* descriptor) {
  return static_cast<const ArtifactData*>(descriptor->internal)->signature;
}

gcomp_status gcomp_rt_create(const gcomp_descriptor* descriptor, const gcomp_options* given,
                             gcomp_context** context) {
  if (context == nullptr || descriptor == nullptr) return GCOMP_ERROR_NULL;
  *context = nullptr;
  gcomp_options options{};
  if (given != nullptr) {
    if (given->struct_size < kOptionsBytes) return GCOMP_ERROR_STRUCT;
    const uint64_t known =
        given->struct_size < sizeof options ? given->struct_size : sizeof options;
    memcpy(&options, given, known);
  }
  if ((options.allocate == nullptr) != (options.deallocate == nullptr)) {
    tell(options, "allocate and deallocate go together");
    return GCOMP_ERROR_NULL;
  }
  const Allocator allocator = make_allocator(options);
  gcomp_context* const c = allocator.zeroed<gcomp_context>(1);
  if (c == nullptr) return GCOMP_ERROR_MEMORY;
  c->artifact = static_cast<const ArtifactData*>(descriptor->internal);
  c->plan = c->artifact->plan;
  c->kernels = c->artifact->kernels;
  c->allocator = allocator;
  const gcomp_status status = initialise(*c, options);
  tell(options, c->message);
  if (status == GCOMP_OK) {
    if (c->device != nullptr) c->device_functions->leave(*c);
    c->message[0] = 0;
    *context = c;
    return GCOMP_OK;
  }
  if (c->device != nullptr) c->device_functions->leave(*c);
  gcomp_rt_destroy(c);
  return status;
}

void gcomp_rt_destroy(gcomp_context* c) {
  if (c == nullptr) return;
  const Allocator a = c->allocator;
  const Plan& plan = *c->plan;
  const bool entered = c->device != nullptr && c->device_functions->enter(*c) == GCOMP_OK;
  stop_pool(a, c->parallel.pool);
  put_segments(*c);
  put_blocks(a, c->input_copies, plan.inputs.count);
  put_blocks(a, c->output_owned, plan.outputs.count);
  put_blocks(a, c->output_staging, plan.outputs.count);
  put_owned(*c);
  put_states(*c);
  if (plan.pool_sources.count != 0) a.put(c->pool);
  void* const tables[] = {c->values,       c->buffers,       c->call_buffers,
                          c->last_extents, c->output_staged, c->lent,
                          c->ranges,       c->last_tensors,  c->pack_scratch.data};
  if (c->device != nullptr) {
    c->device_functions->close(*c);
    if (entered) c->device_functions->leave(*c);
    c->device_functions->forsake(*c);
  }
  for (void* memory : tables) a.put(memory);
  if (c->weights != nullptr) unmap_weights(*c->artifact);
  a.put(c);
}

gcomp_status gcomp_rt_run(gcomp_context* c, const gcomp_tensor* inputs, uint32_t num_inputs,
                          gcomp_tensor* outputs, uint32_t num_outputs) {
  if (c == nullptr) return GCOMP_ERROR_NULL;
  return exclusively(c, [&] {
    c->run_inputs = inputs;
    c->run_outputs = outputs;
    return run_locked(*c, num_inputs, num_outputs);
  });
}

gcomp_status gcomp_rt_get_state(gcomp_context* c, uint32_t state, gcomp_tensor* value) {
  if (c == nullptr) return GCOMP_ERROR_NULL;
  return exclusively(c, [&] { return get_state(*c, state, value); });
}

gcomp_status gcomp_rt_set_state(gcomp_context* c, uint32_t state, const gcomp_tensor* value) {
  if (c == nullptr) return GCOMP_ERROR_NULL;
  return exclusively(c, [&] { return set_state(*c, state, value); });
}

gcomp_status gcomp_rt_reset_states(gcomp_context* c) {
  if (c == nullptr) return GCOMP_ERROR_NULL;
  return exclusively(c, [&] {
    reset_states(*c);
    return GCOMP_OK;
  });
}

int32_t gcomp_rt_device(const gcomp_context* c, int32_t* device_id) {
  const bool there = c != nullptr && c->device != nullptr;
  if (device_id != nullptr) *device_id = there ? c->device_functions->number(*c) : 0;
  return there ? GCOMP_CUDA : GCOMP_CPU;
}

const char* gcomp_rt_last_error(const gcomp_context* c) {
  return c == nullptr ? "the context is null" : c->message;
}

const gcomp_functions gcomp_rt_functions = {sizeof(gcomp_functions),
                                            gcomp_rt_describe,
                                            gcomp_rt_create,
                                            gcomp_rt_destroy,
                                            gcomp_rt_run,
                                            gcomp_rt_last_error,
                                            status_name,
                                            gcomp_rt_get_state,
                                            gcomp_rt_set_state,
                                            gcomp_rt_reset_states,
                                            gcomp_rt_device};
