#pragma once
// What is in a file: a graph, or an artifact (read without running any of its code).

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace gcomp::driver {

// For people: lines of text; or, `json`, one JSON object. `dims`: extents of an artifact's symbols, for which its
// memory is told; without them the largest buffers are told as expressions. UserError (kUsage) for a symbol that
// the artifact does not have.
std::string inspect(const std::filesystem::path& path, bool json,
                    const std::map<std::string, int64_t>& dims = {});

}  // namespace gcomp::driver
