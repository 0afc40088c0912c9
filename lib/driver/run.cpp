#include "gcomp/driver/run.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <random>

#include "gcomp/driver/compile.h"
#include "gcomp/driver/crash.h"
#include "gcomp/driver/load.h"
#include "gcomp/driver/loaded_artifact.h"
#include "gcomp/formats/npz.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/support/error.h"
#include "gcomp/support/temporaries.h"

namespace gcomp::driver {
namespace {

using formats::NamedArray;

[[noreturn]] void run_error(const std::string& message, const Path& place,
                            const std::string& hint = "") {
  throw UserError(ExitCode::kRun, {message, place.string(), hint});
}

// Keys of .npz files: the signature's names, or input_N where there is none.
std::string key(const std::string& name, const char* stem, size_t i) {
  return name.empty() ? std::string(stem) + "_" + std::to_string(i) : name;
}

// The arrays for the inputs called `names`, in that order.
std::vector<Constant> take_inputs(const Path& file, const std::vector<std::string>& names) {
  std::vector<NamedArray> arrays;
  if (!file.empty()) arrays = formats::read_npz(file);
  std::vector<std::string> present;
  for (const NamedArray& a : arrays) present.push_back(a.name);
  std::vector<Constant> inputs;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string wanted = key(names[i], "input", i);
    const auto found = std::ranges::find(present, wanted);
    if (found != present.end()) {
      inputs.push_back(arrays[found - present.begin()].value);
      continue;
    }
    if (file.empty())
      run_error("the graph takes input '" + wanted + "'", "", "give --inputs FILE.npz");
    const std::string near = suggest(wanted, present);
    run_error("input '" + wanted + "' is not in the file", file,
              near.empty() ? "" : "there is '" + near + "'");
  }
  return inputs;
}

void write_outputs(const Path& file, const std::vector<std::string>& names,
                   std::vector<Constant> values) {
  if (file.empty()) return;
  std::vector<NamedArray> arrays;
  for (size_t i = 0; i < names.size(); ++i) {
    arrays.push_back({key(names[i], "output", i), std::move(values[i])});
  }
  formats::write_npz(file, arrays);
}

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

std::vector<std::string> names_of(const std::vector<PortInfo>& ports) {
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
  const std::vector<Constant> inputs = take_inputs(o.inputs, names_of(artifact.inputs()));
  write_outputs(o.outputs, names_of(artifact.outputs()), artifact.run(inputs));
  if (o.kernel_times) return table(artifact.time_kernels(inputs, std::max(o.repeat, 1)));
  return timing(artifact.time(inputs, o.repeat));
}

std::vector<std::string> names_of(const std::vector<Port>& ports) {
  std::vector<std::string> names;
  for (const Port& port : ports) names.push_back(port.name);
  return names;
}

std::string interpret(const RunOptions& o) {
  Context context;
  const auto graph = load_graph(context, o.compile.input, o.compile.dims);
  std::vector<interp::Tensor> inputs;
  for (size_t i = 0; Constant & value : take_inputs(o.inputs, names_of(graph->inputs()))) {
    const DType wanted = graph->type(graph->inputs()[i++].value).dtype;
    if (value.dtype == DType::kUInt16 && wanted == DType::kBFloat16) value.dtype = wanted;
    inputs.push_back(interp::from_constant(value));
  }
  set_crash_stage("interpret");
  std::vector<Constant> outputs;
  for (interp::Tensor& t : interp::evaluate(*graph, inputs)) {
    outputs.push_back(interp::to_constant(std::move(t)));
  }
  write_outputs(o.outputs, names_of(graph->outputs()), std::move(outputs));
  return "";
}

// A folder that is gone, with what lies in it, when the object is.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::random_device random;
    do {
      path_ = std::filesystem::temp_directory_path() /
              ("gcomp-" + std::to_string(random()) + std::to_string(random()));
      registered_ = Temporary(path_);  // before it is there: a signal at any time leaves nothing
      registered_file_ = Temporary(file());
    } while (::mkdir(path_.c_str(), 0700) != 0 && errno == EEXIST);
    std::error_code ignored;
    if (!std::filesystem::is_directory(path_, ignored)) {
      throw UserError(ExitCode::kFiles, {"no temporary folder can be made", path_.string(), ""});
    }
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  Path file() const { return path_ / "model.so"; }

 private:
  Path path_;
  Temporary registered_;
  Temporary registered_file_;
};

}  // namespace

std::string run(const RunOptions& options) {
  if (options.interpret) return interpret(options);
  if (detect(options.compile.input) == FileKind::kArtifact) {
    return run_artifact(options.compile.input, options);
  }
  const TemporaryFolder folder;
  CompileOptions compile_options = options.compile;
  compile_options.emit = Emit::kSharedObject;
  compile_options.output = folder.file();
  if (options.kernel_times && compile_options.code == CodeMode::kAuto) {
    compile_options.code = CodeMode::kPlan;  // a straight-line function has no kernels to time
  }
  compile(compile_options);
  return run_artifact(compile_options.output, options);
}

}  // namespace gcomp::driver
