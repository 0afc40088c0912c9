#pragma once
// Inplace: results written over what they are computed from. `overwrite` finds what each group may
// overwrite, lets schedule::decide_inplace choose, and brings the steps into the order that follows.
// lib/lower/README.md has the conditions, lib/schedule/README.md the decision.

#include "gcomp/lower/lower.h"

namespace gcomp::lower {

struct OverwriteOptions {
  schedule::InplaceOptions inplace = {};
  bool verify = false;  // have the independent checker look at every decision
};

// Each group's steps become one node of a Schedule; loops and branches have Schedules of their own.
// Memory that shares becomes one piece of memory, copies within it vanish. Adds to module.stats.
void overwrite(LoweredModule& module, const OverwriteOptions& options = {});

}  // namespace gcomp::lower
