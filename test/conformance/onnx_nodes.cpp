// Runs the node tests of the onnx package in one process and compares with the list of exceptions:
// an unexpected failure fails, and so does an unexpected pass. By the reference evaluator, or with
// --compile=FOLDER by compiled artifacts, which are written there.
//   onnx_nodes DATA EXCEPTIONS [--filter=TEXT] [--shard=I/N] [--show] [--compile=FOLDER [--code=KIND]]
// KIND: plan, or straight, which leaves out the graphs that cannot be straight-line code.

#include <algorithm>
#include <cstdio>

#include "cases.h"
#include "gcomp/driver/compile.h"
#include "gcomp/driver/loaded_artifact.h"
#include "gcomp/formats/formats.h"
#include "gcomp/formats/onnx.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/support/error.h"

namespace gcomp::conformance {
namespace {

namespace fs = std::filesystem;
using interp::Tensor;

struct Tolerance {
  double relative, absolute;
};

// onnx's own runner allows 1e-3; so little precision hides mistakes.
Tolerance tolerance(DType t, bool loose) {
  if (t == DType::kFloat16 || t == DType::kBFloat16) return {2e-3, 1e-3};
  return loose ? Tolerance{1e-3, 1e-7} : Tolerance{1e-4, 1e-6};
}

struct Options {
  fs::path data;
  fs::path exceptions;
  std::string filter;
  size_t shard = 0, shards = 1;
  bool show = false;
  fs::path compile;  // empty: the evaluator
  driver::CodeMode code = driver::CodeMode::kAuto;
};

// The graph cannot be what --code asks for.
struct NotStraight {};

std::vector<Tensor> run_compiled(const Graph& graph, const std::vector<Tensor>& inputs,
                                 const Options& all) {
  driver::CompileOptions options;
  options.input = all.compile / "graph.gcb";
  options.output = all.compile / "model.so";
  options.code = all.code;
  formats::write_graph(graph, options.input);
  try {
    driver::compile(options);
  } catch (const UserError& error) {
    if (error.diagnostics().at(0).place == "--code") throw NotStraight();
    throw;
  }
  std::vector<Constant> given;
  for (const Tensor& t : inputs) given.push_back(interp::to_constant(t));
  driver::LoadedArtifact artifact(options.output, 1);
  std::vector<Tensor> outputs;
  for (const Constant& c : artifact.run(given)) outputs.push_back(interp::from_constant(c));
  return outputs;
}

// "" or what is wrong.
std::string run(const fs::path& folder, const Exception& exception, const Options& all) {
  std::vector<DataSet> sets = read_data(folder);
  const std::vector<std::string> names = input_names(folder);
  for (DataSet& set : sets) {
    formats::OnnxOptions options;
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < set.inputs.size() && i < names.size(); ++i) {
      const auto& constants = exception.constants;
      if (std::find(constants.begin(), constants.end(), names[i]) == constants.end()) {
        inputs.push_back(set.inputs[i]);
      } else {
        options.constants[names[i]] = interp::to_constant(set.inputs[i]);
      }
    }
    Context context;
    Diagnostics diagnostics;
    const auto graph = formats::read_onnx(context, folder / "model.onnx", options, diagnostics);
    if (!graph) return "import: " + format(diagnostics.errors().at(0));
    const std::vector<Tensor> outputs =
        all.compile.empty() ? interp::evaluate(*graph, inputs) : run_compiled(*graph, inputs, all);
    for (size_t i = 0; i < set.outputs.size(); ++i) {
      const Tolerance allowed = tolerance(set.outputs[i].dtype, exception.loose);
      const std::string difference =
          compare(outputs.at(i), set.outputs[i], allowed.relative, allowed.absolute);
      if (!difference.empty()) return "output " + std::to_string(i) + ": " + difference;
    }
  }
  return "";
}

std::string run_guarded(const fs::path& folder, const Exception& exception, const Options& all) {
  try {
    return run(folder, exception, all);
  } catch (const UserError& error) {
    return std::string("run: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("INTERNAL: ") + error.what();
  }
}

int run_all(const Options& options) {
  const auto exceptions = read_exceptions(options.exceptions);
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(options.data)) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  int passed = 0, known = 0, outside = 0, wrong = 0, left_out = 0;
  for (size_t i = 0; i < folders.size(); ++i) {
    const fs::path& folder = folders[i];
    const std::string name = folder.filename().string();
    if (i % options.shards != options.shard || name.find(options.filter) == name.npos) continue;
    if (!in_scope(folder)) {
      ++outside;
      continue;
    }
    const auto found = exceptions.find(name);
    const Exception exception = found == exceptions.end() ? Exception() : found->second;
    std::string problem;
    try {
      problem = run_guarded(folder, exception, options);
    } catch (const NotStraight&) {
      ++left_out;
      continue;
    }
    if (options.show) std::printf("%s %s\n", problem.empty() ? "ok" : "no", name.c_str());
    const bool fails = exception.fails;
    if (problem.empty() && fails) {
      std::printf("UNEXPECTED PASS %s: take it off the list of exceptions\n", name.c_str());
      ++wrong;
    } else if (!problem.empty() && !fails) {
      std::printf("FAIL %s: %s\n", name.c_str(), problem.c_str());
      ++wrong;
    } else {
      ++(problem.empty() ? passed : known);
    }
  }
  std::printf("%d passed, %d known failures, %d wrong, %d outside the supported types", passed,
              known, wrong, outside);
  if (left_out != 0) std::printf(", %d not straight-line code", left_out);
  std::printf("\n");
  return wrong == 0 && left_out <= passed ? 0 : 1;
}

}  // namespace
}  // namespace gcomp::conformance

int main(int argc, char** argv) {
  gcomp::conformance::Options options;
  std::vector<std::string> plain;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    unsigned shard = 0, shards = 1;
    if (arg.starts_with("--filter=")) {
      options.filter = arg.substr(9);
    } else if (std::sscanf(arg.c_str(), "--shard=%u/%u", &shard, &shards) == 2 && shards > 0) {
      options.shard = shard;
      options.shards = shards;
    } else if (arg.starts_with("--compile=")) {
      options.compile = arg.substr(10);
      std::filesystem::create_directories(options.compile);
    } else if (arg == "--code=plan" || arg == "--code=straight") {
      using gcomp::driver::CodeMode;
      options.code = arg == "--code=plan" ? CodeMode::kPlan : CodeMode::kStraight;
    } else if (arg == "--show") {
      options.show = true;
    } else {
      plain.push_back(arg);
    }
  }
  if (plain.size() != 2) {
    std::fprintf(stderr, "usage: onnx_nodes DATA EXCEPTIONS [--filter=TEXT] [--shard=I/N]\n");
    return 2;
  }
  options.data = plain[0];
  options.exceptions = plain[1];
  return gcomp::conformance::run_all(options);
}
