#pragma once
// Packing along time: allocate where a lifetime begins, release where it ends; best fit, with free blocks in size
// classes (1/16 octave, 24 probes a class) and immediate coalescing. O(n). Freestanding.

#include "gcomp/runtime/pack_items.h"

namespace gcomp::rt::pack_detail {

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

struct ProgramOrder {
  Arena arena;
  Block* blocks;       // 2 n + 1
  uint32_t* by_start;  // n, as the next two
  uint32_t* by_end;
  uint32_t* spare;
};

// Time runs backwards when `backwards`: an item then starts at its last step.
inline uint64_t pack_program_order(const PackItem* items, uint32_t n, bool backwards,
                                   uint64_t* offsets, ProgramOrder& s) {
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

}  // namespace gcomp::rt::pack_detail
