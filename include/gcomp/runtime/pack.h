#pragma once
// Packing buffers with known lifetimes into one arena; used by the compiler for static sizes and by
// the runtime when extents become known. Freestanding, header only, deterministic, no recursion.
//
// Problem: give each item an offset such that items whose lifetimes meet do not overlap, with a small
// total ("dynamic storage allocation", NP-hard). The best of several results wins:
//  - program order, best fit: allocate and release along time, with free blocks in size classes (1/16
//    octave, 24 probes a class) and immediate coalescing, forwards and backwards in time: O(n);
//  - most important first, tightest gap: each item goes to the tightest gap between those already
//    placed that it meets; by size, by size times lifetime, and by lifetime: O(n^2), so only up to a
//    number of items;
//  - each of these again and again, with the item that reached highest moved to the front: as often as the
//    work of one round of the most items allows.
// The search stops when a result meets the lower bound.

#include <stddef.h>
#include <stdint.h>

namespace gcomp::rt {

inline constexpr uint64_t kPackAlignment = 64;
inline constexpr uint32_t kPackRuntimeQuadratic = 256;    // about 0.1 ms
inline constexpr uint32_t kPackCompilerQuadratic = 4096;  // about 50 ms

struct PackItem {
  uint64_t size;         // bytes; counted in units of kPackAlignment
  uint32_t first, last;  // lifetime, both ends included
};

constexpr uint64_t pack_round(uint64_t bytes) {
  return (bytes + kPackAlignment - 1) / kPackAlignment * kPackAlignment;
}

namespace pack_detail {

inline constexpr uint32_t kNil = 0xffffffffu;
inline constexpr uint32_t kClasses = 60 * 16;
inline constexpr int kProbes = 24;

struct Block {
  uint64_t offset, size;
  uint32_t before, after;  // neighbours in the arena
  uint32_t prev, next;     // others of the same class; next also links unused blocks
  bool free;
};

// floor(16 * log2(size)) roughly: octave and the four bits after the leading one.
inline uint32_t size_class(uint64_t units) {
  if (units < 16) return static_cast<uint32_t>(units);
  const uint32_t octave = 63 - static_cast<uint32_t>(__builtin_clzll(units));
  const uint32_t c = (octave - 3) * 16 + static_cast<uint32_t>(units >> (octave - 4) & 15);
  return c < kClasses ? c : kClasses - 1;
}

struct Arena {
  Block* blocks;
  uint32_t unused = kNil, num_blocks = 0, top = kNil;
  uint64_t end = 0;
  uint32_t heads[kClasses];
  uint64_t nonempty[kClasses / 64];

  void reset(Block* storage) {
    blocks = storage;
    unused = top = kNil;
    num_blocks = 0;
    end = 0;
    for (uint32_t& head : heads) head = kNil;
    for (uint64_t& word : nonempty) word = 0;
  }

  uint32_t new_block() {
    if (unused == kNil) return num_blocks++;
    const uint32_t b = unused;
    unused = blocks[b].next;
    return b;
  }
  void drop_block(uint32_t b) {
    blocks[b].next = unused;
    unused = b;
  }

  void list(uint32_t b) {
    const uint32_t c = size_class(blocks[b].size);
    blocks[b].free = true;
    blocks[b].prev = kNil;
    blocks[b].next = heads[c];
    if (heads[c] != kNil) blocks[heads[c]].prev = b;
    heads[c] = b;
    nonempty[c / 64] |= uint64_t{1} << c % 64;
  }
  void unlist(uint32_t b) {
    const uint32_t c = size_class(blocks[b].size);
    blocks[b].free = false;
    if (blocks[b].prev != kNil) blocks[blocks[b].prev].next = blocks[b].next;
    if (blocks[b].prev == kNil) heads[c] = blocks[b].next;
    if (blocks[b].next != kNil) blocks[blocks[b].next].prev = blocks[b].prev;
    if (heads[c] == kNil) nonempty[c / 64] &= ~(uint64_t{1} << c % 64);
  }

  uint32_t best_in_class(uint32_t c, uint64_t size) const {
    uint32_t best = kNil;
    int probes = kProbes;
    for (uint32_t b = heads[c]; b != kNil && probes-- > 0; b = blocks[b].next) {
      if (blocks[b].size >= size && (best == kNil || blocks[b].size < blocks[best].size)) best = b;
    }
    return best;
  }

