#include "jit.h"

#include <llvm/ExecutionEngine/Orc/ExecutionUtils.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>

#include <stdexcept>

namespace gcomp::test {

struct Jit::State {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  void* kernel = nullptr;
};

namespace {

template <class T>
T value_or_throw(llvm::Expected<T> e) {
  if (!e) throw std::runtime_error(llvm::toString(e.takeError()));
  return std::move(*e);
}

void throw_if(llvm::Error e) {
  if (e) throw std::runtime_error(llvm::toString(std::move(e)));
}

}  // namespace

Jit::Jit(std::span<const std::string> objects) : s_(std::make_unique<State>()) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  s_->jit = value_or_throw(llvm::orc::LLJITBuilder().create());
  s_->jit->getMainJITDylib().addGenerator(
      value_or_throw(llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
          s_->jit->getDataLayout().getGlobalPrefix())));
  for (const std::string& bytes : objects) {
    throw_if(s_->jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(bytes, "kernels.o")));
  }
}

Jit::Jit(const kernel::Kernel& kernel, const codegen::CompileOptions& options)
    : Jit([&] {
        codegen::CompileOptions checked = options;
        checked.verify = true;
        const kernel::Kernel* kernels[] = {&kernel};
        const std::string names[] = {"kernel_under_test"};
        return codegen::compile_kernels(kernels, names, checked);
      }()) {
  s_->kernel = find("kernel_under_test");
}

Jit::~Jit() = default;

void* Jit::find(const std::string& name) const {
  return value_or_throw(s_->jit->lookup(name)).toPtr<void*>();
}

void Jit::run(std::vector<void*> buffers, std::vector<int64_t> scalars, int64_t begin,
              int64_t end) const {
  using Function = void (*)(void* const*, const int64_t*, int64_t, int64_t);
  reinterpret_cast<Function>(s_->kernel)(buffers.data(), scalars.data(), begin, end);
}

codegen::CompileOptions options_for(codegen::CpuLevel level, codegen::Effort effort) {
  codegen::CompileOptions options;
  options.cpu = level;
  options.effort = effort;
  return options;
}

std::vector<std::string> undefined_symbols(const std::string& object) {
  auto file = value_or_throw(
      llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(object, "kernels.o")));
  std::vector<std::string> names;
  for (const llvm::object::SymbolRef& s : file->symbols()) {
    bool undefined = value_or_throw(s.getFlags()) & llvm::object::SymbolRef::SF_Undefined;
    std::string name = value_or_throw(s.getName()).str();
    if (undefined && !name.empty()) names.push_back(name);
  }
  return names;
}

bool host_has(codegen::CpuLevel level) {
  llvm::StringMap<bool> f = llvm::sys::getHostCPUFeatures();
  switch (level) {
    case codegen::CpuLevel::kV3: return f.lookup("avx2") && f.lookup("fma") && f.lookup("f16c");
    case codegen::CpuLevel::kV4:
      return f.lookup("avx512f") && f.lookup("avx512vl") && f.lookup("avx512bw") &&
             f.lookup("avx512dq") && f.lookup("avx512cd");
    default: return true;
  }
}

}  // namespace gcomp::test
