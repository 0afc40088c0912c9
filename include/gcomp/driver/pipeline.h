#pragma once
// The pipeline that gcomp runs: every pass, the pairs that their order rests on, every rule.

#include <string>

#include "gcomp/pass/pass.h"

namespace gcomp::driver {

// Made and checked on first use; an order that its own pairs forbid is an InternalError.
const pass::Pipeline& pipeline();

// `gcomp list`: what is one of "levels", "passes", "rules", "ops", "tags". Passes and rules are those that the
// options select. UserError (kUsage) for another word.
std::string list(const std::string& what, const pass::Options& options);

}  // namespace gcomp::driver
