#pragma once
// The rule base: tables only, one file an op family in lib/rules.

#include <span>
#include <string>

#include "gcomp/rewrite/lint.h"

namespace gcomp::rules {

// Every rule, in table order: of those that match a node the first is applied.
std::span<const rewrite::Rule> all();

// Rows whose result may cost more than their pattern, with the reason.
std::span<const rewrite::CostException> cost_exceptions();

// The tags rows may carry.
std::span<const std::string> known_tags();

}  // namespace gcomp::rules
