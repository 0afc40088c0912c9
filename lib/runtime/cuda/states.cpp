// States on the device. A piece of a state's memory has a copy on either side; the good one is where it was
// written last, the other is made when steps need it. So weights that steps on the device read and write stay there.

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

const PlanState& declared_state(const gcomp_context& c, uint32_t s) {
  return table<PlanState>(*c.plan, c.plan->states)[s];
}

gcomp_status no_memory(gcomp_context& c, uint32_t s) {
  return fail(c, GCOMP_ERROR_MEMORY, "out of memory of the GPU for state \"%s\"",
              plan_string(*c.plan, declared_state(c, s).tensor.name));
}

gcomp_status upload_piece(gcomp_context& c, uint32_t s, StatePiece& piece, uint64_t bytes) {
  if (piece.good) return GCOMP_OK;
  if (!piece.block.ensure(c.device_allocator, bytes)) return no_memory(c, s);
  const gcomp_status status =
      bytes == 0 ? GCOMP_OK : upload_soon(c, piece.block.data, c.states[s].pieces[0].data, bytes);
  piece.good = status == GCOMP_OK;
  return status;
}

}  // namespace

gcomp_status prepare_state(gcomp_context& c, uint32_t s, uint64_t bytes) {
  const PlanState& declared = declared_state(c, s);
  StatePiece* const pieces = c.device->pieces + uint64_t{2} * s;
  if (declared.tensor.device_buffer != kNone) {
    const gcomp_status status = upload_piece(c, s, pieces[0], bytes);
    if (status != GCOMP_OK) return status;
    c.buffers[declared.tensor.device_buffer] = pieces[0].block.data;
  }
  if (declared.next == kNone || declared.next_on_device == 0) return GCOMP_OK;
  if (!pieces[1].block.ensure(c.device_allocator, bytes)) return no_memory(c, s);
  c.buffers[declared.next] = pieces[1].block.data;
  return GCOMP_OK;
}

void commit_states(gcomp_context& c) {
  StatePiece* const pieces = c.device->pieces;
  for (uint32_t s = 0; s < c.plan->states.count; ++s) {
    const PlanState& declared = declared_state(c, s);
    StatePiece &value = pieces[2 * s], &next = pieces[2 * s + 1];
    if (declared.overwritten == 1) value.good = false;
    if (declared.overwritten == 2) value.host_stale = true;
    if (declared.next == kNone) continue;
    next.good = next.host_stale = declared.next_on_device != 0;
  }
  const PlanSwap* const swaps = table<PlanSwap>(*c.plan, c.plan->state_swaps);
  for (uint64_t i = 0; i < c.plan->state_swaps.count; ++i) {
    StatePiece &a = pieces[swaps[i].a], &b = pieces[swaps[i].b];
    const StatePiece piece = a;
    a = b;
    b = piece;
  }
}

gcomp_status fetch_state(gcomp_context& c, uint32_t s, uint64_t bytes) {
  StatePiece& piece = c.device->pieces[uint64_t{2} * s];
  if (!piece.host_stale) return GCOMP_OK;
  Block& block = c.states[s].pieces[0];
  if (block.bytes == 0) block = {};  // the artifact's own memory
  if (!block.ensure(c.allocator, bytes != 0 ? bytes : 1)) {
    return fail(c, GCOMP_ERROR_MEMORY, "out of memory for state \"%s\"",
                plan_string(*c.plan, declared_state(c, s).tensor.name));
  }
  const gcomp_status status = download(c, block.data, piece.block.data, bytes);
  piece.host_stale = status != GCOMP_OK;
  return status;
}

void replace_state(gcomp_context& c, uint32_t s) {
  StatePiece& piece = c.device->pieces[uint64_t{2} * s];
  piece.good = piece.host_stale = false;
}

}  // namespace gcomp::rt::cuda
