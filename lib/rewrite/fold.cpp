#include "fold.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp::rewrite {
namespace {

// Elements and bytes of a static type; nullopt: symbolic, or beyond any limit.
std::optional<double> static_elements(const DimTable& dims, const Type& t) {
  double n = 1;
  for (DimId d : t.dims) {
    const auto extent = dims.constant_value(d);
    if (!extent || *extent < 0) return std::nullopt;
    n *= static_cast<double>(*extent);
  }
  return n;
}

bool foldable_op(Op op) {
  // A broadcast only grows its operand; sources have nothing to fold.
  return op != Op::broadcast && !has_trait(op, kSource | kEffect | kDefinesDims | kHasBody);
}

// The constant an operand is; broadcasts beside a plain constant are filled in.
std::optional<Constant> operand_constant(const Folder& folder, const Facts& facts, ValueId v) {
  const Graph& g = facts.graph();
  if (const Constant* c = g.constant(v)) return *c;
  if (!facts.is_constant(v)) return std::nullopt;
  const Constant* source = facts.constant_source(v);
  const Constant* operands[] = {source};
  auto filled = folder(g.context(), g, g.producer(v), operands);
  if (!filled) return std::nullopt;
  return std::move(filled->front());
}

}  // namespace

std::optional<std::vector<Constant>> fold_node(const Folder& folder, const Facts& facts,
                                               NodeId id) {
  const Graph& g = facts.graph();
  const Node& n = g.node(id);
  if (!folder || n.num_operands == 0 || !foldable_op(n.op)) return std::nullopt;
  const DimTable& dims = g.context().dims;
  bool plain = false;
  double operand_bytes = 0, operand_elements = 0;
  for (ValueId v : g.operands(n)) {
    if (!facts.is_constant(v)) return std::nullopt;
    const auto elements = static_elements(dims, g.type(v));
    if (!elements) return std::nullopt;
    const bool is_plain = g.producer_node(v).op == Op::constant;
    plain = plain || is_plain;
    operand_elements += *elements;
    if (is_plain) operand_bytes += *elements * static_cast<double>(byte_size(g.type(v).dtype));
  }
  if (!plain) return std::nullopt;
  double result_bytes = 0, result_elements = 0;
  for (int k = 0; k < n.num_results; ++k) {
    const Type& t = g.type(g.result(id, k));
    const auto elements = static_elements(dims, t);
    if (!elements) return std::nullopt;
    result_elements += *elements;
    result_bytes += *elements * static_cast<double>(byte_size(t.dtype));
  }
  const double allowed =
      std::max(kMaxFoldGrowth * operand_bytes, static_cast<double>(kFoldAllowance));
  const bool contracts = n.op == Op::matmul || n.op == Op::conv || n.op == Op::conv_transpose;
  const double work =
      contracts ? result_elements * operand_elements : result_elements + operand_elements;
  if (result_bytes > allowed || result_bytes > kMaxFoldedBytes || work > kMaxFoldWork) {
    return std::nullopt;
  }
  std::vector<Constant> constants;
  std::vector<const Constant*> pointers;
  for (ValueId v : g.operands(n)) {
    auto c = operand_constant(folder, facts, v);
    if (!c) return std::nullopt;
    constants.push_back(std::move(*c));
  }
  for (const Constant& c : constants) pointers.push_back(&c);
  return folder(g.context(), g, id, pointers);
}

}  // namespace gcomp::rewrite
