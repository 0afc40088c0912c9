#pragma once
// --html: a page that shows the whole compilation and needs nothing but a browser.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "gcomp/lower/lower.h"
#include "gcomp/pass/lineage.h"

namespace gcomp::driver {

// `profile`: what --profile=FILE.json holds. `module`: null if nothing was lowered; needs its traces.
std::string page(const std::string& title, const pass::Lineage& lineage,
                 const nlohmann::ordered_json& profile, const lower::LoweredModule* module);

}  // namespace gcomp::driver
