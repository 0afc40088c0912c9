#pragma once
// Matching one compiled pattern at one node, and building a result template. Internal to the engine.

#include <array>
#include <span>

#include "gcomp/rewrite/rule.h"

namespace gcomp::rewrite {

inline constexpr size_t kMaxSlots = 32;
using Bindings = std::array<ValueId, kMaxSlots>;

// Every operand order of a pattern that can occur.
std::vector<Pattern> operand_orders(const Pattern& p);

// Fills `bindings` (slot -> value); false when the pattern does not match.
bool match_pattern(const CompiledPattern& pattern, Facts& facts, NodeId root, Bindings* bindings);

// Builds a result template. Splats take the type of their siblings, at the root the root's.
ValueId build_template(const Pattern& result, const Match& match, Emitter& emit);

}  // namespace gcomp::rewrite
