#include "manifest_json.h"

#include "signature.h"

namespace gcomp::driver {

std::string manifest_json(const lower::LoweredModule& module, const GeneratedCode& code,
                          const CompileOptions& options) {
  using nlohmann::ordered_json;
  // As the plan numbers them: a straight-line function is its only one.
  const std::vector<std::string>& names = code.plan.kernels;
  std::vector<int64_t> calls(names.size(), code.straight_line ? 1 : 0);
  for (const lower::Step& step : module.steps) {
    if (step.kind == lower::Step::Kind::kCall && !code.straight_line) ++calls[step.kernel];
  }
  constexpr size_t kMostKernels = 1000;  // of larger artifacts the list is cut
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
  return all.dump();
}

}  // namespace gcomp::driver
