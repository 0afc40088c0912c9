// Groups of elementwise nodes and reductions: one nest, or a kernel for each pass where several blocks of a GPU
// share a row.

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
  const auto call = [&](NestEmitter& nest, KernelSpec& spec) {
    const auto [extent, grain] = nest.emit();
    for (const auto& [output, input] : nest.overwrites()) spec.may_overwrite(output, input);
    w.call(spec.finish(extent, grain));
  };
  KernelSpec spec(w.graph(), w.target());
  NestEmitter nest(w.graph(), w.groups(), group, spec, loops, reduced);
  const int phases = nest.num_phases();
  if (phases == 0) return call(nest, spec);
  for (int phase = 0; phase < phases; ++phase) {
    KernelSpec part(w.graph(), w.target());
    NestEmitter of_part(w.graph(), w.groups(), group, part, loops, reduced, phase);
    call(of_part, part);
  }
}

}  // namespace gcomp::lower
