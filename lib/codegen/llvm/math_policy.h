#pragma once
// Which math is inlined into kernels and which is called; what a kernel costs to compile.

#include <cstdint>
#include <string>
#include <vector>

#include "gcomp/codegen/llvm.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/kernel.h"

namespace gcomp::codegen {

struct MathCount {
  size_t scalar = 0;
  size_t vector = 0;
};

MathCount count_math(const kernel::Kernel& kernel);
bool is_binary_math(Op op);
bool inlines_math(Op op, kernel::Type type, MathCount count, Effort effort, bool straight_line);

// A function that kernels call instead of having its arithmetic inlined.
struct MathFunction {
  Op op;
  kernel::Type type;
  friend bool operator==(const MathFunction&, const MathFunction&) = default;
  friend auto operator<=>(const MathFunction& a, const MathFunction& b) {
    return a.key() <=> b.key();
  }
  uint64_t key() const {
    return uint64_t{static_cast<uint16_t>(op)} << 32 | static_cast<uint64_t>(type.dtype) << 16 |
           type.lanes;
  }
  std::string symbol() const;
};

// Those `kernel` calls, appended in program order.
void add_called_math(const kernel::Kernel& kernel, Effort effort, std::vector<MathFunction>& to);

// Time to compile it, in machine instructions of about 0.02 ms each.
struct WeightTraits {
  Effort effort;
  uint64_t vector_bytes;
};
uint64_t compile_weight(const kernel::Kernel& kernel, WeightTraits traits);
uint64_t compile_weight(const MathFunction& function, WeightTraits traits);

}  // namespace gcomp::codegen
