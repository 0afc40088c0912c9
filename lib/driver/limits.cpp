#include "gcomp/driver/limits.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <new>
#include <string_view>

#include "gcomp/driver/crash.h"
#include "gcomp/support/error.h"
#include "last_words.h"

namespace gcomp::driver {
namespace {

// Made ready beforehand: when they are needed, nothing can be allocated.
char time_message[128];                           // NOLINT(readability-identifier-naming)
char memory_message[128] = "memory has run out";  // NOLINT(readability-identifier-naming)
char memory_cure[] = "give more with --max-memory";

[[noreturn]] void end_at_limit(Code code, const char* what, const char* cure) {
  leave_nothing();
  constexpr std::string_view kWipe = "\r\033[K";  // the line of progress
  if (::isatty(STDERR_FILENO) != 0) {
    [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, kWipe.data(), kWipe.size());
  }
  say_last_words(static_cast<int>(code), what, cure);
  ::_exit(static_cast<int>(ExitCode::kLimit));
}

void on_alarm(int) { end_at_limit(Code::kTimeLimit, time_message, "give more with --time-limit"); }

void set_time_limit(double seconds) {
  std::snprintf(time_message, sizeof time_message, "the time limit of %g s is reached", seconds);
  struct sigaction action{};
  action.sa_handler = on_alarm;
  action.sa_flags = SA_ONSTACK;
  ::sigaction(SIGALRM, &action, nullptr);
  const double whole = std::floor(std::min(seconds, 1e9));
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  timer.it_value.tv_usec = std::max<suseconds_t>(
      static_cast<suseconds_t>((std::min(seconds, 1e9) - whole) * 1e6), whole > 0 ? 0 : 1);
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

// RLIMIT_DATA, not RLIMIT_AS: weights are mapped from their files, which takes no memory of the machine's.
void set_memory_limit(uint64_t bytes) {
  std::snprintf(memory_message, sizeof memory_message, "the memory limit of %.6g MiB is reached",
                static_cast<double>(bytes) / (1 << 20));
  rlimit limit{};
  ::getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_cur = std::min<rlim_t>(bytes, limit.rlim_max);
  ::setrlimit(RLIMIT_DATA, &limit);
}

bool memory_is_limited() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

void set_limits(const Limits& limits) {
  std::set_new_handler(end_out_of_memory);
  if (limits.seconds > 0) set_time_limit(limits.seconds);
  if (limits.memory > 0) set_memory_limit(limits.memory);
}

void end_out_of_memory() {
  end_at_limit(Code::kMemory, memory_message, memory_is_limited() ? memory_cure : "");
}

}  // namespace gcomp::driver
