#include "manifest_json.h"

#include "signature.h"

namespace gcomp::driver {

namespace {

using nlohmann::ordered_json;

constexpr size_t kMostKernels = 1000;  // of larger artifacts lists are cut

// A kernel's registers, shared and local memory on each architecture with machine code.
ordered_json resources_json(const DeviceCode& code) {
  ordered_json by_kernel = ordered_json::object();
  for (const codegen::CudaImage& image : code.images) {
    if (image.arch.ptx) continue;
    for (const codegen::CudaResources& r : codegen::cubin_resources(image.bytes)) {
      by_kernel[r.kernel][codegen::name(image.arch)] = {{"registers", r.registers},
                                                        {"shared_bytes", r.shared_bytes},
                                                        {"local_bytes", r.local_bytes}};
    }
  }
  return by_kernel;
}

// Calls on the GPU are numbered behind those on the host (gcomp_options.trace), which may be others than in the
// plan for the CPU alone.
ordered_json cuda_json(const DeviceCode& code, const PlanImage& plan) {
  ordered_json archs = ordered_json::array(), host = ordered_json::array(),
               kernels = ordered_json::array();
  size_t bytes = 0;
  for (const codegen::CudaImage& image : code.images) {
    bytes += image.bytes.size();
    if (image.module == 0) archs.push_back(codegen::name(image.arch));
  }
  for (size_t k = 0; k < plan.kernels.size() && k < kMostKernels; ++k) {
    host.push_back(plan.kernels[k]);
  }
  const ordered_json resources = resources_json(code);
  for (size_t k = 0; k < code.kernels.size() && k < kMostKernels; ++k) {
    const artifact::DeviceKernelInfo& info = code.kernels[k];
    ordered_json row{{"name", info.name}, {"nodes", info.nodes}, {"threads", info.threads}};
    if (!code.libraries[k].empty()) row["library"] = code.libraries[k];
    if (resources.contains(info.name)) row.update(resources[info.name]);
    kernels.push_back(row);
  }
  return {{"archs", archs},
          {"nvrtc", code.nvrtc},
          {"code_bytes", bytes},
          {"steps", plan.plan().num_steps},
          {"arena_bytes", plan.device_arena_bytes},
          {"num_host_kernels", plan.kernels.size()},
          {"host_kernels", host},
          {"num_kernels", code.kernels.size()},
          {"kernels", kernels}};
}

}  // namespace

std::string manifest_json(const lower::LoweredModule& module, const GeneratedCode& code,
                          const CompileOptions& options) {
  // As the plan numbers them: a straight-line function is its only one.
  const std::vector<std::string>& names = code.plan.kernels;
  std::vector<int64_t> calls(names.size(), code.straight_line ? 1 : 0);
  for (const lower::Step& step : module.steps) {
    if (step.kind == lower::Step::Kind::kCall && !code.straight_line) ++calls[step.kernel];
  }
  ordered_json kernels = ordered_json::array();
  for (size_t i = 0; i < calls.size() && i < kMostKernels; ++i) {
    kernels.push_back({{"name", names[i]}, {"calls", calls[i]}});
  }
  ordered_json fixed = ordered_json::object();
  for (const auto& [symbol, extent] : options.dims) fixed[symbol] = extent;
  ordered_json all{{"gcomp", GCOMP_VERSION}};
  all.update(signature_json(*module.graph));
  all.update({{"options",
               {{"level", pass::find_level(options.pipeline.level).name},
                {"mcpu", options.mcpu},
                {"dims", fixed}}},
              {"nodes", module.graph->num_nodes()},
              {"code", code.straight_line ? "straight" : "plan"},
              {"steps", code.plan.plan().num_steps},
              {"arena_bytes", code.plan.arena_bytes},
              {"num_kernels", names.size()},
              {"kernels", kernels}});
  if (code.plan_of_both) {
    all["targets"] = {"cpu", "cuda"};
    all["cuda"] = cuda_json(code.device, *code.plan_of_both);
  }
  return all.dump();
}

}  // namespace gcomp::driver
