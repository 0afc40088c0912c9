// Runs the steps of the plan. Each case reads its words as gcomp/runtime/plan.h lists them.

#include "context.h"

namespace gcomp::rt {

gcomp_status fail_message(gcomp_context& c, uint64_t message) {
  const Plan& plan = *c.plan;
  if (message >= plan.messages.count) message = 0;
  const char* const text = plan.messages.count == 0
                               ? "a check of the graph failed"
                               : plan_string(plan, table<uint32_t>(plan, plan.messages)[message]);
  return fail(c, GCOMP_ERROR_CHECK, "%s", text);
}

namespace {

// kCall; returns the words it took, 0 if the kernel reported an error.
inline uint32_t call(gcomp_context& c, const uint32_t* words, gcomp_status* status) {
  const uint32_t flags = step_flags(words[0]), n = step_buffers(words[0]);
  const KernelFn kernel = c.kernels[words[1]];
  const int64_t* const scalars = c.pool + words[2];
  const int64_t extent = c.pool[words[3]];
  const uint32_t grain = words[4];
  const uint32_t* ids = words + ((flags & kMayFail) != 0 ? 6 : 5);
  void* const* pointers = c.call_buffers;
  uint32_t listed = n;
  if ((flags & kContiguous) != 0) {
    pointers = c.buffers + ids[0];
    listed = 1;
  } else {
    for (uint32_t i = 0; i < n; ++i) c.call_buffers[i] = c.buffers[ids[i]];
  }
  if (c.trace != nullptr) c.trace(c.trace_data, words[1]);
  if (extent > 0) {
    if (grain == 0 || extent <= grain) {
      kernel(pointers, scalars, 0, extent);
    } else {
      run_parallel(c.allocator, c.parallel, kernel, pointers, scalars, extent, grain);
    }
  }
  if (c.trace != nullptr) c.trace(c.trace_data, GCOMP_NO_KERNEL);
  if ((flags & kMayFail) != 0 && c.kernel_status != INT64_MAX) {
    *status = fail_message(c, words[5] + static_cast<uint64_t>(c.kernel_status));
    return 0;
  }
  return static_cast<uint32_t>(ids - words) + listed;
}

// The GPU works while the host does.
inline gcomp_status start_device(gcomp_context& c) {
  return c.device == nullptr ? GCOMP_OK : c.device_functions->flush(c);
}

gcomp_status enter_segment(gcomp_context& c, uint32_t segment) {
  const Plan& plan = *c.plan;
  gcomp_status status = start_device(c);  // memory may be given back
  if (status == GCOMP_OK) status = evaluate_segment(c, segment);
  const PlanSegment& s = table<PlanSegment>(plan, plan.segments)[segment];
  const uint32_t* const outputs = table<uint32_t>(plan, plan.segment_outputs) + s.first_output;
  for (uint32_t i = 0; i < s.num_outputs && status == GCOMP_OK; ++i) {
    forget_output(c, outputs[i]);
    status = prepare_output(c, outputs[i]);
    if (status == GCOMP_OK) status = check_alias_of(c, outputs[i]);
  }
  if (s.num_outputs != 0 && status == GCOMP_OK) place_io_views(c);
  return status;
}

gcomp_status bind(gcomp_context& c, const uint32_t* words) {
  const auto* const elements = static_cast<const int64_t*>(c.buffers[words[1]]);
  const uint32_t* const names = table<uint32_t>(*c.plan, c.plan->symbol_names);
  for (uint32_t i = 0; i < words[3]; ++i) {
    if (elements[i] < 0) {
      return fail(c, GCOMP_ERROR_SHAPE, "the computed extent %s is negative (%lld)",
                  plan_string(*c.plan, names[words[2] + i]), static_cast<long long>(elements[i]));
    }
    c.values[words[2] + i] = elements[i];
  }
  return enter_segment(c, words[4]);
}

gcomp_status bind_values(gcomp_context& c, const uint32_t* words) {
  const int64_t* const scalars = c.pool + words[3];
  const uint32_t* const names = table<uint32_t>(*c.plan, c.plan->symbol_names);
  for (uint32_t i = 0; i < words[2]; ++i) {
    if (scalars[i] < 0) {
      return fail(c, GCOMP_ERROR_SHAPE, "the computed extent %s is negative (%lld)",
                  plan_string(*c.plan, names[words[1] + i]), static_cast<long long>(scalars[i]));
    }
    c.values[words[1] + i] = scalars[i];
  }
  return enter_segment(c, words[4]);
}

bool all_true(const void* data, int64_t n) {
  const auto* const bytes = static_cast<const uint8_t*>(data);
  return n <= 0 || memchr(bytes, 0, static_cast<size_t>(n)) == nullptr;
}

gcomp_status reserve_bytes(gcomp_context& c, uint32_t buffer, uint64_t bytes, bool keep) {
  Block& block = c.owned[buffer];
  const uint64_t wanted = growth(block, bytes);
  if (!block.ensure(c.allocator, wanted, keep ? block.bytes : 0)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory: %llu bytes are needed for a loop's value",
                static_cast<unsigned long long>(bytes));
  }
  c.buffers[buffer] = block.data;
  return GCOMP_OK;
}

gcomp_status row(gcomp_context& c, const uint32_t* words) {
  int64_t offset, end;
  if (!row_range(c, words, &offset, &end)) return GCOMP_ERROR_MEMORY;
  if ((step_flags(words[0]) & kGrows) != 0) {
    const gcomp_status status = reserve_bytes(c, words[2], static_cast<uint64_t>(end), true);
    if (status != GCOMP_OK) return status;
  }
  c.buffers[words[1]] = static_cast<char*>(c.buffers[words[2]]) + offset;
  return GCOMP_OK;
}

// Whether the loop goes on.
bool turn(gcomp_context& c, const uint32_t* words) {
  auto* const counter = static_cast<int64_t*>(c.buffers[words[1]]);
  return ++*counter < *static_cast<const int64_t*>(c.buffers[words[2]]) &&
         (words[3] == kNone || *static_cast<const uint8_t*>(c.buffers[words[3]]) != 0);
}

void swap_buffers(gcomp_context& c, uint32_t a, uint32_t b) {
  void* const pointer = c.buffers[a];
  c.buffers[a] = c.buffers[b];
  c.buffers[b] = pointer;
  if (a >= c.num_owned || b >= c.num_owned) return;
  const Block block = c.owned[a];  // the memory moves with the number
  c.owned[a] = c.owned[b];
  c.owned[b] = block;
}

}  // namespace

