#include "gcomp/support/hash.h"

#include <cstring>

namespace gcomp {

uint64_t hash_bytes(std::span<const std::byte> bytes, uint64_t seed) {
  // Four independent lanes, so that hashing runs at memory speed.
  uint64_t lanes[4] = {seed, seed + 1, seed + 2, seed + 3};
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  constexpr uint64_t kMul = 0x9e3779b97f4a7c15ull;
  while (left >= 32) {
    for (int i = 0; i < 4; ++i) {
      uint64_t word;
      std::memcpy(&word, p + 8 * i, 8);
      lanes[i] = (lanes[i] ^ word) * kMul;
      lanes[i] ^= lanes[i] >> 29;
    }
    p += 32;
    left -= 32;
  }
  uint64_t h = bytes.size();
  for (uint64_t lane : lanes) h = hash_combine(h, lane);
  while (left > 0) {
    const size_t n = left < 8 ? left : 8;
    uint64_t word = 0;
    std::memcpy(&word, p, n);
    h = hash_combine(h, word);
    p += n;
    left -= n;
  }
  return h;
}

}  // namespace gcomp
