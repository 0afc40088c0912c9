// Kernels to modules to objects, in parallel. Modules are cut by position alone, so the bytes do not
// depend on the number of threads.

#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Support/thread.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>

#include "emit.h"
#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"
#include "gcomp/kernel/math.h"
#include "gcomp/support/error.h"
#include "target.h"

namespace gcomp::codegen {
namespace {

constexpr unsigned kCompileStackBytes = 16u << 20;  // LLVM recurses; `ulimit -s` must not matter

// --- which math is inlined ---------------------------------------------------------------------
// An inlined exp costs about 0.8 ms of compile time and saves a call; so vector math is inlined while a
// kernel has little of it, and the rest goes to functions shared by the module's kernels: the tails of
// vector loops, the large functions, and everything at Effort::kFast.

constexpr size_t kMostInlined = 8;  // math instructions a kernel

struct MathCount {
  size_t scalar = 0;
  size_t vector = 0;
};

MathCount count_math(const kernel::Kernel& kernel) {
  MathCount count;
  for (const kernel::Inst& inst : kernel.insts) {
    if (inst.code != kernel::Code::kOp || inst.op == Op::where) continue;
    kernel::Type t = kernel.values[kernel.operands[inst.first_operand]].type;
    if (!kernel::needs_expansion(inst.op, t.dtype)) continue;
    ++(t.lanes == 1 ? count.scalar : count.vector);
  }
  return count;
}

bool is_binary_math(Op op) {
  return op == Op::pow || op == Op::atan2 || op == Op::rem || op == Op::mod || op == Op::floor_div;
}

bool is_large_math(Op op) {
  switch (op) {
    case Op::lgamma:
    case Op::digamma:
    case Op::trigamma:
    case Op::erfinv:
    case Op::erfc:
    case Op::erfcx:
    case Op::log1mexp:
    case Op::sinh:
    case Op::asinh:
    case Op::acosh:
    case Op::atanh: return true;
    default: return is_binary_math(op);
  }
}

bool inlines_math(Op op, kernel::Type t, MathCount count, Effort effort, bool straight_line) {
  if (effort == Effort::kFast || is_large_math(op)) return false;
  if (t.lanes > 1) return count.vector <= kMostInlined;
  bool tail = count.vector > 0 && !straight_line;
  return !tail && count.scalar <= kMostInlined;
}

llvm::Type* llvm_element_type(llvm::LLVMContext& context, DType t) {
  if (t == DType::kFloat32) return llvm::Type::getFloatTy(context);
  if (t == DType::kFloat64) return llvm::Type::getDoubleTy(context);
  return llvm::Type::getIntNTy(context, static_cast<unsigned>(byte_size(t)) * 8);
}

// What one thread keeps between modules: a target machine costs 0.2 ms, a module without 1 ms more.
class ModuleCompiler {
 public:
  explicit ModuleCompiler(const CompileOptions& options)
      : options_(options), machine_(make_target_machine(options)) {}

  std::string compile(std::span<const kernel::Kernel* const> kernels,
                      std::span<const std::string> names);
  std::string compile_calls(std::span<const InlineCall> calls, const std::string& name,
                            uint32_t stack_bytes);

 private:
  std::unique_ptr<llvm::Module> make_module(llvm::LLVMContext& context);
  llvm::Function* make_function(llvm::Module& module, const std::string& name, llvm::Type* result,
                                llvm::ArrayRef<llvm::Type*> parameters);
  void emit_kernel(llvm::Module& module, const kernel::Kernel& kernel, const std::string& name);
  void emit_call(llvm::IRBuilder<>& b, const InlineCall& call, llvm::Value* bases,
                 llvm::Value* stack);
  kernel::Kernel expanded(const kernel::Kernel& kernel, bool straight_line) const;
  EmitTraits traits(llvm::Module& module);
  llvm::Function* math_function(llvm::Module& module, Op op, kernel::Type type);
  void emit_math_functions(llvm::Module& module);
  std::string finish(llvm::Module& module, bool straight_line);
  void optimize(llvm::Module& module, bool straight_line);
  std::string generate(llvm::Module& module);

  // A math function that kernels of the current module call.
  struct Requested {
    Op op;
    kernel::Type type;
    llvm::Function* function;
  };

