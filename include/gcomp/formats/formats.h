#pragma once
// The front door: any graph file in, any of our formats out.

#include <filesystem>
#include <memory>

#include "gcomp/ir/graph.h"

namespace gcomp::formats {

enum class Format { kJson, kBinary, kOnnx };

// By content first (JSON object, our magic), then by name (.onnx).
// Errors: UserError kFiles when unreadable, kGraph when malformed or unsupported.
std::unique_ptr<Graph> read_graph(Context& context, const std::filesystem::path& path);

// By name: .json or .gcb; UserError kUsage otherwise. Written whole or not at all.
// `weights_file` (JSON only): constants of 64 KiB or more go to this safetensors file beside it.
void write_graph(const Graph& graph, const std::filesystem::path& path,
                 const std::string& weights_file = "");

}  // namespace gcomp::formats
