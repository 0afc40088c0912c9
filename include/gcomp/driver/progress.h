#pragma once
// What the compiler is doing, for a person who waits: once a second has passed, the current stage and an
// estimate of the time left are shown on the terminal and wiped away at the end. Nothing is shown when
// stderr is no terminal.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gcomp::driver {

// The time that a row of stages will still take: what each was expected to, corrected by what those so far
// did take. Times are seconds since the begin.
class WorkEstimate {
 public:
  // In the order of the first call for each. Another call for a stage corrects it.
  void expect(const std::string& stage, double seconds);
  // The stage before ends. One that was not expected is left out of the estimate.
  void begin(const std::string& stage, double now);
  // The share of the present stage that is done at `now`.
  void reach(double share, double now);
  // Nothing while nothing is expected or known.
  std::optional<double> left(double now) const;

 private:
  struct Stage {
    std::string name;
    double expected = 0;
    double begin = -1;  // not begun
    double taken = -1;  // not over
  };
  double slowness(double now) const;
  Stage* present_stage();

  std::vector<Stage> stages_;
  int present_ = -1;  // index; -1: before the first, or in one that was not expected
  double share_ = 0;
  double share_at_ = 0;
};

class Progress {
 public:
  explicit Progress(bool enabled);  // false: says nothing
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool enabled() const { return thread_.joinable(); }
  // `name` ("optimise") is what happens from here on.
  void stage(std::string name);
  void expect(const std::string& stage, double seconds);
  void reach(double share);

 private:
  double now() const;
  void show_until_ended();
  std::string line() const;

  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::string stage_ = "start";
  WorkEstimate estimate_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::thread thread_;
};

bool stderr_is_terminal();

}  // namespace gcomp::driver
