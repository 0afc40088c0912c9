// The parts of a straight-line function: storages, steps, the test behind a kernel that may fail.

#include <llvm/IR/Constants.h>

#include "gcomp/support/error.h"
#include "module.h"

namespace gcomp::codegen {
namespace {

using Storage = StraightLine::Storage;
using Step = StraightLine::Step;

llvm::GlobalVariable* constant_data(llvm::Module& module, std::span<const std::byte> data) {
  const llvm::ArrayRef bytes(reinterpret_cast<const uint8_t*>(data.data()), data.size());
  llvm::Constant* initializer = llvm::ConstantDataArray::get(module.getContext(), bytes);
  auto* global =
      new llvm::GlobalVariable(module, initializer->getType(), true,
                               llvm::GlobalValue::PrivateLinkage, initializer, "constant");
  global->setAlignment(llvm::Align(64));
  global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
  return global;
}

llvm::AllocaInst* stack_array(llvm::IRBuilder<>& b, llvm::Type* element, uint64_t count) {
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> top(&entry, entry.begin());
  llvm::AllocaInst* array = top.CreateAlloca(llvm::ArrayType::get(element, count));
  array->setAlignment(llvm::Align(64));
  return array;
}

}  // namespace

std::vector<llvm::Value*> ModuleCompiler::emit_storages(llvm::IRBuilder<>& b,
                                                        const StraightLine& code) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  std::vector<llvm::Value*> storages;
  for (const Storage& s : code.storages) {
    switch (s.kind) {
      case Storage::Kind::kBuffer: {
        llvm::Value* slot =
            b.CreateConstInBoundsGEP1_64(b.getPtrTy(), function->getArg(0), s.buffer);
        llvm::LoadInst* pointer = b.CreateAlignedLoad(b.getPtrTy(), slot, llvm::Align(8));
        pointer->setMetadata("invariant.load", llvm::MDNode::get(b.getContext(), {}));
        storages.push_back(pointer);
        break;
      }
      case Storage::Kind::kStack: storages.push_back(stack_array(b, b.getInt8Ty(), s.bytes)); break;
      case Storage::Kind::kData:
        storages.push_back(constant_data(*function->getParent(), s.data));
        break;
    }
  }
  return storages;
}

void ModuleCompiler::emit_step(llvm::IRBuilder<>& b, const Step& step,
                               const std::vector<llvm::Value*>& places) {
  const auto bytes = static_cast<uint64_t>(step.extent);
  const llvm::Align unaligned(1);
  switch (step.kind) {
    case Step::Kind::kCall:
      if (step.symbol.empty()) return emit_inline_call(b, step, places);
      return emit_outer_call(b, step, places);
    case Step::Kind::kCopy:
      b.CreateMemMove(places.at(0), unaligned, places.at(1), unaligned, bytes);
      return;
    case Step::Kind::kFill:
      b.CreateMemSet(places.at(0), b.getInt8(static_cast<uint8_t>(step.scalars.at(0))), bytes,
                     unaligned);
      return;
    case Step::Kind::kStore:
      for (size_t i = 0; i < step.scalars.size(); ++i) {
        b.CreateAlignedStore(b.getInt64(step.scalars[i]),
                             b.CreateConstGEP1_64(b.getInt64Ty(), places.at(0), i), llvm::Align(8));
      }
      return;
  }
}

void ModuleCompiler::emit_inline_call(llvm::IRBuilder<>& b, const Step& step,
                                      const std::vector<llvm::Value*>& places) {
  const kernel::Kernel simple = expanded(*step.kernel, true);
  GCOMP_CHECK(
      places.size() == simple.num_parameters() && step.scalars.size() == simple.scalars.size(),
      "straight-line call: wrong number of buffers or scalars");
  KernelArguments arguments;
  arguments.buffers = places;
  for (const uint64_t word : step.scalars) arguments.scalars.push_back(b.getInt64(word));
  arguments.begin = b.getInt64(0);
  arguments.end = b.getInt64(static_cast<uint64_t>(step.extent));
  EmitTraits machine = traits(*b.GetInsertBlock()->getModule());
  KernelEmitter(simple, machine, b, arguments).run();
}

void ModuleCompiler::emit_outer_call(llvm::IRBuilder<>& b, const Step& step,
                                     const std::vector<llvm::Value*>& places) {
  llvm::Module& module = *b.GetInsertBlock()->getModule();
  llvm::Value* pointers = stack_array(b, b.getPtrTy(), std::max<size_t>(places.size(), 1));
  for (size_t i = 0; i < places.size(); ++i) {
    b.CreateAlignedStore(places[i], b.CreateConstGEP1_64(b.getPtrTy(), pointers, i),
                         llvm::Align(8));
  }
  llvm::Value* scalars = llvm::ConstantPointerNull::get(b.getPtrTy());
  if (!step.scalars.empty())
    scalars = constant_data(module, std::as_bytes(std::span(step.scalars)));
  llvm::Function* function = module.getFunction(step.symbol);
  if (function == nullptr) {
    function = declare_function(module, step.symbol, b.getVoidTy(),
                                {b.getPtrTy(), b.getPtrTy(), b.getInt64Ty(), b.getInt64Ty()});
  }
  b.CreateCall(function,
               {pointers, scalars, b.getInt64(0), b.getInt64(static_cast<uint64_t>(step.extent))});
}

// Behind a kernel: the status other than "none yet" becomes the number of the function's own message.
void ModuleCompiler::emit_failure_test(llvm::IRBuilder<>& b, llvm::Value* status, int64_t first,
                                       llvm::BasicBlock* failed) {
  llvm::LLVMContext& context = b.getContext();
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::Value* code = b.CreateAlignedLoad(b.getInt64Ty(), status, llvm::Align(8));
  auto* rename = llvm::BasicBlock::Create(context, "rename", function, failed);
  auto* next = llvm::BasicBlock::Create(context, "next", function, failed);
  b.CreateCondBr(b.CreateICmpEQ(code, b.getInt64(INT64_MAX)), next, rename);
  b.SetInsertPoint(rename);
  b.CreateAlignedStore(b.CreateAdd(code, b.getInt64(static_cast<uint64_t>(first))), status,
                       llvm::Align(8));
  b.CreateBr(failed);
  b.SetInsertPoint(next);
}

}  // namespace gcomp::codegen
