#pragma once
// Internal to lib/passes: a pass that is one sweep with the rules of one tag.

#include "gcomp/pass/pass.h"

namespace gcomp::passes {

pass::Pass sweep_pass(std::string name, std::string rule_tag, std::vector<std::string> tags,
                      std::string doc, bool fold);

}  // namespace gcomp::passes
