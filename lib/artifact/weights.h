#pragma once
// Hash of appended weights, computed as they stream by: xxh3-128 of the xxh3-128 of every MiB.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gcomp::artifact {

using WeightsHash = std::array<uint64_t, 2>;

class WeightsHasher {
 public:
  void add(std::span<const std::byte> bytes);
  WeightsHash finish();

 private:
  void close_chunk();
  std::vector<std::byte> chunk_;
  std::vector<std::byte> hashes_;
};

std::string to_hex(const WeightsHash& hash);

}  // namespace gcomp::artifact
