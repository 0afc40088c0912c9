#include "gcomp/formats/formats.h"

#include <algorithm>

#include "gcomp/formats/binary.h"
#include "gcomp/formats/json.h"
#include "gcomp/formats/safetensors.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::formats {
namespace {

bool looks_like_json(std::span<const std::byte> bytes) {
  for (std::byte b : bytes) {
    const char c = static_cast<char>(b);
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return c == '{';
  }
  return false;
}

void write_weights(const Graph& graph, const std::filesystem::path& path, size_t min_bytes) {
  std::vector<std::pair<std::string, const Constant*>> tensors;
  for (size_t i = 0; i < graph.context().constants.size(); ++i) {
    const Constant& c = graph.context().constants[ConstantId(i)];
    if (c.bytes.size() >= min_bytes) tensors.emplace_back("c" + std::to_string(i), &c);
  }
  write_safetensors(path, tensors);
}

// Elsewhere no reader would look for it.
void check_beside(const std::filesystem::path& weights_file) {
  const bool leaves = std::ranges::find(weights_file, "..") != weights_file.end();
  if (!weights_file.is_absolute() && !leaves) return;
  usage_error(Code::kOutputName, "weights must lie in the folder of the graph",
              weights_file.string(), "give a name relative to that folder");
}

}  // namespace

std::unique_ptr<Graph> read_graph(Context& context, const std::filesystem::path& path) {
  const MappedFile file = map_file(path);
  if (is_binary(file.bytes)) return read_binary(context, file, path.string());
  if (looks_like_json(file.bytes)) {
    const std::string_view text(reinterpret_cast<const char*>(file.bytes.data()),
                                file.bytes.size());
    return read_json(context, text, path.parent_path(), path.string());
  }
  graph_error({"neither a JSON nor a binary graph", "",
               "gcomp reads its own JSON (.json) and binary (.gcb) graphs and ONNX (.onnx)",
               Code::kNoGraph, path.string()});
}

void write_graph(const Graph& graph, const std::filesystem::path& path,
                 const std::string& weights_file) {
  const std::string extension = path.extension().string();
  if (extension != ".json" && extension != ".gcb") {
    throw UserError(ExitCode::kUsage, {"cannot tell the format of the graph to write", "",
                                       "name it .json or .gcb", Code::kOutputName, path.string()});
  }
  if (!weights_file.empty()) check_beside(weights_file);
  AtomicFile file(path);
  const auto sink = [&](std::string_view text) { file.write(text); };
  if (extension == ".json") {
    JsonWriteOptions options;
    options.weights_file = weights_file;
    if (!weights_file.empty()) {
      write_weights(graph, path.parent_path() / weights_file, options.min_weight_bytes);
    }
    write_json(graph, options, sink);
  } else {
    write_binary(graph, sink);
  }
  file.commit();
}

}  // namespace gcomp::formats
