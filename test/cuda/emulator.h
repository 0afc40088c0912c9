// A host's idea of a GPU: what printed kernels (lib/codegen/cuda) need of CUDA, as ordinary C++. Included before
// the text of a module:
//
//   c++ -std=c++20 -O1 -shared -fPIC -ffp-contract=off -include test/cuda/emulator.h -x c++ text.cu -o text.so
//
// Threads of a block run in a shuffled order, another in every block and, for kernels with barriers, between any
// two barriers. GCOMP_EMULATOR_SEED chooses the orders.
#pragma once

#include <ucontext.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
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
// Static: of this library alone, as `block` is, since all of its code is gone when it is closed.
static inline std::map<std::string, Entry>& kernels() {
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

// Where a fibre, or who began it, goes on. Only the first entry of a fibre is by ucontext, whose switches are system
// calls: they took 40 % of a test's time.
struct Place {
  void* words[5];

  [[gnu::noinline]] void go_on() { __builtin_longjmp(words, 1); }
};

[[gnu::noinline]] inline void change(Place& from, Place& to) {
  if (__builtin_setjmp(from.words) == 0) to.go_on();
}

[[gnu::noinline]] inline void enter(Place& from, ucontext_t& to) {
  if (__builtin_setjmp(from.words) == 0) setcontext(&to);
}

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
        Fibre& fibre = fibres_[t];
        if (std::exchange(fibre.is_new, false)) {
          enter(scheduler_, fibre.context);
        } else {
          change(scheduler_, fibre.place);
        }
      }
      release_barrier();
    }
    if (live_ != 0) std::fprintf(stderr, "emulator: a barrier that not all threads reach\n");
    return live_ == 0 && !failed_;
  }

  void barrier() { wait(State::kAtBarrier); }

  // What a thread brings to an instruction of its warp.
  struct Sent {
    const char* instruction = nullptr;
    uint64_t words[10] = {};
  };
  // By thread of the warp, once all are here. Kept twice: one that is ahead of its warp writes the other ones.
  std::array<const Sent*, 32> exchange(const Sent& sent) {
    Fibre& me = fibres_[current_];
    const uint32_t side = me.exchanges++ % 2;
    me.sent[side] = sent;
    wait(State::kInWarp);
    std::array<const Sent*, 32> all;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      all[lane] = &fibres_[current_ / 32 * 32 + lane].sent[side];
      if (all[lane]->instruction != sent.instruction) fail("a warp at different instructions");
    }
    return all;
  }

  // ---- asynchronous copies of the current thread: done when it waits for them, not before
  void copy(std::function<void()> finish) { fibres_[current_].copies.push_back(std::move(finish)); }
  void commit_copies() {
    Fibre& me = fibres_[current_];
    me.groups.push_back(std::move(me.copies));
    me.copies.clear();
  }
  void wait_copies(size_t pending) {
    std::vector<std::vector<std::function<void()>>>& groups = fibres_[current_].groups;
    for (; groups.size() > pending; groups.erase(groups.begin())) {
      for (const std::function<void()>& finish : groups[0]) finish();
    }
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
    ucontext_t context = {};  // its first entry
    Place place = {};
    std::unique_ptr<char[]> stack;
    bool is_new = false;
    State state = State::kDone;
    uint32_t exchanges = 0;
    Sent sent[2];
    std::vector<std::function<void()>> copies;  // not committed
    std::vector<std::vector<std::function<void()>>> groups;
  };
  static constexpr size_t kStackBytes = 256 << 10;

  void start(uint32_t t) {
    Fibre& f = fibres_[t];
    if (f.state != State::kDone || !f.stack) {  // else it waits for the next block
      if (!f.stack) f.stack.reset(new char[kStackBytes]);
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack.get();
      f.context.uc_stack.ss_size = kStackBytes;
      makecontext(&f.context, &Block::entry, 0);
      f.is_new = true;
    }
    f.state = State::kReady;
    f.exchanges = 0;
    f.copies.clear();
    f.groups.clear();
  }

  static void entry();

  void wait(State state) {
    Fibre& me = fibres_[current_];
    me.state = state;
    if (state == State::kInWarp) release_warp();
    if (me.state != State::kReady) change(me.place, scheduler_);
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
  Place scheduler_ = {};
  uint32_t threads_ = 0, live_ = 0, current_ = 0;
  uint64_t epoch_ = 0, number_ = 0;
  bool failed_ = false;
};

static inline Block& block() {
  static Block the_block;
  return the_block;
}

inline void Block::entry() {
  Block& b = block();
  for (;;) {  // a thread of one block after another
    b.kernel_(b.words_);
    Fibre& me = b.fibres_[b.current_];
    if (!me.copies.empty() || !me.groups.empty()) b.fail("a thread ends before its copies do");
    me.state = State::kDone;
    --b.live_;
    change(me.place, b.scheduler_);
  }
}

