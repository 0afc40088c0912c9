#pragma once
// The tables, and what several of them use. A row's tags say in which sweeps it takes part.

#include <optional>
#include <vector>

#include "gcomp/rewrite/generate.h"
#include "gcomp/rewrite/rule.h"

namespace gcomp::rules {

using namespace gcomp::rewrite;  // NOLINT: the tables are written in this vocabulary

std::vector<Rule> arithmetic_rules();
std::vector<Rule> power_rules();
std::vector<Rule> compare_rules();
std::vector<Rule> logic_rules();
std::vector<Rule> cast_rules();
std::vector<Rule> layout_rules();
std::vector<Rule> broadcast_rules();
std::vector<Rule> slice_rules();
std::vector<Rule> slice_rise_rules();
std::vector<Rule> block_rules();
std::vector<Rule> indexed_rules();
std::vector<Rule> control_rules();
std::vector<Rule> shape_rules();
std::vector<Rule> reduce_rules();
std::vector<Rule> order_rules();
std::vector<Rule> inverse_rules();
std::vector<Rule> cross_entropy_rules();
std::vector<Rule> stabilize_rules();
std::vector<Rule> specialize_rules();
std::vector<Rule> contract_rules();
std::vector<Rule> one_hot_rules();

// Always an improvement: in every sweep and from fast_compile on.
std::vector<Rule> everywhere(std::vector<Rule> rules);
// In one sweep, from fast_run on.
std::vector<Rule> only_in(const std::string& sweep, std::vector<Rule> rules);

// ---- conditions ----
// The value has no element that is -0.0; every element is >= 0 (-0.0 too) or NaN. A few nodes are looked at.
bool never_negative_zero(const Match& m, ValueId v);
bool never_negative(const Match& m, ValueId v);
// Every element is NaN or stands for a number > 0, though it may have underflown or overflown.
bool mathematically_positive(const Match& m, ValueId v);
bool provably_at_least(const DimTable& dims, DimId d, int64_t least);
// At most one reader (in the old graph: for sweeps over graphs that were swept before).
bool used_once(const Match& m, std::string_view name);
std::vector<Op> elementwise_ops();
// The condition "the splat bound to `name` satisfies `test`".
Condition scalar_is(std::string name, bool (*test)(double));
bool is_power_of_two(double v);  // of any sign, with a normal reciprocal

// A splat of the type of `like`.
ValueId splat_like(Emitter& emit, ValueId like, double v);

}  // namespace gcomp::rules
