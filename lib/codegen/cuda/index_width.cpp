// Intervals, forward, one pass: values that loops carry and what comes from memory are not known.

#include "index_width.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "gcomp/ir/op.h"

namespace gcomp::codegen {
namespace {

using kernel::Code;
using kernel::Inst;
using kernel::Kernel;
using kernel::ValueKind;

// Wider than any sum or product of two 32-bit numbers is never asked for.
constexpr int64_t kFar = int64_t{1} << 62;

struct Interval {
  int64_t lo = -kFar, hi = kFar;
  bool known() const { return lo > -kFar && hi < kFar; }
};

Interval limited(__int128 lo, __int128 hi) {
  if (lo <= -kFar || hi >= kFar) return {};
  return {static_cast<int64_t>(lo), static_cast<int64_t>(hi)};
}

Interval times(Interval a, Interval b) {
  const __int128 corners[] = {__int128{a.lo} * b.lo, __int128{a.lo} * b.hi, __int128{a.hi} * b.lo,
                              __int128{a.hi} * b.hi};
  return limited(std::ranges::min(corners), std::ranges::max(corners));
}

Interval of_dtype(DType t) {
  if (t == DType::kBool) return {0, 1};
  const auto bits = static_cast<unsigned>(byte_size(t)) * 8;
  if (bits > 32) return {};
  if (is_signed_int(t)) return {-(int64_t{1} << (bits - 1)), (int64_t{1} << (bits - 1)) - 1};
  return {0, (int64_t{1} << bits) - 1};
}

class Ranges {
 public:
  Ranges(const Kernel& k, int64_t most_iterations) : k_(k), of_(k.values.size()) {
    for (size_t v = 0; v < k.values.size(); ++v) of_[v] = outside(v, most_iterations);
    for (const Inst& inst : k.insts) visit(inst);
  }

  bool narrow(size_t v) const {
    const Interval& r = of_[v];
    return k_.values[v].type.dtype == DType::kInt64 &&
           r.lo >= std::numeric_limits<int32_t>::min() &&
           r.hi <= std::numeric_limits<int32_t>::max() - kernel::kMaxLanes;
  }

 private:
  Interval outside(size_t v, int64_t most) const {
    const kernel::ValueInfo& info = k_.values[v];
    const auto bits = static_cast<int64_t>(info.bits);
    switch (info.kind) {
      case ValueKind::kConst:
        return info.type.dtype == DType::kInt64 ? Interval{bits, bits} : Interval();
      case ValueKind::kBegin: return most > 0 ? Interval{0, most - 1} : Interval();
      case ValueKind::kEnd: return most > 0 ? Interval{1, most} : Interval();
      default: return {};
    }
  }

  Interval operand(const Inst& inst, size_t i) const {
    return of_[k_.operands[inst.first_operand + i]];
  }

  void visit(const Inst& inst) {
    if (inst.num_values == 0) return;
    if (inst.code == Code::kFor) {
      if (is_one_turn(k_, inst)) {
        of_[inst.first_value] = operand(inst, 0);
        return;
      }
      const Interval lo = operand(inst, 0), hi = operand(inst, 1), step = operand(inst, 2);
      // The counter passes `hi` by less than a step before the loop ends: that must fit too.
      const Interval last = limited(lo.lo, __int128{hi.hi} + step.hi - 1);
      const bool fits = lo.known() && hi.known() && step.known() &&
                        last.hi <= std::numeric_limits<int32_t>::max();
      of_[inst.first_value] = fits ? Interval{lo.lo, std::max(lo.lo, hi.hi - 1)} : Interval();
      return;
    }
    if (inst.type.dtype == DType::kInt64 && inst.num_values == 1) {
      of_[inst.first_value] = result(inst);
    }
  }

  Interval result(const Inst& inst) const {
    switch (inst.code) {
      case Code::kOp: return op(inst);
      case Code::kIndexDiv:
        // The divisor is positive, the dividend not negative.
        return {0, std::max<int64_t>(operand(inst, 0).hi, 0) /
                       std::max<int64_t>(operand(inst, 1).lo, 1)};
      case Code::kIndexRem:
        return {0, std::min(std::max<int64_t>(operand(inst, 0).hi, 0),
                            std::max<int64_t>(operand(inst, 1).hi - 1, 0))};
      case Code::kCast: return of_dtype(k_.values[k_.operands[inst.first_operand]].type.dtype);
      case Code::kSplat:
      case Code::kExtract: return operand(inst, 0);
      case Code::kIota: return {0, inst.type.lanes - 1};
      case Code::kThread: return {0, int64_t{k_.block_threads} - 1};
      default: return {};
    }
  }

  Interval op(const Inst& inst) const {
    const Interval a = operand(inst, 0);
    const Interval b = inst.num_operands > 1 ? operand(inst, 1) : Interval();
    const bool arithmetic = inst.op == Op::add || inst.op == Op::sub || inst.op == Op::mul;
    if (arithmetic && !(a.known() && b.known())) return {};  // may wrap
    switch (inst.op) {
      case Op::add: return limited(__int128{a.lo} + b.lo, __int128{a.hi} + b.hi);
      case Op::sub: return limited(__int128{a.lo} - b.hi, __int128{a.hi} - b.lo);
      case Op::mul: return times(a, b);
      case Op::min: return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)};
      case Op::max: return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)};
      case Op::bit_and:
      case Op::bit_or:
      case Op::bit_xor: {  // of numbers that are not negative: no more bits than they have
        if (!a.known() || !b.known() || std::min(a.lo, b.lo) < 0) return {};
        const auto most = static_cast<uint64_t>(std::max(a.hi, b.hi));
        return {0, (int64_t{1} << std::bit_width(most)) - 1};
      }
      case Op::where: {
        const Interval c = operand(inst, 2);
        return {std::min(b.lo, c.lo), std::max(b.hi, c.hi)};
      }
      default: return {};
    }
  }

  const Kernel& k_;
  std::vector<Interval> of_;
};

// Values made of nothing but positions and extents.
std::vector<bool> find_positions(const Kernel& k) {
  std::vector<bool> position(k.values.size());
  for (size_t v = 0; v < position.size(); ++v) {
    position[v] = k.values[v].kind != ValueKind::kInst && k.values[v].type.dtype == DType::kInt64;
  }
  for (const Inst& inst : k.insts) {
    if (inst.num_values == 0) continue;
    std::vector<bool>::reference made = position[inst.first_value];
    switch (inst.code) {
      case Code::kFor:
      case Code::kThread: made = true; break;
      case Code::kOp:
      case Code::kIndexDiv:
      case Code::kIndexRem:
      case Code::kSplat:
      case Code::kExtract:
        made = inst.type.dtype == DType::kInt64;
        for (size_t i = 0; i < inst.num_operands; ++i) {
          made = made && position[k.operands[inst.first_operand + i]];
        }
        break;
      case Code::kIota: made = inst.type.dtype == DType::kInt64; break;
      default: break;
    }
  }
  return position;
}

}  // namespace

bool is_one_turn(const Kernel& k, const Inst& inst) {
  auto kind = [&](size_t i) { return k.values[k.operands[inst.first_operand + i]].kind; };
  return kind(0) == ValueKind::kBegin && kind(1) == ValueKind::kEnd;
}

IndexWidths::IndexWidths(const Kernel& kernel, int64_t most_iterations)
    : narrow_(kernel.values.size()), position_(find_positions(kernel)) {
  const Ranges ranges(kernel, most_iterations);
  for (size_t v = 0; v < narrow_.size(); ++v) narrow_[v] = ranges.narrow(v);
}

}  // namespace gcomp::codegen
