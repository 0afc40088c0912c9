#include "frame.h"

#include <algorithm>
#include <chrono>

#include "gcomp/support/error.h"

namespace gcomp::lower {
namespace {

// Bodies are written once for each node that runs them: a few nodes could stand for any number.
constexpr size_t kMaxNodes = 20'000'000;

bool mentions(const Graph& graph, const Node& n, const std::vector<SymbolId>& symbols) {
  if (symbols.empty()) return false;
  const DimTable& dims = graph.context().dims;
  std::vector<SymbolId> found;
  const auto collect = [&](const std::vector<DimId>& list) {
    for (DimId d : list) dims.collect_symbols(d, &found);
  };
  for (uint32_t r = 0; r < n.num_results; ++r) {
    collect(graph.type(ValueId(n.first_result.index + r)).dims);
  }
  for (const Attr& a : graph.attrs(n)) {
    if (const auto* list = std::get_if<std::vector<DimId>>(&a.value)) collect(*list);
  }
  return std::ranges::any_of(
      found, [&](SymbolId s) { return std::ranges::find(symbols, s) != symbols.end(); });
}

// Nodes that depend on nothing that changes, and compute something. An input's extents may be mentioned
// without it as operand.
std::vector<bool> find_early(const Graph& graph, const Turns& turns) {
  std::vector<bool> same(graph.num_nodes(), false), early(graph.num_nodes(), false);
  if (turns.fixed.empty()) return early;
  for (size_t i = 0; i < turns.fixed.size(); ++i) {
    same[graph.producer(graph.inputs()[i].value).index] = turns.fixed[i];
  }
  for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.node(NodeId(i));
    if (n.op == Op::input) continue;
    if (has_trait(n.op, kEffect) || has_trait(n.op, kDefinesDims)) continue;
    if (mentions(graph, n, turns.varying)) continue;
    same[i] = std::ranges::all_of(graph.operands(n),
                                  [&](ValueId v) { return same[graph.producer(v).index]; });
    early[i] = same[i] && n.op != Op::constant;
  }
  return early;
}

schedule::Groups make_groups(const Graph& graph, ModuleState& state, const std::vector<bool>& early,
                             const Places& places) {
  state.num_nodes += graph.num_nodes() + 1;
  if (state.num_nodes > kMaxNodes) {
    graph_error(Code::kTooLarge,
                "with its nested graphs written out for each use, the graph has more than " +
                    std::to_string(kMaxNodes) + " nodes",
                "", "cond and loop nodes share bodies that share bodies");
  }
  schedule::FusionOptions options = state.fusion;
  options.early = early;
  options.devices = places.devices;
  options.explain = state.options.trace;
  const auto begin = std::chrono::steady_clock::now();
  schedule::Groups groups = schedule::fuse(graph, options);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  state.module->stats.fusion_seconds += taken.count();
  return groups;
}

Places places_in_module(const Graph& graph, const ModuleState& state) {
  if (state.options.placement.empty()) return {};
  const std::vector<Device> inputs(graph.inputs().size(), Device::kHost);
  return {state.options.placement, state.homes.of(graph, inputs)};
}

Places places_in_body(const Graph& body, PlanWriter& outer, NodeId node,
                      std::span<const Device> inputs) {
  const ModuleState& state = outer.state();
  const auto found = state.options.body_placement.find(&body);
  if (outer.device_of(node) == Device::kHost || found == state.options.body_placement.end()) {
    return {};
  }
  return {found->second, state.homes.of(body, inputs)};
}

}  // namespace

Frame::Frame(const Graph& module_graph, ModuleState& state)
    : source_(module_graph),
      symbols_(module_graph.context().dims, true),
      places_(places_in_module(module_graph, state)),
      groups_(make_groups(source_, state, {}, places_)),
      writer_(source_, source_, groups_, places_, state) {
  check_supported();
}

Frame::Frame(const Graph& body, SymbolMap symbols, const Turns& turns, PlanWriter& outer,
             NodeId node, std::span<const Device> inputs)
    : source_(body),
      symbols_(std::move(symbols)),
      copy_(instantiate(body, symbols_)),
      early_(find_early(*copy_, turns)),
      places_(places_in_body(body, outer, node, inputs)),
      groups_(make_groups(*copy_, outer.state(), early_, places_)),
      writer_(source_, *copy_, groups_, places_, outer.state(), &outer, &early_) {
  check_supported();
}

