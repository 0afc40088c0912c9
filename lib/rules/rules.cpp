#include "gcomp/rules/rules.h"

#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

std::vector<Rule> make_all() {
  std::vector<Rule> rules;
  for (auto* table : {shape_rules, arithmetic_rules, power_rules, compare_rules, logic_rules,
                      cast_rules, layout_rules, broadcast_rules, slice_rules, slice_rise_rules,
                      block_rules, indexed_rules, control_rules, reduce_rules, order_rules,
                      stabilize_rules, specialize_rules, contract_rules, one_hot_rules}) {
    for (Rule& r : table()) rules.push_back(std::move(r));
  }
  return rules;
}

}  // namespace

std::span<const Rule> all() {
  static const std::vector<Rule> kRules = make_all();
  return kRules;
}

std::span<const std::string> known_tags() {
  // In every sweep, or in one; levels; free tags.
  static const std::vector<std::string> kTags = {
      "basic", "stabilize", "specialize",   "fast_compile", "fast_run",
      "shape", "contract",  "canonicalize", "unsafe",       "slow"};
  return kTags;
}

std::vector<Rule> everywhere(std::vector<Rule> rules) {
  return tagged({"basic", "fast_compile", "fast_run"}, std::move(rules));
}

std::vector<Rule> only_in(const std::string& sweep, std::vector<Rule> rules) {
  return tagged({sweep, "fast_run"}, std::move(rules));
}

bool never_negative(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  if (const auto splat = m.facts().splat(v))
    return !(splat->real < 0) && !std::signbit(splat->real);
  const Node& n = g.producer_node(v);
  switch (n.op) {
    case Op::exp:
    case Op::exp2:
    case Op::sigmoid:
    case Op::softplus:
    case Op::cosh:
    case Op::erfc:
    case Op::erfcx:
    case Op::acos: return true;
    case Op::abs:  // the least integer is its own absolute value
      return is_float(g.type(v).dtype) || is_unsigned_int(g.type(v).dtype);
    case Op::mul:  // a square
      return is_float(g.type(v).dtype) && g.operands(n)[0] == g.operands(n)[1];
    case Op::cast: {
      const DType from = g.type(g.operands(n)[0]).dtype;
      return from == DType::kBool || (kUnsignedInts & mask_of(from) && is_float(g.type(v).dtype));
    }
    default: return is_unsigned_int(g.type(v).dtype) || g.type(v).dtype == DType::kBool;
  }
}

bool never_negative_zero(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  if (!is_float(g.type(v).dtype)) return true;
  if (const auto splat = m.facts().splat(v)) return splat->real != 0 || !std::signbit(splat->real);
  const Node& n = g.producer_node(v);
  // A sum is -0.0 only if both its operands are.
  if (n.op == Op::add) {
    const auto splat = m.facts().splat(g.operands(n)[1]);
    return splat && !splat->equals(-0.0);
  }
  if (n.op == Op::cast) return !is_float(g.type(g.operands(n)[0]).dtype);
  return never_negative(m, v);
}

bool provably_at_least(const DimTable& dims, DimId d, int64_t least) {
  const auto lo = dims.lower_bound(d);
  return lo && *lo >= least;
}

bool used_once(const Match& m, std::string_view name) { return m.facts().uses(m[name]) <= 1; }

std::vector<Op> elementwise_ops() {
  std::vector<Op> ops;
  for (const OpInfo& row : all_ops()) {
    if (row.traits & kElementwise) ops.push_back(row.op);
  }
  return ops;
}

Condition scalar_is(std::string name, bool (*test)(double)) {
  return [name = std::move(name), test](const Match& m) { return test(m.scalar(name)); };
}

bool is_power_of_two(double v) {
  int exponent = 0;
  const double mantissa = std::frexp(std::fabs(v), &exponent);
  // Within what float16 reaches with its reciprocal, so that the test holds for every dtype.
  return mantissa == 0.5 && exponent > -13 && exponent < 14;
}

ValueId splat_like(Emitter& emit, ValueId like, double v) {
  const Type t = emit.type(like);
  return emit.full(t, v);
}

}  // namespace gcomp::rules