// ---- warp-level matrix operations, with the fragments of PTX ISA, "Matrix Fragments for mma.m16n8k16 with
// floating point type" and "mma.m16n8k8"

inline float half_value(uint64_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 1023);
  if (exponent == 31) return static_cast<float>(sign * (fraction != 0 ? NAN : INFINITY));
  const int whole = exponent != 0 ? 1024 + fraction : fraction;
  return static_cast<float>(sign * std::ldexp(whole, (exponent != 0 ? exponent : 1) - 25));
}

inline float float_value(uint64_t bits) {
  const auto word = static_cast<uint32_t>(bits);
  float f;
  std::memcpy(&f, &word, sizeof f);
  return f;
}

// PTX leaves order and rounding open. The least it allows is taken: all terms are cut to the 24 bits of the largest,
// and their sum to float32.
inline float sum_of(const double* terms, int n) {
  double largest = 0, plain = 0;
  for (int i = 0; i < n; ++i) {
    plain += terms[i];
    largest = std::fmax(largest, std::fabs(terms[i]));
  }
  if (!std::isfinite(plain) || largest == 0) return static_cast<float>(plain);
  const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += std::trunc(terms[i] / unit) * unit;
  const float rounded = static_cast<float>(sum);
  return std::fabs(rounded) > std::fabs(sum) ? std::nextafterf(rounded, 0.0f) : rounded;
}

struct F16 {
  static constexpr const char* kName = "mma f16";
  static constexpr int kDepth = 16;
  static float value(uint64_t word, int part) { return half_value(word >> 16 * part & 0xffff); }
  // col of a_i, row of b_i: threadID_in_group * 2 + (i & 1), 8 more from a4 and b2 on.
  static int depth_of_a(int i, int t) { return t * 2 + (i & 1) + (i >= 4 ? 8 : 0); }
  static int depth_of_b(int i, int t) { return t * 2 + (i & 1) + (i >= 2 ? 8 : 0); }
  // row of a_i: groupID for a0, a1, a4 and a5, else groupID + 8.
  static bool is_lower_row(int i) { return (i / 2) % 2 != 0; }
};
struct BF16 : F16 {
  static constexpr const char* kName = "mma bf16";
  static float value(uint64_t word, int part) {
    return float_value((word >> 16 * part & 0xffff) << 16);
  }
};
struct Tf32 {
  static constexpr const char* kName = "mma tf32";
  static constexpr int kDepth = 8;
  static float value(uint64_t word, int) { return float_value(word & 0xffffe000u); }
  static int depth_of_a(int i, int t) { return t + (i >= 2 ? 4 : 0); }
  static int depth_of_b(int i, int t) { return t + (i >= 1 ? 4 : 0); }
  static bool is_lower_row(int i) { return i % 2 != 0; }  // a1 and a3
};

template <class Format>
void mma(float* d, const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
  constexpr int kParts = Format::kDepth / 8;  // of a word
  Block::Sent sent{.instruction = Format::kName};
  for (int i = 0; i < 4; ++i) sent.words[i] = a[i];
  for (int i = 0; i < 2; ++i) sent.words[4 + i] = b[i];
  const std::array<const Block::Sent*, 32> warp = block().exchange(sent);
  const int lane = static_cast<int>(block().thread() % 32), g = lane / 4, t = lane % 4;
  double rows[2][Format::kDepth], columns[2][Format::kDepth];  // g, g + 8; 2t, 2t + 1
  for (int member = 0; member < 4; ++member) {
    for (int i = 0; i < 4 * kParts; ++i) {
      const uint64_t word = warp[g * 4 + member]->words[i / kParts];
      rows[Format::is_lower_row(i)][Format::depth_of_a(i, member)] =
          Format::value(word, i % kParts);
    }
    for (int column = 0; column < 2; ++column) {
      for (int i = 0; i < 2 * kParts; ++i) {
        const uint64_t word = warp[(2 * t + column) * 4 + member]->words[4 + i / kParts];
        columns[column][Format::depth_of_b(i, member)] = Format::value(word, i % kParts);
      }
    }
  }
  for (int i = 0; i < 4; ++i) {  // c0, c1: row g; c2, c3: g + 8; columns 2t + (i & 1)
    double terms[Format::kDepth + 1];
    for (int k = 0; k < Format::kDepth; ++k) terms[k] = rows[i / 2][k] * columns[i % 2][k];
    terms[Format::kDepth] = c[i];
    d[i] = sum_of(terms, Format::kDepth + 1);
  }
}

