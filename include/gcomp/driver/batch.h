#pragma once
// `gcomp batch`: many graphs to artifacts, each compiled in a freshly started process of this program, so
// that a graph that crashes, hangs or takes all memory costs only itself.

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "gcomp/driver/options.h"

namespace gcomp::driver {

struct BatchOptions {
  std::vector<std::string> inputs;  // files, folders (all graphs below), patterns (a/*.onnx)
  Path manifest;  // JSON lines {"graph", "name", "options"}; "-": standard input, empty: none
  Path output;    // the folder of the artifacts
  Path results;   // empty: results.jsonl in `output`; "-": standard output
  int workers = 1;
  bool keep_going = false;             // a failure keeps no other graph from being begun
  bool resume = false;                 // what `results` tells of is not done again
  std::vector<std::string> fallback;   // levels for a graph that crashed or met a limit, in turn
  int shard = 1, shards = 1;           // this is part `shard` of `shards`, the first is 1
  std::vector<std::string> arguments;  // for every graph, as `gcomp compile` takes them
  double time_limit = 0;               // seconds, as in `arguments`: a worker beyond it is killed
  std::string suffix = ".so";          // of the artifacts
  // The meaning of such arguments; UserError (kUsage) for those that are wrong.
  std::function<CompileOptions(const std::vector<std::string>& arguments)> parse;
};

// Compiles; the results go to `results` as each graph is done, the summary to standard output at the end.
// UserError: kBatch when a graph failed; kFiles, kUsage for what keeps the batch from being begun or
// recorded. A second batch with the same `results` at the same time is refused.
void batch(const BatchOptions& options);

// Compiles nothing: writes what is left to do as a manifest, for other engines. Lines of equal graphs have an
// equal "key". The first line, {"batch": {"arguments", "results", "keep_going", "resume"}}, holds the rest.
void plan_batch(const BatchOptions& options, std::ostream& out);

// The summary of files of results, of graphs named in several lines the last one. False: one failed.
bool summarize_results(const std::vector<std::string>& files, std::ostream& out);

// To be called first in a worker: it ends when its parent does.
void end_with_parent(int parent);

}  // namespace gcomp::driver
