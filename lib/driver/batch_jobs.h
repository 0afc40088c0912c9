#pragma once
// What a batch is to compile: one job a graph.

#include <string>
#include <vector>

#include "gcomp/driver/batch.h"

namespace gcomp::driver {

struct BatchJob {
  std::string name;  // of the artifact, without its suffix: "folder/model"
  Path graph;
  std::vector<std::string> options;  // of the manifest; they come after the command line's
  uint64_t bytes = 0;                // of the file; 0 when it cannot be read
  double expected = 0;               // seconds, a guess by kind and size of the file
};

// Of all inputs and the manifest, the one expected to take longest first; only this shard's. UserError: kFiles
// for inputs that are not there (a graph of a manifest fails alone), kGraph for a wrong manifest, kUsage
// for two graphs of one name.
std::vector<BatchJob> collect_jobs(const BatchOptions& options);

// The first line of a plan, which a manifest may have and which means nothing there.
std::string plan_head(const BatchOptions& options, const Path& results);
// One line of a manifest, without its end.
std::string manifest_line(const BatchJob& job, const std::string& key);

// Which result a job would have: of this program, the options, and the bytes of the graph; 64 hex digits.
std::string job_key(const BatchOptions& options, const BatchJob& job);

}  // namespace gcomp::driver
