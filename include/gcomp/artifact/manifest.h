#pragma once
// What an artifact says of itself, read from the file without running it. The file is untrusted:
// anything truncated or corrupt is a UserError (kFiles) naming it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gcomp::artifact {

struct Manifest {
  std::string name;                                // --name
  std::string json;                                // as given to the linker
  uint64_t weights_offset = 0, weights_bytes = 0;  // of the appended constants, 0 if none
  std::string weights_hash;                        // 32 hexadecimal digits (xxh3-128), "" if none
  uint64_t cpu_features = 0;                       // bits as in gcomp/runtime/cpu.h
};

Manifest read_manifest(const std::string& path);

// The block of the artifact's call plan (gcomp/runtime/plan.h), checked as far as gcomp/artifact/memory_plan.h
// reads it.
std::vector<std::byte> read_plan(const std::string& path);

// Reads the weights and compares their hash: UserError (kFiles) if they differ.
void verify_weights(const std::string& path);

}  // namespace gcomp::artifact
