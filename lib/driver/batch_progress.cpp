#include "batch_progress.h"

#include <algorithm>
#include <cstdio>

#include "duration.h"

namespace gcomp::driver {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr size_t kBar = 30;  // characters

}  // namespace

void BatchEstimate::begin(double expected) {
  left_ -= expected;
  begun_ += expected;
}

void BatchEstimate::end(double expected, double took) {
  begun_ -= expected;
  done_expected_ += expected;
  done_ += took;
}

std::optional<double> BatchEstimate::left(double running, double longest) const {
  if (done_expected_ <= 0) return std::nullopt;
  const double slowness = done_ / done_expected_;
  const double work = slowness * std::max(0.0, left_) + std::max(0.0, slowness * begun_ - running);
  return std::max(work / workers_, slowness * longest);
}

void BatchProgress::show(size_t done, size_t failed, std::optional<double> left) {
  const auto now = std::chrono::steady_clock::now();
  if (!enabled_ || total_ == 0 || (shown_ && now - last_ < kInterval)) return;
  last_ = now;
  shown_ = true;
  const std::string bar(kBar * done / total_, '=');
  std::fprintf(stderr, "\r\033[K[%-*s] %zu of %zu", static_cast<int>(kBar), bar.c_str(), done,
               total_);
  if (failed != 0) std::fprintf(stderr, ", %zu failed", failed);
  if (left) std::fprintf(stderr, ", about %s left", duration_text(*left).c_str());
  std::fflush(stderr);
}

void BatchProgress::say(const std::string& line) {
  wipe();
  std::fprintf(stderr, "gcomp: %s\n", line.c_str());
}

void BatchProgress::wipe() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace gcomp::driver
