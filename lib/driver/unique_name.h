#pragma once
// Names of temporary files in folders that several machines share.

#include <string>

namespace gcomp::driver {

// No two processes on any machine make the same.
std::string unique_name();

}  // namespace gcomp::driver
