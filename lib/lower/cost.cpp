#include "cost.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "gcomp/ir/op.h"
#include "gcomp/kernel/math.h"

namespace gcomp::lower {
namespace {

using kernel::Code;
using kernel::Inst;

constexpr int64_t kUnknownExtent = 64;
constexpr double kUnknownTurns = 16;
constexpr double kMathWork = 20;
constexpr int kVectorBytes = 32;  // only proportions matter
constexpr double kCallWork = 50;  // a step of the plan: 12 ns

// Runs the kernel's index arithmetic for iteration 0 without running anything else: loops count once,
// with their turns as a factor, at their first index.
class Estimate {
 public:
  // `extent` gives each expression of extents a number.
  template <class Extent>
  Estimate(const kernel::Kernel& k, std::span<const ScalarArg> scalars, const Extent& extent,
           int vector_bytes)
      : k_(k), vector_bytes_(vector_bytes), known_(k.values.size()) {
    for (size_t i = 0; i < k.values.size(); ++i) {
      const kernel::ValueInfo& v = k.values[i];
      if (v.type.dtype != DType::kInt64 || v.type.lanes != 1) continue;
      switch (v.kind) {
        case kernel::ValueKind::kConst: known_[i] = static_cast<int64_t>(v.bits); break;
        case kernel::ValueKind::kBegin: known_[i] = 0; break;
        case kernel::ValueKind::kEnd: known_[i] = 1; break;
        case kernel::ValueKind::kScalar: {
          const ScalarArg& s = scalars[v.bits];
          known_[i] = s.dim.valid() ? extent(s.dim) : static_cast<int64_t>(s.bits);
          break;
        }
        default: break;
      }
    }
  }

  double run() {
    for (const Inst& inst : k_.insts) visit(inst);
    return work_;
  }

 private:
  std::optional<int64_t> operand(const Inst& inst, size_t i) const {
    return known_[k_.operands[inst.first_operand + i]];
  }

  double turns(const Inst& inst) const {
    const auto lo = operand(inst, 0), hi = operand(inst, 1), step = operand(inst, 2);
    if (!lo || !hi || !step || *step <= 0) return kUnknownTurns;
    return *hi <= *lo ? 0
                      : std::ceil((static_cast<double>(*hi) - static_cast<double>(*lo)) /
                                  static_cast<double>(*step));
  }

  void visit(const Inst& inst) {
    switch (inst.code) {
      case Code::kFor:
        factors_.push_back(factor_);
        factor_ *= turns(inst);
        known_[inst.first_value] = operand(inst, 0);
        return;
      case Code::kWhile:
        factors_.push_back(factor_);
        factor_ *= kUnknownTurns;
        return;
      case Code::kEndFor:
      case Code::kEndWhile:
        factor_ = factors_.back();
        factors_.pop_back();
        return;
      case Code::kWhileTest:
      case Code::kIf:
      case Code::kElse:
      case Code::kEndIf:
      case Code::kSetError: return;
      default: break;
    }
    work_ += factor_ * work(inst);
    if (inst.type.dtype == DType::kInt64 && inst.type.lanes == 1 && inst.num_values == 1) {
      known_[inst.first_value] = index_result(inst);
    }
  }

  double work(const Inst& inst) const {
    const double bytes = static_cast<double>(inst.type.lanes * byte_size(inst.type.dtype));
    const double registers = std::max(1.0, bytes / vector_bytes_);
    if (inst.code == Code::kLibm) return 3 * kMathWork;
    if (inst.code == Code::kGather || inst.code == Code::kScatter) return inst.type.lanes;
    if (inst.code != Code::kOp || inst.op == Op::where) return registers;
    const kernel::Type t = k_.values[k_.operands[inst.first_operand]].type;
    return registers * (kernel::needs_expansion(inst.op, t.dtype) ? kMathWork : 1);
  }

  std::optional<int64_t> index_result(const Inst& inst) const {
    if (inst.num_operands != 2) return std::nullopt;
    const auto a = operand(inst, 0), b = operand(inst, 1);
    if (!a || !b) return std::nullopt;
    const auto wrapped = [](uint64_t v) { return static_cast<int64_t>(v); };
    const auto x = static_cast<uint64_t>(*a), y = static_cast<uint64_t>(*b);
    if (inst.code == Code::kIndexDiv) return *b > 0 ? std::optional(*a / *b) : std::nullopt;
    if (inst.code == Code::kIndexRem) return *b > 0 ? std::optional(*a % *b) : std::nullopt;
    if (inst.code != Code::kOp) return std::nullopt;
    switch (inst.op) {
      case Op::add: return wrapped(x + y);
      case Op::sub: return wrapped(x - y);
      case Op::mul: return wrapped(x * y);
      case Op::bit_and: return wrapped(x & y);
      case Op::min: return std::min(*a, *b);
      case Op::max: return std::max(*a, *b);
      default: return std::nullopt;
    }
  }

  const kernel::Kernel& k_;
  double vector_bytes_;
  std::vector<std::optional<int64_t>> known_;
  std::vector<double> factors_;
  double factor_ = 1, work_ = 0;
};

}  // namespace

double iteration_work(const kernel::Kernel& kernel, std::span<const ScalarArg> scalars,
                      const DimTable& dims, int vector_bytes) {
  const auto extent = [&](DimId d) { return dims.constant_value(d).value_or(kUnknownExtent); };
  return Estimate(kernel, scalars, extent, vector_bytes).run();
}

RunWork run_work(const LoweredModule& module) {
  const DimTable& dims = module.graph->context().dims;
  // All symbols alike, so that products and halves of them keep their proportions.
  const std::vector<int64_t> sizes(dims.num_symbols(), kUnknownExtent);
  const auto extent = [&](DimId d) { return std::max<int64_t>(dims.evaluate(d, sizes), 0); };
  RunWork work{std::vector<double>(module.kernels.size())};
  std::vector<double> factors = {1};  // of the loops around
  for (const Step& s : module.steps) {
    if (s.kind == Step::Kind::kBeginLoop) factors.push_back(factors.back() * kUnknownTurns);
    if (s.kind == Step::Kind::kEndLoop) factors.pop_back();
    if (s.kind != Step::Kind::kCall) continue;
    const double turn = Estimate(module.kernels[s.kernel], s.scalars, extent, kVectorBytes).run();
    work.kernels[s.kernel] += factors.back() * static_cast<double>(extent(s.extent)) * turn;
    work.calls += factors.back() * kCallWork;
  }
  return work;
}

uint32_t grain_of_work(double iteration_work) {
  return static_cast<uint32_t>(std::clamp(kTaskWork / std::max(iteration_work, 1.0), 1.0, 1e9));
}

}  // namespace gcomp::lower
