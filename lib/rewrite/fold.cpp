#include "fold.h"

#include <algorithm>
#include <vector>

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

// Results up to this size are computed although all operands are broadcasts of smaller constants, where
// that saves arithmetic of every call: tables of a few thousand elements, as sin(t * frequencies).
constexpr double kSpreadAllowance = 64 << 10;

// The axes of a constant or of a broadcast of one along which it varies.
std::vector<int64_t> varying_axes(const Facts& facts, ValueId v) {
  const Graph& g = facts.graph();
  const Constant& source = *facts.constant_source(v);
  const Node& producer = g.producer_node(v);
  std::vector<int64_t> axes;
  for (size_t i = 0; i < source.shape.size(); ++i) {
    if (source.shape[i] == 1) continue;
    const bool spread = producer.op == Op::broadcast;
    axes.push_back(spread ? g.attrs(producer).ints(AttrKey::axes)[i] : static_cast<int64_t>(i));
  }
  return axes;
}

// Whether the result of an op on broadcasts of constants is no mere broadcast itself: operands that
// vary along different axes, or a reshape, behind which the broadcast could not be seen.
bool spreads(const Facts& facts, const Node& n) {
  const auto operands = facts.graph().operands(n);
  if (n.op == Op::reshape) return !varying_axes(facts, operands[0]).empty();
  if (!has_trait(n.op, kElementwise)) return false;
  std::vector<int64_t> first;
  for (ValueId v : operands) {
    std::vector<int64_t> axes = varying_axes(facts, v);
    if (axes.empty()) continue;
    if (first.empty()) {
      first = std::move(axes);
    } else if (axes != first) {
      return true;
    }
  }
  return false;
}

// A block of one number amid another, as masks of set_subtensor are: an index map that rules see through.
bool is_block(const Facts& facts, const Node& n) {
  if (n.op != Op::pad) return false;
  const ValueId v = facts.graph().operands(n)[0];
  return facts.graph().producer_node(v).op == Op::broadcast && varying_axes(facts, v).empty();
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
  if (is_block(facts, n)) return std::nullopt;
  const bool spread = !plain && spreads(facts, n);
  if (!plain && !spread) return std::nullopt;
  double result_bytes = 0, result_elements = 0;
  for (int k = 0; k < n.num_results; ++k) {
    const Type& t = g.type(g.result(id, k));
    const auto elements = static_elements(dims, t);
    if (!elements) return std::nullopt;
    result_elements += *elements;
    result_bytes += *elements * static_cast<double>(byte_size(t.dtype));
  }
  const double allowed =
      spread ? kSpreadAllowance
             : std::max(kMaxFoldGrowth * operand_bytes, static_cast<double>(kFoldAllowance));
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
