#include "gcomp/driver/run.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "arrays.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/load.h"
#include "gcomp/driver/loaded_artifact.h"
#include "gcomp/interp/evaluate.h"
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
  LoadedArtifact artifact(file, o.threads, o.kernel_times);
  const std::vector<Constant> inputs = take_inputs(o.inputs, port_names(artifact.inputs()));
  write_arrays(o.outputs, port_names(artifact.outputs()), "output", artifact.run(inputs));
  if (o.kernel_times) return table(artifact.time_kernels(inputs, std::max(o.repeat, 1)));
  return timing(artifact.time(inputs, o.repeat));
}

std::string interpret(const RunOptions& o) {
  Context context;
  const auto graph = load_graph(context, o.compile.input, o.compile.dims);
  const std::vector<interp::Tensor> inputs = take_inputs(o.inputs, *graph);
  set_crash_stage("interpret");
  std::vector<Constant> outputs;
  for (interp::Tensor& t : interp::evaluate(*graph, inputs)) {
    outputs.push_back(interp::to_constant(std::move(t)));
  }
  write_arrays(o.outputs, names_of(graph->outputs()), "output", std::move(outputs));
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
