#include "plan_values.h"

#include <algorithm>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp::artifact {
namespace {

// False when it overflows or divides by zero: then it is left to the run, which reports it.
bool fold(rt::DimOp op, int64_t a, int64_t b, int64_t* result) {
  switch (op) {
    case rt::DimOp::kAdd: return !__builtin_add_overflow(a, b, result);
    case rt::DimOp::kMul: return !__builtin_mul_overflow(a, b, result);
    case rt::DimOp::kMin: *result = std::min(a, b); return true;
    case rt::DimOp::kMax: *result = std::max(a, b); return true;
    case rt::DimOp::kFloorDiv:
    case rt::DimOp::kMod: break;
  }
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  int64_t q = a / b;
  if (q * b != a && (a < 0) != (b < 0)) --q;
  *result = op == rt::DimOp::kFloorDiv ? q : a - q * b;
  return true;
}

}  // namespace

size_t ValueTable::KeyHash::operator()(const Key& k) const {
  return hash_combine(hash_combine(hash_mix(k.kind_and_op), k.x), k.y);
}

PlanValue ValueTable::intern(const Key& key, const Node& node) {
  const auto [at, added] = interned_.try_emplace(key, static_cast<uint32_t>(nodes_.size()));
  if (added) nodes_.push_back(node);
  return PlanValue(at->second);
}

PlanValue ValueTable::constant(int64_t v) {
  return intern({uint64_t{1} << 32, static_cast<uint64_t>(v), 0},
                {Kind::kConstant, rt::DimOp::kAdd, v, 0, 0, 0, rt::kNone});
}

PlanValue ValueTable::symbol(std::string name) {
  const auto index = static_cast<int64_t>(names_.size());
  names_.push_back(std::move(name));
  nodes_.push_back({Kind::kSymbol, rt::DimOp::kAdd, index, 0, 0, kUnbound, rt::kNone});
  return PlanValue(nodes_.size() - 1);
}

PlanValue ValueTable::op(rt::DimOp op, PlanValue a, PlanValue b) {
  GCOMP_CHECK(a.index < nodes_.size() && b.index < nodes_.size(), "no such plan value");
  int64_t folded;
  if (is_constant(a) && is_constant(b) && fold(op, constant_of(a), constant_of(b), &folded)) {
    return constant(folded);
  }
  const bool neutral_b = is_constant(b) && ((op == rt::DimOp::kAdd && constant_of(b) == 0) ||
                                            (op == rt::DimOp::kMul && constant_of(b) == 1) ||
                                            (op == rt::DimOp::kFloorDiv && constant_of(b) == 1));
  if (neutral_b) return a;
  if (is_constant(a) && ((op == rt::DimOp::kAdd && constant_of(a) == 0) ||
                         (op == rt::DimOp::kMul && constant_of(a) == 1))) {
    return b;
  }
  return intern({static_cast<uint64_t>(op), a.index, b.index},
                {Kind::kOp, op, 0, a.index, b.index, kUnbound, rt::kNone});
}

uint32_t ValueTable::symbol_segment(PlanValue symbol) const {
  GCOMP_CHECK(symbol.index < nodes_.size() && is_symbol(symbol), "not a symbol of the plan");
  return nodes_[symbol.index].segment;
}

void ValueTable::bind(PlanValue symbol, uint32_t segment) {
  GCOMP_CHECK(symbol_segment(symbol) == kUnbound, "plan symbol '" + name(symbol) + "' bound twice");
  nodes_[symbol.index].segment = segment;
  nodes_[symbol.index].number = static_cast<uint32_t>(bound_.size());
  bound_.push_back(symbol);
}

void ValueTable::number(uint32_t num_segments) {
  const auto num_symbols = static_cast<uint32_t>(bound_.size());
  for (Node& node : nodes_) {
    if (node.kind == Kind::kConstant) {
      node.number = num_symbols + static_cast<uint32_t>(constants_.size());
      constants_.push_back(node.value);
    } else if (node.kind == Kind::kOp) {
      const uint32_t a = nodes_[node.a].segment, b = nodes_[node.b].segment;
      node.segment = a == kUnbound || b == kUnbound ? kUnbound : std::max(a, b);
    }
  }
  number_instructions(num_segments);
}

