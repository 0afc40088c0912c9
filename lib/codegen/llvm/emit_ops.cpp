// KernelEmitter: arithmetic, casts, lanes. Semantics are the op table's; what LLVM leaves undefined
// (division by zero, long shifts, casts out of range) is made defined here.

#include <llvm/IR/Constants.h>
#include <llvm/IR/Intrinsics.h>

#include "emit.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/math.h"
#include "gcomp/support/error.h"

namespace gcomp::codegen {

using kernel::Code;
namespace intrinsic = llvm::Intrinsic;

llvm::Type* KernelEmitter::llvm_type(Type type) {
  llvm::Type* element = nullptr;
  switch (type.dtype) {
    case DType::kBool: element = b_.getInt1Ty(); break;
    case DType::kFloat32: element = b_.getFloatTy(); break;
    case DType::kFloat64: element = b_.getDoubleTy(); break;
    default: element = b_.getIntNTy(static_cast<unsigned>(byte_size(type.dtype)) * 8); break;
  }
  return type.lanes == 1 ? element : llvm::FixedVectorType::get(element, type.lanes);
}

llvm::Value* KernelEmitter::emit_value(const Inst& inst) {
  switch (inst.code) {
    case Code::kOp: return emit_op(inst);
    case Code::kCast: return emit_cast(inst);
    case Code::kBitcast: return b_.CreateBitCast(operand(inst, 0), llvm_type(inst.type));
    case Code::kFma:
    case Code::kMulAdd: return emit_fma(inst);
    case Code::kIndexDiv: return b_.CreateUDiv(operand(inst, 0), operand(inst, 1));
    case Code::kIndexRem: return b_.CreateURem(operand(inst, 0), operand(inst, 1));
    case Code::kLibm: return emit_libm(inst);
    default: return emit_lanes(inst);
  }
}

llvm::Value* KernelEmitter::emit_fma(const Inst& inst) {
  llvm::Value *a = operand(inst, 0), *b = operand(inst, 1), *c = operand(inst, 2);
  if (inst.code == Code::kMulAdd && !traits_.fma) return b_.CreateFAdd(b_.CreateFMul(a, b), c);
  return b_.CreateIntrinsic(intrinsic::fma, {a->getType()}, {a, b, c});
}

// --- elementwise ------------------------------------------------------------------------------

llvm::Value* KernelEmitter::emit_compare(Op op, DType t, llvm::Value* a, llvm::Value* b) {
  using P = llvm::CmpInst::Predicate;
  bool is_signed = is_signed_int(t), f = is_float(t);
  P predicate = P::FCMP_OEQ;
  switch (op) {
    case Op::eq: predicate = f ? P::FCMP_OEQ : P::ICMP_EQ; break;
    case Op::ne: predicate = f ? P::FCMP_UNE : P::ICMP_NE; break;
    case Op::lt: predicate = f ? P::FCMP_OLT : is_signed ? P::ICMP_SLT : P::ICMP_ULT; break;
    case Op::le: predicate = f ? P::FCMP_OLE : is_signed ? P::ICMP_SLE : P::ICMP_ULE; break;
    case Op::gt: predicate = f ? P::FCMP_OGT : is_signed ? P::ICMP_SGT : P::ICMP_UGT; break;
    default: predicate = f ? P::FCMP_OGE : is_signed ? P::ICMP_SGE : P::ICMP_UGE; break;
  }
  return b_.CreateCmp(predicate, a, b);
}

// Floats: NaN if either is. select(a > b, a, b) is one maxps and gives b when they do not compare, so
// only a NaN in `a` needs care.
llvm::Value* KernelEmitter::emit_min_max(Op op, DType t, llvm::Value* a, llvm::Value* b) {
  llvm::Value* first = emit_compare(op == Op::max ? Op::gt : Op::lt, t, a, b);
  llvm::Value* chosen = b_.CreateSelect(first, a, b);
  if (!is_float(t)) return chosen;
  return b_.CreateSelect(b_.CreateFCmpUNO(a, a), a, chosen);
}

llvm::Value* KernelEmitter::emit_float_op(const Inst& inst, llvm::ArrayRef<llvm::Value*> a) {
  llvm::Type* type = a[0]->getType();
  auto unary = [&](llvm::Intrinsic::ID id) { return b_.CreateUnaryIntrinsic(id, a[0]); };
  switch (inst.op) {
    case Op::add: return b_.CreateFAdd(a[0], a[1]);
    case Op::sub: return b_.CreateFSub(a[0], a[1]);
    case Op::mul: return b_.CreateFMul(a[0], a[1]);
    case Op::div: return b_.CreateFDiv(a[0], a[1]);
    case Op::neg: return b_.CreateFNeg(a[0]);
    case Op::abs: return unary(intrinsic::fabs);
    case Op::sqrt: return unary(intrinsic::sqrt);
    case Op::floor: return unary(intrinsic::floor);
    case Op::ceil: return unary(intrinsic::ceil);
    case Op::trunc: return unary(intrinsic::trunc);
    case Op::round: return unary(intrinsic::roundeven);
    case Op::is_nan: return b_.CreateFCmpUNO(a[0], a[0]);
    case Op::is_inf:
      return b_.CreateFCmpOEQ(unary(intrinsic::fabs), llvm::ConstantFP::getInfinity(type));
    case Op::sign: {
      auto* zero = llvm::ConstantFP::get(type, 0.0);
      llvm::Value* negative =
          b_.CreateSelect(b_.CreateFCmpOLT(a[0], zero), llvm::ConstantFP::get(type, -1.0), a[0]);
      return b_.CreateSelect(b_.CreateFCmpOGT(a[0], zero), llvm::ConstantFP::get(type, 1.0),
                             negative);
    }
    default: internal_error(__FILE__, __LINE__, "codegen: this float op was not expanded");
  }
}

llvm::Value* KernelEmitter::emit_shift(Op op, DType t, llvm::Value* a, llvm::Value* b) {
  auto* width = llvm::ConstantInt::get(a->getType(), byte_size(t) * 8);
  auto* last = llvm::ConstantInt::get(a->getType(), byte_size(t) * 8 - 1);
  llvm::Value* fits = b_.CreateICmpULT(b, width);  // a negative count is a long one
  if (op == Op::shr && is_signed_int(t)) return b_.CreateAShr(a, b_.CreateSelect(fits, b, last));
  auto* zero = llvm::Constant::getNullValue(a->getType());
  llvm::Value* count = b_.CreateSelect(fits, b, zero);
  llvm::Value* shifted = op == Op::shl ? b_.CreateShl(a, count) : b_.CreateLShr(a, count);
  return b_.CreateSelect(fits, shifted, zero);
}

// Dividing by a replaced divisor where the quotient is not defined: x/0 and MIN/-1 (both by 1).
llvm::Value* KernelEmitter::emit_division(Op op, DType t, llvm::Value* a, llvm::Value* b) {
  llvm::Type* type = a->getType();
  auto* zero = llvm::Constant::getNullValue(type);
  auto* one = llvm::ConstantInt::get(type, 1);
  llvm::Value* by_zero = b_.CreateICmpEQ(b, zero);
  bool quotient = op == Op::div || op == Op::floor_div;
  if (!is_signed_int(t)) {
    llvm::Value* d = b_.CreateSelect(by_zero, one, b);
    llvm::Value* r = quotient ? b_.CreateUDiv(a, d) : b_.CreateURem(a, d);
    return b_.CreateSelect(by_zero, zero, r);
  }
  auto* minus_one = llvm::Constant::getAllOnesValue(type);
  auto* lowest =
      llvm::ConstantInt::get(type, llvm::APInt::getSignedMinValue(type->getScalarSizeInBits()));
  llvm::Value* overflows = b_.CreateAnd(b_.CreateICmpEQ(b, minus_one), b_.CreateICmpEQ(a, lowest));
  llvm::Value* d = b_.CreateSelect(b_.CreateOr(by_zero, overflows), one, b);
  llvm::Value* q = b_.CreateSDiv(a, d);
  llvm::Value* r = b_.CreateSub(a, b_.CreateMul(q, d));
  if (op == Op::floor_div || op == Op::mod) {
    // The remainder takes the divisor's sign; the quotient follows.
    llvm::Value* opposite = b_.CreateICmpSLT(b_.CreateXor(r, d), zero);
    llvm::Value* adjust = b_.CreateAnd(opposite, b_.CreateICmpNE(r, zero));
    q = b_.CreateAdd(q, b_.CreateSExt(adjust, type));
    r = b_.CreateSelect(adjust, b_.CreateAdd(r, d), r);
  }
  return b_.CreateSelect(by_zero, zero, quotient ? q : r);
}

llvm::Value* KernelEmitter::emit_int_op(const Inst& inst, DType t, llvm::ArrayRef<llvm::Value*> a) {
  llvm::Type* type = a[0]->getType();
  auto* zero = llvm::Constant::getNullValue(type);
  switch (inst.op) {
    case Op::add: return b_.CreateAdd(a[0], a[1]);
    case Op::sub: return b_.CreateSub(a[0], a[1]);
    case Op::mul: return b_.CreateMul(a[0], a[1]);
    case Op::neg: return t == DType::kBool ? a[0] : b_.CreateNeg(a[0]);
    case Op::abs:
      if (!is_signed_int(t)) return a[0];
      return b_.CreateBinaryIntrinsic(intrinsic::abs, a[0], b_.getFalse());
    case Op::sign: {
      if (!is_signed_int(t)) return b_.CreateZExt(b_.CreateICmpNE(a[0], zero), type);
      llvm::Value* negative = b_.CreateSExt(b_.CreateICmpSLT(a[0], zero), type);
      return b_.CreateOr(negative, b_.CreateZExt(b_.CreateICmpSGT(a[0], zero), type));
    }
    case Op::bit_and: return b_.CreateAnd(a[0], a[1]);
    case Op::bit_or: return b_.CreateOr(a[0], a[1]);
    case Op::bit_xor: return b_.CreateXor(a[0], a[1]);
    case Op::bit_not: return b_.CreateNot(a[0]);
    case Op::shl:
    case Op::shr: return emit_shift(inst.op, t, a[0], a[1]);
    case Op::div:
    case Op::floor_div:
    case Op::mod:
    case Op::rem: return emit_division(inst.op, t, a[0], a[1]);
    default: internal_error(__FILE__, __LINE__, "codegen: this integer op was not expanded");
  }
}

llvm::Value* KernelEmitter::call_math(const Inst& inst, llvm::ArrayRef<llvm::Value*> a) {
  llvm::CallInst* call = b_.CreateCall(traits_.math_function(inst.op, inst.type), a);
  call->setDoesNotThrow();
  call->setDoesNotAccessMemory();
  return call;
}

llvm::Value* KernelEmitter::emit_op(const Inst& inst) {
  std::vector<llvm::Value*> a = operands(inst, 0);
  if (inst.op == Op::where) return b_.CreateSelect(a[0], a[1], a[2]);
  DType t = operand_type(inst, 0).dtype;
  if (kernel::needs_expansion(inst.op, t)) return call_math(inst, a);
  if (is_comparison(inst.op)) return emit_compare(inst.op, t, a[0], a[1]);
  if (inst.op == Op::min || inst.op == Op::max) return emit_min_max(inst.op, t, a[0], a[1]);
  return is_float(t) ? emit_float_op(inst, a) : emit_int_op(inst, t, a);
}

llvm::Value* KernelEmitter::emit_cast(const Inst& inst) {
  llvm::Value* v = operand(inst, 0);
  DType from = operand_type(inst, 0).dtype, to = inst.type.dtype;
  llvm::Type* type = llvm_type(inst.type);
  if (from == DType::kFloat16 || to == DType::kFloat16) {  // F16C; other CPUs: expanded before
    llvm::Type* half = b_.getHalfTy();
    if (inst.type.lanes > 1) half = llvm::FixedVectorType::get(half, inst.type.lanes);
    if (from == DType::kFloat16) return b_.CreateFPExt(b_.CreateBitCast(v, half), type);
    return b_.CreateBitCast(b_.CreateFPTrunc(v, half), type);
  }
  GCOMP_CHECK(from != DType::kBFloat16 && to != DType::kBFloat16, "bfloat16 was not expanded");
  if (is_float(from)) {
    if (is_float(to)) return b_.CreateFPCast(v, type);
    auto id = is_signed_int(to) ? intrinsic::fptosi_sat : intrinsic::fptoui_sat;
    return b_.CreateIntrinsic(id, {type, v->getType()}, {v});
  }
  bool is_signed = is_signed_int(from);
  if (is_float(to)) return is_signed ? b_.CreateSIToFP(v, type) : b_.CreateUIToFP(v, type);
  return b_.CreateIntCast(v, type, is_signed);
}

llvm::Value* KernelEmitter::emit_libm(const Inst& inst) {
  const char* name = nullptr;
  switch (inst.op) {
    case Op::exp: name = "exp"; break;
    case Op::log: name = "log"; break;
    case Op::sin: name = "sin"; break;
    case Op::cos: name = "cos"; break;
    case Op::tan: name = "tan"; break;
    case Op::pow: name = "pow"; break;
    case Op::atan2: name = "atan2"; break;
    case Op::rem: name = "fmod"; break;
    case Op::lgamma: name = "lgamma"; break;
    default: internal_error(__FILE__, __LINE__, "codegen: no such libm function");
  }
  std::vector<llvm::Value*> args = operands(inst, 0);
  llvm::Type* type = llvm_type(inst.type);
  std::vector<llvm::Type*> parameters(args.size(), type);
  std::string symbol = name;
  if (inst.type.dtype == DType::kFloat32) symbol += "f";
  llvm::Module* module = b_.GetInsertBlock()->getModule();
  auto callee =
      module->getOrInsertFunction(symbol, llvm::FunctionType::get(type, parameters, false));
  llvm::CallInst* call = b_.CreateCall(callee, args);
  call->setDoesNotThrow();
  call->setDoesNotAccessMemory();  // errno is nobody's business here
  return call;
}

// --- lanes ------------------------------------------------------------------------------------

llvm::Value* KernelEmitter::combine(Op op, DType t, llvm::Value* a, llvm::Value* b) {
  switch (op) {
    case Op::add: return is_float(t) ? b_.CreateFAdd(a, b) : b_.CreateAdd(a, b);
    case Op::mul: return is_float(t) ? b_.CreateFMul(a, b) : b_.CreateMul(a, b);
    case Op::min:
    case Op::max: return emit_min_max(op, t, a, b);
    case Op::bit_and: return b_.CreateAnd(a, b);
    case Op::bit_or: return b_.CreateOr(a, b);
    case Op::bit_xor: return b_.CreateXor(a, b);
    default: internal_error(__FILE__, __LINE__, "codegen: no such reduction");
  }
}

llvm::Value* KernelEmitter::emit_reduce(const Inst& inst) {
  llvm::Value* v = operand(inst, 0);
  Type type = operand_type(inst, 0);
  if (type.dtype == DType::kBool && inst.op != Op::bit_xor) {  // one movmsk and a compare
    llvm::Value* mask = b_.CreateBitCast(v, b_.getIntNTy(type.lanes));
    if (inst.op == Op::bit_or) return b_.CreateIsNotNull(mask);
    return b_.CreateICmpEQ(mask, llvm::Constant::getAllOnesValue(mask->getType()));
  }
  for (int half = type.lanes / 2; half >= 1; half /= 2) {
    llvm::SmallVector<int> low, high;
    for (int i = 0; i < half; ++i) low.push_back(i), high.push_back(i + half);
    v = combine(inst.op, type.dtype, b_.CreateShuffleVector(v, low),
                b_.CreateShuffleVector(v, high));
  }
  return b_.CreateExtractElement(v, uint64_t{0});
}

llvm::Value* KernelEmitter::emit_lanes(const Inst& inst) {
  switch (inst.code) {
    case Code::kSplat: return b_.CreateVectorSplat(inst.type.lanes, operand(inst, 0));
    case Code::kExtract: return b_.CreateExtractElement(operand(inst, 0), uint64_t{inst.imm});
    case Code::kInsert:
      return b_.CreateInsertElement(operand(inst, 0), operand(inst, 1), uint64_t{inst.imm});
    case Code::kReduce: return emit_reduce(inst);
    case Code::kIota: {
      llvm::SmallVector<llvm::Constant*> elements;
      llvm::Type* element = llvm_type({inst.type.dtype, 1});
      for (int i = 0; i < inst.type.lanes; ++i) {
        elements.push_back(element->isFloatingPointTy()
                               ? llvm::ConstantFP::get(element, i)
                               : llvm::ConstantInt::get(element, static_cast<uint64_t>(i)));
      }
      return llvm::ConstantVector::get(elements);
    }
    default: break;
  }
  GCOMP_CHECK(inst.code == Code::kShuffle, "codegen: unknown instruction");
  llvm::Value *a = operand(inst, 0), *b = operand(inst, 1);
  llvm::SmallVector<int> lanes;
  for (size_t i = 0; i < inst.type.lanes; ++i) lanes.push_back(k_.lane_lists[inst.imm + i]);
  auto width = static_cast<unsigned>(operand_type(inst, 0).lanes);
  if (width == 1) {  // shuffles take vectors
    a = b_.CreateVectorSplat(1, a), b = b_.CreateVectorSplat(1, b);
  }
  return b_.CreateShuffleVector(a, b, lanes);
}

}  // namespace gcomp::codegen