bool row_range(gcomp_context& c, const uint32_t* words, int64_t* offset, int64_t* end) {
  const int64_t number = *static_cast<const int64_t*>(c.buffers[words[3]]);
  const int64_t bytes = c.pool[words[4]];
  if (!__builtin_mul_overflow(number, bytes, offset) &&
      !__builtin_add_overflow(*offset, bytes, end) && *offset >= 0 && *end >= *offset) {
    return true;
  }
  fail(c, GCOMP_ERROR_MEMORY, "out of memory: %lld rows of %lld bytes in a loop's result",
       static_cast<long long>(number), static_cast<long long>(bytes));
  return false;
}

gcomp_status execute(gcomp_context& c) {
  const uint32_t* const steps = table<uint32_t>(*c.plan, c.plan->steps);
  c.kernel_status = INT64_MAX;
  gcomp_status status = GCOMP_OK;
  for (const uint32_t* w = steps;;) {
    switch (step_kind(w[0])) {
      case StepKind::kCall: {
        status = start_device(c);
        if (status != GCOMP_OK) return status;
        const uint32_t taken = call(c, w, &status);
        if (taken == 0) return status;
        w += taken;
        continue;
      }
      case StepKind::kBind:
        status = bind(c, w);
        w += 5;
        break;
      case StepKind::kBindValue:
        status = bind_values(c, w);
        w += 5;
        break;
      case StepKind::kCopy: {
        const size_t bytes = byte_count(c, w[3]);
        void *const to = c.buffers[w[1]], *const from = c.buffers[w[2]];
        if (bytes != 0 && to != from) memmove(to, from, bytes);
        w += 4;
        continue;
      }
      case StepKind::kFill: {
        const size_t bytes = byte_count(c, w[2]);
        if (bytes != 0) memset(c.buffers[w[1]], static_cast<int>(w[3]), bytes);
        w += 4;
        continue;
      }
      case StepKind::kStore:
        if (w[3] != 0) memcpy(c.buffers[w[1]], c.pool + w[2], w[3] * sizeof(int64_t));
        w += 4;
        continue;
      case StepKind::kCheck:
        if (!all_true(c.buffers[w[1]], c.pool[w[2]])) return fail_message(c, w[3]);
        w += 4;
        continue;
      case StepKind::kReserve:
        status = reserve_bytes(c, w[1], byte_count(c, w[2]), w[3] != 0);
        w += 4;
        break;
      case StepKind::kAlias:
        c.buffers[w[1]] = c.buffers[w[2]];
        w += 3;
        continue;
      case StepKind::kSwap:
        swap_buffers(c, w[1], w[2]);
        w += 3;
        continue;
      case StepKind::kJump: w = steps + w[1]; continue;
      case StepKind::kJumpUnless:
        w = *static_cast<const uint8_t*>(c.buffers[w[1]]) == 0 ? steps + w[2] : w + 3;
        continue;
      case StepKind::kJumpUnlessLess:
        w = c.values[w[1]] < c.values[w[2]] ? w + 4 : steps + w[3];
        continue;
      case StepKind::kFail: return fail_message(c, w[1]);
      case StepKind::kTurn: w = turn(c, w) ? steps + w[4] : w + 5; continue;
      case StepKind::kRow:
        status = row(c, w);
        w += 5;
        break;
      case StepKind::kLaunch:
      case StepKind::kUpload:
      case StepKind::kTransfer:
      case StepKind::kSet:
      case StepKind::kReserveThere:
      case StepKind::kRowThere:
      case StepKind::kWait:
      case StepKind::kVerify: w = c.device_functions->step(c, w, &status); break;
      case StepKind::kEnd: return GCOMP_OK;
      default: return fail(c, GCOMP_ERROR_PLAN, "the artifact is damaged: unknown step %u", w[0]);
    }
    if (status != GCOMP_OK) return status;
  }
}

}  // namespace gcomp::rt
