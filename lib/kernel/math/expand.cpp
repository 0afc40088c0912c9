// Which ops are expanded and by what; and the pass that rewrites a kernel's stream with them.

#include <array>
#include <vector>

#include "families.h"
#include "gcomp/kernel/math.h"
#include "gcomp/support/error.h"

namespace gcomp::kernel {
namespace {

using math::MathBuilder;
using UnaryEmitter = Value (*)(MathBuilder&, Value);
using BinaryEmitter = Value (*)(MathBuilder&, Value, Value);

struct FloatRow {
  Op op;
  UnaryEmitter unary;
  BinaryEmitter binary;
  bool wide;  // written for float64 only: float32 is widened
};

constexpr FloatRow kFloatRows[] = {
    {Op::exp, math::emit_exp, nullptr, false},
    {Op::exp2, math::emit_exp2, nullptr, false},
    {Op::expm1, math::emit_expm1, nullptr, false},
    {Op::tanh, math::emit_tanh, nullptr, false},
    {Op::sigmoid, math::emit_sigmoid, nullptr, false},
    {Op::softplus, math::emit_softplus, nullptr, false},
    {Op::log1mexp, math::emit_log1mexp, nullptr, false},
    {Op::sinh, math::emit_sinh, nullptr, false},
    {Op::cosh, math::emit_cosh, nullptr, false},
    {Op::log, math::emit_log, nullptr, false},
    {Op::log1p, math::emit_log1p, nullptr, false},
    {Op::log2, math::emit_log2, nullptr, true},
    {Op::log10, math::emit_log10, nullptr, true},
    {Op::sin, math::emit_sin, nullptr, false},
    {Op::cos, math::emit_cos, nullptr, false},
    {Op::tan, math::emit_tan, nullptr, false},
    {Op::asin, math::emit_asin, nullptr, false},
    {Op::acos, math::emit_acos, nullptr, false},
    {Op::atan, math::emit_atan, nullptr, false},
    {Op::atan2, nullptr, math::emit_atan2, false},
    {Op::asinh, math::emit_asinh, nullptr, true},
    {Op::acosh, math::emit_acosh, nullptr, true},
    {Op::atanh, math::emit_atanh, nullptr, true},
    {Op::erf, math::emit_erf, nullptr, false},
    {Op::erfc, math::emit_erfc, nullptr, true},
    {Op::erfcx, math::emit_erfcx, nullptr, true},
    {Op::erfinv, math::emit_erfinv, nullptr, true},
    {Op::lgamma, math::emit_lgamma, nullptr, true},
    {Op::digamma, math::emit_digamma, nullptr, true},
    {Op::trigamma, math::emit_trigamma, nullptr, true},
    {Op::pow, nullptr, math::emit_pow, false},
    {Op::rem, nullptr, math::emit_rem, false},
    {Op::mod, nullptr, math::emit_mod, false},
    {Op::floor_div, nullptr, math::emit_floor_div, false},
};

const FloatRow* find_row(Op op) {
  for (const FloatRow& row : kFloatRows) {
    if (row.op == op) return &row;
  }
  return nullptr;
}

bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

// Casts from or to `t` become integer arithmetic.
bool expands_half(DType t, const ExpandOptions& options) {
  if (t == DType::kFloat16) return !options.native_float16;
  return t == DType::kBFloat16 && !options.native_bfloat16;
}

bool expands_op(const Kernel& k, const Inst& inst, const ExpandOptions& options) {
  if (inst.code != Code::kOp || inst.op == Op::where) return false;
  Type t = k.values[k.operands[inst.first_operand]].type;
  return needs_expansion(inst.op, t.dtype) && !(options.keep && options.keep(inst.op, t));
}

// Copies a stream into a new builder, value by value, expanding on the way.
class Expander {
 public:
  Expander(const Kernel& kernel, const ExpandOptions& options)
      : k_(kernel), options_(options), values_(kernel.values.size()) {}

  Kernel run();

 private:
  void copy_parameters();
  void copy_constants();
  void copy(const Inst& inst);
  void copy_structure(const Inst& inst);
  void copy_memory(const Inst& inst);
  void copy_async(const Inst& inst);
  Value copy_value(const Inst& inst);
  Value copy_cast(const Inst& inst);
  Values operands(const Inst& inst) const {
    Values result;
    for (size_t i = 0; i < inst.num_operands; ++i) {
      result.push_back(values_[k_.operands[inst.first_operand + i]]);
    }
    return result;
  }
  void define(const Inst& inst, std::span<const Value> results) {
    for (size_t i = 0; i < inst.num_values; ++i) values_[inst.first_value + i] = results[i];
  }

