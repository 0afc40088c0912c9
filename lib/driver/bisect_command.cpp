// `gcomp bisect` as the command line has it: files in, lines and files out.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "arrays.h"
#include "gcomp/driver/bisect.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/inspect.h"
#include "gcomp/driver/load.h"
#include "gcomp/driver/loaded_artifact.h"
#include "gcomp/driver/pipeline.h"
#include "gcomp/formats/formats.h"
#include "gcomp/ir/states.h"
#include "gcomp/support/error.h"
#include "temporary_folder.h"

namespace gcomp::driver {
namespace {

// Only the stages among what the options select: the graph is compiled as it is.
pass::Options stages_only(const pass::Options& options) {
  pass::Options stages;
  for (const pass::Pass* p : pass::select(pipeline(), options)) {
    if (!p->run) stages.passes.push_back(p->name);
  }
  if (stages.passes.empty()) stages.level = "none";
  return stages;
}

std::vector<std::string> kernel_names(const Path& artifact) {
  std::vector<std::string> names;
  const auto described = nlohmann::json::parse(inspect(artifact, true));
  for (const auto& kernel : described.at("kernels")) names.push_back(kernel.at("name"));
  return names;
}

CompiledRun compile_and_run(const Graph& graph, std::span<const interp::Tensor> inputs,
                            CompileOptions options) {
  const TemporaryFolder folder({"graph.gcb", "model.so"});
  options.input = folder.file("graph.gcb");
  options.output = folder.file("model.so");
  options.dims.clear();  // fixed when the graph was read
  options.profile.clear();
  options.pipeline = stages_only(options.pipeline);
  formats::write_graph(graph, options.input);
  compile(options);
  LoadedArtifact artifact(options.output, 0);
  std::vector<Constant> arrays;
  for (const interp::Tensor& t : inputs) arrays.push_back(interp::to_constant(t));
  CompiledRun run{{}, kernel_names(options.output)};
  for (const Constant& c : artifact.run(arrays)) run.outputs.push_back(interp::from_constant(c));
  return run;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string rewrite_text(const BisectResult& r) {
  if (r.change.number == 0) return "merging equal nodes changes it, before any rewrite\n";
  std::string text = "rewrite " + std::to_string(r.change.number) + " of " +
                     std::to_string(r.num_changes) +
                     " is the first that changes it: " + to_string(r.change) + "\n";
  if (const rewrite::Rule* rule = r.change.rule) {
    text += "  " + rule->doc + "  {" + std::string(name(rule->contract)) + "}\n";
  }
  return text;
}

std::string code_text(const BisectResult& r) {
  std::string text = "the rewritten graph means the same; the code generated for it does not\n";
  if (!r.stages.empty()) {
    text += "  no difference without one of: " + joined(r.stages) + " (--optimizer-excluding)\n";
  }
  if (r.reduced.graph && !r.kernels.empty())
    text += "  kernels of the reduced graph: " + joined(r.kernels) + "\n";
  return text;
}

std::string write_reduced(const BisectResult& r, const Path& output) {
  if (!r.reduced.graph) return "no part of the graph shows it by itself; nothing was written\n";
  Path arrays = output;
  arrays.replace_extension(".npz");
  formats::write_graph(*r.reduced.graph, output);
  std::vector<Constant> values;
  for (const interp::Tensor& t : r.reduced.inputs) values.push_back(interp::to_constant(t));
  write_arrays(arrays, names_of(r.reduced.graph->inputs()), "input", std::move(values));
  const auto is_op = [](const Node& n) { return n.op != Op::input && n.op != Op::constant; };
  const auto ops = std::ranges::count_if(r.reduced.graph->nodes(), is_op);
  return "reduced to " + std::to_string(ops) + (ops == 1 ? " node: " : " nodes: ") +
         output.string() + ", with inputs " + arrays.string() + "\n";
}

}  // namespace

std::string bisect(const BisectCommand& command, bool* found) {
  const CompileOptions& o = command.compile;
  Context context;
  const auto loaded = load_graph(context, o.input, o.dims);
  const std::vector<interp::Tensor> inputs = take_inputs(command.inputs, *loaded, true);
  const auto graph = without_states(*loaded);  // one step is what is looked at
  BisectOptions options{o.pipeline, command.tolerance, nullptr};
  if (command.look_at_code) {
    options.run_compiled = [&](const Graph& g, std::span<const interp::Tensor> values,
                               const pass::Options& stages) {
      CompileOptions compile_options = o;
      compile_options.pipeline = stages;
      return compile_and_run(g, values, std::move(compile_options));
    };
  }
  set_crash_stage("bisect");
  const BisectResult r = bisect(*graph, inputs, pipeline(), options);
  *found = r.kind != BisectResult::Kind::kAgrees;
  if (!*found) {
    return std::to_string(r.num_changes) + " rewrites" +
           (command.look_at_code ? " and the generated code" : "") +
           " leave every output as it was, within the tolerance\n";
  }
  return r.difference + "\n" +
         (r.kind == BisectResult::Kind::kCode ? code_text(r) : rewrite_text(r)) +
         write_reduced(r, o.output);
}

}  // namespace gcomp::driver