void Frame::check_supported() const {
  Diagnostics errors;
  for (const schedule::Group& g : groups_.groups) {
    const Node& n = graph().node(g.nodes[0]);
    if (g.kind == schedule::GroupKind::kNest || has_trait(n.op, kHasBody)) continue;
    if (lowering_of(n.op) != nullptr) continue;
    errors.error({"op '" + std::string(name(n.op)) + "' cannot be compiled yet",
                  graph().context().locs[n.loc], "", Code::kUnsupported});
  }
  errors.checkpoint(ExitCode::kGraph);
}

bool Frame::place_output(size_t i, MemoryId m, bool reserve) {
  const ValueId root = output_root(i);
  const Op op = graph().producer_node(root).op;
  if (op == Op::input || op == Op::constant || writer_.is_assigned(root)) return false;
  if (is_early(i)) return false;                   // not written in each turn
  if (reserve && op == Op::nonzero) return false;  // learns its extents in between
  if (writer_.num_bytes(root) != writer_.num_bytes(output(i))) return false;
  if (writer_.memory(m).device != writer_.home_of(root)) return false;
  writer_.set_memory(root, m, reserve);
  return true;
}

// Whether a group other than `group` reads the input after it, through index maps too.
bool Frame::is_read_from(ValueId input, uint32_t group) const {
  const Graph& g = graph();
  std::vector<bool> holds(g.num_values(), false);  // the input, or index maps of it
  for (uint32_t i = 0; i < g.num_nodes(); ++i) {
    const Node& n = g.node(NodeId(i));
    if (n.first_result == input) holds[input.index] = true;
    const bool reads =
        std::ranges::any_of(g.operands(n), [&](ValueId v) { return holds[v.index]; });
    if (!reads) continue;
    const uint32_t reader = groups_.group_of[i];
    if (reader != schedule::kNoGroup && reader > group) return true;
    if (reader != schedule::kNoGroup) continue;
    for (uint32_t r = 0; r < n.num_results; ++r) holds[n.first_result.index + r] = true;
  }
  return std::ranges::any_of(g.outputs(), [&](const Port& p) { return holds[p.value.index]; });
}

bool Frame::updates_input(size_t i, size_t input) const {
  const ValueId root = output_root(i), x = graph().inputs()[input].value;
  const Node& n = graph().producer_node(root);
  if ((n.op != Op::scatter_nd && n.op != Op::scatter_elements) || is_early(i)) return false;
  if (graph().type_id(root) != graph().type_id(x) ||
      graph().type_id(root) != graph().type_id(output(i))) {
    return false;
  }
  const auto operands = graph().operands(n);
  if (groups_.storage[operands[0].index] != x) return false;
  const bool again = std::ranges::any_of(operands.subspan(1),
                                         [&](ValueId v) { return groups_.storage[v.index] == x; });
  return !again && !is_read_from(x, groups_.group_of[graph().producer(root).index]);
}

std::optional<bool> known_truth(const Graph& graph, ValueId v) {
  const Constant* c = graph.constant(v);
  if (c == nullptr || c->bytes.size() != 1) return std::nullopt;
  return c->bytes[0] != std::byte{0};
}

std::optional<DimId> known_extent(const Graph& graph, ValueId v) {
  DimTable& dims = graph.context().dims;
  for (;;) {
    const Node& n = graph.producer_node(v);
    switch (n.op) {
      case Op::constant: {
        const Constant& c = *graph.constant(v);
        if (c.dtype != DType::kInt64 || c.bytes.size() != 8) return std::nullopt;
        return dims.constant(c.as_int(0));
      }
      case Op::dims: {
        const std::vector<DimId>& values = graph.attrs(n).dims(AttrKey::values);
        return values.size() == 1 ? std::optional(values[0]) : std::nullopt;
      }
      case Op::reshape:
      case Op::specify_shape: v = graph.operands(n)[0]; continue;
      default: return std::nullopt;
    }
  }
}

}  // namespace gcomp::lower