  uint32_t find(uint64_t size) const {
    uint32_t c = size_class(size);
    const uint32_t same = best_in_class(c, size);
    if (same != kNil || ++c == kClasses) return same;
    uint64_t word = nonempty[c / 64] >> c % 64 << c % 64;
    for (uint32_t w = c / 64;;) {
      if (word != 0)
        return best_in_class(w * 64 + static_cast<uint32_t>(__builtin_ctzll(word)), size);
      if (++w == kClasses / 64) return kNil;
      word = nonempty[w];
    }
  }

  uint32_t grow(uint64_t size) {
    if (top != kNil && blocks[top].free) {  // the free block at the end stretches
      unlist(top);
      blocks[top].size = size;
      end = blocks[top].offset + size;
      return top;
    }
    const uint32_t b = new_block();
    blocks[b] = {end, size, top, kNil, kNil, kNil, false};
    if (top != kNil) blocks[top].after = b;
    top = b;
    end += size;
    return b;
  }

  uint32_t allocate(uint64_t size) {
    const uint32_t b = find(size);
    if (b == kNil) return grow(size);
    unlist(b);
    if (blocks[b].size > size) {
      const uint32_t rest = new_block();
      blocks[rest] = {
          blocks[b].offset + size, blocks[b].size - size, b, blocks[b].after, kNil, kNil, true};
      if (blocks[b].after != kNil) blocks[blocks[b].after].before = rest;
      if (top == b) top = rest;
      blocks[b].after = rest;
      blocks[b].size = size;
      list(rest);
    }
    return b;
  }

  // `b` swallows the block after it.
  void join_after(uint32_t b) {
    const uint32_t gone = blocks[b].after;
    blocks[b].size += blocks[gone].size;
    blocks[b].after = blocks[gone].after;
    if (blocks[gone].after != kNil) blocks[blocks[gone].after].before = b;
    if (top == gone) top = b;
    drop_block(gone);
  }

