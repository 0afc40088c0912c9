#pragma once
// The graph passes, one a file in lib/passes.

#include <vector>

#include "gcomp/pass/pass.h"

namespace gcomp::passes {

// Every pass, in the order in which they are meant to run.
std::vector<pass::Pass> table();
// What that order rests on.
std::vector<pass::OrderPair> order();

// Rows, one a pass.
pass::Pass merge();         // equal nodes are one, dead nodes go: a sweep without rules
pass::Pass canonicalize();  // identities, folding, shape arithmetic
pass::Pass captures();      // constants that bodies capture, into the bodies
pass::Pass stabilize();     // accurate forms
pass::Pass specialize();    // cheaper forms
pass::Pass layout();        // convolutions with channels last

}  // namespace gcomp::passes
