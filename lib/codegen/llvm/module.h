#pragma once
// Kernels to one LLVM module, and that to an object or text.

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "emit.h"
#include "gcomp/codegen/llvm.h"
#include "math_policy.h"
#include "target.h"

namespace gcomp::codegen {

struct ModuleContents {
  Effort effort = Effort::kDefault;
  std::vector<const kernel::Kernel*> kernels = {};
  std::vector<std::string> names = {};       // of kernels
  std::vector<MathFunction> functions = {};  // defined besides kernels
  std::span<const MathFunction> called =
      {};  // defined in other modules (sorted); what else kernels
           // call goes into the module itself
};

// What one thread keeps between modules: a target machine costs 0.2 ms, a module without 1 ms more.
class ModuleCompiler {
 public:
  explicit ModuleCompiler(const CompileOptions& options);

  std::string compile(const ModuleContents& contents);
  std::string compile_straight_line(const StraightLine& code, const std::string& name);

 private:
  std::unique_ptr<llvm::Module> make_module(llvm::LLVMContext& context);
  llvm::Function* declare_function(llvm::Module& module, const std::string& name,
                                   llvm::Type* result, llvm::ArrayRef<llvm::Type*> parameters);
  llvm::Function* make_function(llvm::Module& module, const std::string& name,
                                llvm::ArrayRef<llvm::Type*> parameters);
  void emit_kernel(llvm::Module& module, const kernel::Kernel& kernel, const std::string& name);
  // straight_line.cpp
  std::vector<llvm::Value*> emit_storages(llvm::IRBuilder<>& b, const StraightLine& code);
  void emit_step(llvm::IRBuilder<>& b, const StraightLine::Step& step,
                 const std::vector<llvm::Value*>& places);
  void emit_inline_call(llvm::IRBuilder<>& b, const StraightLine::Step& step,
                        const std::vector<llvm::Value*>& places);
  void emit_outer_call(llvm::IRBuilder<>& b, const StraightLine::Step& step,
                       const std::vector<llvm::Value*>& places);
  void emit_failure_test(llvm::IRBuilder<>& b, llvm::Value* status, int64_t first,
                         llvm::BasicBlock* failed);

  kernel::Kernel expanded(const kernel::Kernel& kernel, bool straight_line) const;
  EmitTraits traits(llvm::Module& module);
  llvm::Function* math_function(llvm::Module& module, MathFunction wanted, bool shared = false);
  void emit_math_functions(llvm::Module& module);
  llvm::TargetMachine& machine();
  std::string finish(llvm::Module& module, bool straight_line);
  void optimize(llvm::Module& module, bool straight_line);
  std::string generate(llvm::Module& module);

  // A math function that the current module defines or calls.
  struct Requested {
    MathFunction what;
    llvm::Function* function;
    bool defined;
  };

  CompileOptions options_;  // effort: of the current module
  std::map<Effort, std::unique_ptr<llvm::TargetMachine>> machines_;
  std::vector<Requested> requested_;
  std::span<const MathFunction> called_;
  std::string errors_;  // LLVM's, of the current module
};

}  // namespace gcomp::codegen
