#pragma once
// --memory-map: the planned memory as a picture, for a browser. Steps of the plan to the right, offsets in the
// arena upwards; a rectangle is a buffer, its tooltip tells what it is. Below, what is live at each step.

#include <string>

#include "memory_report.h"

namespace gcomp::driver {

// SVG, a few MB at most: beyond kMostRectangles buffers the least (by size times lifetime) are drawn as one shape
// a column, and the picture says so. The same bytes for the same report.
inline constexpr size_t kMostRectangles = 8000;
std::string memory_map(const std::string& title, const MemoryReport& report);

}  // namespace gcomp::driver