  const CompileOptions& options_;
  std::unique_ptr<llvm::TargetMachine> machine_;
  std::vector<Requested> requested_;
  std::string errors_;  // LLVM's, of the current module
};

std::unique_ptr<llvm::Module> ModuleCompiler::make_module(llvm::LLVMContext& context) {
  auto module = std::make_unique<llvm::Module>("gcomp", context);
  module->setTargetTriple(machine_->getTargetTriple().str());
  module->setDataLayout(machine_->createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
  return module;
}

llvm::Function* ModuleCompiler::make_function(llvm::Module& module, const std::string& name,
                                              llvm::Type* result,
                                              llvm::ArrayRef<llvm::Type*> parameters) {
  llvm::LLVMContext& context = module.getContext();
  auto* type = llvm::FunctionType::get(result, parameters, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, name, module);
  function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function->setDSOLocal(true);
  function->setDoesNotThrow();
  function->addFnAttr("target-cpu", machine_->getTargetCPU());
  function->addFnAttr("target-features", machine_->getTargetFeatureString());
  function->addFnAttr("no-builtins");  // arithmetic stays what it is
  llvm::BasicBlock::Create(context, "entry", function);
  return function;
}

kernel::Kernel ModuleCompiler::expanded(const kernel::Kernel& kernel, bool straight_line) const {
  kernel::ExpandOptions options;
  options.native_float16 = has_feature(options_.cpu, "f16c");
  options.fma = has_feature(options_.cpu, "fma");
  MathCount count = count_math(kernel);
  options.keep = [&](Op op, kernel::Type t) {
    return !inlines_math(op, t, count, options_.effort, straight_line);
  };
  return kernel::expand_math(kernel, options);
}

EmitTraits ModuleCompiler::traits(llvm::Module& module) {
  return {has_feature(options_.cpu, "fma"),
          [this, &module](Op op, kernel::Type type) { return math_function(module, op, type); }};
}

llvm::Function* ModuleCompiler::math_function(llvm::Module& module, Op op, kernel::Type type) {
  for (const Requested& r : requested_) {
    if (r.op == op && r.type == type) return r.function;
  }
  llvm::Type* vector = llvm_element_type(module.getContext(), type.dtype);
  if (type.lanes > 1) vector = llvm::FixedVectorType::get(vector, type.lanes);
  std::vector<llvm::Type*> parameters(is_binary_math(op) ? 2 : 1, vector);
  std::string name = "math." + std::to_string(requested_.size());
  llvm::Function* function = make_function(module, name, vector, parameters);
  function->setVisibility(llvm::GlobalValue::DefaultVisibility);
  function->setLinkage(llvm::GlobalValue::InternalLinkage);
  function->setDoesNotAccessMemory();
  function->setWillReturn();
  requested_.push_back({op, type, function});
  return function;
}

void ModuleCompiler::emit_math_functions(llvm::Module& module) {
  for (const Requested& r : requested_) {
    kernel::Builder builder;
    KernelArguments arguments;
    kernel::Values operands;
    for (llvm::Argument& argument : r.function->args()) {
      arguments.values.push_back(&argument);
      operands.push_back(builder.argument(r.type));
    }
    kernel::ExpandOptions options;
    options.fma = has_feature(options_.cpu, "fma");
    kernel::Value result = kernel::emit_math(builder, r.op, operands, options);
    kernel::Kernel body = builder.finish();
    llvm::IRBuilder<> b(&r.function->getEntryBlock());
    EmitTraits traits{options.fma, nullptr};
    KernelEmitter emitter(body, traits, b, arguments);
    emitter.run();
    b.CreateRet(emitter.value(result));
  }
  requested_.clear();
}

void ModuleCompiler::emit_kernel(llvm::Module& module, const kernel::Kernel& kernel,
                                 const std::string& name) {
  llvm::LLVMContext& context = module.getContext();
  auto* ptr = llvm::PointerType::getUnqual(context);
  auto* i64 = llvm::Type::getInt64Ty(context);
  llvm::Function* function =
      make_function(module, name, llvm::Type::getVoidTy(context), {ptr, ptr, i64, i64});
  llvm::IRBuilder<> b(&function->getEntryBlock());
  kernel::Kernel simple = expanded(kernel, false);
  KernelArguments arguments;
  auto load = [&](unsigned array, llvm::Type* type, size_t i) {
    llvm::Value* place = b.CreateConstInBoundsGEP1_64(type, function->getArg(array), i);
    llvm::LoadInst* word = b.CreateAlignedLoad(type, place, llvm::Align(8));
    word->setMetadata("invariant.load", llvm::MDNode::get(context, {}));
    return word;
  };
  for (size_t i = 0; i < simple.num_parameters(); ++i) {
    arguments.buffers.push_back(load(0, ptr, i));
  }
  for (size_t i = 0; i < simple.scalars.size(); ++i) {
    arguments.scalars.push_back(load(1, i64, i));
  }
  arguments.begin = function->getArg(2);
  arguments.end = function->getArg(3);
  EmitTraits machine = traits(*b.GetInsertBlock()->getModule());
  KernelEmitter(simple, machine, b, arguments).run();
  b.CreateRetVoid();
}

void ModuleCompiler::emit_call(llvm::IRBuilder<>& b, const InlineCall& call, llvm::Value* bases,
                               llvm::Value* stack) {
  kernel::Kernel simple = expanded(*call.kernel, true);
  GCOMP_CHECK(call.buffers.size() == simple.num_parameters() &&
                  call.scalars.size() == simple.scalars.size(),
              "straight-line call: wrong number of buffers or scalars");
  KernelArguments arguments;
  for (const InlineCall::Place& place : call.buffers) {
    llvm::Value* base = stack;
    if (place.base != InlineCall::kStack) {
      llvm::Value* slot = b.CreateConstInBoundsGEP1_64(b.getPtrTy(), bases, place.base);
      auto* word = b.CreateAlignedLoad(b.getPtrTy(), slot, llvm::Align(8));
      word->setMetadata("invariant.load", llvm::MDNode::get(b.getContext(), {}));
      base = word;
    }
    arguments.buffers.push_back(
        b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), base, static_cast<uint64_t>(place.offset)));
  }
  for (uint64_t word : call.scalars) arguments.scalars.push_back(b.getInt64(word));
  arguments.begin = b.getInt64(static_cast<uint64_t>(call.begin));
  arguments.end = b.getInt64(static_cast<uint64_t>(call.end));
  EmitTraits machine = traits(*b.GetInsertBlock()->getModule());
  KernelEmitter(simple, machine, b, arguments).run();
}

void ModuleCompiler::optimize(llvm::Module& module, bool straight_line) {
  if (options_.effort == Effort::kFast && !straight_line) return;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine_.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  if (options_.effort == Effort::kFull) {
    builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
    return;
  }
  llvm::FunctionPassManager passes;
  if (straight_line) passes.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  passes.addPass(llvm::EarlyCSEPass(straight_line));
  if (options_.effort != Effort::kFast) {
    passes.addPass(llvm::InstCombinePass());
    passes.addPass(llvm::SimplifyCFGPass());
    passes.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LICMPass(llvm::LICMOptions()),
                                                         /*UseMemorySSA=*/true));
  }
  for (llvm::Function& function : module) {
    if (!function.isDeclaration()) passes.run(function, functions);
  }
}

