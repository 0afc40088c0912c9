#pragma once
// The plain check of a whole schedule, which shares nothing with the incremental one: what it is
// compared with in tests and audits, and what `--cycle-detection=full` does at each attempt.

#include "gcomp/schedule/tables.h"

namespace gcomp::schedule {

class FullCheck {
 public:
  // Keeps a reference.
  explicit FullCheck(const ScheduleTables& tables);

  // Whether the nodes have an order in which every node follows those whose results it reads, and every
  // reader of memory that a result overwrites comes before that. Kahn's algorithm on everything, each
  // time. `overwrites`: per value, with at most one result for a storage.
  bool has_order(std::span<const ValueId> overwrites);

 private:
  const ScheduleTables& t_;
  std::vector<uint32_t> first_reader_, readers_;  // nodes that read what a node makes
  std::vector<ValueId> storage_;                  // per value
  std::vector<uint32_t> destroyer_;               // per storage: a node
  std::vector<uint32_t> waiting_, ready_;
};

}  // namespace gcomp::schedule
