#include "frame.h"

#include "gcomp/support/error.h"

namespace gcomp::lower {
namespace {

// Bodies are written once for each node that runs them: a few nodes could stand for any number.
constexpr size_t kMaxNodes = 20'000'000;

schedule::Groups make_groups(const Graph& graph, ModuleState& state) {
  state.num_nodes += graph.num_nodes() + 1;
  if (state.num_nodes > kMaxNodes) {
    throw UserError(ExitCode::kGraph,
                    {"with its nested graphs written out for each use, the graph has more than " +
                         std::to_string(kMaxNodes) + " nodes",
                     "", "cond and loop nodes share bodies that share bodies"});
  }
  return schedule::fuse(graph, state.fusion);
}

}  // namespace

Frame::Frame(const Graph& module_graph, ModuleState& state)
    : source_(module_graph),
      symbols_(module_graph.context().dims, true),
      groups_(make_groups(source_, state)),
      writer_(source_, groups_, state) {
  check_supported();
}

Frame::Frame(const Graph& body, SymbolMap symbols, ModuleState& state)
    : source_(body),
      symbols_(std::move(symbols)),
      copy_(instantiate(body, symbols_)),
      groups_(make_groups(*copy_, state)),
      writer_(*copy_, groups_, state) {
  check_supported();
}

void Frame::check_supported() const {
  Diagnostics errors;
  for (const schedule::Group& g : groups_.groups) {
    const Node& n = graph().node(g.nodes[0]);
    if (g.kind == schedule::GroupKind::kNest || has_trait(n.op, kHasBody)) continue;
    if (lowering_of(n.op) != nullptr) continue;
    errors.error({"op '" + std::string(name(n.op)) + "' cannot be compiled yet",
                  graph().context().locs[n.loc], ""});
  }
  errors.checkpoint(ExitCode::kGraph);
}

bool Frame::place_output(size_t i, MemoryId m, bool reserve) {
  const ValueId root = output_root(i);
  const Op op = graph().producer_node(root).op;
  if (op == Op::input || op == Op::constant || writer_.is_assigned(root)) return false;
  if (reserve && op == Op::nonzero) return false;  // learns its extents in between
  if (writer_.num_bytes(root) != writer_.num_bytes(output(i))) return false;
  writer_.set_memory(root, m, reserve);
  return true;
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
