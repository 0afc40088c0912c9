// An inlined exp costs about 0.8 ms of compile time and saves a call; so vector math is inlined while a
// kernel has little of it, and the rest goes to functions shared by all kernels: the tails of vector
// loops, the large functions, and everything at Effort::kFast.

#include "math_policy.h"

#include "gcomp/kernel/math.h"

namespace gcomp::codegen {
namespace {

constexpr size_t kMostInlined = 8;  // math instructions a kernel
constexpr uint64_t kFunctionWeight = 50;
constexpr uint64_t kInlinedWeight = 25;  // basic instructions of an ordinary function, a register
constexpr uint64_t kLargeWeight = 100;
constexpr uint64_t kCallWeight = 4;  // moving and saving registers

bool is_large_math(Op op) {
  switch (op) {
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma:
    case Op::erfinv:
    case Op::erfc:
    case Op::erfcx:
    case Op::log1mexp:
    case Op::sinh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh: return true;
    default: return is_binary_math(op);
  }
}

// Calls visit(inst, operand type) for the instructions that need expansion.
template <class Visit>
void for_each_math(const kernel::Kernel& kernel, Visit visit) {
  for (const kernel::Inst& inst : kernel.insts) {
    if (inst.code != kernel::Code::kOp || inst.op == Op::where) continue;
    const kernel::Type t = kernel.values[kernel.operands[inst.first_operand]].type;
    if (kernel::needs_expansion(inst.op, t.dtype)) visit(inst, t);
  }
}

uint64_t registers(kernel::Type type, WeightTraits traits) {
  const uint64_t bytes = uint64_t{type.lanes} * byte_size(type.dtype);
  return bytes <= traits.vector_bytes ? 1 : bytes / traits.vector_bytes;
}

}  // namespace

MathCount count_math(const kernel::Kernel& kernel) {
  MathCount count;
  for_each_math(kernel, [&](const kernel::Inst&, kernel::Type t) {
    ++(t.lanes == 1 ? count.scalar : count.vector);
  });
  return count;
}

bool is_binary_math(Op op) {
  return op == Op::pow || op == Op::atan2 || op == Op::rem || op == Op::mod || op == Op::floor_div;
}

bool inlines_math(Op op, kernel::Type t, MathCount count, Effort effort, bool straight_line) {
  if (effort == Effort::kFast || is_large_math(op)) return false;
  if (t.lanes > 1) return count.vector <= kMostInlined;
  const bool tail = count.vector > 0 && !straight_line;
  return !tail && count.scalar <= kMostInlined;
}

std::string MathFunction::symbol() const {
  return "math." + std::string(name(op)) + "." + std::string(name(type.dtype)) + "x" +
         std::to_string(type.lanes);
}

void add_called_math(const kernel::Kernel& kernel, Effort effort, std::vector<MathFunction>& to) {
  const MathCount count = count_math(kernel);
  for_each_math(kernel, [&](const kernel::Inst& inst, kernel::Type t) {
    if (!inlines_math(inst.op, t, count, effort, false)) to.push_back({inst.op, t});
  });
}

uint64_t compile_weight(const kernel::Kernel& kernel, WeightTraits traits) {
  uint64_t weight = kFunctionWeight;
  for (const kernel::Inst& inst : kernel.insts) weight += registers(inst.type, traits);
  const MathCount count = count_math(kernel);
  for_each_math(kernel, [&](const kernel::Inst& inst, kernel::Type t) {
    const bool inlined = inlines_math(inst.op, t, count, traits.effort, false);
    weight += registers(t, traits) * (inlined ? kInlinedWeight : kCallWeight);
  });
  return weight;
}

uint64_t compile_weight(const MathFunction& function, WeightTraits traits) {
  const uint64_t body = is_large_math(function.op) ? kLargeWeight : kInlinedWeight;
  return kFunctionWeight + body * registers(function.type, traits);
}

}  // namespace gcomp::codegen