#define GCOMP_MMA(name, Format)                                                       \
  inline void name(float& d0, float& d1, float& d2, float& d3, const uint32_t(&a)[4], \
                   const uint32_t(&b)[2], const float(&c)[4]) {                       \
    float d[4];                                                                       \
    mma<Format>(d, a, b, c);                                                          \
    d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];                                       \
  }
GCOMP_MMA(mma_f16, F16)
GCOMP_MMA(mma_bf16, BF16)
GCOMP_MMA(mma_tf32, Tf32)
#undef GCOMP_MMA

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
    uint64_t copied_by = 0;  // the number of a block that copies to it just now
    // Another thread touches it without a barrier between, or a copy to it is on its way.
    void check_write() {
      Block& b = block();
      const bool fresh = number != b.number();
      const bool written = !fresh && write_epoch == b.epoch() && writer != b.thread();
      const bool seen = !fresh && read && read_epoch == b.epoch() && reader != b.thread();
      if (written || seen) b.fail("race: write to shared memory");
      if (copied_by == b.number()) b.fail("race: write to shared memory that is being copied to");
    }
    void write(T v) {
      Block& b = block();
      if (number != b.number()) read = false;
      value = v;
      number = b.number();
      write_epoch = b.epoch();
      writer = b.thread();
    }
  };
  struct Reference {
    Element& e;
    operator T() const {
      Block& b = block();
      if (e.copied_by == b.number()) b.fail("shared memory is read before a copy to it is done");
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
      e.check_write();
      e.write(value);
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

  // cp.async of 16 bytes.
  void copy(int64_t at, const T* from, bool inside) {
    constexpr int kElements = 16 / sizeof(T);
    Block& b = block();
    if (at < 0 || at % kElements != 0 || at + kElements > n) return b.fail("copy to a wrong place");
    if (inside && reinterpret_cast<uintptr_t>(from) % 16 != 0) b.fail("an address not aligned");
    for (int i = 0; i < kElements; ++i) {
      Element& e = elements_[at + i];
      e.check_write();
      e.copied_by = b.number();
      b.copy([&e, value = inside ? from[i] : T(0)] {
        e.copied_by = 0;
        e.write(value);
      });
    }
  }

 private:
  Element elements_[n];
};

}  // namespace gcomp_emulator

template <class T, uint32_t n>
void copy_async(gcomp_emulator::Shared<T, n>& to, int64_t at, const T* from, bool inside) {
  to.copy(at, from, inside);
}
inline void commit_copies() { gcomp_emulator::block().commit_copies(); }
template <int pending>
void wait_copies() {
  gcomp_emulator::block().wait_copies(pending);
}

// ldmatrix: thread 8 * m + r brings row r of matrix m. Of each, a thread gets elements 2 * (lane % 4) and the next of
// row lane / 4; transposed, of column lane / 4.
template <bool transposed, class T, uint32_t n>
void load_matrices(uint32_t* words[4], gcomp_emulator::Shared<T, n>& from, int64_t at) {
  gcomp_emulator::Block& block = gcomp_emulator::block();
  if (at % 8 != 0) block.fail("a row of a matrix is not aligned");
  gcomp_emulator::Block::Sent sent{.instruction = transposed ? "ldmatrix trans" : "ldmatrix"};
  for (int i = 0; i < 8; ++i) sent.words[i] = static_cast<T>(from[at + i]);
  const auto warp = block.exchange(sent);
  const int lane = static_cast<int>(block.thread() % 32), g = lane / 4, t = lane % 4;
  for (int m = 0; m < 4; ++m) {
    const auto element = [&](int i) {
      const int row = transposed ? 2 * t + i : g, column = transposed ? g : 2 * t + i;
      return static_cast<uint32_t>(warp[8 * m + row]->words[column]);
    };
    *words[m] = element(0) | element(1) << 16;
  }
}
template <class T, uint32_t n>
void warp_load(uint32_t& m0, uint32_t& m1, uint32_t& m2, uint32_t& m3,
               gcomp_emulator::Shared<T, n>& from, int64_t at) {
  uint32_t* words[] = {&m0, &m1, &m2, &m3};
  load_matrices<false>(words, from, at);
}
template <class T, uint32_t n>
void warp_load_transposed(uint32_t& m0, uint32_t& m1, uint32_t& m2, uint32_t& m3,
                          gcomp_emulator::Shared<T, n>& from, int64_t at) {
  uint32_t* words[] = {&m0, &m1, &m2, &m3};
  load_matrices<true>(words, from, at);
}

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
  gcomp_emulator::Block& block = gcomp_emulator::block();
  gcomp_emulator::Block::Sent sent{.instruction = "shfl"};
  std::memcpy(&sent.words[0], &value, sizeof value);
  const auto warp = block.exchange(sent);
  std::memcpy(&value, &warp[block.thread() % 32 ^ static_cast<uint32_t>(other)]->words[0],
              sizeof value);
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