  const Kernel& k_;
  ExpandOptions options_;
  Builder b_;
  std::vector<Value> values_;
  std::vector<Buffer> buffers_;
};

void Expander::copy_parameters() {
  for (const BufferInfo& info : k_.buffers) {
    if (is_parameter(info.role)) {
      buffers_.push_back(b_.parameter(info.dtype, info.role));
    } else if (info.role == Role::kShared) {
      buffers_.push_back(b_.shared(info.dtype, info.size));
    } else if (info.role == Role::kLocal) {
      buffers_.push_back(b_.local(info.dtype, info.size));
    } else {
      buffers_.push_back(
          b_.table(info.dtype, std::span(k_.table_words).subspan(info.slot, info.size)));
    }
  }
  for (DType t : k_.scalars) b_.scalar(t);
}

// A builder creates the scalars' values first, in order; constants and the range where they come up.
void Expander::copy_constants() {
  for (size_t i = 0; i < k_.values.size(); ++i) {
    const ValueInfo& info = k_.values[i];
    switch (info.kind) {
      case ValueKind::kConst: values_[i] = b_.constant_bits(info.type, info.bits); break;
      case ValueKind::kScalar: values_[i] = Value(info.bits); break;
      case ValueKind::kBegin: values_[i] = b_.range_begin(); break;
      case ValueKind::kEnd: values_[i] = b_.range_end(); break;
      case ValueKind::kArgument:
      case ValueKind::kInst: break;
    }
  }
}

Value Expander::copy_cast(const Inst& inst) {
  Value v = operands(inst)[0];
  DType from = b_.type(v).dtype, to = inst.type.dtype;
  if (expands_half(from, options_)) return math::emit_half_to_float(b_, v);
  if (expands_half(to, options_)) return math::emit_float_to_half(b_, v, to);
  return b_.cast(v, to);
}

Value Expander::copy_value(const Inst& inst) {
  Values a = operands(inst);
  switch (inst.code) {
    case Code::kOp:
      if (expands_op(k_, inst, options_)) return emit_math(b_, inst.op, a, options_);
      return b_.op(inst.op, a);
    case Code::kCast: return copy_cast(inst);
    case Code::kBitcast: return b_.bitcast(a[0], inst.type.dtype);
    case Code::kFma: return b_.fma(a[0], a[1], a[2]);
    case Code::kMulAdd: return b_.mul_add(a[0], a[1], a[2]);
    case Code::kIndexDiv: return b_.index_div(a[0], a[1]);
    case Code::kIndexRem: return b_.index_rem(a[0], a[1]);
    case Code::kLibm: return b_.libm(inst.op, a);
    case Code::kSplat: return b_.splat(a[0], inst.type.lanes);
    case Code::kExtract: return b_.extract(a[0], static_cast<int>(inst.imm));
    case Code::kInsert: return b_.insert(a[0], static_cast<int>(inst.imm), a[1]);
    case Code::kIota: return b_.iota(inst.type.dtype, inst.type.lanes);
    case Code::kReduce: return b_.reduce(inst.op, a[0]);
    case Code::kThread: return b_.thread();
    case Code::kWarpXor: return b_.warp_xor(a[0], static_cast<int>(inst.imm));
    case Code::kWarpMma: return b_.warp_mma(MmaFormat(inst.imm), a[0], a[1], a[2]);
    case Code::kWarpLoad:
      return b_.warp_load(buffers_[inst.imm], a[0], (inst.flags & kTransposed) != 0);
    case Code::kIsAligned: return b_.is_aligned(buffers_[inst.imm], a[0]);
    default: break;
  }
  GCOMP_CHECK(inst.code == Code::kShuffle, "expand: unknown instruction");
  std::vector<int> lanes(inst.type.lanes);
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = k_.lane_lists[inst.imm + i];
  return b_.shuffle(a[0], a[1], lanes);
}

void Expander::copy_memory(const Inst& inst) {
  Values a = operands(inst);
  Buffer buffer = buffers_[inst.imm];
  Value loaded;
  switch (inst.code) {
    case Code::kLoad: loaded = b_.load(buffer, a[0], inst.type.lanes); break;
    case Code::kGather: loaded = b_.gather(buffer, a[0]); break;
    case Code::kMaskedLoad: loaded = b_.masked_load(buffer, a[0], a[1], a[2]); break;
    case Code::kStore: return b_.store(buffer, a[0], a[1]);
    case Code::kMaskedStore: return b_.masked_store(buffer, a[0], a[1], a[2]);
    case Code::kScatter: return b_.scatter(buffer, a[0], a[1]);
    default: return b_.set_error(a[0]);
  }
  define(inst, {&loaded, 1});
}

void Expander::copy_async(const Inst& inst) {
  const Values a = operands(inst);
  const CopyBuffers buffers(inst.imm);
  b_.copy_async(buffers_[buffers.to], a[0], buffers_[buffers.from], a[1], a[2]);
}

void Expander::copy_structure(const Inst& inst) {
  Values a = operands(inst);
  switch (inst.code) {
    case Code::kFor:
      return define(inst, b_.begin_for(a[0], a[1], a[2], std::span(a).subspan(3), inst.flags));
    case Code::kEndFor: return define(inst, b_.end_for(a));
    case Code::kWhile: return define(inst, b_.begin_while(a));
    case Code::kWhileTest: return b_.while_test(a[0]);
    case Code::kEndWhile: return define(inst, b_.end_while(a));
    case Code::kIf: return b_.begin_if(a[0]);
    case Code::kElse: return b_.begin_else(a);
    default: return define(inst, b_.end_if(a));
  }
}

void Expander::copy(const Inst& inst) {
  switch (inst.code) {
    case Code::kFor:
    case Code::kEndFor:
    case Code::kWhile:
    case Code::kWhileTest:
    case Code::kEndWhile:
    case Code::kIf:
    case Code::kElse:
    case Code::kEndIf: return copy_structure(inst);
    case Code::kLoad:
    case Code::kStore:
    case Code::kMaskedLoad:
    case Code::kMaskedStore:
    case Code::kGather:
    case Code::kScatter:
    case Code::kSetError: return copy_memory(inst);
    case Code::kBarrier: return b_.barrier();
    case Code::kCopyAsync: return copy_async(inst);
    case Code::kCommitCopies: return b_.commit_copies();
    case Code::kWaitCopies: return b_.wait_copies(static_cast<int>(inst.imm));
    default: break;
  }
  Value v = copy_value(inst);
  define(inst, {&v, 1});
}

Kernel Expander::run() {
  b_.set_block(k_.block_threads);
  copy_parameters();
  copy_constants();
  for (const Inst& inst : k_.insts) copy(inst);
  return b_.finish();
}

bool expands(const Kernel& k, const Inst& inst, const ExpandOptions& options) {
  if (inst.code == Code::kOp) return expands_op(k, inst, options);
  if (inst.code != Code::kCast) return false;
  DType from = k.values[k.operands[inst.first_operand]].type.dtype;
  return expands_half(from, options) || expands_half(inst.type.dtype, options);
}

}  // namespace

bool needs_expansion(Op op, DType dtype) {
  if (!is_float(dtype)) return op == Op::pow;
  return find_row(op) != nullptr;
}

Value emit_math(Builder& b, Op op, std::span<const Value> args, const ExpandOptions& options) {
  Type t = b.type(args[0]);
  if (!is_float(t.dtype)) return math::emit_integer_pow(b, args[0], args[1]);
  const FloatRow* row = find_row(op);
  GCOMP_CHECK(row && !is_half(t.dtype), "emit_math: not a function of float32 or float64");
  bool widen = row->wide && t.dtype == DType::kFloat32;
  Values a(args.begin(), args.end());
  if (widen) {
    for (Value& v : a) v = b.cast(v, DType::kFloat64);
  }
  MathBuilder m(b, b.type(a[0]), options.fma);
  Value r = row->unary ? row->unary(m, a[0]) : row->binary(m, a[0], a[1]);
  return widen ? b.cast(r, DType::kFloat32) : r;
}

Kernel expand_math(const Kernel& kernel, const ExpandOptions& options) {
  for (const Inst& inst : kernel.insts) {
    if (expands(kernel, inst, options)) return Expander(kernel, options).run();
  }
  return kernel;
}

}  // namespace gcomp::kernel
