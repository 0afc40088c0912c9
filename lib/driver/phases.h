#pragma once
// Time of each phase of a compilation, with the passes' own profile, as a table or as JSON.

#include <chrono>
#include <string>
#include <vector>

#include "gcomp/driver/progress.h"
#include "gcomp/pass/profile.h"

namespace gcomp::driver {

class Phases {
 public:
  explicit Phases(Progress& progress) : progress_(progress) {}

  void begin(const std::string& name);  // ends the phase before
  void end();
  // Where to: "" nowhere, "-" a table on stderr, else JSON in that file.
  void report(const std::string& where) const;

  pass::Profile passes;

 private:
  using Clock = std::chrono::steady_clock;
  struct Phase {
    std::string name;
    double seconds = 0;
  };

  std::string table() const;
  std::string json() const;

  Progress& progress_;
  std::vector<Phase> phases_;
  Clock::time_point begin_ = Clock::now();
  bool open_ = false;
};

}  // namespace gcomp::driver
