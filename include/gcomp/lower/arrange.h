#pragma once
// Which results are written over what they are computed from, and in which order steps run: `arrange` finds
// what each group may overwrite, lets schedule::decide_inplace choose, and takes an order in which less
// memory is alive. lib/lower/README.md has the conditions, lib/schedule/README.md the decisions.

#include "gcomp/lower/lower.h"

namespace gcomp::lower {

struct ArrangeOptions {
  bool overwrite = true;
  schedule::InplaceOptions inplace = {};
  bool lower_peak = true;
  bool verify = false;  // have the independent checker look at every decision
};

// Each group's steps become one node of a Schedule; loops and branches have Schedules of their own.
// Memory that shares becomes one piece of memory, copies within it vanish. Adds to module.stats.
void arrange(LoweredModule& module, const ArrangeOptions& options = {});

}  // namespace gcomp::lower
