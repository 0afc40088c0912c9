#pragma once
// Packing from the ground up: the items placed so far form a skyline over time, and each valley of it (a stretch of time
// lower than both its neighbours) takes the most important item that lives wholly within it, or, when there is none, is
// filled up to its lower neighbour: the best-fit heuristic of strip packing, with fixed positions in time. Whatever lies
// in one valley is no candidate for another, so valleys may be served in any order: from the left, with no heap.
//
// The most important item of a stretch of time is found in a tree of bounds over the items in the order of a
// space-filling curve through (first, last). O(n log n) as a rule; a search is cut off after kMostVisits, which costs
// height and no correctness. Freestanding, no recursion.

#include "gcomp/runtime/pack_items.h"

namespace gcomp::rt::pack_detail {

inline constexpr int kMostVisits = 2048;

// Bounds of the items below a node of a tree whose node i has children 2 i and 2 i + 1, and whose leaves are n to 2 n - 1.
struct Bounds {
  uint32_t importance;  // the most; 0: nothing left
  uint32_t first;       // the last beginning
  uint32_t last;        // the first end
};

// A stretch of time, up to where the next one begins.
struct Stretch {
  uint64_t height;
  uint32_t begin, prev, next;  // next also links unused ones
};

// Every second bit of the result is one of `x`.
inline uint64_t spread_bits(uint32_t x) {
  uint64_t v = x;
  v = (v | v << 16) & 0x0000ffff0000ffff;
  v = (v | v << 8) & 0x00ff00ff00ff00ff;
  v = (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
  v = (v | v << 2) & 0x3333333333333333;
  return (v | v << 1) & 0x5555555555555555;
}

struct Skyline {
  const PackItem* items;
  uint32_t n;
  Bounds* tree;          // 2 n
  Stretch* stretches;    // 2 n + 1
  uint32_t* curve;       // n items in the order of the curve
  uint32_t* importance;  // n, by item; at least 1
  uint64_t* offsets;     // n, by item
  uint32_t num_stretches, unused, end;

  void sort(uint32_t* spare) {
    end = 0;
    for (uint32_t i = 0; i < n; ++i) {
      curve[i] = i;
      if (items[i].last > end) end = items[i].last;
    }
    radix_sort(curve, spare, n, [&](uint32_t i) {
      return spread_bits(items[i].first) << 1 | spread_bits(items[i].last);
    });
  }

  void pull(uint32_t node) {
    const Bounds &a = tree[2 * node], &b = tree[2 * node + 1];
    tree[node] = {a.importance > b.importance ? a.importance : b.importance,
                  a.first > b.first ? a.first : b.first, a.last < b.last ? a.last : b.last};
  }

  // The number of items that need a place; the others are put at 0.
  uint32_t plant() {
    uint32_t count = 0;
    for (uint32_t k = 0; k < n; ++k) {
      const PackItem& item = items[curve[k]];
      tree[n + k] = {item.size == 0 ? 0 : importance[curve[k]], item.first, item.last};
      if (item.size == 0) offsets[curve[k]] = 0;
      count += item.size != 0;
    }
    for (uint32_t node = n - 1; node > 0; --node) pull(node);
    return count;
  }

  void take(uint32_t leaf) {
    tree[leaf] = {0, 0, kNil};
    for (uint32_t node = leaf / 2; node > 0; node /= 2) pull(node);
  }

  // The leaf of the most important item that lives within [begin, last]; kNil: none found. Over all time the first
  // descent finds one, if there is one.
  uint32_t find(uint32_t begin, uint32_t last) const {
    uint32_t stack[64], depth = 0, found = kNil, most = 0;
    stack[depth++] = 1;
    for (int visits = 0; depth > 0 && visits < kMostVisits; ++visits) {
      const uint32_t node = stack[--depth];
      const Bounds& bounds = tree[node];
      if (bounds.importance <= most || bounds.first < begin || bounds.last > last) continue;
      if (node >= n) {
        most = bounds.importance;
        found = node;
        continue;
      }
      const uint32_t better = tree[2 * node].importance > tree[2 * node + 1].importance ? 0 : 1;
      stack[depth++] = 2 * node + 1 - better;
      stack[depth++] = 2 * node + better;
    }
    return found;
  }

  uint32_t new_stretch(uint64_t height, uint32_t begin, uint32_t prev, uint32_t next) {
    uint32_t s = unused;
    if (s == kNil)
      s = num_stretches++;
    else
      unused = stretches[s].next;
    stretches[s] = {height, begin, prev, next};
    if (prev != kNil) stretches[prev].next = s;
    if (next != kNil) stretches[next].prev = s;
    return s;
  }

  // Walls at both ends of time.
  uint64_t height(uint32_t s) const { return s == kNil ? ~uint64_t{0} : stretches[s].height; }

  // `s` swallows the next one if that is as high.
  void join_next(uint32_t s) {
    const uint32_t gone = stretches[s].next;
    if (height(gone) != stretches[s].height) return;
    const uint32_t next = stretches[s].next = stretches[gone].next;
    if (next != kNil) stretches[next].prev = s;
    stretches[gone].next = unused;
    unused = gone;
  }

  // `s` grew. The stretch where the search for a valley goes on: `s`, or the one before if that is lower now.
  uint32_t settle(uint32_t s) {
    join_next(s);
    const uint32_t prev = stretches[s].prev;
    if (prev == kNil || stretches[prev].height > stretches[s].height) return s;
    join_next(prev);
    return prev;
  }

  // Puts the item into valley `s`, which ends at `last`; where to go on.
  uint32_t place(const PackItem& item, uint32_t s, uint32_t last) {
    const uint64_t ground = stretches[s].height, top = ground + pack_round(item.size);
    if (item.last < last) new_stretch(ground, item.last + 1, s, stretches[s].next);
    if (item.first > stretches[s].begin) {
      join_next(new_stretch(top, item.first, s, stretches[s].next));
      return s;
    }
    stretches[s].height = top;
    return settle(s);
  }

  uint32_t fill(uint32_t s) {
    const uint64_t before = height(stretches[s].prev), after = height(stretches[s].next);
    stretches[s].height = before < after ? before : after;
    return settle(s);
  }

  uint64_t pack() {
    num_stretches = 0;
    unused = kNil;
    uint64_t total = 0;
    uint32_t s = new_stretch(0, 0, kNil, kNil);
    for (uint32_t left = plant(); left > 0;) {
      // All stretches before s descend towards it.
      const uint32_t next = stretches[s].next;
      if (height(next) < stretches[s].height) {
        s = next;
        continue;
      }
      const uint32_t last = next == kNil ? end : stretches[next].begin - 1;
      const uint32_t leaf = find(stretches[s].begin, last);
      if (leaf == kNil) {
        s = fill(s);
        continue;
      }
      const uint32_t item = curve[leaf - n];
      take(leaf);
      --left;
      offsets[item] = stretches[s].height;
      if (offsets[item] + pack_round(items[item].size) > total) {
        total = offsets[item] + pack_round(items[item].size);
      }
      s = place(items[item], s, last);
    }
    return total;
  }
};

// 65536 log2(v), between powers of two by a straight line.
inline uint32_t log_of(uint64_t v) {
  const auto octave = 63 - static_cast<uint32_t>(__builtin_clzll(v | 1));
  const uint64_t mantissa = octave < 16 ? v << (16 - octave) : v >> (octave - 16);
  return octave << 16 | (mantissa & 0xffff);
}

// What makes an item important: size^s times lifetime^t, as logarithms.
struct Weights {
  uint32_t size, lifetime;
};
inline constexpr Weights kWeights[] = {{1, 1}, {1, 2}, {2, 1}, {0, 1}};
inline constexpr uint32_t kNumWeights = 4;
inline constexpr uint32_t kPromotion = 1 << 16;  // doubles

inline uint32_t importance(const PackItem& item, Weights by) {
  const uint32_t size = log_of(pack_round(item.size) / kPackAlignment);
  const uint32_t lifetime = log_of(uint64_t{item.last} - item.first + 1);
  return 1 + (by.size * size + by.lifetime * lifetime) / (by.size + by.lifetime);
}

}  // namespace gcomp::rt::pack_detail
