// What this CPU can do on one thread, to judge kernels by: GFLOP/s of fused multiply-adds in registers
// for each vector width it has, and GB/s of reading memory. One "name value" a line; the best of many runs.

#include <chrono>
#include <cstdio>
#include <vector>

namespace {

using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

constexpr int kSums = 12;  // more than latency times throughput: 4 cycles, 2 a cycle
constexpr int kSteps = 100000;

template <class F>
double best_seconds(F f) {
  double best = 1e9;
  for (int i = 0; i < 60; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (taken.count() < best) best = taken.count();
  }
  return best;
}

template <class Vector>
[[gnu::always_inline]] inline void multiply_add(volatile float* result) {
  const float factor = *result;
  Vector sums[kSums] = {}, a = Vector{} + factor;
  for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (Vector& sum : sums) {
      sum = sum * a + a;
      asm volatile("" : "+v"(sum));  // NOLINT: keeps each sum in a register of its own
    }
  }
#pragma GCC unroll 16
  for (const Vector& sum : sums) *result = sum[0];
}

[[gnu::target("avx2,fma")]] void avx2(volatile float* r) { multiply_add<Vector8>(r); }
[[gnu::target("avx512f")]] void avx512(volatile float* r) { multiply_add<Vector16>(r); }

void report(const char* name, double value) { std::printf("%s %.1f\n", name, value); }

}  // namespace

int main() {
  volatile float number = 0.5F;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    report("avx2", 2e-9 * 8 * kSums * kSteps / best_seconds([&] { avx2(&number); }));
  }
  if (__builtin_cpu_supports("avx512f")) {
    report("avx512", 2e-9 * 16 * kSums * kSteps / best_seconds([&] { avx512(&number); }));
  }
  const std::vector<long> memory(size_t{1} << 25, 1);
  const double seconds = best_seconds([&] {
    long sums[8] = {};
    for (size_t i = 0; i < memory.size(); i += 8) {
#pragma GCC unroll 8
      for (size_t k = 0; k < 8; ++k) sums[k] += memory[i + k];
    }
    for (long sum : sums) number = static_cast<float>(sum);
  });
  report("read", 1e-9 * static_cast<double>(memory.size() * sizeof(long)) / seconds);
  return 0;
}
