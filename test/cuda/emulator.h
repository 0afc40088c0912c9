// A host's idea of a GPU: what printed kernels (lib/codegen/cuda) need of CUDA, as ordinary C++. Included before
// the text of a module:
//
//   c++ -std=c++20 -O1 -shared -fPIC -ffp-contract=off -include test/cuda/emulator.h -x c++ text.cu -o text.so
//
// Threads of a block run in a shuffled order, another in every block and, for kernels with barriers, between any
// two barriers. GCOMP_EMULATOR_SEED chooses the orders.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#define __device__ [[maybe_unused]] static
#define __global__
#define __forceinline__ inline

namespace gcomp_emulator {

struct Dim {
  unsigned int x = 0;
};
inline Dim thread_index, block_index, block_dim, grid_dim;

using Kernel = void (*)(const uint64_t* words);
inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> map;
  return map;
}
struct Registration {
  Registration(const char* name, Kernel kernel) { kernels()[name] = kernel; }
};

struct Random {
  uint64_t state;
  uint64_t next() {
    state += 0x9e3779b97f4a7c15ull;
    uint64_t x = (state ^ state >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
  }
};

inline std::vector<uint32_t> shuffled(uint32_t n, Random& random) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.next() % i]);
  return order;
}

inline uint64_t seed() {
  const char* text = std::getenv("GCOMP_EMULATOR_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
}

}  // namespace gcomp_emulator

#define threadIdx gcomp_emulator::thread_index
#define blockIdx gcomp_emulator::block_index
#define blockDim gcomp_emulator::block_dim
#define gridDim gcomp_emulator::grid_dim

#define GCOMP_KERNEL(name, n)                                                                      \
  static void name(const gcomp_words<n>& a);                                                       \
  static const gcomp_emulator::Registration registration_##name(#name, [](const uint64_t* words) { \
    gcomp_words<n> a;                                                                              \
    std::memcpy(a.w, words, sizeof a.w);                                                           \
    name(a);                                                                                       \
  });                                                                                              \
  static void name(const gcomp_words<n>& a)

static inline float __uint_as_float(unsigned int bits) {
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}
static inline unsigned int __float_as_uint(float f) {
  unsigned int bits;
  std::memcpy(&bits, &f, sizeof f);
  return bits;
}
static inline double __longlong_as_double(long long bits) {
  double d;
  std::memcpy(&d, &bits, sizeof d);
  return d;
}
static inline long long __double_as_longlong(double d) {
  long long bits;
  std::memcpy(&bits, &d, sizeof d);
  return bits;
}
static inline long long atomicMin(long long* at, long long value) {
  const long long old = *at;
  if (value < old) *at = value;
  return old;
}

// 0: done; 1: no such kernel.
extern "C" __attribute__((visibility("default"), weak)) int gcomp_emulate(const char* kernel,
                                                                          uint32_t grid,
                                                                          uint32_t block,
                                                                          uint32_t shared_bytes,
                                                                          const uint64_t* words) {
  using namespace gcomp_emulator;
  (void)shared_bytes;
  const auto found = kernels().find(kernel);
  if (found == kernels().end()) return 1;
  Random random{seed()};
  grid_dim.x = grid;
  block_dim.x = block;
  for (const uint32_t b : shuffled(grid, random)) {
    block_index.x = b;
    for (const uint32_t t : shuffled(block, random)) {
      thread_index.x = t;
      found->second(words);
    }
  }
  return 0;
}
