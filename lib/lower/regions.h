#pragma once
// Where steps may be moved about: regions, which no jump enters or leaves but at their ends. A region is a
// loop, or all between the first and the last mention of a label (and what these meet); they nest.

#include <cstdint>
#include <vector>

#include "gcomp/lower/lower.h"

namespace gcomp::lower {

struct Region {
  uint32_t begin = 0, end = 0;  // steps, `end` excluded
  uint32_t parent = 0;          // region 0 is the whole module, its own parent
  uint32_t depth = 0;
};

// In the order of their begins, outer ones first.
std::vector<Region> find_regions(const LoweredModule& module);

// Whether the step is part of a region's control flow.
bool is_control(const Step& s);

}  // namespace gcomp::lower
