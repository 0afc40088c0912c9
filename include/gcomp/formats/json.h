#pragma once
// Our JSON graph format, version 1 (lib/formats/README.md describes it, graph.schema.json checks
// it). Read as a stream: only one element of a top-level list is in memory at a time. Errors are
// UserError naming the file and the JSON path ("nodes[3].in[1]"); unknown ops are reported all at
// once.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "gcomp/ir/graph.h"

namespace gcomp::formats {

// `folder`: where weights files beside the graph are looked up.
std::unique_ptr<Graph> read_json(Context& context, std::string_view text,
                                 const std::filesystem::path& folder, const std::string& file_name);

struct JsonWriteOptions {
  // Constants of more elements than this are base64, not numbers.
  int64_t max_inline_elements = 64;
  // When set, constants of at least `min_weight_bytes` go to this safetensors file (relative name,
  // in the graph's folder) and are referred to.
  std::string weights_file;
  size_t min_weight_bytes = 1 << 16;
};

void write_json(const Graph& graph, const JsonWriteOptions& options,
                const std::function<void(std::string_view)>& sink);

}  // namespace gcomp::formats
