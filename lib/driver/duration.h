#pragma once
// A time for a person who waits.

#include <string>

namespace gcomp::driver {

std::string duration_text(double seconds);  // "42 s", "3 min"

}  // namespace gcomp::driver
