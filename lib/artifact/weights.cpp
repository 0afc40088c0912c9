#include "weights.h"

#include <algorithm>
#include <cstring>

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/xxhash.h"

namespace gcomp::artifact {
namespace {

constexpr size_t kChunk = 1 << 20;

WeightsHash hash_of(std::span<const std::byte> bytes) {
  const auto h = llvm::xxh3_128bits(
      llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  return {h.low64, h.high64};
}

}  // namespace

void WeightsHasher::close_chunk() {
  const WeightsHash h = hash_of(chunk_);
  const auto bytes = std::as_bytes(std::span(h));
  hashes_.insert(hashes_.end(), bytes.begin(), bytes.end());
  chunk_.clear();
}

void WeightsHasher::add(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kChunk - chunk_.size());
    chunk_.insert(chunk_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
    bytes = bytes.subspan(n);
    if (chunk_.size() == kChunk) close_chunk();
  }
}

WeightsHash WeightsHasher::finish() {
  if (!chunk_.empty()) close_chunk();
  return hash_of(hashes_);
}

std::string to_hex(const WeightsHash& hash) {
  std::string text;
  for (const uint64_t word : {hash[1], hash[0]}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  }
  return text;
}

}  // namespace gcomp::artifact
