// The graph is rebuilt, node for node, with substituted extents; inference then makes every other type
// follow. Bodies come before the graphs that hold them, so ids in increasing order need no recursion.

#include "gcomp/ir/substitute.h"

#include "gcomp/ir/builder.h"

namespace gcomp {
namespace {

using Replacement = std::span<const DimId>;

std::vector<DimId> substitute(DimTable& dims, std::vector<DimId> list, Replacement by) {
  for (DimId& d : list) d = dims.substitute(d, by);
  return list;
}

AttrsId substitute(Context& context, Attrs attrs, Replacement by,
                   const std::vector<GraphId>& bodies) {
  std::vector<Attr> list(attrs.begin(), attrs.end());
  for (Attr& attr : list) {
    if (auto* dims = std::get_if<std::vector<DimId>>(&attr.value)) {
      *dims = substitute(context.dims, *dims, by);
    } else if (auto* graphs = std::get_if<std::vector<GraphId>>(&attr.value)) {
      for (GraphId& g : *graphs) g = bodies[g.index];
    }
  }
  return context.attrs.intern(std::move(list));
}

std::unique_ptr<Graph> rebuild(const Graph& graph, Replacement by,
                               const std::vector<GraphId>& bodies) {
  Context& context = graph.context();
  GraphBuilder builder(context, GraphBuilder::Mode::kRaw);
  std::vector<ValueId> made(graph.num_values());
  for (const Port& port : graph.inputs()) {
    Type type = graph.type(port.value);
    type.dims = substitute(context.dims, std::move(type.dims), by);
    builder.set_loc(graph.producer_node(port.value).loc);
    made[port.value.index] = builder.input(port.name, type, port.donate);
  }
  std::vector<ValueId> operands;
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::input) continue;
    builder.set_loc(node.loc);
    operands.clear();
    for (ValueId v : graph.operands(node)) operands.push_back(made[v.index]);
    const AttrsId attrs = substitute(context, graph.attrs(node), by, bodies);
    const NodeId copy = builder.node(node.op, operands, attrs);
    for (uint32_t r = 0; r < node.num_results; ++r) {
      made[node.first_result.index + r] = builder.result(copy, static_cast<int>(r));
    }
  }
  for (const Port& port : graph.outputs()) builder.output(port.name, made[port.value.index]);
  for (const State& s : graph.states()) builder.state(s);
  return builder.finish();
}

}  // namespace

std::unique_ptr<Graph> substitute(const Graph& graph, std::span<const DimId> replacement) {
  Context& context = graph.context();
  std::vector<GraphId> bodies;
  const size_t old_bodies = context.num_graphs();
  for (uint32_t g = 0; g < old_bodies; ++g) {
    bodies.push_back(context.add_graph(rebuild(context.graph(GraphId(g)), replacement, bodies)));
  }
  return rebuild(graph, replacement, bodies);
}

}  // namespace gcomp
