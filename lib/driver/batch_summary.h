#pragma once
// What a batch did, in a few lines: counters and short lists, however many results there are.

#include <array>
#include <ostream>
#include <string>
#include <vector>

#include "batch_results.h"

namespace gcomp::driver {

class BatchSummary {
 public:
  enum class From { kCompiled, kKept };  // kept: by --resume

  void add(const BatchResult& result, From from = From::kCompiled);
  size_t failures() const { return failures_; }
  size_t graphs() const { return graphs_; }
  // `wall`: seconds the batch took, 0 for not known; `left`: graphs that were not begun.
  void print(std::ostream& out, double wall, size_t left) const;

 private:
  struct Row {
    double seconds;
    uint64_t peak_bytes;
    std::string name;
  };
  void print_counts(std::ostream& out, double wall, size_t left) const;

  std::string origins() const;

  size_t graphs_ = 0, failures_ = 0, same_ = 0;
  size_t kept_ = 0, cached_ = 0, lower_ = 0;  // of those compiled
  double cpu_seconds_ = 0;                    // of this run
  uint64_t graph_bytes_ = 0, artifact_bytes_ = 0;
  std::array<size_t, kEndings> endings_{};
  Row largest_{};                      // by memory
  std::vector<Row> slowest_;           // in falling order
  std::vector<std::string> messages_;  // of the first failures
};

// "folder/model: crash: message", the errors beyond the first counted.
std::string failure_text(const BatchResult& result);

}  // namespace gcomp::driver
