#pragma once
// The line that a batch shows on a terminal, and its estimate of the time left.

#include <chrono>
#include <optional>
#include <string>

namespace gcomp::driver {

// What is left, judged by how the jobs so far kept to what was expected of them.
class BatchEstimate {
 public:
  explicit BatchEstimate(int workers) : workers_(workers) {}

  void expect(double seconds) { left_ += seconds; }  // a job that is still to be done
  void skip(double expected) { left_ -= expected; }  // it needs nothing
  void begin(double expected);
  void end(double expected, double took);
  // `running`: seconds since the begin of all that run now, together; `longest`: the most expected of one
  // that has not begun. Nothing before a job has ended.
  std::optional<double> left(double running, double longest) const;

 private:
  int workers_;
  double left_ = 0, begun_ = 0;          // expected seconds
  double done_expected_ = 0, done_ = 0;  // of those that ended
};

class BatchProgress {
 public:
  BatchProgress(bool enabled, size_t total) : enabled_(enabled), total_(total) {}
  ~BatchProgress() { wipe(); }
  BatchProgress(const BatchProgress&) = delete;
  BatchProgress& operator=(const BatchProgress&) = delete;

  bool enabled() const { return enabled_; }
  void show(size_t done, size_t failed, std::optional<double> left);
  void say(const std::string& line);  // above the line of progress

 private:
  void wipe();

  bool enabled_, shown_ = false;
  size_t total_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace gcomp::driver
