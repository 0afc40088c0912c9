#pragma once
// What the passes did and what it cost, as data, as a table and as JSON (lib/pass/README.md has its
// fields).

#include <string>
#include <vector>

#include "gcomp/rewrite/sweep.h"

namespace gcomp::pass {

struct PassProfile {
  std::string name;
  double begin = 0;    // seconds after the first pass began
  double seconds = 0;  // in the pass itself
  double verify_seconds = 0;
  size_t nodes_before = 0;  // of the outer graph
  size_t nodes_after = 0;
  size_t graph_bytes = 0;                                // of the outer graph afterwards
  size_t peak_bytes = 0;                                 // of the process since it began
  std::vector<rewrite::SweepStats> sweeps;               // of passes that sweep
  std::vector<std::pair<std::string, double>> counters;  // what else a pass wants to say
};

struct Profile {
  double seconds = 0;
  double verify_seconds = 0;        // of that
  std::vector<PassProfile> passes;  // those that ran, in order
};

// Per pass its sweeps, and per sweep the rules that fired, refusals by cause, the cost of rules that never
// fired, and chases.
std::string to_table(const Profile& profile);
std::string to_json(const Profile& profile);

}  // namespace gcomp::pass
