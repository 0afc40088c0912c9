#pragma once
// The memory that an artifact plans, for --profile and --memory-map.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "gcomp/artifact/memory_plan.h"
#include "gcomp/lower/lower.h"

namespace gcomp::driver {

struct MemoryReport {
  artifact::MemoryPlan plan;
  uint32_t num_steps = 0;
  std::vector<std::string> symbols;  // whose extents are not known: 64 is taken for each
  size_t views = 0;         // values that are memory of others: reshape, slices without a step...
  uint64_t view_bytes = 0;  // what they would take
  // Per buffer of the plan: "float32, softmax_1: reduce_max sub exp", what first writes it and what it holds.
  std::vector<DType> dtypes;
  std::vector<std::string> makers;

  // arena / max live; 1 where nothing lives.
  double ratio() const;
  // What reuse saves: buffers that do not live at the same time share memory.
  uint64_t reuse_bytes() const;
};

MemoryReport report_memory(const lower::LoweredModule& module);

std::string to_table(const MemoryReport& report);
nlohmann::ordered_json to_json(const MemoryReport& report);

}  // namespace gcomp::driver
