#pragma once
// The memory of a call plan at given extents, from its data alone: what the compiler packs when all sizes are
// numbers, and the runtime packs when it learns them, by the same code (gcomp/runtime/pack.h).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gcomp/runtime/plan.h"

namespace gcomp::artifact {

struct PlannedBuffer {
  uint32_t buffer;         // of the plan
  uint64_t offset, bytes;  // in the arena
  uint32_t first, last;    // lifetime in steps of the plan, both ends included
};

struct MemoryPlan {
  std::vector<PlannedBuffer> buffers;  // by first step
  uint64_t arena_bytes = 0;
  uint64_t max_live_bytes = 0;                 // no arrangement can do with less
  uint64_t buffer_bytes = 0;                   // of all buffers: what it would take without reuse
  uint64_t input_bytes = 0, output_bytes = 0;  // in memory of the caller
  // Buffers that only the run decides: of extents that depend on data, and what loops carry. They are not in
  // the above.
  uint32_t undecided = 0;
};

// The symbols of the inputs' extents, in order.
std::vector<std::string> symbols(const rt::Plan& plan);

// Nothing if an extent overflows or is negative. A symbol that is not given is `otherwise`.
std::optional<MemoryPlan> memory_plan(const rt::Plan& plan,
                                      const std::map<std::string, int64_t>& extents,
                                      int64_t otherwise);

// A value of the plan as text: "4*(n*3 + 1)"; long ones are cut.
std::vector<std::string> expressions(const rt::Plan& plan);

// Whether the tables of an untrusted block are what the functions above read: "" or what is wrong.
std::string fault_of(const std::vector<std::byte>& block);

}  // namespace gcomp::artifact
