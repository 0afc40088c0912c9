#pragma once
// --if-changed: an output that would get the bytes that it has keeps its time too, so that a build does not make
// again what is made of it.

#include <filesystem>
#include <functional>
#include <string_view>

namespace gcomp::driver {

// `write` is called once, to write `output` or a file of the same extension beside it, which then replaces
// `output` if the bytes differ. What is no regular file is always written.
void write_if_changed(const std::filesystem::path& output,
                      const std::function<void(const std::filesystem::path&)>& write);

// `write` makes `path`, which will be `output`: its errors name that.
void write_as(const std::filesystem::path& path, const std::filesystem::path& output,
              const std::function<void(const std::filesystem::path&)>& write);

// False also where one of them is not there. UserError (kFiles) where one cannot be read.
bool same_bytes(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace gcomp::driver
