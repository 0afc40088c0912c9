#pragma once
// What pack.h packs: sizes and lifetimes, their lower bound, and the sort that the methods share. Freestanding.

#include <stddef.h>
#include <stdint.h>

namespace gcomp::rt {

inline constexpr uint64_t kPackAlignment = 64;

struct PackItem {
  uint64_t size;         // bytes; counted in units of kPackAlignment
  uint32_t first, last;  // lifetime, both ends included
};

constexpr uint64_t pack_round(uint64_t bytes) {
  return (bytes + kPackAlignment - 1) / kPackAlignment * kPackAlignment;
}

namespace pack_detail {

inline constexpr uint32_t kNil = 0xffffffffu;

// Stable sort of `order` (n numbers, initially any permutation) by key(order[i]), 64-bit keys, with
// `spare` of n.
template <class Key>
void radix_sort(uint32_t* order, uint32_t* spare, uint32_t n, Key key) {
  uint64_t differing = 0;
  for (uint32_t i = 1; i < n; ++i) differing |= key(order[i]) ^ key(order[0]);
  for (int shift = 0; shift < 64; shift += 8) {
    if ((differing >> shift & 255) == 0) continue;
    uint32_t start[257] = {};
    for (uint32_t i = 0; i < n; ++i) ++start[(key(order[i]) >> shift & 255) + 1];
    for (int d = 0; d < 256; ++d) start[d + 1] += start[d];
    for (uint32_t i = 0; i < n; ++i) spare[start[key(order[i]) >> shift & 255]++] = order[i];
    for (uint32_t i = 0; i < n; ++i) order[i] = spare[i];
  }
}

}  // namespace pack_detail

// The most bytes alive at any step: no packing can do with less. `scratch`: 3 n uint32.
inline uint64_t max_live_bytes(const PackItem* items, uint32_t n, void* scratch) {
  auto* by_start = static_cast<uint32_t*>(scratch);
  uint32_t *by_end = by_start + n, *spare = by_end + n;
  for (uint32_t i = 0; i < n; ++i) by_start[i] = by_end[i] = i;
  pack_detail::radix_sort(by_start, spare, n,
                          [&](uint32_t i) -> uint64_t { return items[i].first; });
  pack_detail::radix_sort(by_end, spare, n, [&](uint32_t i) -> uint64_t { return items[i].last; });
  uint64_t live = 0, most = 0;
  uint32_t released = 0;
  for (uint32_t k = 0; k < n; ++k) {
    const PackItem& item = items[by_start[k]];
    for (; items[by_end[released]].last < item.first; ++released) {
      live -= pack_round(items[by_end[released]].size);
    }
    live += pack_round(item.size);
    if (live > most) most = live;
  }
  return most;
}

}  // namespace gcomp::rt
