#pragma once
// Our binary graph format, version 1: the same content as the JSON form, constants 64-byte aligned
// so that they can be used mapped from the file (lib/formats/README.md has the layout). Malformed
// files give UserError naming the offset.

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "gcomp/ir/graph.h"
#include "gcomp/support/files.h"

namespace gcomp::formats {

bool is_binary(std::span<const std::byte> bytes);  // by its magic

// Constants refer to `file`, which stays mapped as long as they live.
std::unique_ptr<Graph> read_binary(Context& context, const MappedFile& file,
                                   const std::string& file_name);

void write_binary(const Graph& graph, const std::function<void(std::string_view)>& sink);

}  // namespace gcomp::formats
