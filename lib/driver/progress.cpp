#include "gcomp/driver/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "duration.h"
#include "gcomp/driver/crash.h"

namespace gcomp::driver {
namespace {

constexpr auto kPatience = std::chrono::seconds(1);  // who waits less wants no news
constexpr auto kInterval = std::chrono::milliseconds(200);
constexpr double kTellingShare = 0.05;    // below it a share says nothing of the speed
constexpr double kTellingSeconds = 0.05;  // of expected work that is done
constexpr double kOverdue = 0.1;          // a stage beyond its time takes so much of it again

}  // namespace

std::string duration_text(double seconds) {
  char text[32];
  if (seconds < 100) {
    std::snprintf(text, sizeof text, "%.0f s", std::max(1.0, seconds));
  } else {
    std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
  }
  return text;
}

void WorkEstimate::expect(const std::string& stage, double seconds) {
  const auto found = std::ranges::find_if(stages_, [&](const Stage& s) { return s.name == stage; });
  if (found != stages_.end()) {
    found->expected = seconds;
  } else {
    stages_.push_back({stage, seconds});
  }
}

WorkEstimate::Stage* WorkEstimate::present_stage() {
  return present_ < 0 ? nullptr : &stages_[static_cast<size_t>(present_)];
}

void WorkEstimate::begin(const std::string& stage, double now) {
  if (Stage* before = present_stage()) before->taken = now - before->begin;
  const auto found = std::ranges::find_if(stages_, [&](const Stage& s) { return s.name == stage; });
  present_ = found == stages_.end() ? -1 : static_cast<int>(found - stages_.begin());
  if (Stage* present = present_stage()) present->begin = now;
  share_ = 0;
}

void WorkEstimate::reach(double share, double now) {
  share_ = std::clamp(share, 0.0, 1.0);
  share_at_ = now;
}

// What was taken over what was expected, of all that is done.
double WorkEstimate::slowness(double now) const {
  double expected = 0, taken = 0;
  for (const Stage& s : stages_) {
    if (s.taken < 0) continue;
    expected += s.expected;
    taken += s.taken;
  }
  if (present_ >= 0) {
    const Stage& s = stages_[static_cast<size_t>(present_)];
    if (share_ > kTellingShare) {
      expected += share_ * s.expected;
      taken += share_at_ - s.begin;
    } else if (now - s.begin > s.expected) {  // at least so slow
      expected += s.expected;
      taken += now - s.begin;
    }
  }
  return expected > kTellingSeconds ? taken / expected : 1;
}

std::optional<double> WorkEstimate::left(double now) const {
  if (stages_.empty()) return std::nullopt;
  const double slow = slowness(now);
  double left = 0;
  for (const Stage& s : stages_) {
    if (s.begin < 0) left += slow * s.expected;
  }
  if (present_ >= 0) {
    const Stage& s = stages_[static_cast<size_t>(present_)];
    const double passed = now - s.begin;
    const double whole =
        share_ > kTellingShare ? (share_at_ - s.begin) / share_ : slow * s.expected;
    left += std::max(whole - passed, kOverdue * passed * (1 - share_));
  }
  return left;
}

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

double Progress::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

void Progress::stage(std::string name) {
  set_crash_stage(name);
  const std::lock_guard lock(mutex_);
  estimate_.begin(name, now());
  stage_ = std::move(name);
}

void Progress::expect(const std::string& stage, double seconds) {
  const std::lock_guard lock(mutex_);
  estimate_.expect(stage, seconds);
}

void Progress::reach(double share) {
  const std::lock_guard lock(mutex_);
  estimate_.reach(share, now());
}

std::string Progress::line() const {
  char passed[32];
  std::snprintf(passed, sizeof passed, " (%.1f s", now());
  const auto left = estimate_.left(now());
  return stage_ + passed + (left ? ", about " + duration_text(*left) + " left)" : ")");
}

void Progress::show_until_ended() {
  std::unique_lock lock(mutex_);
  if (ended_.wait_for(lock, kPatience, [this] { return end_; })) return;
  do {
    std::fprintf(stderr, "\r\033[Kgcomp: %s", line().c_str());
    std::fflush(stderr);
  } while (!ended_.wait_for(lock, kInterval, [this] { return end_; }));
  std::fputs("\r\033[K", stderr);
}

}  // namespace gcomp::driver