// By segment, else in order of creation, which puts operands first.
void ValueTable::number_instructions(uint32_t num_segments) {
  std::vector<uint32_t> next(num_segments + 1);
  for (const Node& node : nodes_) {
    if (node.kind == Kind::kOp && node.segment != kUnbound) ++next[node.segment + 1];
  }
  for (uint32_t s = 0; s < num_segments; ++s) next[s + 1] += next[s];
  segment_ends_.assign(next.begin() + 1, next.end());
  instructions_.resize(next[num_segments]);
  const auto base = static_cast<uint32_t>(bound_.size() + constants_.size());
  for (Node& node : nodes_) {
    if (node.kind != Kind::kOp || node.segment == kUnbound) continue;
    node.number = base + next[node.segment];
    instructions_[next[node.segment]++] = {node.op, nodes_[node.a].number, nodes_[node.b].number};
  }
}

uint32_t ValueTable::number_of(PlanValue v) const {
  GCOMP_CHECK(v.index < nodes_.size(), "no such plan value");
  const Node& node = nodes_[v.index];
  GCOMP_CHECK(node.segment != kUnbound,
              "a plan value depends on a symbol that is no input's extent and never bound" +
                  (node.kind == Kind::kSymbol ? ": " + name(v) : ""));
  return node.number;
}

uint64_t ScalarTable::hash(uint32_t begin, uint32_t length) const {
  uint64_t h = hash_mix(length);
  for (uint32_t i = begin; i < begin + length; ++i) {
    h = hash_combine(h,
                     hash_combine(scalars_[i].value.index, static_cast<size_t>(scalars_[i].bits)));
  }
  return h;
}

bool ScalarTable::equal(Run a, uint32_t begin, uint32_t length) const {
  if (a.length != length) return false;
  for (uint32_t i = 0; i < length; ++i) {
    const PlanScalar &x = scalars_[a.begin + i], &y = scalars_[begin + i];
    if (x.value != y.value || x.bits != y.bits) return false;
  }
  return true;
}

// A run without symbols is stored as bits, one with symbols as values.
uint32_t ScalarTable::add(std::span<const PlanScalar> scalars, ValueTable& values) {
  const auto begin = static_cast<uint32_t>(scalars_.size());
  bool dynamic = false;
  for (const PlanScalar& s : scalars) {
    dynamic = dynamic || (s.value.valid() && !values.is_constant(s.value));
  }
  for (const PlanScalar& s : scalars) {
    if (dynamic == s.value.valid()) {
      scalars_.push_back(s);
    } else if (dynamic) {
      scalars_.push_back(values.constant(s.bits));
    } else {
      scalars_.push_back(values.constant_of(s.value));
    }
  }
  const auto length = static_cast<uint32_t>(scalars.size());
  const uint64_t h = hash(begin, length);
  const auto [first, last] = interned_.equal_range(h);
  for (auto it = first; it != last; ++it) {
    if (!equal(runs_[it->second], begin, length)) continue;
    scalars_.erase(scalars_.begin() + begin, scalars_.end());
    return it->second;
  }
  runs_.push_back({begin, length});
  const auto run = static_cast<uint32_t>(runs_.size() - 1);
  interned_.emplace(h, run);
  return run;
}

int ScalarTable::segment_of(Run run, const ValueTable& values) const {
  int segment = kStatic;
  for (uint32_t i = run.begin; i < run.begin + run.length; ++i) {
    if (!scalars_[i].value.valid()) continue;
    values.number_of(scalars_[i].value);  // checks that it is bound
    segment = std::max(segment, static_cast<int>(values.segment(scalars_[i].value)));
  }
  return segment;
}

void ScalarTable::place(const ValueTable& values, uint32_t num_segments) {
  std::vector<std::vector<uint32_t>> by_segment(num_segments);
  offsets_.resize(runs_.size());
  for (uint32_t r = 0; r < runs_.size(); ++r) {
    const Run run = runs_[r];
    const int segment = segment_of(run, values);
    if (segment != kStatic) {
      by_segment[static_cast<size_t>(segment)].push_back(r);
      continue;
    }
    offsets_[r] = static_cast<uint32_t>(static_.size());
    for (uint32_t i = run.begin; i < run.begin + run.length; ++i)
      static_.push_back(scalars_[i].bits);
  }
  for (const std::vector<uint32_t>& runs : by_segment) {
    for (const uint32_t r : runs) {
      offsets_[r] = static_cast<uint32_t>(static_.size() + sources_.size());
      for (uint32_t i = runs_[r].begin; i < runs_[r].begin + runs_[r].length; ++i) {
        sources_.push_back(values.number_of(scalars_[i].value));
      }
    }
    segment_ends_.push_back(static_cast<uint32_t>(sources_.size()));
  }
}

}  // namespace gcomp::artifact
