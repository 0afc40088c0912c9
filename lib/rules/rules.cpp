#include "gcomp/rules/rules.h"

#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

std::vector<Rule> make_all() {
  std::vector<Rule> rules;
  for (auto* table :
       {shape_rules,   arithmetic_rules, power_rules,         compare_rules,    logic_rules,
        cast_rules,    layout_rules,     broadcast_rules,     slice_rules,      slice_rise_rules,
        block_rules,   indexed_rules,    control_rules,       reduce_rules,     order_rules,
        inverse_rules, stabilize_rules,  cross_entropy_rules, specialize_rules, contract_rules,
        one_hot_rules}) {
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

namespace {

// What a property of a node's elements follows from: nothing known, or the same property of these operands
// (none: it holds).
using Because = std::optional<std::vector<ValueId>>;
Because from(std::initializer_list<ValueId> operands) { return std::vector<ValueId>(operands); }
const Because kKnown = std::vector<ValueId>{};
Because from(std::span<const ValueId> operands) {
  return std::vector<ValueId>(operands.begin(), operands.end());
}

// Whether the property holds, looking at a few nodes.
bool holds(const Match& m, ValueId v, Because (*because)(const Match&, ValueId)) {
  constexpr int kMaxNodes = 8;
  std::vector<ValueId> open{v};
  for (int looked_at = 0; !open.empty(); ++looked_at) {
    if (looked_at == kMaxNodes) return false;
    const Because more = because(m, open.back());
    if (!more) return false;
    open.pop_back();
    open.insert(open.end(), more->begin(), more->end());
  }
  return true;
}

// Neither negative nor -0.0, whatever the operands are.
bool always_positive(const Graph& g, ValueId v) {
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
    case Op::abs: return is_float(g.type(v).dtype);  // the least integer is its own absolute value
    case Op::mul: return is_float(g.type(v).dtype) && g.operands(n)[0] == g.operands(n)[1];
    case Op::cast: {
      const DType from = g.type(g.operands(n)[0]).dtype, to = g.type(v).dtype;
      return from == DType::kBool || (kUnsignedInts & mask_of(from) && is_float(to));
    }
    default: return false;
  }
}

// The same elements, or some of them, of the first operand.
bool moves(Op o) {
  return o == Op::broadcast || o == Op::reshape || o == Op::transpose || o == Op::slice ||
         o == Op::reverse || o == Op::gather || o == Op::specify_shape;
}

Because not_negative(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  const DType t = g.type(v).dtype;
  if (t == DType::kBool || is_unsigned_int(t) || always_positive(g, v)) return kKnown;
  if (const auto splat = m.facts().splat(v)) {
    if (splat->real < 0 || std::signbit(splat->real)) return std::nullopt;
    return kKnown;
  }
  if (moves(n.op)) return from({g.operands(n)[0]});
  switch (n.op) {
    case Op::dims: {
      const std::vector<DimId>& values = g.attrs(n).dims(AttrKey::values);
      const bool all = std::all_of(values.begin(), values.end(),
                                   [&](DimId d) { return provably_at_least(m.dims(), d, 0); });
      return all ? kKnown : std::nullopt;
    }
    case Op::sqrt: return kKnown;
    case Op::min: return from(g.operands(n));
    case Op::where: return from({g.operands(n)[1], g.operands(n)[2]});
    case Op::add:
    case Op::mul:
    case Op::div: return is_float(t) ? from(g.operands(n)) : std::nullopt;
    default: return std::nullopt;
  }
}

Because not_negative_zero(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (!is_float(g.type(v).dtype) || always_positive(g, v)) return kKnown;
  if (const auto splat = m.facts().splat(v)) {
    return splat->equals(-0.0) ? std::nullopt : kKnown;
  }
  if (moves(n.op) || n.op == Op::sqrt) return from({g.operands(n)[0]});
  switch (n.op) {
    case Op::add: {  // only if both operands are
      const auto splat = m.facts().splat(g.operands(n)[1]);
      return splat && !splat->equals(-0.0) ? kKnown : from({g.operands(n)[0]});
    }
    case Op::cast:
      if (!is_float(g.type(g.operands(n)[0]).dtype)) return kKnown;
      return from({g.operands(n)[0]});
    case Op::min:
    case Op::max: return from(g.operands(n));
    case Op::where: return from({g.operands(n)[1], g.operands(n)[2]});
    default: return std::nullopt;
  }
}

Because positive(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (const auto splat = m.facts().splat(v)) {
    return splat->real > 0 && std::isfinite(splat->real) ? kKnown : std::nullopt;
  }
  if (moves(n.op)) return from({g.operands(n)[0]});
  switch (n.op) {
    case Op::exp:
    case Op::exp2:
    case Op::sigmoid:
    case Op::softplus:
    case Op::cosh:
    case Op::erfc:
    case Op::erfcx: return kKnown;
    case Op::reduce_sum:
    case Op::gather_nd:
    case Op::gather_elements: return from({g.operands(n)[0]});
    case Op::add:
    case Op::mul:
    case Op::div: return from(g.operands(n));
    default: return std::nullopt;
  }
}

}  // namespace

bool mathematically_positive(const Match& m, ValueId v) { return holds(m, v, positive); }
bool never_negative(const Match& m, ValueId v) { return holds(m, v, not_negative); }
bool never_negative_zero(const Match& m, ValueId v) { return holds(m, v, not_negative_zero); }

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
