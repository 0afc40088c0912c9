#pragma once
// `gcomp run`: arrays in, arrays out, through an artifact or the reference evaluator.

#include <filesystem>
#include <string>
#include <vector>

#include "gcomp/driver/options.h"

namespace gcomp::driver {

struct RunOptions {
  CompileOptions compile;  // its input is what runs: an artifact, or a graph, compiled on the way
  Path inputs;             // .npz; empty: none
  Path outputs;            // .npz; empty: not kept
  Path states;             // .npz: before the first run; empty: the initial ones
  Path states_out;         // .npz: after the last run; empty: not kept
  int threads = 0;         // of the run; 0: the runtime's choice
  std::string device;      // "", "cpu", "cuda", "cuda:N": as LoadedArtifact
  int repeat = 0;          // further timed runs
  bool kernel_times = false;
  bool interpret = false;  // by the reference evaluator, not compiled
};

// The lines to print: the time of a run, if asked for.
std::string run(const RunOptions& options);

}  // namespace gcomp::driver
