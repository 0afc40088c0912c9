#pragma once
// What the passes did and what it cost, as data, as a table and as JSON.

#include <string>
#include <vector>

#include "gcomp/rewrite/sweep.h"

namespace gcomp::pass {

struct PassProfile {
  std::string name;
  double seconds = 0;  // in the pass itself
  double verify_seconds = 0;
  size_t nodes_before = 0;  // of the outer graph
  size_t nodes_after = 0;
  std::vector<rewrite::SweepStats> sweeps;               // of passes that sweep
  std::vector<std::pair<std::string, double>> counters;  // what else a pass wants to say
};

struct Profile {
  double seconds = 0;
  std::vector<PassProfile> passes;  // those that ran, in order
};

// Passes by cost, then per sweep the rules that fired, the cost of those that did not, and chases.
std::string to_table(const Profile& profile);
std::string to_json(const Profile& profile);

}  // namespace gcomp::pass
