// The arena packer against brute-force checks: no two buffers alive at the same time overlap, and the total is near the
// lower bound.

#include "gcomp/runtime/pack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "../sanitized.h"

namespace gcomp::rt {
namespace {

struct Packed {
  std::vector<uint64_t> offsets;
  uint64_t bytes, bound;
};

Packed run_pack(const std::vector<PackItem>& items, uint64_t effort) {
  const auto n = static_cast<uint32_t>(items.size());
  std::vector<uint64_t> scratch(pack_scratch_bytes(n) / 8 + 1);
  Packed p;
  p.offsets.resize(n);
  p.bytes = pack(items.data(), n, p.offsets.data(), scratch.data(), effort);
  p.bound = max_live_bytes(items.data(), n, scratch.data());
  return p;
}

void check_valid(const std::vector<PackItem>& items, const Packed& p) {
  for (size_t i = 0; i < items.size(); ++i) {
    REQUIRE(p.offsets[i] % kPackAlignment == 0);
    REQUIRE(p.offsets[i] + pack_round(items[i].size) <= p.bytes);
    for (size_t j = 0; j < i; ++j) {
      if (items[i].last < items[j].first || items[j].last < items[i].first) continue;
      const bool apart = p.offsets[i] + items[i].size <= p.offsets[j] ||
                         p.offsets[j] + items[j].size <= p.offsets[i];
      REQUIRE(apart);
    }
  }
  REQUIRE(p.bytes >= p.bound);
}

// Lifetimes and sizes of an irregular graph: mostly short-lived buffers, some long.
std::vector<PackItem> random_items(std::mt19937& random, uint32_t n) {
  std::vector<PackItem> items;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t length = random() % 8 == 0 ? random() % n : random() % 6;
    const uint64_t size = random() % 10 == 0 ? 0 : uint64_t{1} << random() % 16;
    items.push_back({size + random() % (size + 1), i, std::min(n - 1, i + length)});
  }
  std::shuffle(items.begin(), items.end(), random);
  return items;
}

// What one skyline gives alone.
Packed run_skyline(const std::vector<PackItem>& items, pack_detail::Weights by) {
  const auto n = static_cast<uint32_t>(items.size());
  std::vector<uint64_t> scratch(pack_scratch_bytes(n) / 8 + 1);
  Packed p{std::vector<uint64_t>(n), 0, max_live_bytes(items.data(), n, scratch.data())};
  pack_detail::Scratch& s = pack_detail::divide(scratch.data(), items.data(), n);
  s.skyline.offsets = p.offsets.data();
  s.skyline.sort(s.order.spare);
  for (uint32_t i = 0; i < n; ++i) s.skyline.importance[i] = importance(items[i], by);
  p.bytes = s.skyline.pack();
  return p;
}

TEST_CASE("random lifetimes never overlap, by any method") {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::vector<PackItem> items = random_items(random, 1 + random() % 120);
    check_valid(items, run_pack(items, 0));
    check_valid(items, run_pack(items, 1000));
    for (const auto by : pack_detail::kWeights) check_valid(items, run_skyline(items, by));
  }
}

TEST_CASE("the ends of what a lifetime can be") {
  const std::vector<PackItem> items = {
      {64, 0, UINT32_MAX}, {128, UINT32_MAX, UINT32_MAX}, {64, 0, 0}, {192, 5, UINT32_MAX - 1}};
  for (const auto by : pack_detail::kWeights) {
    const Packed p = run_skyline(items, by);
    check_valid(items, p);
    CHECK(p.bytes == 256);
  }
  CHECK(run_pack(items, 0).bytes == 256);
}

TEST_CASE("easy shapes reach the lower bound") {
  std::vector<PackItem> chain, stack;
  for (uint32_t i = 0; i < 1000; ++i) {
    chain.push_back({4096, i, i + 1});
    stack.push_back({64 * (1 + i % 7), i, 2000 - i});
  }
  for (const auto& items : {chain, stack}) {
    const Packed p = run_pack(items, 0);
    CHECK(p.bytes == p.bound);
  }
  CHECK(run_pack(chain, 0).bound == 8192);
}

TEST_CASE("nothing and empty buffers") {
  CHECK(run_pack({}, 10).bytes == 0);
  CHECK(run_pack({{0, 0, 5}, {0, 1, 2}}, 10).bytes == 0);
  CHECK(run_pack({{1, 0, 5}, {0, 1, 2}, {64, 3, 3}}, 10).bytes == 128);
}

double ratio(const Packed& p) {
  return static_cast<double>(p.bytes) / static_cast<double>(p.bound);
}

