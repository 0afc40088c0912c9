// The thread pool of a context.
//
// One job at a time: a kernel's range cut into chunks, claimed one by one through `ticket`, which names the job, its number
// of chunks and the next free one, so that a late worker cannot claim from a job other than the one it woke up for. The
// caller works too and then waits for claimed chunks only, never for a worker to show up: slow, sleeping, preempted or
// missing workers (thread limits, fork) cost speed, not progress. The job's fields stay as they are until all its chunks
// are done, and only who claimed a chunk reads them.

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "context.h"

namespace gcomp::rt {

void futex_wait(const uint32_t* word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(const uint32_t* word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

namespace {

constexpr int kSpins = 2000;            // of about 40 ns: how long threads wait before they sleep
constexpr size_t kStack = 1024 * 1024;  // of a worker; kernels keep small arrays on the stack
constexpr int kChunksPerThread = 4;     // so that unequal threads end together

uint32_t load(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_SEQ_CST); }
void store(uint32_t& word, uint32_t v) { __atomic_store_n(&word, v, __ATOMIC_SEQ_CST); }
uint32_t add(uint32_t& word, uint32_t v) { return __atomic_add_fetch(&word, v, __ATOMIC_SEQ_CST); }

void run_chunk(const Job& job, int64_t chunk) {
  const int64_t begin = chunk * job.chunk;
  const int64_t end = job.extent - begin < job.chunk ? job.extent : begin + job.chunk;
  job.kernel(job.buffers, job.scalars, begin, end);
}

}  // namespace

struct Pool {
  Job job;                      // of the ticket's epoch
  alignas(64) uint64_t ticket;  // epoch << 32 | chunks << 16 | next unclaimed chunk
  alignas(64) uint32_t epoch;   // counts jobs; workers sleep on it
  uint32_t sleeping;            // workers asleep or about to
  uint32_t stop;
  alignas(64) uint32_t remaining;  // chunks not done; the caller sleeps on it
  uint32_t caller_waits;
  uint32_t num_workers;
  pid_t process;  // a forked child has the memory but not the threads
  pthread_t workers[kMaxThreads];
};

static_assert(kMaxThreads * kChunksPerThread < 1 << 16, "chunks fit their field of the ticket");

namespace {

bool claim(Pool& pool, uint32_t epoch, int64_t* chunk) {
  uint64_t ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
  while (ticket >> 32 == epoch && (ticket & 0xffff) < (ticket >> 16 & 0xffff)) {
    if (__atomic_compare_exchange_n(&pool.ticket, &ticket, ticket + 1, true, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
      *chunk = static_cast<int64_t>(ticket & 0xffff);
      return true;
    }
  }
  return false;
}

void work(Pool& pool, uint32_t epoch) {
  for (int64_t chunk; claim(pool, epoch, &chunk);) {
    run_chunk(pool.job, chunk);
    if (add(pool.remaining, -1u) == 0 && load(pool.caller_waits) != 0) {
      futex_wake(&pool.remaining, 1);
    }
  }
}

void await_epoch(Pool& pool, uint32_t seen) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (load(pool.epoch) != seen) return;
    __builtin_ia32_pause();
  }
  add(pool.sleeping, 1);
  while (load(pool.epoch) == seen) futex_wait(&pool.epoch, seen);
  add(pool.sleeping, -1u);
}

void* worker(void* argument) {
  Pool& pool = *static_cast<Pool*>(argument);
  DefaultFloatingPoint floating_point;
  uint32_t seen = 0;
  for (;;) {
    await_epoch(pool, seen);
    seen = load(pool.epoch);
    if (load(pool.stop) != 0) return nullptr;
    work(pool, seen);
  }
}

// Fewer workers than asked for are fine: results do not depend on their number.
void start_workers(Pool& pool, uint32_t wanted) {
  pool.process = getpid();
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setstacksize(&attributes, kStack);
  sigset_t all, before;
  sigfillset(&all);  // the host's signals are for the host's threads
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool.num_workers < wanted &&
         pthread_create(&pool.workers[pool.num_workers], &attributes, worker, &pool) == 0) {
    ++pool.num_workers;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
}

void advance_epoch(Pool& pool, int wake) {
  add(pool.epoch, 1);
  if (load(pool.sleeping) != 0) futex_wake(&pool.epoch, wake);
}

void await_chunks(Pool& pool) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (load(pool.remaining) == 0) return;
    __builtin_ia32_pause();
  }
  store(pool.caller_waits, 1);
  for (uint32_t left = load(pool.remaining); left != 0; left = load(pool.remaining)) {
    futex_wait(&pool.remaining, left);
  }
  store(pool.caller_waits, 0);
}

void run_on_pool(Pool& pool, const Job& job) {
  const auto chunks = static_cast<uint32_t>(job.num_chunks);
  const uint32_t epoch = load(pool.epoch) + 1;
  pool.job = job;
  store(pool.remaining, chunks);
  __atomic_store_n(&pool.ticket, uint64_t{epoch} << 32 | chunks << 16, __ATOMIC_SEQ_CST);
  advance_epoch(pool, static_cast<int>(chunks - 1));
  work(pool, epoch);
  await_chunks(pool);
}

void host_task(void* data, int64_t chunk) {
  DefaultFloatingPoint floating_point;
  run_chunk(*static_cast<const Job*>(data), chunk);
}

// At least `grain` iterations a chunk, and not many more chunks than threads.
Job cut(const Parallel& parallel, KernelFn kernel, void* const* buffers, const int64_t* scalars,
        int64_t extent, int64_t grain) {
  const int64_t most = static_cast<int64_t>(parallel.threads) * kChunksPerThread;
  const int64_t grains = (extent - 1) / grain + 1;
  const int64_t grains_per_chunk = (grains - 1) / most + 1;
  const int64_t chunk = grains == 1 ? extent : grains_per_chunk * grain;
  return {kernel, buffers, scalars, extent, chunk, (extent - 1) / chunk + 1};
}

}  // namespace

void run_parallel(const Allocator& allocator, Parallel& parallel, KernelFn kernel,
                  void* const* buffers, const int64_t* scalars, int64_t extent, int64_t grain) {
  if (parallel.threads <= 1 || extent <= grain) return kernel(buffers, scalars, 0, extent);
  const Job job = cut(parallel, kernel, buffers, scalars, extent, grain);
  if (parallel.host_parallel_for != nullptr) {
    parallel.host_parallel_for(parallel.host_data, job.num_chunks, host_task,
                               const_cast<Job*>(&job));
    return;
  }
  if (parallel.pool == nullptr) {
    parallel.pool = allocator.zeroed<Pool>(1);
    if (parallel.pool != nullptr) start_workers(*parallel.pool, parallel.threads - 1);
  }
  if (parallel.pool == nullptr || parallel.pool->num_workers == 0) {
    return kernel(buffers, scalars, 0, extent);
  }
  run_on_pool(*parallel.pool, job);
}

void stop_pool(const Allocator& allocator, Pool* pool) {
  if (pool == nullptr) return;
  store(pool->stop, 1);
  advance_epoch(*pool, INT_MAX);
  const uint32_t workers = pool->process == getpid() ? pool->num_workers : 0;
  for (uint32_t i = 0; i < workers; ++i) pthread_join(pool->workers[i], nullptr);
  allocator.put(pool);
}

}  // namespace gcomp::rt
