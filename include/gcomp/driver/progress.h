#pragma once
// What the compiler is doing, for a person who waits: once a second has passed, the current stage is
// shown on the terminal and wiped away at the end. Nothing is shown when stderr is no terminal.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace gcomp::driver {

class Progress {
 public:
  explicit Progress(bool enabled);  // false: says nothing
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `name` ("optimise") is what happens from here on.
  void stage(std::string name);

 private:
  void show_until_ended();

  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;
  std::string stage_ = "start";
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::thread thread_;
};

bool stderr_is_terminal();

}  // namespace gcomp::driver