// Activations of a residual network: four stages of halving resolution, skips over three steps, a few scratch buffers
// (padded or packed inputs) that live for one step.
std::vector<PackItem> residual_network(uint32_t blocks_per_stage, uint32_t base) {
  std::vector<PackItem> items;
  uint32_t step = 0;
  for (uint32_t stage = 0; stage < 4; ++stage) {
    const uint64_t size = uint64_t{base} * 56 * 56 * 64 * 4 >> stage;
    for (uint32_t block = 0; block < blocks_per_stage; ++block) {
      items.push_back({size, step, step + 3});      // block input, also the skip
      items.push_back({size * 9 / 8, step, step});  // padded copy
      items.push_back({size, step + 1, step + 2});
      items.push_back({size / 4, step + 2, step + 3});
      step += 3;
    }
  }
  return items;
}

TEST_CASE("close to the lower bound on networks, bounded on noise") {
  for (const uint32_t blocks : {2u, 3u, 8u}) {
    for (const uint32_t base : {1u, 3u}) {
      const std::vector<PackItem> items = residual_network(blocks, base);
      CHECK(ratio(run_pack(items, kPackCompilerEffort)) < 1.05);
      CHECK(ratio(run_pack(items, 0)) < 1.3);
    }
  }
  std::mt19937 random(3);
  double worst_searched = 0, worst = 0;
  for (int round = 0; round < 5; ++round) {
    const std::vector<PackItem> items = random_items(random, 2000);
    worst_searched = std::max(worst_searched, ratio(run_pack(items, 100'000)));
    worst = std::max(worst, ratio(run_pack(items, 0)));
  }
  CHECK(worst_searched < 1.05);
  CHECK(worst < 1.1);
  MESSAGE("noise, total over lower bound: " << worst_searched << ", with four skylines " << worst);
}

// As check_valid, in O(n log n): along time, each beside its neighbours in the arena.
bool never_overlap(const std::vector<PackItem>& items, const Packed& p) {
  std::vector<uint32_t> starts(items.size());
  std::iota(starts.begin(), starts.end(), 0);
  std::vector<uint32_t> ends = starts;
  std::ranges::sort(starts, {}, [&](uint32_t i) { return items[i].first; });
  std::ranges::sort(ends, {}, [&](uint32_t i) { return items[i].last; });
  std::map<uint64_t, uint64_t> live;  // offset to end
  size_t ended = 0;
  for (const uint32_t i : starts) {
    for (; items[ends[ended]].last < items[i].first; ++ended) {
      if (items[ends[ended]].size != 0) live.erase(p.offsets[ends[ended]]);
    }
    if (items[i].size == 0) continue;
    const auto [at, added] = live.emplace(p.offsets[i], p.offsets[i] + items[i].size);
    if (!added || (at != live.begin() && std::prev(at)->second > at->first)) return false;
    if (std::next(at) != live.end() && std::next(at)->first < at->second) return false;
  }
  return true;
}

// Backpropagation through time: small values kept from each step of the way there to the same step of the way back,
// with short-lived ones between, and now and then large ones, which best fit along time puts over the small ones.
std::vector<PackItem> recurrent_network(std::mt19937& random, uint32_t steps) {
  std::vector<PackItem> items;
  const uint32_t end = 2 * steps - 1;
  const auto add = [&](uint64_t size, uint32_t t, uint64_t lifetime) {
    items.push_back({size, t, static_cast<uint32_t>(std::min<uint64_t>(end, t + lifetime))});
  };
  for (uint32_t t = 0; t <= end; ++t) {
    for (uint32_t k = 0; t < steps && k < 1 + t % 3; ++k) add(64, t, end - 2 * t);
    add(64 * (1 + random() % 2), t, 1 + random() % 2);
    if (t % (steps / 20) == 7) add((1 + random() % 4) << 16, t, random() % 2 * steps / 5);
  }
  return items;
}

TEST_CASE("many buffers: small ones that live long, large ones between") {
  std::mt19937 random(7);
  for (const uint32_t steps : {500u, test::kSanitized ? 5'000u : 50'000u}) {
    const std::vector<PackItem> items = recurrent_network(random, steps);
    const Packed p = run_pack(items, 0);
    REQUIRE(never_overlap(items, p));
    CHECK(ratio(p) < 1.02);
    for (const auto by : pack_detail::kWeights)
      REQUIRE(never_overlap(items, run_skyline(items, by)));
  }
}

}  // namespace
}  // namespace gcomp::rt
