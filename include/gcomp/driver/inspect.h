#pragma once
// What is in a file: a graph, or an artifact (read without running any of its code).

#include <filesystem>
#include <string>

namespace gcomp::driver {

// For people: lines of text; or, `json`, one JSON object.
std::string inspect(const std::filesystem::path& path, bool json);

}  // namespace gcomp::driver
