// CUDA graphs: steps on the device that follow each other are recorded when they come with the same addresses and
// scalars for the second time, and launched as one from then on. What changes (other sizes, other memory of the
// caller's) makes another set of graphs; the least used one is given up.

#include <string.h>

#include "device.h"

namespace gcomp::rt::cuda {
namespace {

constexpr uint32_t kLeastLaunches = 2, kMostLaunches = 2000;  // of a piece

// Steps between which nothing but the list of steps decides what comes next.
bool allows_graphs(const gcomp_context& c) {
  const uint32_t* w = table<uint32_t>(*c.plan, c.plan->steps);
  for (;; w += step_length(w)) {
    switch (step_kind(w[0])) {
      case StepKind::kEnd: return true;
      case StepKind::kCall:
      case StepKind::kCopy:
      case StepKind::kFill:
      case StepKind::kStore:
      case StepKind::kCheck:
      case StepKind::kLaunch:
      case StepKind::kUpload:
      case StepKind::kTransfer:
      case StepKind::kSet:
      case StepKind::kWait:
      case StepKind::kVerify: continue;
      default: return false;
    }
  }
}

bool list_buffers(gcomp_context& c) {
  Device& d = *c.device;
  const PlanBuffer* const buffers = table<PlanBuffer>(*c.plan, c.plan->buffers);
  d.device_buffers = c.allocator.zeroed<uint32_t>(c.plan->buffers.count);
  if (d.device_buffers == nullptr) return false;
  for (uint32_t i = 0; i < c.plan->buffers.count; ++i) {
    const bool moves =
        buffers[i].kind != BufferKind::kConstant && buffers[i].kind != BufferKind::kStatus;
    if (buffers[i].device != 0 && moves) d.device_buffers[d.num_device_buffers++] = i;
  }
  return true;
}

uint64_t num_scalars(const gcomp_context& c) {  // that may change
  return c.plan->pool_sources.count;
}
const int64_t* scalars(const gcomp_context& c) { return c.pool + c.plan->static_scalars.count; }

bool is_for_this_run(const gcomp_context& c, const GraphSet& set) {
  const Device& d = *c.device;
  if (set.used_at == 0) return false;
  for (uint32_t i = 0; i < d.num_device_buffers; ++i) {
    if (set.addresses[i] != c.buffers[d.device_buffers[i]]) return false;
  }
  const uint64_t n = num_scalars(c);
  return n == 0 || memcmp(set.scalars, scalars(c), n * sizeof(int64_t)) == 0;
}

void clear(const gcomp_context& c, GraphSet& set) {
  for (uint32_t i = 0; i < set.num_pieces; ++i) {
    c.device->driver->graph_exec_destroy(static_cast<Piece*>(set.pieces.data)[i].exec);
  }
  set.num_pieces = 0;
  set.captured = false;
  set.used_at = 0;
}

bool remember(gcomp_context& c, GraphSet& set) {
  const Device& d = *c.device;
  const uint64_t n = num_scalars(c);
  if (set.addresses == nullptr) set.addresses = c.allocator.zeroed<void*>(d.num_device_buffers);
  if (set.scalars == nullptr) set.scalars = c.allocator.zeroed<int64_t>(n);
  if (set.addresses == nullptr || set.scalars == nullptr) return false;
  for (uint32_t i = 0; i < d.num_device_buffers; ++i) {
    set.addresses[i] = c.buffers[d.device_buffers[i]];
  }
  if (n != 0) memcpy(set.scalars, scalars(c), n * sizeof(int64_t));
  set.used_at = ++c.clock;
  return true;
}

// May this step be part of a graph? Transfers between the devices go through memory that each run chooses.
bool fits(const gcomp_context& c, const uint32_t* w) {
  switch (step_kind(w[0])) {
    case StepKind::kLaunch:
    case StepKind::kSet: return true;
    case StepKind::kTransfer: return step_flags(w[0]) == (kToDevice | kFromDevice);
    case StepKind::kUpload: return !c.device->inputs[w[1]].pending;
    default: return false;
  }
}

// The end of the piece that begins at w, or w.
const uint32_t* end_of_piece(const gcomp_context& c, const uint32_t* w) {
  const uint32_t* end = w;
  uint32_t launches = 0;
  while (fits(c, end) && launches < kMostLaunches) {
    if (step_kind(end[0]) != StepKind::kUpload) ++launches;
    end += step_length(end);
  }
  return launches >= kLeastLaunches ? end : w;
}

bool record(gcomp_context& c, const uint32_t* w, const uint32_t* end, GraphExec* exec) {
  const Device& d = *c.device;
  const Driver& driver = *d.driver;
  Graph graph = nullptr;
  if (driver.capture_begin(d.capture_stream, kCaptureRelaxed) != kSuccess) return false;
  bool good = true;
  for (; w != end && good; w += step_length(w)) {
    if (step_kind(w[0]) != StepKind::kUpload) good = issue(c, w, d.capture_stream) == GCOMP_OK;
  }
  good = driver.capture_end(d.capture_stream, &graph) == kSuccess && good && graph != nullptr;
  good = good && driver.graph_instantiate(exec, graph, 0) == kSuccess;
  if (graph != nullptr) driver.graph_destroy(graph);
  return good;
}

bool add_piece(const gcomp_context& c, GraphSet& set, const Piece& piece) {
  const uint64_t bytes = set.num_pieces * sizeof(Piece);
  if (!set.pieces.ensure(c.allocator,
                         bytes + sizeof(Piece) <= set.pieces.bytes ? bytes + sizeof(Piece)
                                                                   : 2 * bytes + 16 * sizeof(Piece),
                         bytes)) {
    return false;
  }
  static_cast<Piece*>(set.pieces.data)[set.num_pieces++] = piece;
  return true;
}

// Graphs are an advantage only: where the driver makes none, steps run one by one.
void give_up(gcomp_context& c) {
  c.device->graphs = false;
  c.device->set = nullptr;
  c.message[0] = 0;
}

}  // namespace

bool make_graphs(gcomp_context& c) {
  Device& d = *c.device;
  d.graphs = c.trace == nullptr && !d.one_by_one && c.plan->segments.count == 1 && allows_graphs(c);
  return !d.graphs || list_buffers(c);
}

void close_graphs(gcomp_context& c) {
  Device& d = *c.device;
  for (GraphSet& set : d.sets) {
    clear(c, set);
    c.allocator.put(set.addresses);
    c.allocator.put(set.scalars);
    c.allocator.put(set.pieces.data);
  }
  c.allocator.put(d.device_buffers);
}

void choose_graphs(gcomp_context& c) {
  Device& d = *c.device;
  d.set = nullptr;
  d.next_piece = 0;
  if (!d.graphs) return;
  GraphSet* least = &d.sets[0];
  for (GraphSet& set : d.sets) {
    if (is_for_this_run(c, set)) {
      set.used_at = ++c.clock;
      d.capture = !set.captured;
      set.captured = true;
      d.set = &set;
      return;
    }
    if (set.used_at < least->used_at) least = &set;
  }
  if (least->num_pieces != 0) d.driver->stream_wait(d.stream);  // they may still be under way
  clear(c, *least);
  if (!remember(c, *least)) d.graphs = false;
}

const uint32_t* launch_piece(gcomp_context& c, const uint32_t* w, gcomp_status* status) {
  Device& d = *c.device;
  GraphSet& set = *d.set;
  const uint32_t* const steps = table<uint32_t>(*c.plan, c.plan->steps);
  const auto begin = static_cast<uint32_t>(w - steps);
  if (d.capture) {
    const uint32_t* const end = end_of_piece(c, w);
    if (end == w) return nullptr;
    Piece piece = {begin, static_cast<uint32_t>(end - steps), nullptr};
    if (!record(c, w, end, &piece.exec)) {
      give_up(c);
      return nullptr;
    }
    if (!add_piece(c, set, piece)) {
      d.driver->graph_exec_destroy(piece.exec);
      give_up(c);
      return nullptr;
    }
  }
  if (d.next_piece == set.num_pieces) return nullptr;
  const Piece& piece = static_cast<const Piece*>(set.pieces.data)[d.next_piece];
  if (piece.begin != begin) return nullptr;
  ++d.next_piece;
  *status = check(c, d.driver->graph_launch(piece.exec, d.stream), "cuGraphLaunch");
  return steps + piece.end;
}

}  // namespace gcomp::rt::cuda
