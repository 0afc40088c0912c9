#include "target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/ErrorHandling.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>
#include <mutex>
#include <string_view>
#include <vector>

#include "gcomp/support/error.h"

namespace gcomp::codegen {
namespace {

constexpr const char* kTriple = "x86_64-unknown-linux-gnu";

void initialize_once() {
  static std::once_flag flag;
  std::call_once(flag, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    // Instead of printing and exiting. The stack is unwound through LLVM, which leaks: a bug was found.
    llvm::install_fatal_error_handler([](void*, const char* reason, bool) {
      if (std::string_view(reason).starts_with("pthread_create")) throw std::bad_alloc();
      throw InternalError(std::string("LLVM: ") + reason);
    });
    llvm::install_bad_alloc_error_handler([](void*, const char*, bool) {
      if (const std::new_handler handler = std::get_new_handler()) handler();
      throw std::bad_alloc();
    });
  });
}

llvm::CodeGenOptLevel codegen_level(Effort effort) {
  switch (effort) {
    case Effort::kFast: return llvm::CodeGenOptLevel::None;
    case Effort::kDefault: return llvm::CodeGenOptLevel::Less;
    default: return llvm::CodeGenOptLevel::Default;
  }
}

}  // namespace

std::vector<std::string> cpu_features(CpuLevel level) {
  std::vector<std::string> features;
  if (level == CpuLevel::kNative) {
    for (const auto& entry : llvm::sys::getHostCPUFeatures()) {
      if (entry.getValue()) features.push_back(entry.getKey().str());
    }
    std::ranges::sort(features);
    return features;
  }
  constexpr const char* kV2[] = {"sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "sahf"};
  constexpr const char* kV3[] = {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"};
  constexpr const char* kV4[] = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"};
  features.assign(std::begin(kV2), std::end(kV2));
  if (level != CpuLevel::kV2) features.insert(features.end(), std::begin(kV3), std::end(kV3));
  if (level == CpuLevel::kV4) features.insert(features.end(), std::begin(kV4), std::end(kV4));
  return features;
}

TargetDescription describe_target(CpuLevel level) {
  switch (level) {
    case CpuLevel::kV2: return {"x86-64-v2", ""};
    case CpuLevel::kV3: return {"x86-64-v3", ""};
    case CpuLevel::kV4: return {"x86-64-v4", "-prefer-256-bit"};
    case CpuLevel::kNative: break;
  }
  // The CPU's name promises features that a virtual machine may mask: the list does not.
  std::string joined = "-prefer-256-bit";
  for (const std::string& f : cpu_features(level)) joined += ",+" + f;
  return {"x86-64", joined};
}

bool has_feature(CpuLevel level, const char* feature) {
  std::string_view f = feature;
  switch (level) {
    case CpuLevel::kV2: return false;
    case CpuLevel::kV3: return f == "fma" || f == "f16c" || f == "avx2";
    case CpuLevel::kV4: return f == "fma" || f == "f16c" || f == "avx2" || f == "avx512f";
    case CpuLevel::kNative: break;
  }
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  if (f == "avx512f") {  // v4 is more than F: narrow lanes need VL, DQ and BW
    for (const char* part : {"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd"}) {
      if (!host.lookup(part)) return false;
    }
    return true;
  }
  return host.lookup(feature);
}

std::unique_ptr<llvm::TargetMachine> make_target_machine(const CompileOptions& options) {
  initialize_once();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(kTriple, error);
  GCOMP_CHECK(target, "LLVM has no x86-64 target: " + error);
  TargetDescription d = describe_target(options.cpu);
  llvm::TargetOptions target_options;
  target_options.AllowFPOpFusion = llvm::FPOpFusion::Standard;  // only the fmas that were asked for
  target_options.EnableFastISel = options.effort == Effort::kFast;
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(kTriple, d.cpu, d.features, target_options, llvm::Reloc::PIC_,
                                  llvm::CodeModel::Small, codegen_level(options.effort)));
  GCOMP_CHECK(machine, "LLVM made no target machine");
  return machine;
}

CpuTraits cpu_traits(CpuLevel level) {
  CpuTraits t{16, 16, has_feature(level, "fma")};
  if (has_feature(level, "avx2")) t.vector_bytes = 32;
  if (has_feature(level, "avx512f")) t.vector_bytes = 64, t.vector_registers = 32;
  return t;
}

}  // namespace gcomp::codegen
