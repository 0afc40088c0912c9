// The arena packer against brute-force checks: no two buffers alive at the same time overlap, and the total is near the
// lower bound.

#include "gcomp/runtime/pack.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace gcomp::rt {
namespace {

struct Packed {
  std::vector<uint64_t> offsets;
  uint64_t bytes, bound;
};

Packed run_pack(const std::vector<PackItem>& items, uint32_t quadratic) {
  const auto n = static_cast<uint32_t>(items.size());
  std::vector<uint64_t> scratch(pack_scratch_bytes(n) / 8 + 1);
  Packed p;
  p.offsets.resize(n);
  p.bytes = pack(items.data(), n, p.offsets.data(), scratch.data(), quadratic);
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

TEST_CASE("random lifetimes never overlap, in both methods") {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::vector<PackItem> items = random_items(random, 1 + random() % 120);
    check_valid(items, run_pack(items, 0));
    check_valid(items, run_pack(items, 1000));
  }
}

TEST_CASE("easy shapes reach the lower bound") {
  std::vector<PackItem> chain, stack;
  for (uint32_t i = 0; i < 1000; ++i) {
    chain.push_back({4096, i, i + 1});
    stack.push_back({64 * (1 + i % 7), i, 2000 - i});
  }
  for (const auto& items : {chain, stack}) {
    for (const uint32_t quadratic : {0u, 4096u}) {
      const Packed p = run_pack(items, quadratic);
      CHECK(p.bytes == p.bound);
    }
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
      CHECK(ratio(run_pack(items, kPackCompilerQuadratic)) < 1.05);
      CHECK(ratio(run_pack(items, 0)) < 1.3);
    }
  }
  std::mt19937 random(3);
  double worst_small = 0, worst_large = 0;
  for (int round = 0; round < 10; ++round) {
    const std::vector<PackItem> items = random_items(random, 2000);
    worst_small = std::max(worst_small, ratio(run_pack(items, kPackCompilerQuadratic)));
    worst_large = std::max(worst_large, ratio(run_pack(items, 0)));
  }
  CHECK(worst_small < 1.15);
  CHECK(worst_large < 1.25);
  MESSAGE("noise, total over lower bound: " << worst_small << ", in linear time " << worst_large);
}

}  // namespace
}  // namespace gcomp::rt
