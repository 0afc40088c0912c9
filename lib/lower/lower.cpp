#include "gcomp/lower/lower.h"

#include <algorithm>
#include <set>

#include "frame.h"
#include "gcomp/ir/states.h"
#include "gcomp/support/error.h"

namespace gcomp::lower {
namespace {

// The symbols of every extent of `values`.
std::set<uint32_t> symbols_in(const Graph& graph, std::span<const ValueId> values) {
  std::vector<SymbolId> found;
  for (ValueId v : values) {
    for (DimId d : graph.type(v).dims) graph.context().dims.collect_symbols(d, &found);
  }
  std::set<uint32_t> symbols;
  for (SymbolId s : found) symbols.insert(s.index);
  return symbols;
}

// Outputs that a group computes are written in place; the others (inputs, constants, a value that is
// two outputs, one whose extents are computed after its elements) are copied at the end.
struct OutputCopies {
  std::vector<std::pair<uint32_t, ValueId>> copies;
};

OutputCopies place_outputs(PlanWriter& w) {
  const Graph& graph = w.graph();
  std::vector<ValueId> inputs;
  for (const Port& p : graph.inputs()) inputs.push_back(p.value);
  const std::set<uint32_t> known = symbols_in(graph, inputs);
  // An output's memory is there once all its extents are bound, as those of the value computed are.
  const auto is_late = [&](ValueId v, ValueId root) {
    const std::set<uint32_t> bound = symbols_in(graph, {&root, 1}),
                             wanted = symbols_in(graph, {&v, 1});
    return std::ranges::any_of(
        wanted, [&](uint32_t s) { return !known.contains(s) && !bound.contains(s); });
  };
  OutputCopies result;
  std::vector<bool> taken(graph.num_values(), false);
  for (uint32_t i = 0; i < graph.outputs().size(); ++i) {
    if (w.state().module->unwritten[i]) continue;
    const ValueId v = graph.outputs()[i].value;
    const ValueId root = w.groups().storage[v.index];
    const Op op = graph.producer_node(root).op;
    // Of another size only if a run's extents are not what they must be: not compared yet.
    const bool unsure = w.num_bytes(v) != w.num_bytes(root) && !has_trait(op, kHasBody);
    if (op == Op::input || op == Op::constant || taken[root.index] || unsure || is_late(v, root)) {
      result.copies.emplace_back(i, v);
      continue;
    }
    taken[root.index] = true;
    w.set_memory(v, w.add_memory({.kind = Memory::Kind::kOutput,
                                  .index = i,
                                  .dtype = graph.type(v).dtype,
                                  .bytes = w.num_bytes(v),
                                  .offset = {},
                                  .device = w.home_of(v)}));
  }
  return result;
}

// The extents that index maps demand which outputs alone read.
void require_outputs(PlanWriter& w) {
  std::vector<NodeId> last;
  for (const Port& p : w.graph().outputs()) {
    const NodeId n = w.graph().producer(p.value);
    if (w.groups().group_of[n.index] == schedule::kNoGroup) last.push_back(n);
  }
  w.require_extents(last);
}

// The graph and all that are nested in it: bodies begun and not ended are on a stack.
void write_graphs(Frame& module_frame) {
  std::vector<std::unique_ptr<Frame>> bodies;
  std::unique_ptr<Frame> finished;
  for (;;) {
    Frame& top = bodies.empty() ? module_frame : *bodies.back();
    if (!top.control) {
      const std::optional<NodeId> node = top.writer().write_groups();
      if (!node) {
        require_outputs(top.writer());
        if (bodies.empty()) return;
        finished = std::move(bodies.back());
        bodies.pop_back();
        continue;
      }
      const bool branches = top.graph().node(*node).op == Op::cond;
      top.control = branches ? make_cond(top, *node) : make_loop(top, *node);
    }
    std::unique_ptr<Frame> body = top.control->next(finished.get());
    finished.reset();
    if (body) {
      bodies.push_back(std::move(body));
    } else {
      top.control.reset();
    }
  }
}

void write_steps(const Graph& graph, ModuleState& state) {
  Frame frame(graph, state);
  PlanWriter& w = frame.writer();
  for (uint32_t i = 0; i < graph.inputs().size(); ++i) {
    const ValueId v = graph.inputs()[i].value;
    w.set_memory(v, w.add_memory({.kind = Memory::Kind::kInput,
                                  .index = i,
                                  .dtype = graph.type(v).dtype,
                                  .bytes = w.num_bytes(v),
                                  .offset = {}}));
  }
  const OutputCopies copies = place_outputs(w);
  write_graphs(frame);
  for (const auto& [i, v] : copies.copies) {
    const Device device = w.home_of(v);
    const MemoryId to = w.add_memory({.kind = Memory::Kind::kOutput,
                                      .index = i,
                                      .dtype = graph.type(v).dtype,
                                      .bytes = w.num_bytes(v),
                                      .offset = {},
                                      .device = device});
    w.copy(to, w.memory_on(v, device), w.num_bytes(v));
  }
  state.insert_copies();
}

}  // namespace

GroupLowering lowering_of(Op op) {
  switch (op) {
    case Op::matmul:
    case Op::conv: return lower_contraction;
    case Op::conv_transpose: return lower_conv_transpose;
    case Op::window_max:
    case Op::window_sum:
    case Op::window_argmax: return lower_window;
    case Op::cumsum:
    case Op::cumprod: return lower_scan;
    case Op::concat: return lower_concat;
    case Op::gather_elements: return lower_gather_elements;
    case Op::gather_nd: return lower_gather_nd;
    case Op::scatter_elements: return lower_scatter_elements;
    case Op::scatter_nd: return lower_scatter_nd;
    case Op::sort:
    case Op::top_k: return lower_sort;
    case Op::nonzero: return lower_nonzero;
    case Op::bind_dims: return lower_bind_dims;
    case Op::check: return lower_check;
    default: return nullptr;
  }
}

Pieces count_pieces(const LoweredModule& module) {
  constexpr uint32_t kNone = 0xffffffffu, kSeveral = 0xfffffffeu;
  std::vector<uint32_t> group(module.memory.size(), kNone);  // per memory: who mentions it
  for (const Step& s : module.steps) {
    for (MemoryId m : s.memory) {
      while (m.valid()) {
        uint32_t& g = group[m.index];
        g = g == kNone || g == s.group ? s.group : kSeveral;
        const Memory& memory = module.memory[m.index];
        m = memory.kind == Memory::Kind::kView ? MemoryId(memory.index) : MemoryId();
      }
    }
  }
  Pieces pieces;
  for (size_t i = 0; i < group.size(); ++i) {
    if (group[i] == kNone) continue;
    const Memory::Kind kind = module.memory[i].kind;
    const bool temporary = kind == Memory::Kind::kTemporary;
    pieces.values += kind == Memory::Kind::kOutput || (temporary && group[i] == kSeveral);
    pieces.workspaces += temporary && group[i] != kSeveral;
  }
  return pieces;
}

namespace {

void check_placement(const Graph& graph, const std::vector<Device>& placement) {
  GCOMP_CHECK(placement.size() == graph.num_nodes(), "lower: a placement of another graph");
  for (uint32_t i = 0; i < placement.size(); ++i) {
    if (placement[i] == Device::kHost) continue;
    const std::string_view obstacle = cuda_obstacle(graph, NodeId(i));
    GCOMP_CHECK(obstacle.empty(), "lower: " + std::string(name(graph.node(NodeId(i)).op)) +
                                      " is on the GPU, but " + std::string(obstacle));
  }
}

}  // namespace

LoweredModule lower(const Graph& graph, const LowerOptions& options) {
  Homes homes;
  if (!options.placement.empty()) {
    check_placement(graph, options.placement);
    for (const auto& [body, devices] : options.body_placement) check_placement(*body, devices);
    homes.add_all(graph, options.placement, options.body_placement);
  }
  LoweredModule module;
  module.graph = &graph;
  // Each try makes kernels that more groups can share.
  for (int attempt = 0;; ++attempt) {
    module = LoweredModule();
    module.graph = &graph;
    module.unwritten = unwritten_outputs(graph);
    module.overwritten_states.assign(graph.states().size(), false);
    ModuleState state{.module = &module, .options = options, .homes = homes};
    state.fusion.fuse = options.fuse && attempt < 2;
    state.target = {.vector_bytes = options.vector_bytes,
                    .vector_registers = options.vector_registers,
                    .fma = options.fma,
                    .static_extents = options.static_extents && attempt < 1};
    state.cuda_target = state.target;
    state.cuda_target.cuda = true;
    state.cuda_target.cuda_blocks = options.cuda_blocks;
    state.cuda_target.matrix_units = options.cuda_matrix_units;
    state.cuda_target.tf32 = options.cuda_tf32;
    state.cuda_target.vector_bytes = 1;
    write_steps(graph, state);
    module.stats.distinct_kernels = module.kernels.size();
    if (module.kernels.size() <= options.max_kernels || attempt == 2) return module;
  }
}

}  // namespace gcomp::lower