  void release(uint32_t b) {
    const uint32_t after = blocks[b].after, before = blocks[b].before;
    if (after != kNil && blocks[after].free) {
      unlist(after);
      join_after(b);
    }
    if (before != kNil && blocks[before].free) {
      unlist(before);
      join_after(before);
      b = before;
    }
    list(b);
  }
};

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

struct Scratch {
  Arena arena;
  Block* blocks;       // 2 n + 1
  uint64_t* offsets;   // n
  uint32_t* by_start;  // n
  uint32_t* by_end;    // n
  uint32_t* spare;     // n
};

// Time runs backwards when `backwards`: an item then starts at its last step.
inline uint64_t pack_program_order(const PackItem* items, uint32_t n, bool backwards,
                                   uint64_t* offsets, Scratch& s) {
  const auto start = [&](uint32_t i) -> uint64_t {
    return backwards ? ~uint64_t{items[i].last} : items[i].first;
  };
  const auto finish = [&](uint32_t i) -> uint64_t {
    return backwards ? ~uint64_t{items[i].first} : items[i].last;
  };
  for (uint32_t i = 0; i < n; ++i) s.by_start[i] = s.by_end[i] = i;
  radix_sort(s.by_start, s.spare, n, start);
  radix_sort(s.by_end, s.spare, n, finish);
  uint32_t* const block_of = s.spare;
  s.arena.reset(s.blocks);
  uint32_t released = 0;
  for (uint32_t k = 0; k < n; ++k) {
    const uint32_t i = s.by_start[k];
    for (; finish(s.by_end[released]) < start(i); ++released) {
      const uint32_t dead = s.by_end[released];
      if (items[dead].size != 0) s.arena.release(block_of[dead]);
    }
    offsets[i] = 0;
    if (items[i].size == 0) continue;
    block_of[i] = s.arena.allocate(pack_round(items[i].size) / kPackAlignment);
    offsets[i] = s.arena.blocks[block_of[i]].offset * kPackAlignment;
  }
  return s.arena.end * kPackAlignment;
}

enum class Importance { kSize, kArea, kLifetime };

inline uint64_t importance(const PackItem& item, Importance by) {
  const uint64_t size = pack_round(item.size), steps = uint64_t{item.last} - item.first + 1;
  if (by == Importance::kSize) return size;
  const uint64_t units = size / kPackAlignment;
  // By lifetime, then by size; fields cannot carry into each other for any size that fits memory.
  if (by == Importance::kLifetime) return steps << 32 | (units < 0xffffffff ? units : 0xffffffff);
  return units * steps;
}

// s.by_start: the order of placing.
inline uint64_t pack_in_order(const PackItem* items, uint32_t n, uint64_t* offsets, Scratch& s) {
  const uint32_t* const order = s.by_start;
  uint32_t* const placed = s.by_end;  // by increasing offset
  uint64_t total = 0;
  for (uint32_t k = 0; k < n; ++k) {
    const PackItem& item = items[order[k]];
    const uint64_t size = pack_round(item.size);
    uint64_t end = 0, best = ~uint64_t{0}, best_gap = ~uint64_t{0};
    for (uint32_t p = 0; p < k; ++p) {
      const PackItem& other = items[placed[p]];
      if (other.last < item.first || item.last < other.first) continue;
      const uint64_t offset = offsets[placed[p]];
      if (offset >= end + size && offset - end < best_gap) {
        best = end;
        best_gap = offset - end;
      }
      const uint64_t other_end = offset + pack_round(other.size);
      if (other_end > end) end = other_end;
    }
    if (best == ~uint64_t{0}) best = end;
    if (size == 0) best = 0;
    offsets[order[k]] = best;
    uint32_t p = k;
    for (; p > 0 && offsets[placed[p - 1]] > best; --p) placed[p] = placed[p - 1];
    placed[p] = order[k];
    if (best + size > total) total = best + size;
  }
  return total;
}

inline uint64_t pack_by_importance(const PackItem* items, uint32_t n, Importance by,
                                   uint64_t* offsets, Scratch& s) {
  for (uint32_t i = 0; i < n; ++i) s.by_start[i] = i;
  radix_sort(s.by_start, s.spare, n, [&](uint32_t i) { return ~importance(items[i], by); });
  return pack_in_order(items, n, offsets, s);
}

// Moves the first in s.by_start of those items that end at `total` to the front of it.
inline void promote_highest(const PackItem* items, const uint64_t* offsets, uint64_t total,
                            Scratch& s) {
  uint32_t k = 0;
  while (offsets[s.by_start[k]] + pack_round(items[s.by_start[k]].size) != total) ++k;
  const uint32_t item = s.by_start[k];
  for (; k > 0; --k) s.by_start[k] = s.by_start[k - 1];
  s.by_start[0] = item;
}

inline constexpr uint64_t kMostRounds = 200;

}  // namespace pack_detail

inline size_t pack_scratch_bytes(uint32_t n) {
  const size_t count = n;
  return sizeof(pack_detail::Scratch) + (2 * count + 1) * sizeof(pack_detail::Block) +
         count * (sizeof(uint64_t) + 3 * sizeof(uint32_t)) + 64;
}

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

// Fills offsets[n] and returns the bytes of the arena. `scratch`: pack_scratch_bytes(n), 8-byte
// aligned. Up to `quadratic` items the O(n^2) method is tried too.
inline uint64_t pack(const PackItem* items, uint32_t n, uint64_t* offsets, void* scratch,
                     uint32_t quadratic) {
  if (n == 0) return 0;
  auto& s = *static_cast<pack_detail::Scratch*>(scratch);
  s.blocks = reinterpret_cast<pack_detail::Block*>(&s + 1);
  s.offsets = reinterpret_cast<uint64_t*>(s.blocks + 2 * static_cast<size_t>(n) + 1);
  s.by_start = reinterpret_cast<uint32_t*>(s.offsets + n);
  s.by_end = s.by_start + n;
  s.spare = s.by_end + n;
  const uint64_t bound = max_live_bytes(items, n, s.by_start);
  uint64_t best = pack_detail::pack_program_order(items, n, false, offsets, s);
  const int methods = n <= quadratic ? 5 : 2;
  for (int method = 1; method < methods && best > bound; ++method) {
    const auto by = static_cast<pack_detail::Importance>(method - 2);
    const uint64_t bytes = method == 1
                               ? pack_detail::pack_program_order(items, n, true, s.offsets, s)
                               : pack_detail::pack_by_importance(items, n, by, s.offsets, s);
    if (bytes >= best) continue;
    best = bytes;
    for (uint32_t i = 0; i < n; ++i) offsets[i] = s.offsets[i];
  }
  if (best <= bound || n > quadratic) return best;
  uint64_t rounds = uint64_t{quadratic} * quadratic / (3 * uint64_t{n} * n);
  if (rounds > pack_detail::kMostRounds) rounds = pack_detail::kMostRounds;
  for (int by = 0; by < 3; ++by) {
    uint64_t bytes = pack_detail::pack_by_importance(
        items, n, static_cast<pack_detail::Importance>(by), s.offsets, s);
    for (uint64_t round = 0; round < rounds && best > bound; ++round) {
      pack_detail::promote_highest(items, s.offsets, bytes, s);
      bytes = pack_detail::pack_in_order(items, n, s.offsets, s);
      if (bytes >= best) continue;
      best = bytes;
      for (uint32_t i = 0; i < n; ++i) offsets[i] = s.offsets[i];
    }
  }
  return best;
}

}  // namespace gcomp::rt
