#pragma once
// `gcomp bisect`: the first change of a graph that changes its results, and a small graph that shows it.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gcomp/driver/options.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/pass/limit.h"

namespace gcomp::driver {

struct CompiledRun {
  std::vector<interp::Tensor> outputs;
  std::vector<std::string> kernels;  // names, for people
};
// Compiles a graph as it is, with the stages that the options select, and runs it.
using RunCompiled = std::function<CompiledRun(
    const Graph& graph, std::span<const interp::Tensor> inputs, const pass::Options& stages)>;

struct BisectOptions {
  pass::Options pipeline;
  // Of the larger of an element and the output's mean magnitude; by dtype if not given (the root of its
  // epsilon). Integers and bools must be equal.
  std::optional<double> tolerance;
  RunCompiled run_compiled;  // null: the generated code is not looked at
};

// A graph with values for its inputs.
struct Case {
  std::unique_ptr<Graph> graph;
  std::vector<interp::Tensor> inputs;
};

struct BisectResult {
  enum class Kind {
    kAgrees,
    kRewrite,  // `change` is the first that makes a difference (number 0: merging equal nodes)
    kCode,     // the rewritten graph means the same, but its code gives something else
  };
  Kind kind = Kind::kAgrees;
  size_t num_changes = 0;  // in all
  pass::Change change;
  std::string difference;            // "output 'y', element 3: 1.5 became 2.5"
  std::vector<std::string> stages;   // kCode: without this one there is no difference
  std::vector<std::string> kernels;  // kCode: of the reduced graph
  Case reduced;                      // still shows the difference; null graph: none does
};

// What the graph means, by the reference evaluator, is compared with what the pipeline makes of it.
BisectResult bisect(const Graph& graph, std::span<const interp::Tensor> inputs,
                    const pass::Pipeline& pipeline, const BisectOptions& options);

struct BisectCommand {
  CompileOptions compile;  // its output: the reduced graph; its inputs lie beside it, as .npz
  Path inputs;             // .npz
  std::optional<double> tolerance;  // as above
  bool look_at_code = true;
};

// The lines to print; `*found`: whether there is a difference.
std::string bisect(const BisectCommand& command, bool* found);

}  // namespace gcomp::driver
