#pragma once
// The graph passes, one a file in lib/passes.

#include <vector>

#include "gcomp/pass/pass.h"

namespace gcomp::passes {

// Every pass, in the order in which they are meant to run.
std::vector<pass::Pass> table();
// What that order rests on.
std::vector<pass::OrderPair> order();

// What follows the graph passes, by name: rows of the same table, obeyed by the driver.
inline constexpr const char* kFusion = "fusion";
inline constexpr const char* kStaticExtents = "static_extents";
inline constexpr const char* kInplace = "inplace";
inline constexpr const char* kLowerPeak = "lower_peak";
inline constexpr const char* kStraightLine = "straight_line";
inline constexpr const char* kOptimizeCode = "optimize_code";
inline constexpr const char* kOptimizeColdCode = "optimize_cold_code";
std::vector<pass::Pass> stages();

// Rows, one a pass.
pass::Pass merge();         // equal nodes are one, dead nodes go: a sweep without rules
pass::Pass extents();       // extents that are checked to be equal are one
pass::Pass canonicalize();  // identities, folding, shape arithmetic
pass::Pass reassociate();   // sums and products over many nodes
pass::Pass join_terms();    // blocks and products in long sums
pass::Pass control();       // what cond and loop do in vain
pass::Pass captures();      // constants that bodies capture, into the bodies
pass::Pass stabilize();     // accurate forms
pass::Pass specialize();    // cheaper forms
pass::Pass layout();        // convolutions with channels last

}  // namespace gcomp::passes
