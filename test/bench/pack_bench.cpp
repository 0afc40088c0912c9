// Packing irregular buffers into an arena: seconds of CPU time, and the total over the lower bound. With small n also what the
// runtime does when it learns extents.
#include <cstdio>
#include <ctime>
#include <random>
#include <vector>

#include "gcomp/runtime/pack.h"

using namespace gcomp::rt;

namespace {

void pack_some(uint32_t n, uint64_t effort, const char* who) {
  std::mt19937 random(5);
  std::vector<PackItem> items;
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t length = random() % 16 == 0 ? random() % 1000 : random() % 6;
    items.push_back({64 + random() % 100000, i, i + length < n ? i + length : n - 1});
  }
  std::vector<uint64_t> scratch(pack_scratch_bytes(n) / 8 + 1), offsets(n);
  const std::clock_t begin = std::clock();
  const uint64_t bytes = pack(items.data(), n, offsets.data(), scratch.data(), effort);
  const double taken = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  const uint64_t bound = max_live_bytes(items.data(), n, scratch.data());
  std::printf("pack %u irregular buffers: %.6f s, %.3f of the lower bound (%s)\n", n, taken,
              static_cast<double>(bytes) / static_cast<double>(bound), who);
}

}  // namespace

int main() {
  for (const uint32_t n : {100u, 250u, 1000u, 4000u}) pack_some(n, kPackRuntimeEffort, "runtime");
  for (const uint32_t n : {100u, 1000u, 4000u, 100000u, 1000000u}) {
    pack_some(n, kPackCompilerEffort, "compiler");
  }
}