std::string ModuleCompiler::generate(llvm::Module& module) {
  if (options_.emit == Emit::kLlvmText) {
    std::string text;
    llvm::raw_string_ostream out(text);
    module.print(out, nullptr);
    return text;
  }
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager passes;
  auto type = options_.emit == Emit::kAssembly ? llvm::CodeGenFileType::AssemblyFile
                                               : llvm::CodeGenFileType::ObjectFile;
  bool refused = machine_->addPassesToEmitFile(passes, out, nullptr, type, /*DisableVerify=*/true);
  GCOMP_CHECK(!refused, "LLVM cannot write this kind of file");
  passes.run(module);
  GCOMP_CHECK(errors_.empty(), "LLVM: " + errors_);
  return {bytes.begin(), bytes.end()};
}

std::string ModuleCompiler::finish(llvm::Module& module, bool straight_line) {
  emit_math_functions(module);
  if (options_.verify) {
    std::string problem;
    llvm::raw_string_ostream out(problem);
    if (llvm::verifyModule(module, &out)) {
      internal_error(__FILE__, __LINE__, "LLVM IR does not verify: " + problem);
    }
  }
  optimize(module, straight_line);
  return generate(module);
}

// LLVM's own way with errors is to print and exit: collected and thrown instead.
void collect_errors(llvm::LLVMContext& context, std::string* errors) {
  context.setDiagnosticHandlerCallBack(
      [](const llvm::DiagnosticInfo* info, void* sink) {
        if (info->getSeverity() != llvm::DS_Error) return;
        llvm::raw_string_ostream out(*static_cast<std::string*>(sink));
        llvm::DiagnosticPrinterRawOStream printer(out);
        info->print(printer);
        out << "\n";
      },
      errors);
}

