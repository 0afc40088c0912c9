#include "generate.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "gcomp/artifact/lowered_plan.h"
#include "gcomp/artifact/straight_line.h"
#include "gcomp/driver/pipeline.h"
#include "gcomp/passes/passes.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

constexpr const char* kStraightSymbol = "straight_line";

bool selects(const CompileOptions& o, const char* stage) {
  return pass::selects(pipeline(), o.pipeline, stage);
}

bool is_straight_line(const lower::LoweredModule& module, const CompileOptions& o) {
  if (o.code == CodeMode::kAuto) {
    return selects(o, passes::kStraightLine) && artifact::prefers_straight_line(module);
  }
  if (o.code == CodeMode::kPlan) return false;
  const std::string obstacle = artifact::straight_line_obstacle(module);
  if (obstacle.empty()) return true;
  graph_error(Code::kNotStraight, "the graph cannot be straight-line code: " + obstacle, "--code",
              "--dim fixes extents; --code=plan takes every graph");
}

std::vector<std::string> compile_some(const lower::LoweredModule& module,
                                      const std::vector<uint32_t>& which,
                                      codegen::CompileOptions options, bool optimize_cold,
                                      std::vector<codegen::ModuleTime>* times) {
  std::vector<const kernel::Kernel*> kernels;
  std::vector<std::string> names;
  lower::RunWork all;
  std::vector<double> work;
  if (!optimize_cold) all = lower::run_work(module);
  for (const uint32_t k : which) {
    kernels.push_back(&module.kernels[k]);
    names.push_back(module.names[k]);
    if (!optimize_cold) work.push_back(all.kernels[k]);
  }
  options.work = work;
  options.other_work = all.calls;
  return codegen::compile_kernels(kernels, names, options, times);
}

codegen::CompileOptions code_options(const CompileOptions& o, codegen::CodeCache* cache) {
  codegen::CompileOptions options;
  options.cache = cache;
  options.cpu = cpu_level(o.mcpu);
  options.threads = o.threads;
  options.jobs = o.jobs.get();
  if (!selects(o, passes::kOptimizeCode)) options.effort = codegen::Effort::kFast;
  if (o.emit == Emit::kAssembly) options.emit = codegen::Emit::kAssembly;
  if (o.emit == Emit::kLlvm) options.emit = codegen::Emit::kLlvmText;
  return options;
}

}  // namespace

codegen::CpuLevel cpu_level(const std::string& text) {
  using codegen::CpuLevel;
  constexpr std::pair<const char*, CpuLevel> kLevels[] = {{"x86-64-v2", CpuLevel::kV2},
                                                          {"x86-64-v3", CpuLevel::kV3},
                                                          {"x86-64-v4", CpuLevel::kV4},
                                                          {"native", CpuLevel::kNative}};
  std::vector<std::string> names;
  for (const auto& [name, level] : kLevels) {
    if (text == name) return level;
    names.emplace_back(name);
  }
  const std::string near = suggest(text, names);
  usage_error(
      Code::kUnknownName, "there is no CPU level '" + text + "'", "--mcpu",
      near.empty() ? "x86-64-v2, x86-64-v3, x86-64-v4 or native" : "did you mean '" + near + "'?");
}

GeneratedCode generate_code(const lower::LoweredModule& module, const CompileOptions& o,
                            codegen::CodeCache* cache) {
  const codegen::CompileOptions options = code_options(o, cache);
  const bool optimize_cold = selects(o, passes::kOptimizeColdCode);
  PlanOptions plan;
  if (o.emit == Emit::kObject) plan.inline_constants = UINT64_MAX;  // no file to append to
  GeneratedCode code;
  code.straight_line = is_straight_line(module, o);
  if (code.straight_line) {
    const artifact::StraightLineModule straight = artifact::make_straight_line(module);
    code.objects = compile_some(module, straight.called, options, optimize_cold, &code.modules);
    double before = 0;
    for (const codegen::ModuleTime& m : code.modules)
      before = std::max(before, m.begin + m.seconds);
    const auto begin = std::chrono::steady_clock::now();
    code.objects.push_back(codegen::compile_straight_line(straight.code, kStraightSymbol, options));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    code.modules.push_back({.begin = before,
                            .seconds = taken.count(),
                            .bytes = code.objects.back().size(),
                            .effort = options.effort,
                            .functions = {kStraightSymbol},
                            .function_seconds = {taken.count()}});
    code.plan = artifact::build_straight_line_plan(module, straight, kStraightSymbol, plan);
    return code;
  }
  std::vector<uint32_t> all(module.kernels.size());
  std::iota(all.begin(), all.end(), 0u);
  code.objects = compile_some(module, all, options, optimize_cold, &code.modules);
  code.plan = artifact::build_plan(module, "", plan);
  return code;
}

void generate_device_code(GeneratedCode& code, const lower::LoweredModule& host,
                          lower::LoweredModule& both, const CompileOptions& o,
                          codegen::CodeCache* cache) {
  const std::vector<uint32_t> own = share_kernels(host, !code.straight_line, both);
  if (!own.empty()) {
    for (std::string& object : compile_some(both, own, code_options(o, cache),
                                            selects(o, passes::kOptimizeColdCode), &code.modules)) {
      code.objects.push_back(std::move(object));
    }
  }
  code.device = print_device_code(both, o.cuda_line_info);
  compile_device_code(code.device, o, cache);
  PlanOptions plan;
  if (o.emit == Emit::kObject) plan.inline_constants = UINT64_MAX;
  plan.shared = &code.plan;
  code.plan_of_both = artifact::build_plan(both, "", plan);
}

}  // namespace gcomp::driver
