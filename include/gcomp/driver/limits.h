#pragma once
// --time-limit and --max-memory: the process ends with exit code 5 and one line that names the phase,
// and leaves no temporary file behind. Written with care for signal handlers and exhausted heaps.

#include <cstdint>

namespace gcomp::driver {

struct Limits {
  double seconds = 0;   // 0: none
  uint64_t memory = 0;  // bytes of private memory, mapped files not counted; 0: none
};

// From now on. Also without any limit: memory that cannot be had ends the process likewise.
void set_limits(const Limits& limits);

// Memory ran out, or a thread could not be started for lack of it.
[[noreturn]] void end_out_of_memory();

}  // namespace gcomp::driver