std::string ModuleCompiler::compile(std::span<const kernel::Kernel* const> kernels,
                                    std::span<const std::string> names) {
  llvm::LLVMContext context;
  errors_.clear();
  collect_errors(context, &errors_);
  std::unique_ptr<llvm::Module> module = make_module(context);
  for (size_t i = 0; i < kernels.size(); ++i) emit_kernel(*module, *kernels[i], names[i]);
  return finish(*module, false);
}

std::string ModuleCompiler::compile_calls(std::span<const InlineCall> calls,
                                          const std::string& name, uint32_t stack_bytes) {
  llvm::LLVMContext context;
  errors_.clear();
  collect_errors(context, &errors_);
  std::unique_ptr<llvm::Module> module = make_module(context);
  llvm::Function* function = make_function(*module, name, llvm::Type::getVoidTy(context),
                                           {llvm::PointerType::getUnqual(context)});
  llvm::IRBuilder<> b(&function->getEntryBlock());
  llvm::AllocaInst* stack =
      b.CreateAlloca(llvm::ArrayType::get(b.getInt8Ty(), std::max(stack_bytes, 1u)));
  stack->setAlignment(llvm::Align(64));
  for (const InlineCall& call : calls) emit_call(b, call, function->getArg(0), stack);
  b.CreateRetVoid();
  return finish(*module, true);
}

// Runs job(0..count) on up to `threads` threads, each with a deep stack and a compiler of its own; the
// error of the lowest job wins.
void for_each_module(size_t count, const CompileOptions& options,
                     const std::function<void(ModuleCompiler&, size_t)>& job) {
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> errors(count + 1);
  auto work = [&] {
    size_t i = count;  // errors[count]: before any job
    try {
      ModuleCompiler compiler(options);
      while ((i = next.fetch_add(1)) < count) {
        try {
          job(compiler, i);
        } catch (...) {
          errors[i] = std::current_exception();
        }
      }
    } catch (...) {
      errors[count] = std::current_exception();
    }
  };
  make_target_machine(options);  // LLVM's lazy tables, before there are threads
  size_t width = std::clamp<size_t>(static_cast<size_t>(std::max(options.threads, 1)), 1, count);
  std::vector<llvm::thread> threads;
  for (size_t t = 0; t < width; ++t) {
    threads.emplace_back(std::optional<unsigned>(kCompileStackBytes), work);
  }
  for (llvm::thread& t : threads) t.join();
  for (const std::exception_ptr& e : errors) {
    if (e) std::rethrow_exception(e);
  }
}

}  // namespace

std::vector<std::string> compile_kernels(std::span<const kernel::Kernel* const> kernels,
                                         std::span<const std::string> names,
                                         const CompileOptions& options) {
  GCOMP_CHECK(kernels.size() == names.size(), "compile_kernels: a name for each kernel");
  if (kernels.empty()) return {};
  auto per = static_cast<size_t>(std::max(options.kernels_per_module, 1));
  size_t count = (kernels.size() + per - 1) / per;
  std::vector<std::string> objects(count);
  for_each_module(count, options, [&](ModuleCompiler& compiler, size_t i) {
    size_t n = std::min(per, kernels.size() - i * per);
    objects[i] = compiler.compile(kernels.subspan(i * per, n), names.subspan(i * per, n));
  });
  return objects;
}

std::string compile_straight_line(std::span<const InlineCall> calls, const std::string& name,
                                  uint32_t stack_bytes, const CompileOptions& options) {
  std::string object;
  for_each_module(1, options, [&](ModuleCompiler& compiler, size_t) {
    object = compiler.compile_calls(calls, name, stack_bytes);
  });
  return object;
}

}  // namespace gcomp::codegen
