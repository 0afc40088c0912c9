#include "gcomp/driver/progress.h"

#include <unistd.h>

#include <cstdio>

#include "gcomp/driver/crash.h"

namespace gcomp::driver {
namespace {

constexpr auto kPatience = std::chrono::seconds(1);  // who waits less wants no news
constexpr auto kInterval = std::chrono::milliseconds(200);

}  // namespace

bool stderr_is_terminal() { return isatty(STDERR_FILENO) != 0; }

Progress::Progress(bool enabled) {
  if (enabled) thread_ = std::thread([this] { show_until_ended(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

void Progress::stage(std::string name) {
  set_crash_stage(name);
  const std::lock_guard lock(mutex_);
  stage_ = std::move(name);
}

void Progress::show_until_ended() {
  std::unique_lock lock(mutex_);
  if (ended_.wait_for(lock, kPatience, [this] { return end_; })) return;
  do {
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
    std::fprintf(stderr, "\r\033[Kgcomp: %s (%.1f s)", stage_.c_str(), passed.count());
    std::fflush(stderr);
  } while (!ended_.wait_for(lock, kInterval, [this] { return end_; }));
  std::fputs("\r\033[K", stderr);
}

}  // namespace gcomp::driver
