#pragma once
// Time and memory of each phase of a compilation, with what passes, lowering and code generation tell of
// themselves, as a table or as JSON (lib/pass/README.md has its fields).

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "compile_cache.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/driver/progress.h"
#include "gcomp/lower/lower.h"
#include "gcomp/pass/profile.h"
#include "gcomp/support/memory.h"
#include "memory_report.h"
#include "placement_report.h"

namespace gcomp::driver {

class Phases {
 public:
  explicit Phases(Progress& progress) : progress_(progress) {}

  void begin(const std::string& name);  // ends the phase before
  void end();
  // Where to: "" nowhere, "-" a table on stderr, else JSON in that file.
  void report(const std::string& where) const;
  nlohmann::ordered_json json() const;

  pass::Profile passes;
  std::optional<lower::Stats> lowering;
  std::optional<PlacementReport> placement;
  std::optional<MemoryReport> memory;
  std::optional<CacheReport> cache;
  std::vector<codegen::ModuleTime> modules;

 private:
  using Clock = std::chrono::steady_clock;
  struct Phase {
    std::string name;
    double begin = 0;
    double seconds = 0;
    MemoryUse memory = {};  // at its end
  };

  std::string table() const;

  Progress& progress_;
  std::vector<Phase> phases_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point begin_ = start_;
  bool open_ = false;
};

}  // namespace gcomp::driver
