// Kernels as text: one instruction a line, regions indented, values numbered as in the arrays.

#include <array>
#include <bit>
#include <cstdio>

#include "fold.h"
#include "gcomp/ir/op.h"
#include "names.h"

namespace gcomp::kernel {
namespace {

constexpr std::array<std::string_view, 38> kCodeNames = {
    "op",        "cast",      "bitcast",    "fma",        "mul_add",       "index_div",
    "index_rem", "libm",      "splat",      "extract",    "insert",        "iota",
    "reduce",    "shuffle",   "load",       "store",      "masked_load",   "masked_store",
    "gather",    "scatter",   "set_error",  "thread",     "barrier",       "warp_xor",
    "warp_mma",  "warp_load", "is_aligned", "copy_async", "commit_copies", "wait_copies",
    "for",       "end_for",   "while",      "while_test", "end_while",     "if",
    "else",      "end_if"};

constexpr std::array<std::string_view, 8> kRoleNames = {"in",    "out",   "inout", "scratch",
                                                        "error", "local", "table", "shared"};

constexpr std::array<std::string_view, kNumOps> kOpNames = {
#define GCOMP_OP_NAME(name) #name,
    GCOMP_OPS(GCOMP_OP_NAME)
#undef GCOMP_OP_NAME
};

class Printer {
 public:
  explicit Printer(const Kernel& kernel) : k_(kernel) {}

  std::string run() {
    print_signature();
    for (const Inst& inst : k_.insts) print_inst(inst);
    out_ += "}\n";
    return std::move(out_);
  }

 private:
  void print_signature();
  void print_inst(const Inst& inst);
  void print_details(const Inst& inst);
  std::string value(uint32_t id) const;
  std::string constant(const ValueInfo& info) const;
  std::string buffer(uint32_t id) const { return "b" + std::to_string(id); }

  const Kernel& k_;
  std::string out_;
  int depth_ = 1;
};

void Printer::print_signature() {
  out_ += "kernel(";
  for (size_t i = 0; i < k_.buffers.size(); ++i) {
    const BufferInfo& b = k_.buffers[i];
    out_ += i == 0 ? "" : ", ";
    out_ += buffer(static_cast<uint32_t>(i)) + ": " + std::string(role_name(b.role)) + " " +
            std::string(name(b.dtype));
    if (!is_parameter(b.role)) out_ += "[" + std::to_string(b.size) + "]";
  }
  out_ += ") scalars(";
  for (size_t i = 0; i < k_.scalars.size(); ++i) {
    out_ += i == 0 ? "" : ", ";
    out_ += "s" + std::to_string(i) + ": " + std::string(name(k_.scalars[i]));
  }
  out_ += ")";
  if (k_.block_threads != 0) out_ += " block of " + std::to_string(k_.block_threads);
  out_ += " {\n";
}

std::string Printer::constant(const ValueInfo& info) const {
  char text[40];
  if (is_float(info.type.dtype)) {
    double v = as_double(info.type.dtype, info.bits);
    // %.17g is exact for float64 and needlessly long for the rest.
    std::snprintf(text, sizeof text, info.type.dtype == DType::kFloat64 ? "%.17g" : "%.9g", v);
  } else if (is_unsigned_int(info.type.dtype)) {
    std::snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(info.bits));
  } else {
    std::snprintf(text, sizeof text, "%lld",
                  static_cast<long long>(as_int(info.type.dtype, info.bits)));
  }
  return text + (":" + type_name(info.type));
}

std::string Printer::value(uint32_t id) const {
  const ValueInfo& info = k_.values[id];
  switch (info.kind) {
    case ValueKind::kConst: return constant(info);
    case ValueKind::kScalar: return "s" + std::to_string(info.bits);
    case ValueKind::kBegin: return "begin";
    case ValueKind::kEnd: return "end";
    case ValueKind::kArgument: return "%" + std::to_string(id);
    default: return "%" + std::to_string(id);
  }
}

void Printer::print_details(const Inst& inst) {
  switch (inst.code) {
    case Code::kLoad:
    case Code::kStore:
    case Code::kMaskedLoad:
    case Code::kMaskedStore:
    case Code::kGather:
    case Code::kScatter:
    case Code::kWarpLoad:
    case Code::kIsAligned: out_ += " " + buffer(inst.imm); break;
    case Code::kCopyAsync: {
      const CopyBuffers b(inst.imm);
      out_ += " " + buffer(b.to) + " from " + buffer(b.from);
      break;
    }
    case Code::kWaitCopies: out_ += " " + std::to_string(inst.imm); break;
    case Code::kWarpXor: out_ += " " + std::to_string(inst.imm); break;
    case Code::kWarpMma: out_ += " " + std::string(mma_format_name(MmaFormat(inst.imm))); break;
    case Code::kExtract:
    case Code::kInsert: out_ += " lane " + std::to_string(inst.imm); break;
    case Code::kShuffle:
      out_ += " [";
      for (int i = 0; i < inst.type.lanes; ++i) {
        out_ += (i ? " " : "") + std::to_string(k_.lane_lists[inst.imm + static_cast<size_t>(i)]);
      }
      out_ += "]";
      break;
    default: break;
  }
  if (inst.code == Code::kWarpLoad && (inst.flags & kTransposed)) out_ += " transposed";
  if (inst.code == Code::kFor && (inst.flags & kUnrolled)) out_ += " unrolled";
}

void Printer::print_inst(const Inst& inst) {
  bool closes = inst.code == Code::kEndFor || inst.code == Code::kEndWhile ||
                inst.code == Code::kEndIf || inst.code == Code::kElse ||
                inst.code == Code::kWhileTest;
  bool opens = inst.code == Code::kFor || inst.code == Code::kWhile || inst.code == Code::kIf ||
               inst.code == Code::kElse || inst.code == Code::kWhileTest;
  if (closes) --depth_;
  out_.append(static_cast<size_t>(depth_) * 2, ' ');
  for (uint32_t i = 0; i < inst.num_values; ++i) {
    out_ += (i ? ", %" : "%") + std::to_string(inst.first_value + i) + ": " +
            type_name(k_.values[inst.first_value + i].type);
  }
  if (inst.num_values) out_ += " = ";
  if (inst.code != Code::kOp) out_ += code_name(inst.code);
  if (inst.code == Code::kLibm || inst.code == Code::kReduce) out_ += " ";
  if (inst.code == Code::kOp || inst.code == Code::kLibm || inst.code == Code::kReduce) {
    out_ += op_name(inst.op);
  }
  print_details(inst);
  for (uint32_t i = 0; i < inst.num_operands; ++i) {
    out_ += (i ? ", " : " ") + value(k_.operands[inst.first_operand + i]);
  }
  out_ += "\n";
  if (opens) ++depth_;
}

}  // namespace

std::string_view code_name(Code code) { return kCodeNames[static_cast<size_t>(code)]; }

std::string_view mma_format_name(MmaFormat format) {
  constexpr std::array<std::string_view, 3> kNames = {"f16", "bf16", "tf32"};
  return kNames[static_cast<size_t>(format)];
}

std::string_view role_name(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

std::string_view op_name(Op op) { return kOpNames[static_cast<size_t>(op)]; }

std::string type_name(Type type) {
  std::string text(name(type.dtype));
  return type.lanes == 1 ? text : text + "x" + std::to_string(type.lanes);
}

std::string print(const Kernel& kernel) { return Printer(kernel).run(); }

}  // namespace gcomp::kernel
