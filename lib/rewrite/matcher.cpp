#include "matcher.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp::rewrite {
namespace {

bool bind(int16_t slot, ValueId v, Bindings* bindings) {
  if (slot < 0) return true;
  ValueId& bound = (*bindings)[slot];
  if (bound.valid()) return bound == v;
  bound = v;
  return true;
}

bool match_leaf(const CompiledPattern::Node& p, Facts& facts, ValueId v) {
  const Graph& g = facts.graph();
  switch (p.kind) {
    case Pattern::Kind::kVariable:
      return p.dtypes == kAllDTypes || (p.dtypes & mask_of(g.type(v).dtype)) != 0;
    case Pattern::Kind::kConstant:
      return facts.is_constant(v) && (p.dtypes & mask_of(g.type(v).dtype)) != 0;
    case Pattern::Kind::kScalar:
      return facts.splat(v).has_value() && (p.dtypes & mask_of(g.type(v).dtype)) != 0;
    case Pattern::Kind::kSplat: {
      const auto splat = facts.splat(v);
      return splat && splat->equals(p.value);
    }
    case Pattern::Kind::kOp: break;
  }
  return false;
}

bool has_op(const CompiledPattern::Node& p, Op op) { return p.ops.test(static_cast<size_t>(op)); }

// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
ValueId build(const Pattern& p, const Type& hint, const Match& match, Emitter& emit);

// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
ValueId build_node(const Pattern& p, const Type& hint, const Match& match, Emitter& emit) {
  std::vector<ValueId> operands(p.operands.size());
  // Operands with a type of their own first: a splat beside them takes that type.
  std::optional<Type> sibling;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (p.operands[i].kind == Pattern::Kind::kSplat) continue;
    operands[i] = build(p.operands[i], hint, match, emit);
    const bool condition = !p.ops.empty() && p.ops[0] == Op::where && i == 0;
    if (!condition) sibling = emit.type(operands[i]);
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    if (p.operands[i].kind != Pattern::Kind::kSplat) continue;
    operands[i] = emit.full(sibling ? *sibling : hint, p.operands[i].value);
  }
  if (p.ops.empty()) return emit.like(match.node(p.name), operands);
  return emit.value(p.ops[0], operands);
}

// Depth is that of the template, a few levels.
// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
ValueId build(const Pattern& p, const Type& hint, const Match& match, Emitter& emit) {
  switch (p.kind) {
    case Pattern::Kind::kSplat: return emit.full(hint, p.value);
    case Pattern::Kind::kOp: return build_node(p, hint, match, emit);
    default: return match[p.name];
  }
}

}  // namespace

bool match_pattern(const CompiledPattern& pattern, Facts& facts, NodeId root, Bindings* bindings) {
  const Graph& g = facts.graph();
  std::array<ValueId, kMaxSlots> values;
  values[0] = g.result(root);
  bindings->fill(ValueId());
  for (size_t i = 0; i < pattern.nodes.size(); ++i) {
    const CompiledPattern::Node& p = pattern.nodes[i];
    const ValueId v = values[i];
    if (p.kind != Pattern::Kind::kOp) {
      if (!match_leaf(p, facts, v) || !bind(p.slot, v, bindings)) return false;
      continue;
    }
    const Node& n = g.producer_node(v);
    if (!has_op(p, n.op) || (i > 0 && g.result_index(v) != p.output)) return false;
    const bool arity = p.open ? n.num_operands >= p.num_operands : n.num_operands == p.num_operands;
    if (!arity || !bind(p.slot, v, bindings)) return false;
    const auto operands = g.operands(n);
    for (size_t k = 0; k < p.num_operands; ++k) values[p.first_operand + k] = operands[k];
  }
  return true;
}

ValueId build_template(const Pattern& result, const Match& match, Emitter& emit) {
  const Type type = match.root_type();
  return build(result, type, match, emit);
}

}  // namespace gcomp::rewrite
