// Evaluation of a segment: dim instructions, scalars, memory layout of its arenas, its outputs.
//
// A layout depends on the buffers' sizes alone (lifetimes are fixed), so the last few are
// remembered by their sizes: a model called with alternating extents packs each of them once.

#include "context.h"
#include "gcomp/runtime/pack.h"

namespace gcomp::rt {
namespace {

int64_t floor_div(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

// False on overflow or division by zero.
bool apply(DimOp op, int64_t a, int64_t b, int64_t* result) {
  switch (op) {
    case DimOp::kAdd: return !__builtin_add_overflow(a, b, result);
    case DimOp::kMul: return !__builtin_mul_overflow(a, b, result);
    case DimOp::kMin: *result = a < b ? a : b; return true;
    case DimOp::kMax: *result = a > b ? a : b; return true;
    case DimOp::kFloorDiv:
    case DimOp::kMod: break;
  }
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  const int64_t q = floor_div(a, b);
  *result = op == DimOp::kFloorDiv ? q : a - q * b;
  return true;
}

gcomp_status evaluate_values(gcomp_context& c, const PlanSegment& segment) {
  const Plan& plan = *c.plan;
  const DimInstruction* const instructions =
      table<DimInstruction>(plan, plan.instructions) + segment.first_instruction;
  int64_t* const results =
      c.values + plan.num_symbols + plan.num_constants + segment.first_instruction;
  for (uint32_t i = 0; i < segment.num_instructions; ++i) {
    const DimInstruction& in = instructions[i];
    if (!apply(in.op, c.values[in.a], c.values[in.b], &results[i])) {
      return fail(c, GCOMP_ERROR_SHAPE, "an extent computed from the inputs' extents overflows");
    }
  }
  const uint32_t* const sources = table<uint32_t>(plan, plan.pool_sources);
  const uint64_t num_static = plan.static_scalars.count;
  for (uint32_t i = segment.first_scalar; i < segment.first_scalar + segment.num_scalars; ++i) {
    c.pool[i] = c.values[sources[i - num_static]];
  }
  return GCOMP_OK;
}

const Layout* find_layout(gcomp_context& c, const PlanArena& arena, ArenaState& state) {
  const Plan& plan = *c.plan;
  const PlanBuffer* const buffers = table<PlanBuffer>(plan, plan.buffers);
  const uint32_t* const ids = table<uint32_t>(plan, plan.arena_buffers) + arena.first_buffer;
  for (Layout& layout : state.layouts) {
    if (layout.used_at == 0) continue;
    uint32_t i = 0;
    while (i < arena.num_buffers && layout.sizes[i] == c.values[buffers[ids[i]].size_value]) ++i;
    if (i < arena.num_buffers) continue;
    layout.used_at = ++c.clock;
    return &layout;
  }
  return nullptr;
}

Layout& least_used(ArenaState& state) {
  Layout* least = &state.layouts[0];
  for (Layout& layout : state.layouts) {
    if (layout.used_at < least->used_at) least = &layout;
  }
  return *least;
}

gcomp_status make_layout(gcomp_context& c, const PlanArena& arena, ArenaState& state,
                         const Layout** made) {
  const Plan& plan = *c.plan;
  const PlanBuffer* const buffers = table<PlanBuffer>(plan, plan.buffers);
  const uint32_t* const ids = table<uint32_t>(plan, plan.arena_buffers) + arena.first_buffer;
  const uint32_t n = arena.num_buffers;
  Layout& layout = least_used(state);
  layout.used_at = 0;
  if (state.placed == &layout) state.placed = nullptr;
  if (layout.sizes == nullptr) layout.sizes = c.allocator.zeroed<int64_t>(n);
  if (layout.offsets == nullptr) layout.offsets = c.allocator.zeroed<uint64_t>(n);
  const uint64_t scratch_bytes = pack_scratch_bytes(n);
  if (layout.sizes == nullptr || layout.offsets == nullptr ||
      !c.pack_scratch.ensure(c.allocator, scratch_bytes + n * sizeof(PackItem))) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for the memory plan of %u buffers", n);
  }
  auto* const items = static_cast<PackItem*>(c.pack_scratch.data);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const PlanBuffer& buffer = buffers[ids[i]];
    const int64_t size = c.values[buffer.size_value];
    if (size < 0 || __builtin_add_overflow(sum, pack_round(static_cast<uint64_t>(size)), &sum)) {
      return fail(c, GCOMP_ERROR_SHAPE, "an extent computed from the inputs' extents is negative");
    }
    layout.sizes[i] = size;
    items[i] = {static_cast<uint64_t>(size), buffer.first, buffer.last};
  }
  layout.bytes = pack(items, n, layout.offsets, items + n, kPackRuntimeEffort);
  layout.used_at = ++c.clock;
  *made = &layout;
  return GCOMP_OK;
}

// Puts the addresses of the arena's buffers into the buffer table. layout null: precomputed offsets.
void place_buffers(gcomp_context& c, const PlanArena& arena, ArenaState& state,
                   const Layout* layout) {
  const Plan& plan = *c.plan;
  const PlanBuffer* const buffers = table<PlanBuffer>(plan, plan.buffers);
  const uint32_t* const ids = table<uint32_t>(plan, plan.arena_buffers) + arena.first_buffer;
  char* const base = static_cast<char*>(state.memory.data);
  for (uint32_t i = 0; i < arena.num_buffers; ++i) {
    c.buffers[ids[i]] = base + (layout != nullptr ? layout->offsets[i] : buffers[ids[i]].offset);
  }
  state.placed = layout;
  state.placed_base = base;
}

void place_views(gcomp_context& c, const uint32_t* ids, uint64_t n) {
  const PlanBuffer* const buffers = table<PlanBuffer>(*c.plan, c.plan->buffers);
  for (uint64_t i = 0; i < n; ++i) {
    const PlanBuffer& view = buffers[ids[i]];
    char* const base = static_cast<char*>(c.buffers[view.index]);
    // A null base is an empty tensor.
    c.buffers[ids[i]] = base == nullptr ? nullptr : base + c.values[view.offset_value];
  }
}

gcomp_status lay_out(gcomp_context& c, const PlanArena& arena, ArenaState& state,
                     const Allocator& allocator) {
  if (arena.num_buffers == 0) return GCOMP_OK;
  const Layout* layout = nullptr;
  if (arena.precomputed == 0) {
    layout = find_layout(c, arena, state);
    if (layout == nullptr) {
      const gcomp_status status = make_layout(c, arena, state, &layout);
      if (status != GCOMP_OK) return status;
    }
  }
  const uint64_t bytes = layout != nullptr ? layout->bytes : arena.bytes;
  if (!state.memory.ensure(allocator, bytes)) {
    state.placed_base = nullptr;
    return fail(c, GCOMP_ERROR_MEMORY,
                "out of memory%s: the run needs %llu bytes for intermediates",
                &allocator == &c.device_allocator ? " of the GPU" : "",
                static_cast<unsigned long long>(bytes));
  }
  if (state.placed_base != state.memory.data || state.placed != layout) {
    place_buffers(c, arena, state, layout);
  }
  return GCOMP_OK;
}

}  // namespace

gcomp_status evaluate_segment(gcomp_context& c, uint32_t index) {
  const Plan& plan = *c.plan;
  const PlanSegment& segment = table<PlanSegment>(plan, plan.segments)[index];
  gcomp_status status = evaluate_values(c, segment);
  SegmentState& state = c.segments[index];
  if (status == GCOMP_OK) status = lay_out(c, segment.arenas[0], state.arenas[0], c.allocator);
  if (status == GCOMP_OK) {
    status = lay_out(c, segment.arenas[1], state.arenas[1], c.device_allocator);
  }
  if (status != GCOMP_OK) return status;
  place_views(c, table<uint32_t>(plan, plan.views) + segment.first_view, segment.num_views);
  return GCOMP_OK;
}

void place_io_views(gcomp_context& c) {
  place_views(c, table<uint32_t>(*c.plan, c.plan->io_views), c.plan->io_views.count);
}

}  // namespace gcomp::rt
