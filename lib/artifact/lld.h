#pragma once
// lld in this process, from memory to memory.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace gcomp::artifact {

struct LldFile {
  std::string name;  // for messages
  std::span<const std::byte> bytes;
};

// Runs ld.lld with `options`, then the files in order. A file named "--version-script" is given as that option. Throws
// InternalError with lld's messages when it fails, std::bad_alloc when lld says that memory has run out, UserError
// (kFiles) when the system lacks what this needs (/proc, memory). One link at a time in a process: lld keeps global state.
std::vector<std::byte> run_lld(const std::vector<std::string>& options,
                               const std::vector<LldFile>& files);

}  // namespace gcomp::artifact
