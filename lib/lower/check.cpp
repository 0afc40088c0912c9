// Effects and extents that depend on data.

#include "plan_writer.h"

namespace gcomp::lower {

void lower_bind_dims(PlanWriter& w, uint32_t group) {
  const NodeId node = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  Step s{.kind = Step::Kind::kBind,
         .memory = {w.memory_of(graph.operands(node)[0])},
         .scalars = {},
         .symbols = {},
         .extent = {},
         .messages = {}};
  for (DimId d : graph.attrs(node).dims(AttrKey::symbols)) {
    s.symbols.push_back(*w.dims().as_symbol(d));
  }
  w.step(std::move(s));
}

void lower_check(PlanWriter& w, uint32_t group) {
  const NodeId node = w.groups().groups[group].nodes[0];
  const Graph& graph = w.graph();
  const ValueId condition = graph.operands(node)[1];
  w.step({.kind = Step::Kind::kCheck,
          .memory = {w.memory_of(condition)},
          .scalars = {},
          .symbols = {},
          .extent = w.num_elements(condition),
          .messages = {graph.attrs(node).string_or(AttrKey::message, "check failed")}});
}

}  // namespace gcomp::lower
