#include "gcomp/driver/specialize.h"

#include <algorithm>

#include "gcomp/ir/states.h"
#include "gcomp/ir/substitute.h"
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
      usage_error(Code::kUnknownExtent, "no input has an extent named '" + symbol + "'", "--dim",
                  near.empty() ? "" : "did you mean '" + near + "'?");
    }
    replacement[table.as_symbol(table.symbol(symbol))->index] = table.constant(extent);
  }
  return replacement;
}

}  // namespace

std::unique_ptr<Graph> specialize(const Graph& graph, const std::map<std::string, int64_t>& dims) {
  auto specialized = substitute(graph, make_replacement(graph, dims));
  if (const auto problem = check_states(*specialized)) {
    usage_error(Code::kUnknownExtent, problem->what, "--dim", problem->advice);
  }
  return specialized;
}

}  // namespace gcomp::driver
