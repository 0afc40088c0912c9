#pragma once
// One kernel's stream to LLVM IR, instruction by instruction.

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <functional>
#include <vector>

#include "gcomp/kernel/kernel.h"

namespace gcomp::codegen {

struct EmitTraits {
  bool fma = true;  // what instruction selection cannot be trusted to care about
  // The function of a math op that was kept out of line.
  std::function<llvm::Function*(Op, kernel::Type)> math_function;
};

// What a kernel body is given, as LLVM values.
struct KernelArguments {
  std::vector<llvm::Value*> buffers;  // base pointers, one a parameter
  std::vector<llvm::Value*> scalars;  // i64 words
  std::vector<llvm::Value*> values;   // one a Builder::argument, in order
  llvm::Value* begin = nullptr;
  llvm::Value* end = nullptr;
};

class KernelEmitter {
 public:
  // Emits `kernel` at the insertion point of `builder`, which ends up after it. Stack arrays are put
  // into the entry block of the function. The kernel needs no expansion (gcomp/kernel/math.h).
  KernelEmitter(const kernel::Kernel& kernel, const EmitTraits& traits, llvm::IRBuilder<>& builder,
                const KernelArguments& arguments);
  void run();
  llvm::Value* value(kernel::Value v) const { return values_[v.index]; }  // after run

 private:
  using Inst = kernel::Inst;
  using Type = kernel::Type;

  // An open loop or branch.
  struct Frame {
    llvm::BasicBlock* head =
        nullptr;  // loops: first block of the body (for) or of the test (while)
    llvm::BasicBlock* exit = nullptr;
    llvm::BasicBlock* other = nullptr;  // if: the else block
    llvm::BasicBlock* from = nullptr;   // for: the guard; while: the test's end; if: the then's end
    llvm::PHINode* index = nullptr;
    llvm::Value* hi = nullptr;
    llvm::Value* step = nullptr;
    std::vector<llvm::PHINode*> carried;
    std::vector<llvm::Value*> values;  // for: inits; if: what the then-part yields
    bool unrolled = false;             // a for of exactly one turn
    bool guarded = true;
  };

  // emit.cpp
  void set_up_arguments();
  llvm::Value* table_pointer(const kernel::BufferInfo& info);
  llvm::Value* constant(Type type, uint64_t bits);
  llvm::Value* operand(const Inst& inst, size_t i);
  std::vector<llvm::Value*> operands(const Inst& inst, size_t from);
  void define(const Inst& inst, size_t i, llvm::Value* value);
  void emit(const Inst& inst);
  bool skips(const Inst& inst);
  void emit_for(const Inst& inst);
  void end_for(const Inst& inst);
  void emit_while(const Inst& inst);
  void while_test(const Inst& inst);
  void end_while(const Inst& inst);
  void emit_if(const Inst& inst);
  void emit_else(const Inst& inst);
  void end_if(const Inst& inst);
  void emit_memory(const Inst& inst);
  llvm::Value* address(const Inst& inst, llvm::Value* index, bool inbounds);
  llvm::Type* memory_type(Type type);
  llvm::Value* from_memory(Type type, llvm::Value* v);
  llvm::Value* to_memory(Type type, llvm::Value* v);
  llvm::BasicBlock* block(const char* name);

  // emit_ops.cpp
  llvm::Type* llvm_type(Type type);
  llvm::Value* emit_value(const Inst& inst);
  llvm::Value* emit_op(const Inst& inst);
  llvm::Value* call_math(const Inst& inst, llvm::ArrayRef<llvm::Value*> a);
  llvm::Value* emit_float_op(const Inst& inst, llvm::ArrayRef<llvm::Value*> a);
  llvm::Value* emit_int_op(const Inst& inst, DType t, llvm::ArrayRef<llvm::Value*> a);
  llvm::Value* emit_division(Op op, DType t, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_shift(Op op, DType t, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_compare(Op op, DType t, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_min_max(Op op, DType t, llvm::Value* a, llvm::Value* b);
  llvm::Value* emit_cast(const Inst& inst);
  llvm::Value* emit_fma(const Inst& inst);
  llvm::Value* emit_libm(const Inst& inst);
  llvm::Value* emit_lanes(const Inst& inst);
  llvm::Value* emit_reduce(const Inst& inst);
  llvm::Value* combine(Op op, DType t, llvm::Value* a, llvm::Value* b);
  Type operand_type(const Inst& inst, size_t i) const {
    return k_.values[k_.operands[inst.first_operand + i]].type;
  }

  const kernel::Kernel& k_;
  EmitTraits traits_;
  llvm::IRBuilder<>& b_;
  const KernelArguments& args_;
  std::vector<llvm::Value*> values_;
  std::vector<llvm::Value*> buffers_;
  std::vector<Frame> frames_;
  size_t skipped_loops_ = 0;  // depth inside a loop that never turns
};

}  // namespace gcomp::codegen
