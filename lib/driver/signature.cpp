#include "signature.h"

#include "gcomp/ir/states.h"

namespace gcomp::driver {
namespace {

using nlohmann::ordered_json;

ordered_json port_json(const Graph& graph, const Port& port) {
  const Type& type = graph.type(port.value);
  ordered_json dims = ordered_json::array();
  for (DimId d : type.dims) {
    const auto value = graph.context().dims.constant_value(d);
    if (value) {
      dims.push_back(*value);
    } else {
      dims.push_back(graph.context().dims.to_string(d));
    }
  }
  ordered_json result{{"name", port.name}, {"dtype", name(type.dtype)}, {"dims", dims}};
  if (port.donate) result["donate"] = true;
  return result;
}

}  // namespace

ordered_json signature_json(const Graph& graph) {
  const CallPorts call(graph);
  ordered_json all;
  all["inputs"] = ordered_json::array();
  all["outputs"] = ordered_json::array();
  for (const uint32_t i : call.inputs) all["inputs"].push_back(port_json(graph, graph.inputs()[i]));
  for (const uint32_t o : call.outputs) {
    all["outputs"].push_back(port_json(graph, graph.outputs()[o]));
  }
  for (const State& s : graph.states()) {
    ordered_json state = port_json(graph, graph.inputs()[s.input]);
    state["changes"] = s.output != State::kUnchanged;
    state["initial"] = s.initial.valid();
    all["states"].push_back(state);
  }
  return all;
}

}  // namespace gcomp::driver
