#include "module.h"

#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <algorithm>

#include "gcomp/kernel/builder.h"
#include "gcomp/kernel/math.h"
#include "gcomp/support/error.h"

namespace gcomp::codegen {
namespace {

llvm::Type* llvm_element_type(llvm::LLVMContext& context, DType t) {
  if (t == DType::kFloat32) return llvm::Type::getFloatTy(context);
  if (t == DType::kFloat64) return llvm::Type::getDoubleTy(context);
  return llvm::Type::getIntNTy(context, static_cast<unsigned>(byte_size(t)) * 8);
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

}  // namespace

ModuleCompiler::ModuleCompiler(const CompileOptions& options) : options_(options) {}

llvm::TargetMachine& ModuleCompiler::machine() {
  std::unique_ptr<llvm::TargetMachine>& made = machines_[options_.effort];
  if (!made) made = make_target_machine(options_);
  return *made;
}

std::unique_ptr<llvm::Module> ModuleCompiler::make_module(llvm::LLVMContext& context) {
  auto module = std::make_unique<llvm::Module>("gcomp", context);
  module->setTargetTriple(machine().getTargetTriple().str());
  module->setDataLayout(machine().createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
  return module;
}

llvm::Function* ModuleCompiler::declare_function(llvm::Module& module, const std::string& name,
                                                 llvm::Type* result,
                                                 llvm::ArrayRef<llvm::Type*> parameters) {
  auto* type = llvm::FunctionType::get(result, parameters, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, name, module);
  function->setVisibility(llvm::GlobalValue::HiddenVisibility);
  function->setDSOLocal(true);
  function->setDoesNotThrow();
  function->addFnAttr("target-cpu", machine().getTargetCPU());
  function->addFnAttr("target-features", machine().getTargetFeatureString());
  function->addFnAttr("no-builtins");  // arithmetic stays what it is
  return function;
}

llvm::Function* ModuleCompiler::make_function(llvm::Module& module, const std::string& name,
                                              llvm::ArrayRef<llvm::Type*> parameters) {
  llvm::LLVMContext& context = module.getContext();
  llvm::Function* function =
      declare_function(module, name, llvm::Type::getVoidTy(context), parameters);
  llvm::BasicBlock::Create(context, "entry", function);
  return function;
}

kernel::Kernel ModuleCompiler::expanded(const kernel::Kernel& kernel, bool straight_line) const {
  GCOMP_CHECK(kernel.block_threads == 0, "a kernel of blocks of threads is none for CPUs");
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
          [this, &module](Op op, kernel::Type type) { return math_function(module, {op, type}); }};
}

// Not shared: of this module alone, unless another one has it for all.
llvm::Function* ModuleCompiler::math_function(llvm::Module& module, MathFunction wanted,
                                              bool shared) {
  for (const Requested& r : requested_) {
    if (r.what == wanted) return r.function;
  }
  llvm::Type* vector = llvm_element_type(module.getContext(), wanted.type.dtype);
  if (wanted.type.lanes > 1) vector = llvm::FixedVectorType::get(vector, wanted.type.lanes);
  const std::vector<llvm::Type*> parameters(is_binary_math(wanted.op) ? 2 : 1, vector);
  llvm::Function* function = declare_function(module, wanted.symbol(), vector, parameters);
  function->setDoesNotAccessMemory();
  function->setWillReturn();
  const bool elsewhere = !shared && std::ranges::binary_search(called_, wanted);
  if (!shared && !elsewhere) {
    function->setVisibility(llvm::GlobalValue::DefaultVisibility);
    function->setLinkage(llvm::GlobalValue::InternalLinkage);
  }
  requested_.push_back({wanted, function, !elsewhere});
  return function;
}

void ModuleCompiler::emit_math_functions(llvm::Module& module) {
  for (const Requested& r : requested_) {
    if (!r.defined) continue;
    kernel::Builder builder;
    KernelArguments arguments;
    kernel::Values operands;
    for (llvm::Argument& argument : r.function->args()) {
      arguments.values.push_back(&argument);
      operands.push_back(builder.argument(r.what.type));
    }
    kernel::ExpandOptions options;
    options.fma = has_feature(options_.cpu, "fma");
    kernel::Value result = kernel::emit_math(builder, r.what.op, operands, options);
    kernel::Kernel body = builder.finish();
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(module.getContext(), "entry", r.function));
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
  llvm::Function* function = make_function(module, name, {ptr, ptr, i64, i64});
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

void ModuleCompiler::optimize(llvm::Module& module, bool straight_line) {
  if (options_.effort == Effort::kFast && !straight_line) return;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine());
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
  bool refused = machine().addPassesToEmitFile(passes, out, nullptr, type, /*DisableVerify=*/true);
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

std::string ModuleCompiler::compile(const ModuleContents& contents) {
  llvm::LLVMContext context;
  errors_.clear();
  collect_errors(context, &errors_);
  options_.effort = contents.effort;
  std::unique_ptr<llvm::Module> module = make_module(context);
  for (const MathFunction& f : contents.functions) math_function(*module, f, /*shared=*/true);
  called_ = contents.called;
  for (size_t i = 0; i < contents.kernels.size(); ++i) {
    emit_kernel(*module, *contents.kernels[i], contents.names[i]);
  }
  return finish(*module, false);
}

std::string ModuleCompiler::compile_straight_line(const StraightLine& code,
                                                  const std::string& name) {
  llvm::LLVMContext context;
  errors_.clear();
  collect_errors(context, &errors_);
  called_ = {};
  std::unique_ptr<llvm::Module> module = make_module(context);
  auto* ptr = llvm::PointerType::getUnqual(context);
  auto* i64 = llvm::Type::getInt64Ty(context);
  llvm::Function* function = make_function(*module, name, {ptr, ptr, i64, i64});
  llvm::IRBuilder<> b(&function->getEntryBlock());
  const std::vector<llvm::Value*> storages = emit_storages(b, code);
  const auto place = [&](const StraightLine::Place& p) {
    return p.offset == 0 ? storages.at(p.storage)
                         : b.CreatePtrAdd(storages.at(p.storage),
                                          b.getInt64(static_cast<uint64_t>(p.offset)));
  };
  llvm::BasicBlock* failed = nullptr;
  for (const StraightLine::Step& step : code.steps) {
    std::vector<llvm::Value*> places;
    for (const StraightLine::Place& p : step.places) places.push_back(place(p));
    emit_step(b, step, places);
    if (step.error < 0) continue;
    if (failed == nullptr) failed = llvm::BasicBlock::Create(context, "failed", function);
    emit_failure_test(b, place(code.status), step.error, failed);
  }
  b.CreateRetVoid();
  if (failed != nullptr) llvm::ReturnInst::Create(context, failed);
  return finish(*module, true);
}

}  // namespace gcomp::codegen
