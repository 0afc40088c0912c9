#pragma once
// Which int64 values of a kernel are known to fit into 32 bits, which are a quarter of the work on a GPU.

#include <cstdint>
#include <vector>

#include "gcomp/kernel/kernel.h"

namespace gcomp::codegen {

class IndexWidths {
 public:
  IndexWidths(const kernel::Kernel& kernel, int64_t most_iterations);  // 0: not known
  bool narrow(uint32_t value) const { return narrow_[value]; }
  // Made of positions and extents alone, which do not overflow: plain arithmetic will do.
  bool position(uint32_t value) const { return position_[value]; }

 private:
  std::vector<bool> narrow_, position_;
};

// Whether a kFor runs over the iteration at hand: one turn.
bool is_one_turn(const kernel::Kernel& kernel, const kernel::Inst& loop);

}  // namespace gcomp::codegen
