#pragma once
// Times too short for a clock: a counter read in a few nanoseconds. Internal to the engine.

#include <chrono>
#include <cstdint>

namespace gcomp::rewrite {

inline uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// Runs from when it is made; afterwards tells how long, and how long so many ticks were.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  double seconds(uint64_t some) const {
    const uint64_t all = ticks() - first_;
    return all == 0 ? 0 : seconds() * static_cast<double>(some) / static_cast<double>(all);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
  uint64_t first_ = ticks();
};

}  // namespace gcomp::rewrite
