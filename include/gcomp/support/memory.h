#pragma once
// How much memory this process takes.

#include <cstddef>

namespace gcomp {

struct MemoryUse {
  size_t resident = 0;  // bytes now
  size_t peak = 0;      // the most since the process began
};

// Zeros where the system does not tell.
MemoryUse memory_use();

}  // namespace gcomp
