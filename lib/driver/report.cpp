#include "report.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "explain.h"
#include "gcomp/artifact/libraries.h"
#include "gcomp/support/files.h"
#include "memory_map.h"
#include "page.h"

namespace gcomp::driver {

Report::Report(const CompileOptions& options, Phases& phases)
    : options_(options),
      phases_(phases),
      profiled_(!options.profile.empty() || !options.html.empty()) {
  if (!options.explain.empty() || !options.html.empty()) lineage_.emplace();
}

void Report::placed(const Graph& graph, const passes::Placement& placement) {
  if (profiled_) phases_.placement = report_placement(graph, placement);
}

void Report::libraries_chosen(const lower::LoweredModule& both) {
  if (!phases_.placement) return;
  for (const lower::LibraryProduct& p : both.products) {
    const bool is_product = artifact::kind_of(p) == artifact::LibraryKind::kProduct;
    auto& count = is_product ? phases_.placement->products : phases_.placement->convolutions;
    ++count.number;
    if (!p.choices.empty()) ++count.by_library;
  }
}

void Report::explain(const Graph& graph, const lower::LoweredModule* module,
                     const passes::Placement* placement) {
  if (profiled_ && module != nullptr) phases_.lowering = module->stats;
  const bool map = !options_.memory_map.empty();
  if ((profiled_ || map) && module != nullptr) phases_.memory = report_memory(*module);
  if (!lineage_) return;
  lineage_->finish(graph);
  for (const std::string& subject : options_.explain) {
    std::cerr << driver::explain(*lineage_, module, placement, subject);
  }
}

void Report::write(const lower::LoweredModule* module) const {
  phases_.report(options_.profile);
  if (!options_.memory_map.empty() && phases_.memory) {
    write_file(options_.memory_map,
               memory_map(options_.input.filename().string(), *phases_.memory));
  }
  if (options_.html.empty()) return;
  write_file(options_.html, page(options_.input.string(), *lineage_, phases_.json(), module));
}

}  // namespace gcomp::driver
