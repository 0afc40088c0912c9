#include "gcomp/driver/load.h"

#include "gcomp/driver/crash.h"
#include "gcomp/driver/specialize.h"
#include "gcomp/formats/binary.h"
#include "gcomp/formats/formats.h"
#include "gcomp/formats/onnx.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::driver {
namespace {

FileKind detect(const std::filesystem::path& path, const MappedFile& file) {
  const std::string_view text(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  if (text.starts_with("\x7f"
                       "ELF"))
    return FileKind::kArtifact;  // or what is left of one
  if (formats::is_binary(file.bytes)) return FileKind::kBinary;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '{') return FileKind::kJson;
  if (path.extension() == ".onnx") return FileKind::kOnnx;
  graph_error({"is no graph in a known format", "",
               "gcomp reads its own JSON (.json) and binary (.gcb) graphs and ONNX (.onnx)",
               Code::kNoGraph, path.string()});
}

std::unique_ptr<Graph> load_onnx(Context& context, const std::filesystem::path& path,
                                 const std::map<std::string, int64_t>& dims) {
  formats::OnnxOptions options;
  options.dims = dims;
  Diagnostics diagnostics;
  auto graph = formats::read_onnx(context, path, options, diagnostics);
  std::vector<Diagnostic> all = diagnostics.errors();
  for (Diagnostic& d : all) d.file = path.string();
  if (!all.empty()) throw UserError(ExitCode::kGraph, std::move(all));
  return graph;
}

// The runtime solves no equations: each symbol must be an extent by itself somewhere.
void require_extents(const Graph& graph) {
  const DimTable& dims = graph.context().dims;
  std::vector<bool> known(dims.num_symbols(), false);
  for (const Port& port : graph.inputs()) {
    for (DimId d : graph.type(port.value).dims) {
      if (const auto s = dims.as_symbol(d)) known[s->index] = true;
    }
  }
  Diagnostics errors;
  for (const Port& port : graph.inputs()) {
    std::vector<SymbolId> used;
    for (DimId d : graph.type(port.value).dims) dims.collect_symbols(d, &used);
    for (SymbolId s : used) {
      if (known[s.index]) continue;
      errors.error({"no input has '" + dims.symbol_name(s) + "' itself as an extent",
                    "input '" + port.name + "'", "give its value with --dim", Code::kFreeSymbol});
      known[s.index] = true;
    }
  }
  errors.checkpoint(ExitCode::kGraph);
}

}  // namespace

FileKind detect(const std::filesystem::path& path) { return detect(path, map_file(path)); }

std::unique_ptr<Graph> load_graph(Context& context, const std::filesystem::path& path,
                                  const std::map<std::string, int64_t>& dims) {
  set_crash_stage("read");
  const MappedFile file = map_file(path);
  context.files.push_back(path.string());
  std::unique_ptr<Graph> graph;
  switch (detect(path, file)) {
    case FileKind::kOnnx: graph = load_onnx(context, path, dims); break;
    case FileKind::kArtifact:
      file_error(Code::kIsAnArtifact, "is a compiled artifact, not a graph", path.string(),
                 "give the graph that it was compiled from");
    case FileKind::kJson:
    case FileKind::kBinary:
      graph = formats::read_graph(context, path);
      if (!dims.empty()) graph = specialize(*graph, dims);
  }
  require_extents(*graph);
  return graph;
}

}  // namespace gcomp::driver
