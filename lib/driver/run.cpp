#include "gcomp/driver/run.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>

#include "arrays.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/load.h"
#include "gcomp/driver/loaded_artifact.h"
#include "gcomp/interp/session.h"
#include "gcomp/support/error.h"
#include "temporary_folder.h"

namespace gcomp::driver {
namespace {

std::string in_unit(double seconds) {
  char text[32];
  if (seconds < 1e-3) {
    std::snprintf(text, sizeof text, "%.3g us", seconds * 1e6);
  } else if (seconds < 1) {
    std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  }
  return text;
}

std::string timing(std::vector<double> seconds) {
  if (seconds.empty()) return "";
  std::ranges::sort(seconds);
  return std::to_string(seconds.size()) + " runs: best " + in_unit(seconds.front()) + ", median " +
         in_unit(seconds[seconds.size() / 2]) + "\n";
}

std::vector<std::string> port_names(const std::vector<PortInfo>& ports) {
  std::vector<std::string> names;
  for (const PortInfo& port : ports) names.push_back(port.name);
  return names;
}

std::string table(const std::vector<KernelTime>& times) {
  if (times.empty()) return "the artifact is one function: it has no kernels to time\n";
  double all = 0;
  for (const KernelTime& t : times) all += t.seconds;
  std::string text = "      time  share  calls  kernel\n";
  for (const KernelTime& t : times) {
    char line[64];
    std::snprintf(line, sizeof line, "%10s %5.1f%% %6d  ", in_unit(t.seconds).c_str(),
                  100 * t.seconds / all, t.calls);
    text += line + t.name + "\n";
  }
  return text;
}

std::string run_artifact(const Path& file, const RunOptions& o) {
  set_crash_stage("run");
  LoadedArtifact artifact(file, o.threads, o.kernel_times, o.device);
  if (!artifact.note().empty()) {
    std::cerr << "gcomp: note: " << artifact.note() << "; it runs on the CPU\n";
  }
  const std::vector<Constant> inputs = take_inputs(o.inputs, port_names(artifact.inputs()));
  const std::vector<std::string> states = port_names(artifact.states());
  for (const auto& [i, value] : take_states(o.states, states)) artifact.set_state(i, value);
  write_arrays(o.outputs, port_names(artifact.outputs()), "output", artifact.run(inputs));
  const std::string lines = o.kernel_times
                                ? table(artifact.time_kernels(inputs, std::max(o.repeat, 1)))
                                : timing(artifact.time(inputs, o.repeat));
  if (!o.states_out.empty()) write_arrays(o.states_out, states, "state", artifact.get_states());
  return lines;
}

std::vector<Constant> constants(std::vector<interp::Tensor> tensors) {
  std::vector<Constant> list;
  for (interp::Tensor& t : tensors) list.push_back(interp::to_constant(std::move(t)));
  return list;
}

std::string interpret(const RunOptions& o) {
  Context context;
  const auto graph = load_graph(context, o.compile.input, o.compile.dims);
  const std::vector<interp::Tensor> inputs = take_inputs(o.inputs, *graph, false);
  std::vector<std::string> outputs, states;
  for (const uint32_t i : CallPorts(*graph).outputs) outputs.push_back(graph->outputs()[i].name);
  for (const State& s : graph->states()) states.push_back(graph->inputs()[s.input].name);
  set_crash_stage("interpret");
  interp::Session session(*graph);
  for (auto& [i, value] : take_states(o.states, states)) {
    const DType wanted = graph->type(graph->inputs()[graph->states()[i].input].value).dtype;
    session.set_state(i, interp::from_constant(as_dtype(std::move(value), wanted)));
  }
  write_arrays(o.outputs, outputs, "output", constants(session.run(inputs)));
  for (int i = 0; i < o.repeat && !states.empty(); ++i) session.run(inputs);
  std::vector<interp::Tensor> values;
  for (size_t i = 0; i < states.size(); ++i) values.push_back(*session.state(i));
  write_arrays(o.states_out, states, "state", constants(std::move(values)));
  return "";
}

}  // namespace

std::string run(const RunOptions& options) {
  if (options.interpret) return interpret(options);
  if (detect(options.compile.input) == FileKind::kArtifact) {
    return run_artifact(options.compile.input, options);
  }
  const TemporaryFolder folder({"model.so"});
  CompileOptions compile_options = options.compile;
  compile_options.emit = Emit::kSharedObject;
  compile_options.output = folder.file("model.so");
  if (options.kernel_times && compile_options.code == CodeMode::kAuto) {
    compile_options.code = CodeMode::kPlan;  // a straight-line function has no kernels to time
  }
  compile(compile_options);
  return run_artifact(compile_options.output, options);
}

}  // namespace gcomp::driver
