#pragma once
// What an artifact tells of itself, in the file and readable without running it.

#include <string>

#include "gcomp/driver/options.h"
#include "gcomp/lower/lower.h"
#include "generate.h"

namespace gcomp::driver {

// Version, signature, the options that decided the code, kernels with their number of calls. Nothing
// of the machine, the time or the folders.
std::string manifest_json(const lower::LoweredModule& module, const GeneratedCode& code,
                          const CompileOptions& options);

}  // namespace gcomp::driver
