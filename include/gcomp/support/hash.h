#pragma once
// Hashing for interning: deterministic across runs and machines.

#include <cstddef>
#include <cstdint>
#include <span>

namespace gcomp {

constexpr uint64_t hash_mix(uint64_t x) {  // the finaliser of splitmix64
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr size_t hash_combine(size_t seed, size_t value) {
  return hash_mix(seed * 0x9e3779b97f4a7c15ull + value + 0x632be59bd9b4e019ull);
}

// 64 bits of content hash; for interning and deduplication, not for security.
uint64_t hash_bytes(std::span<const std::byte> bytes, uint64_t seed = 0);

}  // namespace gcomp
