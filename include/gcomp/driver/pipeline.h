#pragma once
// The pipeline that gcomp runs: every pass, the pairs that their order rests on, every rule.

#include <string>

#include "gcomp/driver/pass_options.h"

namespace gcomp::driver {

// Made and checked on first use; an order that its own pairs forbid is an InternalError.
#ifndef GCOMP_NO_PASSES
const pass::Pipeline& pipeline();
#endif

// `gcomp list`: what is one of "passes", "rules", "ops", "tags". Passes and rules are those that the
// options select. UserError (kUsage) for another word.
std::string list(const std::string& what, const pass::Options& options);

}  // namespace gcomp::driver
