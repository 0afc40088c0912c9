#pragma once
// From a file of any known format to a graph.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "gcomp/ir/graph.h"

namespace gcomp::driver {

enum class FileKind { kJson, kBinary, kOnnx, kArtifact };

// By content, not by name, but for ONNX, which has no mark of its own. UserError (kFiles).
FileKind detect(const std::filesystem::path& path);

// The graph in `path`, node for node, with extents given to symbols (--dim). UserError: kFiles when it
// cannot be read, kGraph for what is wrong or unsupported in it, all at once.
std::unique_ptr<Graph> load_graph(Context& context, const std::filesystem::path& path,
                                  const std::map<std::string, int64_t>& dims);

}  // namespace gcomp::driver
