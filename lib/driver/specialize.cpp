// The graph is rebuilt, node for node, with substituted extents; inference then makes every other type
// follow. Bodies come before the graphs that hold them, so ids in increasing order need no recursion.

#include "gcomp/driver/specialize.h"

#include <algorithm>

#include "gcomp/ir/builder.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

using Replacement = std::vector<DimId>;  // per symbol; invalid: keep

std::vector<std::string> input_symbols(const Graph& graph) {
  const DimTable& dims = graph.context().dims;
  std::vector<SymbolId> symbols;
  for (const Port& port : graph.inputs()) {
    for (DimId d : graph.type(port.value).dims) dims.collect_symbols(d, &symbols);
  }
  std::vector<std::string> names;
  for (SymbolId s : symbols) names.push_back(dims.symbol_name(s));
  return names;
}

Replacement make_replacement(const Graph& graph, const std::map<std::string, int64_t>& dims) {
  const std::vector<std::string> known = input_symbols(graph);
  DimTable& table = graph.context().dims;
  Replacement replacement(table.num_symbols());
  for (const auto& [symbol, extent] : dims) {
    if (std::ranges::find(known, symbol) == known.end()) {
      const std::string near = suggest(symbol, known);
      throw UserError(ExitCode::kUsage, {"no input has an extent named '" + symbol + "'", "--dim",
                                         near.empty() ? "" : "did you mean '" + near + "'?"});
    }
    replacement[table.as_symbol(table.symbol(symbol))->index] = table.constant(extent);
  }
  return replacement;
}

std::vector<DimId> substitute(DimTable& dims, std::vector<DimId> list, const Replacement& by) {
  for (DimId& d : list) d = dims.substitute(d, by);
  return list;
}

AttrsId substitute(Context& context, Attrs attrs, const Replacement& by,
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

std::unique_ptr<Graph> rebuild(const Graph& graph, const Replacement& by,
                               const std::vector<GraphId>& bodies) {
  Context& context = graph.context();
  GraphBuilder builder(context, GraphBuilder::Mode::kRaw);
  std::vector<ValueId> made(graph.num_values());
  for (const Port& port : graph.inputs()) {
    Type type = graph.type(port.value);
    type.dims = substitute(context.dims, std::move(type.dims), by);
    builder.set_loc(graph.producer_node(port.value).loc);
    made[port.value.index] = builder.input(port.name, type);
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
  for (const Update& u : graph.updates()) builder.update(u.input, u.output);
  return builder.finish();
}

}  // namespace

std::unique_ptr<Graph> specialize(const Graph& graph, const std::map<std::string, int64_t>& dims) {
  const Replacement by = make_replacement(graph, dims);
  Context& context = graph.context();
  std::vector<GraphId> bodies;
  const size_t old_bodies = context.num_graphs();
  for (uint32_t g = 0; g < old_bodies; ++g) {
    bodies.push_back(context.add_graph(rebuild(context.graph(GraphId(g)), by, bodies)));
  }
  return rebuild(graph, by, bodies);
}

}  // namespace gcomp::driver
