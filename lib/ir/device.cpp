#include "gcomp/ir/device.h"

#include <algorithm>

#include "gcomp/ir/graph.h"
#include "gcomp/ir/text.h"

namespace gcomp {

std::string_view cuda_obstacle(const Graph& graph, NodeId node) {
  switch (graph.node(node).op) {
    case Op::check: return "the host looks at what it checks";
    case Op::bind_dims:
    case Op::nonzero: return "the host learns extents from it";
    default: return "";
  }
}

namespace {

// The result is operand 0 under another name.
bool renames(Op op) {
  return op == Op::reshape || op == Op::specify_shape || op == Op::check || op == Op::bind_dims;
}

const Graph& body_of(const Graph& graph, const Node& n, size_t i) {
  return graph.context().graph(graph.attrs(n).graphs(AttrKey::bodies)[i]);
}

}  // namespace

void Homes::add(const Graph& graph, std::span<const Device> devices) {
  std::vector<Home> homes(graph.num_values());
  for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.node(NodeId(i));
    const uint32_t v = n.first_result.index;
    if (n.op == Op::input) {
      const auto input = static_cast<uint32_t>(graph.attrs(n).integer(AttrKey::index));
      homes[v] = {.kind = Home::Kind::kInput, .input = input};
    } else if (n.op == Op::constant) {
      homes[v].kind = Home::Kind::kConstant;
    } else if (renames(n.op)) {
      homes[v] = homes[graph.operands(n)[0].index];
    } else if (has_trait(n.op, kHasBody) && devices[i] == Device::kCuda) {
      n.op == Op::cond ? add_cond(graph, n, homes) : add_loop(graph, n, homes);
    } else {
      for (uint32_t r = 0; r < n.num_results; ++r) homes[v + r].device = devices[i];
    }
  }
  homes_[&graph] = std::move(homes);
}

void Homes::add_all(const Graph& graph, std::span<const Device> devices,
                    const BodyDevices& bodies) {
  for (const Graph* g : inner_first(graph)) {
    const auto found = bodies.find(g);
    if (found != bodies.end() && g != &graph) add(*g, found->second);
  }
  add(graph, devices);
}

std::vector<Homes::Home> Homes::outputs_of(const Graph& body) const {
  const auto found = homes_.find(&body);
  std::vector<Home> outputs(body.outputs().size());  // on the host
  for (size_t i = 0; found != homes_.end() && i < outputs.size(); ++i) {
    outputs[i] = found->second[body.outputs()[i].value.index];
  }
  return outputs;
}

// Where a branch makes it, the GPU before the host; else what the branches hand on.
void Homes::add_cond(const Graph& graph, const Node& n, std::vector<Home>& homes) const {
  const auto operands = graph.operands(n);
  const std::vector<Home> branches[] = {outputs_of(body_of(graph, n, 0)),
                                        outputs_of(body_of(graph, n, 1))};
  for (uint32_t r = 0; r < n.num_results; ++r) {
    Home& home = homes[n.first_result.index + r];
    home.kind = Home::Kind::kConstant;
    for (const std::vector<Home>& outputs : branches) {
      const bool given = outputs[r].kind == Home::Kind::kInput;
      const Home& other = given ? homes[operands[1 + outputs[r].input].index] : outputs[r];
      if (std::pair(other.kind, other.device) > std::pair(home.kind, home.device)) home = other;
    }
  }
}

// Carried values that become other carried ones, turn after turn, lie where the last of them does; of a circle, as of
// what never changes, that is where one begins.
void Homes::add_loop(const Graph& graph, const Node& n, std::vector<Home>& homes) const {
  constexpr uint32_t kNone = 0xffffffffu;
  const auto operands = graph.operands(n);
  const auto num_carried = static_cast<uint32_t>(graph.attrs(n).integer(AttrKey::index));
  const std::vector<Home> outputs = outputs_of(body_of(graph, n, 0));
  Home* const results = homes.data() + n.first_result.index;
  std::vector<uint32_t> becomes(n.num_results, kNone);  // per result
  for (uint32_t r = 0; r < n.num_results; ++r) {
    results[r] = outputs[1 + r];
    if (results[r].kind != Home::Kind::kInput) continue;
    const uint32_t input = results[r].input;
    if (input == 0) results[r] = {};  // the counter
    if (input > num_carried) results[r] = homes[operands[input + 1].index];
    if (input > 0 && input <= num_carried) becomes[r] = input - 1;
  }
  std::vector<uint32_t> path;
  std::vector<bool> on_path(n.num_results, false);
  for (uint32_t first = 0; first < n.num_results; ++first) {
    uint32_t r = first;
    for (path.clear(); becomes[r] != kNone && !on_path[r]; r = becomes[r]) {
      path.push_back(r);
      on_path[r] = true;
    }
    const Home home = on_path[r] ? homes[operands[2 + r].index] : results[r];
    for (const uint32_t p : path) {
      results[p] = home;
      becomes[p] = kNone;
      on_path[p] = false;
    }
  }
}

std::vector<Device> Homes::of(const Graph& graph, std::span<const Device> inputs) const {
  std::vector<Device> devices;
  for (const Home& home : homes_.at(&graph)) {
    devices.push_back(home.kind == Home::Kind::kInput ? inputs[home.input] : home.device);
  }
  return devices;
}

}  // namespace gcomp
