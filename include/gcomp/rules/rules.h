#pragma once
// The rule base: tables only, one file an op family in lib/rules.

#include <span>
#include <string>

#include "gcomp/rewrite/rule.h"

namespace gcomp::rules {

// Every rule, in table order: of those that match a node the first is applied.
std::span<const rewrite::Rule> all();

// The tags rows may carry.
std::span<const std::string> known_tags();

}  // namespace gcomp::rules
