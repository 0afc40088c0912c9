#include "signature.h"

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
  return {{"name", port.name}, {"dtype", name(type.dtype)}, {"dims", dims}};
}

}  // namespace

ordered_json signature_json(const Graph& graph, const std::vector<Port>& ports) {
  ordered_json list = ordered_json::array();
  for (const Port& port : ports) list.push_back(port_json(graph, port));
  return list;
}

}  // namespace gcomp::driver
