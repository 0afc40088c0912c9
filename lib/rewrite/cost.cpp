#include "gcomp/rewrite/cost.h"

#include <algorithm>
#include <vector>

namespace gcomp::rewrite {
namespace {

constexpr int64_t kSymbolicExtent = 3;

// Of a node, whatever its size: an index map, a loop, a product of matrices.
constexpr uint64_t kMapNode = 1, kLoopNode = 4, kProductNode = 20;

constexpr uint32_t kMove = 0;       // index maps, for the most part
constexpr uint32_t kCopy = 2;       // moves that are not only index maps
constexpr uint32_t kSimple = 4;     // a machine instruction
constexpr uint32_t kDivide = 16;    // division, square root
constexpr uint32_t kFunction = 40;  // exp, log, ...: a polynomial
constexpr uint32_t kSpecial = 90;   // erf, lgamma, pow, ...
constexpr uint32_t kOrder = 60;     // sorting: comparisons an element

int64_t elements(const DimTable& dims, const Type& t) {
  const std::vector<int64_t> sizes(dims.num_symbols(), kSymbolicExtent);
  int64_t n = 1;
  for (DimId d : t.dims) n *= std::max<int64_t>(dims.evaluate(d, sizes), 0);
  return n;
}

// How many times cost(op) a node costs.
int64_t work(const Graph& g, const Node& n) {
  const DimTable& dims = g.context().dims;
  const auto operands = g.operands(n);
  int64_t most = 0;
  for (int k = 0; k < n.num_results; ++k) {
    most = std::max(most, elements(dims, g.type(ValueId(n.first_result.index + k))));
  }
  if (has_trait(n.op, kReduction) && !operands.empty()) {
    return std::max(most, elements(dims, g.type(operands[0])));
  }
  switch (n.op) {
    case Op::matmul: {  // a term for each element of a and column of the result
      const Type& t = g.type(n.first_result);
      const int64_t columns = elements(dims, {t.dtype, {t.dims.back()}});
      return std::max(most, elements(dims, g.type(operands[0])) * columns);
    }
    case Op::conv:
    case Op::conv_transpose: {  // for each element of the result and of a filter
      const Type& w = g.type(operands[1]);
      const int64_t filters = std::max<int64_t>(elements(dims, {w.dtype, {w.dims[0]}}), 1);
      return most * std::max<int64_t>(elements(dims, w) / filters, 1);
    }
    default: return most;
  }
}

}  // namespace

uint32_t cost(Op op) {
  switch (op) {
    case Op::input:
    case Op::constant:
    case Op::bind_dims:
    case Op::dims:
    case Op::specify_shape: return 0;
    case Op::concat:
    case Op::pad:
    case Op::gather:
    case Op::gather_elements:
    case Op::gather_nd:
    case Op::scatter_elements:
    case Op::scatter_nd: return kCopy;
    case Op::div:
    case Op::sqrt: return kDivide;
    case Op::floor_div:
    case Op::mod:
    case Op::rem: return 2 * kDivide;
    case Op::exp:
    case Op::exp2:
    case Op::expm1:
    case Op::log:
    case Op::log2:
    case Op::log10:
    case Op::log1p:
    case Op::sin:
    case Op::cos:
    case Op::tanh:
    case Op::sigmoid: return kFunction;
    case Op::pow:
    case Op::tan:
    case Op::asin:
    case Op::acos:
    case Op::atan:
    case Op::atan2:
    case Op::sinh:
    case Op::cosh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh:
    case Op::erf:
    case Op::erfc:
    case Op::erfcx:
    case Op::erfinv:
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma:
    case Op::softplus:
    case Op::log1mexp: return kSpecial;
    case Op::sort:
    case Op::top_k: return kOrder;
    default: return has_trait(op, kLayout) ? kMove : kSimple;
  }
}

namespace {

uint64_t node_cost(Op op) {
  if (has_trait(op, kLayout)) return kMapNode;
  return op == Op::matmul || op == Op::conv || op == Op::conv_transpose ? kProductNode : kLoopNode;
}

// Without its bodies, which are added to `graphs`.
uint64_t cost_of_nodes(const Graph& graph, std::vector<const Graph*>* graphs) {
  std::vector<bool> live(graph.num_nodes()), constant(graph.num_nodes());
  for (const Port& p : graph.outputs()) live[graph.producer(p.value).index] = true;
  for (size_t i = graph.num_nodes(); i-- > 0;) {
    if (!live[i]) continue;
    for (ValueId v : graph.operands(graph.nodes()[i])) live[graph.producer(v).index] = true;
  }
  uint64_t total = 0;
  for (size_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.nodes()[i];
    const auto operands = graph.operands(n);
    // The broadcast of a constant is a parameter of whoever reads it.
    constant[i] = n.op == Op::constant ||
                  (n.op == Op::broadcast && constant[graph.producer(operands[0]).index]);
    if (!live[i] || constant[i] || has_trait(n.op, kSource)) continue;
    total +=
        node_cost(n.op) + static_cast<uint64_t>(cost(n.op)) * static_cast<uint64_t>(work(graph, n));
    if (!has_trait(n.op, kHasBody)) continue;
    for (GraphId body : graph.attrs(n).graphs(AttrKey::bodies)) {
      graphs->push_back(&graph.context().graph(body));
    }
  }
  return total;
}

}  // namespace

uint64_t cost(const Graph& graph) {
  std::vector<const Graph*> graphs{&graph};
  uint64_t total = 0;
  for (size_t i = 0; i < graphs.size(); ++i) total += cost_of_nodes(*graphs[i], &graphs);
  return total;
}

}  // namespace gcomp::rewrite
