// KernelEmitter: arguments, memory, structure. Arithmetic: emit_ops.cpp.

#include "emit.h"

#include <llvm/IR/Constants.h>
#include <llvm/IR/Intrinsics.h>

#include "gcomp/support/error.h"

namespace gcomp::codegen {

using kernel::BufferInfo;
using kernel::Code;
using kernel::Role;
using kernel::ValueInfo;
using kernel::ValueKind;

KernelEmitter::KernelEmitter(const kernel::Kernel& kernel, const EmitTraits& traits,
                             llvm::IRBuilder<>& builder, const KernelArguments& arguments)
    : k_(kernel), traits_(traits), b_(builder), args_(arguments), values_(kernel.values.size()) {}

void KernelEmitter::run() {
  set_up_arguments();
  for (const Inst& inst : k_.insts) {
    if (!skips(inst)) emit(inst);
  }
}

// --- arguments --------------------------------------------------------------------------------

void KernelEmitter::set_up_arguments() {
  llvm::BasicBlock& entry = b_.GetInsertBlock()->getParent()->getEntryBlock();
  size_t next = 0;
  for (const BufferInfo& info : k_.buffers) {
    if (kernel::is_parameter(info.role)) {
      buffers_.push_back(args_.buffers.at(next++));
    } else if (info.role == Role::kTable) {
      buffers_.push_back(table_pointer(info));
    } else {
      llvm::IRBuilder<> top(&entry, entry.begin());
      auto* type = llvm::ArrayType::get(memory_type({info.dtype, 1}), info.size);
      llvm::AllocaInst* array = top.CreateAlloca(type);
      array->setAlignment(llvm::Align(64));
      buffers_.push_back(array);
    }
  }
  size_t next_value = 0;
  for (size_t i = 0; i < k_.values.size(); ++i) {
    const ValueInfo& info = k_.values[i];
    if (info.kind == ValueKind::kArgument) values_[i] = args_.values.at(next_value++);
    if (info.kind == ValueKind::kBegin) values_[i] = args_.begin;
    if (info.kind == ValueKind::kEnd) values_[i] = args_.end;
    if (info.kind == ValueKind::kConst) values_[i] = constant(info.type, info.bits);
    if (info.kind != ValueKind::kScalar) continue;
    llvm::Value* word = args_.scalars.at(info.bits);
    unsigned bits =
        info.type.dtype == DType::kBool ? 1 : static_cast<unsigned>(byte_size(info.type.dtype)) * 8;
    word = b_.CreateTrunc(word, b_.getIntNTy(bits));
    values_[i] = b_.CreateBitCast(word, llvm_type(info.type));
  }
}

llvm::Value* KernelEmitter::constant(Type type, uint64_t bits) {
  unsigned width =
      type.dtype == DType::kBool ? 1 : static_cast<unsigned>(byte_size(type.dtype)) * 8;
  llvm::Constant* element = llvm::ConstantInt::get(b_.getContext(), llvm::APInt(width, bits));
  if (type.dtype == DType::kFloat32) {
    llvm::APFloat f(llvm::APFloat::IEEEsingle(), llvm::APInt(32, bits));
    element = llvm::ConstantFP::get(b_.getContext(), f);
  } else if (type.dtype == DType::kFloat64) {
    llvm::APFloat f(llvm::APFloat::IEEEdouble(), llvm::APInt(64, bits));
    element = llvm::ConstantFP::get(b_.getContext(), f);
  }
  if (type.lanes == 1) return element;
  return llvm::ConstantVector::getSplat(llvm::ElementCount::getFixed(type.lanes), element);
}

llvm::Value* KernelEmitter::table_pointer(const BufferInfo& info) {
  llvm::SmallVector<llvm::Constant*> elements;
  auto* element = llvm::cast<llvm::Type>(memory_type({info.dtype, 1}));
  for (uint32_t i = 0; i < info.size; ++i) {
    uint64_t bits = k_.table_words[info.slot + i];
    unsigned width = static_cast<unsigned>(byte_size(info.dtype)) * 8;
    llvm::Constant* word = llvm::ConstantInt::get(b_.getContext(), llvm::APInt(width, bits));
    if (element->isFloatingPointTy()) {
      word = llvm::cast<llvm::Constant>(constant({info.dtype, 1}, bits));
    }
    elements.push_back(word);
  }
  auto* type = llvm::ArrayType::get(element, info.size);
  llvm::Module* module = b_.GetInsertBlock()->getModule();
  auto* data = llvm::ConstantArray::get(type, elements);
  for (llvm::GlobalVariable& g : module->globals()) {  // kernels of one module share equal tables
    if (g.hasInitializer() && g.getInitializer() == data) return &g;
  }
  auto* global = new llvm::GlobalVariable(*module, type, true, llvm::GlobalValue::PrivateLinkage,
                                          data, "table");
  global->setAlignment(llvm::Align(64));
  global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
  return global;
}

llvm::Value* KernelEmitter::operand(const Inst& inst, size_t i) {
  return values_[k_.operands[inst.first_operand + i]];
}

std::vector<llvm::Value*> KernelEmitter::operands(const Inst& inst, size_t from) {
  std::vector<llvm::Value*> result;
  for (size_t i = from; i < inst.num_operands; ++i) result.push_back(operand(inst, i));
  return result;
}

void KernelEmitter::define(const Inst& inst, size_t i, llvm::Value* value) {
  values_[inst.first_value + i] = value;
}

llvm::BasicBlock* KernelEmitter::block(const char* name) {
  return llvm::BasicBlock::Create(b_.getContext(), name, b_.GetInsertBlock()->getParent());
}

// --- memory -----------------------------------------------------------------------------------

llvm::Type* KernelEmitter::memory_type(Type type) {
  if (type.dtype != DType::kBool) return llvm_type(type);
  llvm::Type* byte = b_.getInt8Ty();
  return type.lanes == 1 ? byte : llvm::FixedVectorType::get(byte, type.lanes);
}

llvm::Value* KernelEmitter::from_memory(Type type, llvm::Value* v) {
  return type.dtype == DType::kBool ? b_.CreateIsNotNull(v) : v;
}

llvm::Value* KernelEmitter::to_memory(Type type, llvm::Value* v) {
  return type.dtype == DType::kBool ? b_.CreateZExt(v, memory_type(type)) : v;
}

llvm::Value* KernelEmitter::address(const Inst& inst, llvm::Value* index, bool inbounds) {
  llvm::Type* element = memory_type({k_.buffers[inst.imm].dtype, 1});
  llvm::Value* base = buffers_[inst.imm];
  return inbounds ? b_.CreateInBoundsGEP(element, base, index) : b_.CreateGEP(element, base, index);
}

void KernelEmitter::emit_memory(const Inst& inst) {
  llvm::Align align(byte_size(inst.type.dtype));
  llvm::Value* index = operand(inst, 0);
  llvm::Type* type = memory_type(inst.type);
  switch (inst.code) {
    case Code::kLoad: {
      llvm::Value* v = b_.CreateAlignedLoad(type, address(inst, index, true), align);
      return define(inst, 0, from_memory(inst.type, v));
    }
    case Code::kStore: {
      llvm::Value* v = to_memory(inst.type, operand(inst, 1));
      b_.CreateAlignedStore(v, address(inst, index, true), align);
      return;
    }
    case Code::kMaskedLoad: {
      if (inst.type.lanes == 1) break;
      llvm::Value* off = to_memory(inst.type, operand(inst, 2));
      llvm::Value* v =
          b_.CreateMaskedLoad(type, address(inst, index, false), align, operand(inst, 1), off);
      return define(inst, 0, from_memory(inst.type, v));
    }
    case Code::kMaskedStore:
      if (inst.type.lanes == 1) break;
      b_.CreateMaskedStore(to_memory(inst.type, operand(inst, 2)), address(inst, index, false),
                           align, operand(inst, 1));
      return;
    case Code::kGather: {
      llvm::Value* v = b_.CreateMaskedGather(type, address(inst, index, true), align);
      return define(inst, 0, from_memory(inst.type, v));
    }
    case Code::kScatter:
      b_.CreateMaskedScatter(to_memory(inst.type, operand(inst, 1)), address(inst, index, true),
                             align);
      return;
    default:  // kSetError
      b_.CreateAtomicRMW(llvm::AtomicRMWInst::Min, buffers_[inst.imm], operand(inst, 0),
                         llvm::Align(8), llvm::AtomicOrdering::Monotonic);
      return;
  }
  // A masked access of one lane: an ordinary one behind a branch.
  llvm::BasicBlock* from = b_.GetInsertBlock();
  llvm::BasicBlock* access = block("masked");
  llvm::BasicBlock* after = block("after");
  b_.CreateCondBr(operand(inst, 1), access, after);
  b_.SetInsertPoint(access);
  llvm::Value* loaded = nullptr;
  llvm::Value* place = address(inst, index, true);
  if (inst.code == Code::kMaskedLoad) {
    loaded = from_memory(inst.type, b_.CreateAlignedLoad(type, place, align));
  } else {
    b_.CreateAlignedStore(to_memory(inst.type, operand(inst, 2)), place, align);
  }
  b_.CreateBr(after);
  b_.SetInsertPoint(after);
  if (!loaded) return;
  llvm::PHINode* phi = b_.CreatePHI(loaded->getType(), 2);
  phi->addIncoming(loaded, access);
  phi->addIncoming(operand(inst, 2), from);
  define(inst, 0, phi);
}

// --- structure --------------------------------------------------------------------------------

// Loops whose constant bounds say that they never turn leave no code: with `begin` and `end` known, as
// in straight-line functions, most vector loops of a small tensor go this way.
bool KernelEmitter::skips(const Inst& inst) {
  if (skipped_loops_ == 0) return false;
  if (inst.code == Code::kFor) ++skipped_loops_;
  if (inst.code == Code::kEndFor && --skipped_loops_ == 0) {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (size_t i = 0; i < frame.values.size(); ++i) define(inst, i, frame.values[i]);
  }
  return true;
}

void KernelEmitter::emit_for(const Inst& inst) {
  Frame frame;
  llvm::Value* lo = operand(inst, 0);
  frame.hi = operand(inst, 1), frame.step = operand(inst, 2);
  frame.values = operands(inst, 3);
  auto* lo_c = llvm::dyn_cast<llvm::ConstantInt>(lo);
  auto* hi_c = llvm::dyn_cast<llvm::ConstantInt>(frame.hi);
  auto* step_c = llvm::dyn_cast<llvm::ConstantInt>(frame.step);
  if (lo_c && hi_c) {
    int64_t l = lo_c->getSExtValue(), h = hi_c->getSExtValue();
    if (l >= h) {
      skipped_loops_ = 1;
      frames_.push_back(std::move(frame));
      return;
    }
    frame.guarded = false;
    frame.unrolled = step_c && h - l <= step_c->getSExtValue();
  }
  if (frame.unrolled) {
    define(inst, 0, lo);
    for (size_t i = 0; i < frame.values.size(); ++i) define(inst, i + 1, frame.values[i]);
    frames_.push_back(std::move(frame));
    return;
  }
  frame.head = block("loop");
  frame.exit = block("done");
  frame.from = b_.GetInsertBlock();
  if (frame.guarded) {
    b_.CreateCondBr(b_.CreateICmpSLT(lo, frame.hi), frame.head, frame.exit);
  } else {
    b_.CreateBr(frame.head);
  }
  b_.SetInsertPoint(frame.head);
  frame.index = b_.CreatePHI(b_.getInt64Ty(), 2);
  frame.index->addIncoming(lo, frame.from);
  define(inst, 0, frame.index);
  for (size_t i = 0; i < frame.values.size(); ++i) {
    llvm::PHINode* phi = b_.CreatePHI(frame.values[i]->getType(), 2);
    phi->addIncoming(frame.values[i], frame.from);
    frame.carried.push_back(phi);
    define(inst, i + 1, phi);
  }
  frames_.push_back(std::move(frame));
}

void KernelEmitter::end_for(const Inst& inst) {
  Frame frame = std::move(frames_.back());
  frames_.pop_back();
  std::vector<llvm::Value*> yields = operands(inst, 0);
  if (frame.unrolled) {
    for (size_t i = 0; i < yields.size(); ++i) define(inst, i, yields[i]);
    return;
  }
  // The test is at the bottom: one branch a turn.
  llvm::Value* next = b_.CreateNSWAdd(frame.index, frame.step);
  llvm::BasicBlock* latch = b_.GetInsertBlock();
  b_.CreateCondBr(b_.CreateICmpSLT(next, frame.hi), frame.head, frame.exit);
  frame.index->addIncoming(next, latch);
  b_.SetInsertPoint(frame.exit);
  for (size_t i = 0; i < yields.size(); ++i) {
    frame.carried[i]->addIncoming(yields[i], latch);
    llvm::PHINode* result = b_.CreatePHI(yields[i]->getType(), 2);
    result->addIncoming(yields[i], latch);
    if (frame.guarded) result->addIncoming(frame.values[i], frame.from);
    define(inst, i, result);
  }
}

void KernelEmitter::emit_while(const Inst& inst) {
  Frame frame;
  frame.head = block("test");
  llvm::BasicBlock* from = b_.GetInsertBlock();
  b_.CreateBr(frame.head);
  b_.SetInsertPoint(frame.head);
  for (size_t i = 0; i < inst.num_operands; ++i) {
    llvm::PHINode* phi = b_.CreatePHI(operand(inst, i)->getType(), 2);
    phi->addIncoming(operand(inst, i), from);
    frame.carried.push_back(phi);
    define(inst, i, phi);
  }
  frames_.push_back(std::move(frame));
}

void KernelEmitter::while_test(const Inst& inst) {
  Frame& frame = frames_.back();
  llvm::BasicBlock* body = block("body");
  frame.exit = block("done");
  b_.CreateCondBr(operand(inst, 0), body, frame.exit);
  b_.SetInsertPoint(body);
}

void KernelEmitter::end_while(const Inst& inst) {
  Frame frame = std::move(frames_.back());
  frames_.pop_back();
  for (size_t i = 0; i < frame.carried.size(); ++i) {
    frame.carried[i]->addIncoming(operand(inst, i), b_.GetInsertBlock());
    define(inst, i, frame.carried[i]);  // the values when the test failed
  }
  b_.CreateBr(frame.head);
  b_.SetInsertPoint(frame.exit);
}

void KernelEmitter::emit_if(const Inst& inst) {
  Frame frame;
  llvm::BasicBlock* then = block("then");
  frame.other = block("else");
  frame.exit = block("done");
  b_.CreateCondBr(operand(inst, 0), then, frame.other);
  b_.SetInsertPoint(then);
  frames_.push_back(std::move(frame));
}

void KernelEmitter::emit_else(const Inst& inst) {
  Frame& frame = frames_.back();
  frame.values = operands(inst, 0);
  frame.from = b_.GetInsertBlock();
  b_.CreateBr(frame.exit);
  b_.SetInsertPoint(frame.other);
}

void KernelEmitter::end_if(const Inst& inst) {
  Frame frame = std::move(frames_.back());
  frames_.pop_back();
  llvm::BasicBlock* other_end = b_.GetInsertBlock();
  b_.CreateBr(frame.exit);
  b_.SetInsertPoint(frame.exit);
  for (size_t i = 0; i < frame.values.size(); ++i) {
    llvm::PHINode* result = b_.CreatePHI(frame.values[i]->getType(), 2);
    result->addIncoming(frame.values[i], frame.from);
    result->addIncoming(operand(inst, i), other_end);
    define(inst, i, result);
  }
}

void KernelEmitter::emit(const Inst& inst) {
  switch (inst.code) {
    case Code::kFor: return emit_for(inst);
    case Code::kEndFor: return end_for(inst);
    case Code::kWhile: return emit_while(inst);
    case Code::kWhileTest: return while_test(inst);
    case Code::kEndWhile: return end_while(inst);
    case Code::kIf: return emit_if(inst);
    case Code::kElse: return emit_else(inst);
    case Code::kEndIf: return end_if(inst);
    case Code::kLoad:
    case Code::kStore:
    case Code::kMaskedLoad:
    case Code::kMaskedStore:
    case Code::kGather:
    case Code::kScatter:
    case Code::kSetError: return emit_memory(inst);
    default: return define(inst, 0, emit_value(inst));
  }
}

}  // namespace gcomp::codegen
