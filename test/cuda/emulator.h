// A host's idea of a GPU: what printed kernels (lib/codegen/cuda) need of CUDA, as ordinary C++. Included before
// the text of a module:
//
//   c++ -std=c++20 -O1 -shared -fPIC -ffp-contract=off -include test/cuda/emulator.h -x c++ text.cu -o text.so
//
// Threads of a block run in a shuffled order, another in every block and, for kernels with barriers, between any
// two barriers. GCOMP_EMULATOR_SEED chooses the orders.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
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
struct Entry {
  Kernel kernel = nullptr;
  uint32_t together = 0;  // threads of a block that works together; 0: each for itself
};
inline std::map<std::string, Entry>& kernels() {
  static std::map<std::string, Entry> map;
  return map;
}
struct Registration {
  Registration(const char* name, uint32_t together, Kernel kernel) {
    kernels()[name] = {kernel, together};
  }
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

// ---- blocks whose threads work together: a fibre for each thread

class Block {
 public:
  enum class State : uint8_t { kReady, kAtBarrier, kInWarp, kDone };

  // False if some threads wait for others that never come, or there was a race.
  bool run(Kernel kernel, uint32_t threads, const uint64_t* words, Random& random) {
    kernel_ = kernel, words_ = words, random_ = &random;
    fibres_.resize(std::max<size_t>(fibres_.size(), threads));
    live_ = threads;
    epoch_ = 0, failed_ = false;
    for (uint32_t t = 0; t < threads; ++t) start(t);
    threads_ = threads;
    bool moved = true;
    while (moved) {
      moved = false;
      for (const uint32_t t : shuffled(threads, random)) {
        if (fibres_[t].state != State::kReady) continue;
        moved = true;
        current_ = t;
        thread_index.x = t;
        swapcontext(&scheduler_, &fibres_[t].context);
      }
      release_barrier();
    }
    if (live_ != 0) std::fprintf(stderr, "emulator: a barrier that not all threads reach\n");
    return live_ == 0 && !failed_;
  }

  void barrier() { wait(State::kAtBarrier); }

  // Values by thread, twice: one that is ahead of its warp writes the other ones.
  uint64_t exchange(uint64_t value, uint32_t other) {
    Fibre& me = fibres_[current_];
    const uint32_t side = me.exchanges++ % 2;
    me.sent[side] = value;
    wait(State::kInWarp);
    return fibres_[current_ ^ other].sent[side];
  }

  uint32_t thread() const { return current_; }
  uint64_t epoch() const { return epoch_; }  // grows with every barrier, and from block to block
  uint64_t number() const { return number_; }
  void next() { ++number_; }
  void fail(const char* what) {
    if (!failed_) std::fprintf(stderr, "emulator: %s\n", what);
    failed_ = true;
  }

 private:
  struct Fibre {
    ucontext_t context = {};
    std::unique_ptr<char[]> stack;
    State state = State::kDone;
    uint32_t exchanges = 0;
    uint64_t sent[2] = {};
  };
  static constexpr size_t kStackBytes = 256 << 10;

