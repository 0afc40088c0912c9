// KernelPrinter: arithmetic, casts and lanes. Functions that CUDA has are called by their names; the others were
// expanded before.

#include <bit>
#include <cmath>

#include "gcomp/ir/op.h"
#include "gcomp/kernel/math.h"
#include "gcomp/support/error.h"
#include "kernel_printer.h"

namespace gcomp::codegen {

using kernel::Code;
using kernel::Inst;

namespace {

std::string_view infix(Op op) {
  switch (op) {
    case Op::add: return " + ";
    case Op::sub: return " - ";
    case Op::mul: return " * ";
    case Op::div: return " / ";
    case Op::eq: return " == ";
    case Op::ne: return " != ";
    case Op::lt: return " < ";
    case Op::le: return " <= ";
    case Op::gt: return " > ";
    case Op::ge: return " >= ";
    case Op::bit_and: return " & ";
    case Op::bit_or: return " | ";
    case Op::bit_xor: return " ^ ";
    default: return {};
  }
}

// By the names of double; those of float end in f.
std::string_view math_name(Op op) {
  switch (op) {
    case Op::abs: return "fabs";
    case Op::round: return "rint";
    case Op::rem: return "fmod";
    case Op::sqrt:
    case Op::floor:
    case Op::ceil:
    case Op::trunc:
    case Op::exp:
    case Op::exp2:
    case Op::expm1:
    case Op::log:
    case Op::log2:
    case Op::log10:
    case Op::log1p:
    case Op::sin:
    case Op::cos:
    case Op::tan:
    case Op::asin:
    case Op::acos:
    case Op::atan:
    case Op::atan2:
    case Op::sinh:
    case Op::cosh:
    case Op::tanh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh:
    case Op::erf:
    case Op::erfc:
    case Op::lgamma:
    case Op::pow: return name(op);
    default: return {};
  }
}

}  // namespace

bool has_cuda_function(Op op, DType t) {
  if (!is_float(t)) return false;
  return !math_name(op).empty() || op == Op::sigmoid || op == Op::softplus || op == Op::log1mexp;
}

std::string KernelPrinter::call(Helper h, std::string_view name, const Inst& inst, int lane) {
  use(h);
  return std::string(name) + arguments(inst, lane);
}

std::string KernelPrinter::arguments(const Inst& inst, int lane) const {
  std::string text = "(";
  for (size_t i = 0; i < inst.num_operands; ++i) {
    text += (i == 0 ? "" : ", ") + raw(inst, i, lane);
  }
  return text + ")";
}

std::string KernelPrinter::bool_op(const Inst& inst, int lane) {
  const std::string a = arg(inst, 0, lane);
  const std::string b = inst.num_operands > 1 ? arg(inst, 1, lane) : "";
  switch (inst.op) {
    case Op::neg:
    case Op::abs:
    case Op::sign: return a;
    case Op::bit_not: return "!" + a;
    case Op::mul:
    case Op::min:
    case Op::bit_and: return a + " && " + b;
    case Op::max:
    case Op::bit_or: return a + " || " + b;
    case Op::add:
    case Op::sub:
    case Op::bit_xor: return a + " != " + b;
    default: internal_error(__FILE__, __LINE__, "cuda: no such op on bool");
  }
}

std::string KernelPrinter::int_op(const Inst& inst, DType t, int lane) {
  // Of positions, and of unsigned numbers of 32 bits and more, C++'s own operators do what is wanted.
  const bool plain = widths_.position(inst.first_value) || widths_.narrow(inst.first_value) ||
                     (is_unsigned_int(t) && byte_size(t) >= 4);
  const std::string of = "<" + std::string(cuda_type(t)) + ">";
  auto helper = [&](Helper h, std::string_view name) {
    return call(h, std::string(name) + of, inst, lane);
  };
  switch (inst.op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
      if (plain) break;
      if (inst.op == Op::add) return helper(Helper::kWrapAdd, "wrap_add");
      if (inst.op == Op::sub) return helper(Helper::kWrapSub, "wrap_sub");
      return helper(Helper::kWrapMul, "wrap_mul");
    case Op::neg: return helper(Helper::kWrapNeg, "wrap_neg");
    case Op::abs: return helper(Helper::kWrapAbs, "wrap_abs");
    case Op::sign: return helper(Helper::kSignOf, "sign_of");
    case Op::div: return helper(Helper::kIntDiv, "int_div");
    case Op::rem: return helper(Helper::kIntRem, "int_rem");
    case Op::floor_div: return helper(Helper::kIntFloorDiv, "int_floor_div");
    case Op::mod: return helper(Helper::kIntMod, "int_mod");
    case Op::shl: return helper(Helper::kShiftLeft, "shift_left");
    case Op::shr: return helper(Helper::kShiftRight, "shift_right");
    case Op::bit_not: return "~" + arg(inst, 0, lane);
    default: break;
  }
  GCOMP_CHECK(!infix(inst.op).empty(), "cuda: no such op on integers");
  return arg(inst, 0, lane) + std::string(infix(inst.op)) + arg(inst, 1, lane);
}

std::string KernelPrinter::float_op(const Inst& inst, DType t, int lane) {
  switch (inst.op) {
    case Op::neg: return "-" + arg(inst, 0, lane);
    case Op::is_nan: return call(Helper::kIsNan, "is_nan", inst, lane);
    case Op::is_inf: return call(Helper::kIsInf, "is_inf", inst, lane);
    case Op::sign: return call(Helper::kSignOf, "sign_of", inst, lane);
    case Op::sigmoid: return call(Helper::kSigmoid, "sigmoid", inst, lane);
    case Op::softplus: return call(Helper::kSoftplus, "softplus", inst, lane);
    case Op::log1mexp: return call(Helper::kLog1mexp, "log1mexp", inst, lane);
    default: break;
  }
  if (!infix(inst.op).empty()) {
    return arg(inst, 0, lane) + std::string(infix(inst.op)) + arg(inst, 1, lane);
  }
  const std::string_view function = math_name(inst.op);
  GCOMP_CHECK(!function.empty(), "cuda: this float op was not expanded");
  return std::string(function) + (t == DType::kFloat32 ? "f" : "") + arguments(inst, lane);
}

std::string KernelPrinter::combine(Op op, DType t, const std::string& a, const std::string& b) {
  const bool is_bool = t == DType::kBool;
  const bool wraps = is_int(t) && !(is_unsigned_int(t) && byte_size(t) >= 4);
  const std::string of = "<" + std::string(cuda_type(t)) + ">";
  auto helper = [&](Helper h, const std::string& name) {
    use(h);
    return name + of + "(" + a + ", " + b + ")";
  };
  switch (op) {
    case Op::add:
      if (wraps) return helper(Helper::kWrapAdd, "wrap_add");
      return "(" + a + " + " + b + ")";
    case Op::mul:
      if (wraps) return helper(Helper::kWrapMul, "wrap_mul");
      return "(" + a + " * " + b + ")";
    case Op::min: return helper(Helper::kMinOf, "min_of");
    case Op::max: return helper(Helper::kMaxOf, "max_of");
    case Op::bit_and: return "(" + a + (is_bool ? " && " : " & ") + b + ")";
    case Op::bit_or: return "(" + a + (is_bool ? " || " : " | ") + b + ")";
    case Op::bit_xor: return "(" + a + (is_bool ? " != " : " ^ ") + b + ")";
    default: internal_error(__FILE__, __LINE__, "cuda: no such reduction");
  }
}

// Lane i with lane i + n/2, then n/4, ...
std::string KernelPrinter::reduce(const Inst& inst) {
  const kernel::Type t = operand_type(inst, 0);
  std::vector<std::string> lanes;
  for (int lane = 0; lane < t.lanes; ++lane) lanes.push_back(arg(inst, 0, lane));
  for (size_t half = lanes.size() / 2; half >= 1; half /= 2) {
    for (size_t i = 0; i < half; ++i)
      lanes[i] = combine(inst.op, t.dtype, lanes[i], lanes[i + half]);
  }
  return lanes[0];
}

std::string KernelPrinter::op(const Inst& inst, int lane) {
  const DType t = operand_type(inst, inst.op == Op::where ? 1 : 0).dtype;
  if (inst.op == Op::where) {
    return arg(inst, 0, lane) + " ? " + arg(inst, 1, lane) + " : " + arg(inst, 2, lane);
  }
  if (is_comparison(inst.op)) {
    return arg(inst, 0, lane) + std::string(infix(inst.op)) + arg(inst, 1, lane);
  }
  if (t == DType::kBool) return bool_op(inst, lane);
  if (inst.op == Op::min || inst.op == Op::max) {
    const bool min = inst.op == Op::min;
    const bool narrow = t == DType::kInt64 && !wide_operands_;
    const std::string of = "<" + std::string(narrow ? "i32" : cuda_type(t)) + ">";
    return call(min ? Helper::kMinOf : Helper::kMaxOf, (min ? "min_of" : "max_of") + of, inst,
                lane);
  }
  return is_float(t) ? float_op(inst, t, lane) : int_op(inst, t, lane);
}

// A float to an integer: the limits are powers of two, so exact in either float type.
std::string KernelPrinter::float_to_int(const Inst& inst, int lane) {
  use(Helper::kSaturate);
  const DType from = operand_type(inst, 0).dtype, to = inst.type.dtype;
  const auto bits = static_cast<int>(byte_size(to)) * 8;
  const bool is_signed = is_signed_int(to);
  const int power = is_signed ? bits - 1 : bits;
  auto limit = [&](double value) {
    const kernel::Type t{from, 1};
    return from == DType::kFloat32 ? literal(t, std::bit_cast<uint32_t>(static_cast<float>(value)))
                                   : literal(t, std::bit_cast<uint64_t>(value));
  };
  const uint64_t all = ~uint64_t{0} >> (64 - bits);
  const uint64_t low = is_signed ? uint64_t{1} << (bits - 1) : 0;
  const std::string type = std::string(cuda_type(to));
  return "saturate<" + type + ">(" + raw(inst, 0, lane) + ", " +
         limit(is_signed ? -std::ldexp(1.0, power) : 0.0) + ", " + limit(std::ldexp(1.0, power)) +
         ", (" + type + ")" + literal({to, 1}, low) + ", (" + type + ")" +
         literal({to, 1}, all & ~low) + ")";
}

std::string KernelPrinter::cast(const Inst& inst, int lane) {
  const DType from = operand_type(inst, 0).dtype, to = inst.type.dtype;
  if (from == DType::kFloat16) return call(Helper::kHalfToFloat, "half_to_float", inst, lane);
  if (from == DType::kBFloat16) return call(Helper::kBFloatToFloat, "bfloat_to_float", inst, lane);
  if (to == DType::kFloat16) return call(Helper::kFloatToHalf, "float_to_half", inst, lane);
  if (to == DType::kBFloat16) return call(Helper::kFloatToBFloat, "float_to_bfloat", inst, lane);
  if (is_float(from) && !is_float(to)) return float_to_int(inst, lane);
  return "(" + std::string(type_name_of(inst.first_value)) + ")" + arg(inst, 0, lane);
}

std::string KernelPrinter::bitcast(const Inst& inst, int lane) const {
  const DType from = operand_type(inst, 0).dtype, to = inst.type.dtype;
  const std::string a = raw(inst, 0, lane);
  const std::string type = "(" + std::string(cuda_type(to)) + ")";
  if (from == DType::kFloat32) return type + "__float_as_uint(" + a + ")";
  if (from == DType::kFloat64) return type + "__double_as_longlong(" + a + ")";
  if (to == DType::kFloat32) return "__uint_as_float((u32)" + arg(inst, 0, lane) + ")";
  if (to == DType::kFloat64) return "__longlong_as_double((i64)" + arg(inst, 0, lane) + ")";
  return type + arg(inst, 0, lane);
}

std::string KernelPrinter::lane_expression(const Inst& inst, int lane) {
  const DType t = inst.type.dtype;
  const std::string suffix = t == DType::kFloat32 ? "f" : "";
  switch (inst.code) {
    case Code::kOp: return op(inst, lane);
    case Code::kCast: return cast(inst, lane);
    case Code::kBitcast: return bitcast(inst, lane);
    case Code::kFma:
    case Code::kMulAdd: return "fma" + suffix + arguments(inst, lane);
    case Code::kLibm: return std::string(math_name(inst.op)) + suffix + arguments(inst, lane);
    case Code::kIndexDiv:
    case Code::kIndexRem: {
      // Neither is negative: unsigned division is the cheaper one.
      const std::string of = wide_operands_ ? "(u64)" : "(u32)";
      const std::string_view op = inst.code == Code::kIndexDiv ? " / " : " % ";
      return "(" + std::string(wide_operands_ ? "i64" : "i32") + ")(" + of + arg(inst, 0, lane) +
             std::string(op) + of + arg(inst, 1, lane) + ")";
    }
    case Code::kReduce: return reduce(inst);
    default: break;
  }
  GCOMP_CHECK(inst.code == Code::kIota, "cuda: unknown instruction");
  return "(" + std::string(type_name_of(inst.first_value)) + ")" + std::to_string(lane);
}

void KernelPrinter::print_value(const Inst& inst) {
  const uint32_t first = inst.num_operands > 0 ? operand_id(inst, 0) : 0;
  for (int lane = 0; lane < inst.type.lanes; ++lane) {
    switch (inst.code) {
      case Code::kSplat: alias(inst, lane, first, 0); break;
      case Code::kExtract: alias(inst, lane, first, static_cast<int>(inst.imm)); break;
      case Code::kInsert: {
        const bool taken = lane == static_cast<int>(inst.imm);
        alias(inst, lane, taken ? operand_id(inst, 1) : first, taken ? 0 : lane);
        break;
      }
      case Code::kShuffle: {
        const int from = k_.lane_lists[inst.imm + static_cast<size_t>(lane)];
        const int width = operand_type(inst, 0).lanes;
        alias(inst, lane, operand_id(inst, from < width ? 0 : 1), from % width);
        break;
      }
      default: define(inst, lane, narrowed(inst, lane_expression(inst, lane))); break;
    }
  }
}

kernel::Kernel expand_for_cuda(const kernel::Kernel& kernel) {
  return kernel::expand_math(
      kernel, {.native_float16 = true,
               .native_bfloat16 = true,
               .keep = [](Op op, kernel::Type t) { return has_cuda_function(op, t.dtype); },
               .fma = true});
}

}  // namespace gcomp::codegen
