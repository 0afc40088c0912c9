// Groups of elementwise nodes and reductions: one nest, or two kernels when one reduction is so large that
// it is done in blocks.

#include "nest_emitter.h"
#include "plan_writer.h"

namespace gcomp::lower {

void lower_nest(PlanWriter& w, uint32_t group) {
  const schedule::Group& g = w.groups().groups[group];
  std::vector<DimId> loops = g.space;
  std::vector<bool> reduced = g.reduced;
  {
    KernelSpec probe(w.graph(), w.target());
    NestEmitter nest(w.graph(), w.groups(), group, probe, loops, reduced);
    std::tie(loops, reduced) = nest.merged_loops();
  }
  KernelSpec spec(w.graph(), w.target());
  NestEmitter nest(w.graph(), w.groups(), group, spec, loops, reduced);
  const auto [extent, grain] = nest.emit();
  for (const auto& [output, input] : nest.overwrites()) spec.may_overwrite(output, input);
  w.call(spec.finish(extent, grain));
}

}  // namespace gcomp::lower