  void start(uint32_t t) {
    Fibre& f = fibres_[t];
    if (!f.stack) f.stack.reset(new char[kStackBytes]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStackBytes;
    f.context.uc_link = &scheduler_;
    makecontext(&f.context, &Block::entry, 0);
    f.state = State::kReady;
    f.exchanges = 0;
  }

  static void entry();

  void wait(State state) {
    Fibre& me = fibres_[current_];
    me.state = state;
    if (state == State::kInWarp) release_warp();
    if (me.state != State::kReady) swapcontext(&me.context, &scheduler_);
  }

  void release_warp() {
    const uint32_t first = current_ / 32 * 32;
    for (uint32_t t = first; t < first + 32; ++t) {
      if (fibres_[t].state != State::kInWarp) return;
    }
    for (uint32_t t = first; t < first + 32; ++t) fibres_[t].state = State::kReady;
  }

  void release_barrier() {
    for (uint32_t t = 0; t < threads_; ++t) {
      if (fibres_[t].state != State::kAtBarrier) return;
    }
    for (uint32_t t = 0; t < threads_; ++t) fibres_[t].state = State::kReady;
    ++epoch_;
  }

  Kernel kernel_ = nullptr;
  const uint64_t* words_ = nullptr;
  Random* random_ = nullptr;
  std::vector<Fibre> fibres_;
  ucontext_t scheduler_ = {};
  uint32_t threads_ = 0, live_ = 0, current_ = 0;
  uint64_t epoch_ = 0, number_ = 0;
  bool failed_ = false;
};

inline Block& block() {
  static Block the_block;
  return the_block;
}

inline void Block::entry() {
  Block& b = block();
  b.kernel_(b.words_);
  b.fibres_[b.current_].state = State::kDone;
  --b.live_;
}

// An array of a block that notices two threads touching an element, one of them writing, without a barrier
// between; and elements that are read before they are written.
template <class T, uint32_t n>
class Shared {
  struct Element {
    T value;
    uint64_t number = ~uint64_t{0};  // of the block that wrote it
    uint64_t write_epoch = 0, read_epoch = 0;
    uint32_t writer = 0, reader = 0;
    bool read = false;
  };
  struct Reference {
    Element& e;
    operator T() const {
      Block& b = block();
      if (e.number != b.number()) b.fail("shared memory is read before it is written");
      if (e.write_epoch == b.epoch() && e.writer != b.thread())
        b.fail("race: read of shared memory");
      if (e.read && e.read_epoch == b.epoch() && e.reader != b.thread()) {
        e.reader = ~0u;  // several
      } else {
        e.reader = b.thread();
      }
      e.read = true;
      e.read_epoch = b.epoch();
      return e.value;
    }
    void operator=(T value) {
      Block& b = block();
      const bool fresh = e.number != b.number();
      const bool written = !fresh && e.write_epoch == b.epoch() && e.writer != b.thread();
      const bool read = !fresh && e.read && e.read_epoch == b.epoch() && e.reader != b.thread();
      if (written || read) b.fail("race: write to shared memory");
      if (fresh) e.read = false;
      e.value = value;
      e.number = b.number();
      e.write_epoch = b.epoch();
      e.writer = b.thread();
    }
    void operator=(const Reference& other) { *this = static_cast<T>(other); }
  };

 public:
  Reference operator[](int64_t i) {
    if (i < 0 || i >= n) {
      block().fail("index outside of shared memory");
      i = 0;
    }
    return {elements_[i]};
  }

 private:
  Element elements_[n];
};

}  // namespace gcomp_emulator

#define threadIdx gcomp_emulator::thread_index
#define blockIdx gcomp_emulator::block_index
#define blockDim gcomp_emulator::block_dim
#define gridDim gcomp_emulator::grid_dim

#define GCOMP_SHARED(type, name, size) static gcomp_emulator::Shared<type, size> name
#define GCOMP_EMULATED(name, n, together)                        \
  static void name(const gcomp_words<n>& a);                     \
  static const gcomp_emulator::Registration registration_##name( \
      #name, together, [](const uint64_t* words) {               \
        gcomp_words<n> a;                                        \
        std::memcpy(a.w, words, sizeof a.w);                     \
        name(a);                                                 \
      });                                                        \
  static void name(const gcomp_words<n>& a)
#define GCOMP_KERNEL(name, n) GCOMP_EMULATED(name, n, 0)
#define GCOMP_BLOCK_KERNEL(name, n, threads) GCOMP_EMULATED(name, n, threads)

static inline void __syncthreads() { gcomp_emulator::block().barrier(); }
template <class T>
static inline T __shfl_xor_sync(unsigned int, T value, int other) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = gcomp_emulator::block().exchange(bits, static_cast<uint32_t>(other));
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
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

// 0: done; 1: no such kernel; 2: threads that wait for ever, or a race in shared memory (said on stderr); 3: blocks of
// another size than the kernel's.
extern "C" __attribute__((visibility("default"), weak)) int gcomp_emulate(const char* kernel,
                                                                          uint32_t grid,
                                                                          uint32_t block,
                                                                          uint32_t shared_bytes,
                                                                          const uint64_t* words) {
  using namespace gcomp_emulator;
  (void)shared_bytes;
  const auto found = kernels().find(kernel);
  if (found == kernels().end()) return 1;
  const Entry& entry = found->second;
  if (entry.together != 0 && entry.together != block) return 3;
  Random random{seed()};
  grid_dim.x = grid;
  block_dim.x = block;
  for (const uint32_t b : shuffled(grid, random)) {
    block_index.x = b;
    if (entry.together != 0) {
      gcomp_emulator::block().next();
      if (!gcomp_emulator::block().run(entry.kernel, block, words, random)) return 2;
      continue;
    }
    for (const uint32_t t : shuffled(block, random)) {
      thread_index.x = t;
      entry.kernel(words);
    }
  }
  return 0;
}
