#pragma once
// Packing buffers with known lifetimes into one arena; used by the compiler for static sizes and by
// the runtime when extents become known. Freestanding, header only, deterministic, no recursion.
//
// Problem: give each item an offset such that items whose lifetimes meet do not overlap, with a small
// total ("dynamic storage allocation", NP-hard). The best of several results wins:
//  - program order, best fit, forwards and backwards in time;
//  - skyline (pack_skyline.h), by four kinds of importance; and again, as often as the effort allows, with
//    those items doubled in importance that reached highest.
// The search stops when a result meets the lower bound.

#include "gcomp/runtime/pack_items.h"
#include "gcomp/runtime/pack_program_order.h"
#include "gcomp/runtime/pack_skyline.h"

namespace gcomp::rt {

// How many times an item may be placed by a skyline, together; each takes 0.1 to 0.4 us. Four rounds are made in any
// case, and at most kMostRounds.
inline constexpr uint64_t kPackRuntimeEffort = 2048;
inline constexpr uint64_t kPackCompilerEffort = 1'000'000;

namespace pack_detail {

inline constexpr uint64_t kMostRounds = 800;

struct Scratch {
  ProgramOrder order;
  Skyline skyline;
  uint64_t* offsets;  // n
};

// The methods use the same memory in turn.
inline Scratch& divide(void* scratch, const PackItem* items, uint32_t n) {
  auto& s = *static_cast<Scratch*>(scratch);
  const size_t count = n;
  s.order.blocks = reinterpret_cast<Block*>(&s + 1);
  s.offsets = reinterpret_cast<uint64_t*>(s.order.blocks + 2 * count + 1);
  s.order.by_start = reinterpret_cast<uint32_t*>(s.offsets + n);
  s.order.by_end = s.order.by_start + n;
  s.order.spare = s.order.by_end + n;
  auto* const stretches = reinterpret_cast<Stretch*>(s.order.blocks);
  auto* const tree = reinterpret_cast<Bounds*>(stretches + 2 * count + 1);
  static_assert(sizeof(Stretch) + sizeof(Bounds) <= sizeof(Block));
  s.skyline = {items, n, tree, stretches, s.order.by_start, s.order.by_end, s.offsets, 0, kNil, 0};
  return s;
}

// The search's best so far.
struct Best {
  uint64_t bytes;
  uint64_t* offsets;

  void offer(uint64_t other, const uint64_t* other_offsets, uint32_t n) {
    if (other >= bytes) return;
    bytes = other;
    for (uint32_t i = 0; i < n; ++i) offsets[i] = other_offsets[i];
  }
};

inline void promote(const PackItem* items, uint32_t n, uint64_t above, const Skyline& s) {
  for (uint32_t i = 0; i < n; ++i) {
    if (s.offsets[i] + pack_round(items[i].size) > above) s.importance[i] += kPromotion;
  }
}

inline void search_skylines(const PackItem* items, uint32_t n, uint64_t bound, uint64_t effort,
                            Scratch& s, Best* best) {
  uint64_t rounds = effort / n < kMostRounds ? effort / n : kMostRounds;
  rounds = rounds < kNumWeights ? 1 : rounds / kNumWeights;
  s.skyline.sort(s.order.spare);
  for (const Weights by : kWeights) {
    for (uint32_t i = 0; i < n; ++i) s.skyline.importance[i] = importance(items[i], by);
    for (uint64_t round = 0; round < rounds; ++round) {
      const uint64_t bytes = s.skyline.pack();
      best->offer(bytes, s.offsets, n);
      if (best->bytes <= bound) return;
      promote(items, n, bound + (bytes - bound) / 2, s.skyline);
    }
  }
}

}  // namespace pack_detail

inline size_t pack_scratch_bytes(uint32_t n) {
  const size_t count = n;
  return sizeof(pack_detail::Scratch) + (2 * count + 1) * sizeof(pack_detail::Block) +
         count * (sizeof(uint64_t) + 3 * sizeof(uint32_t)) + 64;
}

// Fills offsets[n] and returns the bytes of the arena. `scratch`: pack_scratch_bytes(n), 8-byte aligned.
inline uint64_t pack(const PackItem* items, uint32_t n, uint64_t* offsets, void* scratch,
                     uint64_t effort) {
  if (n == 0) return 0;
  pack_detail::Scratch& s = pack_detail::divide(scratch, items, n);
  const uint64_t bound = max_live_bytes(items, n, s.order.by_start);
  pack_detail::Best best{pack_detail::pack_program_order(items, n, false, offsets, s.order),
                         offsets};
  if (best.bytes <= bound) return best.bytes;
  best.offer(pack_detail::pack_program_order(items, n, true, s.offsets, s.order), s.offsets, n);
  if (best.bytes > bound) pack_detail::search_skylines(items, n, bound, effort, s, &best);
  return best.bytes;
}

}  // namespace gcomp::rt
