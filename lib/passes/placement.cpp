// A sweep forward puts everything on the GPU that has a kernel there. Passes backward correct it: in each window
// of the order the best choice for its nodes, all others as they are, is a minimum cut; islands, which no window
// holds, are weighed whole. A cut of the whole graph would be the best of all, but not linear.

#include "gcomp/passes/placement.h"

#include <algorithm>
#include <cstdio>
#include <ranges>
#include <span>
#include <unordered_set>
#include <utility>

#include "gcomp/ir/text.h"
#include "min_cut.h"
#include "placement_problem.h"

namespace gcomp::passes {
namespace {

constexpr uint32_t kSource = 0, kSink = 1;
// Nodes of a window, and how far the next one begins before it: each node is in two.
constexpr uint32_t kWindow = 256, kStride = kWindow / 2;

class Placer {
 public:
  explicit Placer(const PlacementProblem& p)
      : p_(p),
        on_device_(p.nodes.size(), 1),
        there_(p.nets.size()),
        number_(p.nodes.size(), 0),
        found_in_(p.nets.size(), 0) {
    for (size_t n = 0; n < p.nets.size(); ++n) there_[n] = p.nets[n].num_readers;
  }

  std::vector<uint8_t> run() {
    if (!gains_anywhere()) return std::vector<uint8_t>(p_.nodes.size(), 0);
    sweep_windows();
    flip_islands(1);
    flip_islands(0);
    sweep_windows();
    flip_islands(1);
    const std::vector<uint8_t> none(p_.nodes.size(), 0);
    return p_.total(on_device_) < p_.total(none) ? on_device_ : none;
  }

 private:
  bool gains_anywhere() const {
    for (size_t v = 0; v < p_.nodes.size(); ++v) {
      if (p_.device[v] < p_.host[v]) return true;
    }
    return false;
  }

  std::span<const uint32_t> nets_of(uint32_t v) const {
    return std::span(p_.nets_of).subspan(p_.first_net[v], p_.first_net[v + 1] - p_.first_net[v]);
  }
  std::span<const uint32_t> readers(const Net& n) const {
    return std::span(p_.readers).subspan(n.first_reader, n.num_readers);
  }
  bool is_made_there(const Net& n) const {
    return n.producer != kNoVariable && on_device_[n.producer] != 0;
  }
  int64_t cost(const Net& n, uint32_t there) const {
    if (is_made_there(n)) return n.host_reads || there < n.num_readers ? n.down : 0;
    return there > 0 ? n.up : 0;
  }

  void set(uint32_t v, bool on_device) {
    if ((on_device_[v] != 0) == on_device) return;
    on_device_[v] = on_device ? 1 : 0;
    for (uint32_t net : nets_of(v)) {
      if (p_.nets[net].producer == v) continue;
      on_device ? ++there_[net] : --there_[net];
    }
  }

  // Of these variables, each once: into nets_.
  void find_nets(const auto& variables) {
    ++round_;
    nets_.clear();
    for (const uint32_t v : variables) {
      for (const uint32_t net : nets_of(v)) {
        if (std::exchange(found_in_[net], round_) != round_) nets_.push_back(net);
      }
    }
  }

  // ---- windows

  void sweep_windows() {
    const auto count = static_cast<uint32_t>(p_.nodes.size());
    for (uint32_t end = count;; end -= kStride) {
      const uint32_t begin = end > kWindow ? end - kWindow : 0;
      if (!is_settled(begin, end)) solve_window(begin, end);
      if (begin == 0) return;
    }
  }

  // Whether all are where they cost least and nothing is copied: no choice is better.
  bool is_settled(uint32_t begin, uint32_t end) const {
    for (uint32_t v = begin; v < end; ++v) {
      const bool there = on_device_[v] != 0;
      if (there ? p_.host[v] < p_.device[v] : p_.device[v] < p_.host[v]) return false;
      for (uint32_t net : nets_of(v)) {
        if (cost(p_.nets[net], there_[net]) != 0) return false;
      }
    }
    return true;
  }

  // Source's side: the GPU.
  void solve_window(uint32_t begin, uint32_t end) {
    cut_.clear();
    for (uint32_t v = begin; v < end; ++v) {
      number_[v] = cut_.add_node();
      cut_.add_arc(number_[v], kSink, p_.device[v] - p_.host[v]);
      cut_.add_arc(kSource, number_[v], p_.host[v] - p_.device[v]);
    }
    begin_ = begin;
    end_ = end;
    find_nets(std::views::iota(begin, end));
    for (uint32_t net : nets_) add_net(net);
    cut_.solve();
    for (uint32_t v = begin; v < end; ++v) set(v, cut_.on_source_side(number_[v]));
  }

  bool is_inside(uint32_t v) const { return v != kNoVariable && v >= begin_ && v < end_; }

  void add_net(uint32_t net) {
    const Net& n = p_.nets[net];
    inside_.clear();
    uint32_t there = 0;  // of those inside
    // Readers are in order: those inside follow each other.
    const auto all = readers(n);
    for (auto r = std::ranges::lower_bound(all, begin_); r != all.end() && *r < end_; ++r) {
      inside_.push_back(*r);
      there += on_device_[*r];
    }
    const uint32_t outside_there = there_[net] - there;
    const bool outside_here =
        n.host_reads || n.num_readers - inside_.size() > outside_there;  // on the host
    const bool moves = is_inside(n.producer);
    const uint32_t producer = moves ? number_[n.producer] : is_made_there(n) ? kSource : kSink;
    if (outside_there > 0) {
      cut_.add_arc(kSource, producer, moves ? n.up : 0);
    } else if (producer != kSource) {
      add_readers(
          n.up, [&](uint32_t reader, int64_t cost) { cut_.add_arc(reader, producer, cost); },
          [&](uint32_t any, uint32_t reader) { cut_.add_arc(reader, any, MinCut::kInfinite); });
    }
    if (outside_here) {
      cut_.add_arc(producer, kSink, moves ? n.down : 0);
    } else if (producer != kSink) {
      add_readers(
          n.down, [&](uint32_t reader, int64_t cost) { cut_.add_arc(producer, reader, cost); },
          [&](uint32_t any, uint32_t reader) { cut_.add_arc(any, reader, MinCut::kInfinite); });
    }
  }

  // `cost` once, if any of the readers inside is not on the producer's side.
  template <class Pay, class Join>
  void add_readers(int64_t cost, const Pay& pay, const Join& join) {
    if (inside_.empty()) return;
    if (inside_.size() == 1) return pay(number_[inside_[0]], cost);
    const uint32_t any = cut_.add_node();
    pay(any, cost);
    for (uint32_t r : inside_) join(any, number_[r]);
  }

  // ---- islands: nodes of one side, connected by what they hand on

  uint32_t find(uint32_t v) {
    while (parent_[v] != v) v = parent_[v] = parent_[parent_[v]];
    return v;
  }

  // Moves each island of that side to the other if that costs less.
  void flip_islands(uint8_t side) {
    const auto count = static_cast<uint32_t>(p_.nodes.size());
    parent_.resize(count);
    for (uint32_t v = 0; v < count; ++v) parent_[v] = v;
    for (const Net& n : p_.nets) {
      uint32_t first =
          n.producer != kNoVariable && on_device_[n.producer] == side ? n.producer : kNoVariable;
      // What readers share is not enough to connect them: one copy serves all on the other side.
      if (first == kNoVariable) continue;
      for (uint32_t r : readers(n)) {
        if (on_device_[r] == side) parent_[find(r)] = find(first);
      }
    }
    // Variables by island, those of one in order.
    std::vector<uint32_t> end_of(count + 1, 0), order(count);
    for (uint32_t v = 0; v < count; ++v) ++end_of[find(v) + 1];
    for (uint32_t v = 0; v < count; ++v) end_of[v + 1] += end_of[v];
    for (uint32_t v = 0; v < count; ++v) order[end_of[find(v)]++] = v;
    for (uint32_t begin = 0, end = 0; begin < count; begin = end) {
      end = end_of[find(order[begin])];
      const bool is_island = on_device_[order[begin]] == side;
      if (is_island) flip_if_better(std::span(order).subspan(begin, end - begin), side == 0);
    }
  }

  void flip_if_better(std::span<const uint32_t> island, bool on_device) {
    int64_t gain = 0;
    for (uint32_t v : island)
      gain += on_device ? p_.host[v] - p_.device[v] : p_.device[v] - p_.host[v];
    find_nets(island);
    const auto copies = [&] {
      int64_t sum = 0;
      for (uint32_t net : nets_) sum += cost(p_.nets[net], there_[net]);
      return sum;
    };
    gain += copies();
    for (uint32_t v : island) set(v, on_device);
    gain -= copies();
    if (gain > 0) return;
    for (uint32_t v : island) set(v, !on_device);
  }

  const PlacementProblem& p_;
  std::vector<uint8_t> on_device_;  // per variable
  std::vector<uint32_t> there_;     // per net: readers on the GPU
  MinCut cut_;
  std::vector<uint32_t> number_;  // per variable of the window: its node in `cut_`
  uint32_t begin_ = 0, end_ = 0;  // the window
  std::vector<uint32_t> nets_, inside_;
  std::vector<uint32_t> found_in_;  // per net: the last round that found it
  uint32_t round_ = 0;
  std::vector<uint32_t> parent_;
};

// ---- the answer

// Where the value of a node that has no side of its own is, or may be.
void place_others(const Graph& graph, const PlacementProblem& p, std::vector<Device>& devices) {
  for (uint32_t i = 0; i < devices.size(); ++i) {
    const Node& n = graph.node(NodeId(i));
    const bool renames =
        n.num_results == 1 && p.root_of[n.first_result.index] != n.first_result.index;
    if (!renames || n.op == Op::check || n.op == Op::bind_dims) continue;
    devices[i] = devices[graph.producer(ValueId(p.root_of[n.first_result.index])).index];
  }
}

// Why the host reads, or has, what is on the GPU at the other end.
Boundary::Cause cause_at(const Graph& graph, NodeId host_end, Boundary::Cause port,
                         bool is_module) {
  if (host_end.valid()) {
    const bool controls = has_trait(graph.node(host_end).op, kHasBody);
    return controls ? Boundary::Cause::kControl : Boundary::Cause::kNoKernel;
  }
  return is_module ? port : Boundary::Cause::kControl;
}

void find_boundaries(const Graph& graph, const PlacementProblem& p, AssumedSizes& sizes,
                     const std::vector<uint8_t>& on_device, bool is_module,
                     GraphPlacement& result) {
  for (const Net& n : p.nets) {
    uint32_t there = 0;
    NodeId here;
    for (uint32_t k = 0; k < n.num_readers; ++k) {
      const uint32_t v = p.readers[n.first_reader + k];
      there += on_device[v];
      if (!on_device[v] && !here.valid()) here = p.nodes[v];
    }
    Boundary b{.value = n.value,
               .bytes = static_cast<uint64_t>(sizes.bytes(graph.type_id(n.value)))};
    if (n.producer != kNoVariable && on_device[n.producer]) {
      if (!n.host_reads && !here.valid()) continue;
      b.to = Device::kHost;
      b.node = here.valid() ? here : n.host_reader;
      b.cause = here.valid() ? Boundary::Cause::kCost
                             : cause_at(graph, n.host_reader, Boundary::Cause::kOutput, is_module);
    } else {
      if (there == 0 || n.up == 0)
        continue;  // 0: a state that no run changes, what a body is given
      b.to = Device::kCuda;
      if (graph.node(n.maker).op != Op::input) b.node = n.maker;
      b.cause = n.producer != kNoVariable
                    ? Boundary::Cause::kCost
                    : cause_at(graph, b.node, Boundary::Cause::kInput, is_module);
    }
    result.boundaries.push_back(b);
  }
  std::ranges::sort(result.boundaries, {}, [](const Boundary& b) { return b.value.index; });
}

constexpr double kSecond = 1e-12;

GraphPlacement answer(const Graph& graph, const PlacementProblem& p, AssumedSizes& sizes,
                      const std::vector<uint8_t>& on_device, bool is_module) {
  GraphPlacement result;
  result.devices.assign(graph.num_nodes(), Device::kHost);
  result.nodes.resize(graph.num_nodes());
  const auto seconds = [](int64_t picoseconds) {
    return static_cast<double>(picoseconds) * kSecond;
  };
  for (size_t v = 0; v < p.nodes.size(); ++v) {
    const uint32_t n = p.nodes[v].index;
    if (on_device[v]) result.devices[n] = Device::kCuda;
    result.uses_cuda = result.uses_cuda || on_device[v] != 0;
    result.nodes[n] = {static_cast<float>(seconds(p.host[v])),
                       static_cast<float>(seconds(p.device[v]))};
  }
  place_others(graph, p, result.devices);
  find_boundaries(graph, p, sizes, on_device, is_module, result);
  result.seconds = seconds(p.total(on_device));
  result.host_seconds = seconds(p.total(std::vector<uint8_t>(p.nodes.size(), 0)));
  return result;
}

// ---- nested graphs

// How each nested graph is run: by the first that runs it.
std::unordered_map<const Graph*, GraphUse> find_uses(const std::vector<const Graph*>& graphs) {
  std::unordered_map<const Graph*, GraphUse> uses;
  for (const Graph* g : graphs) {
    for (const Node& n : g->nodes()) {
      if (!has_trait(n.op, kHasBody)) continue;
      GraphUse use{.kind = GraphUse::Kind::kBranch};
      if (n.op == Op::loop) {
        use.kind = GraphUse::Kind::kTurn;
        use.carried = static_cast<uint32_t>(g->attrs(n).integer(AttrKey::index));
      }
      for (GraphId body : g->attrs(n).graphs(AttrKey::bodies)) {
        uses.try_emplace(&g->context().graph(body), use);
      }
    }
  }
  return uses;
}

// Bodies of conds and loops that are all on the host are there too.
void take_back_bodies(const std::vector<const Graph*>& inner_first, Placement& placement) {
  std::unordered_set<const Graph*> used = {inner_first.back()};
  for (const Graph* g : inner_first | std::views::reverse) {
    GraphPlacement& placed = g == inner_first.back() ? placement : placement.bodies.at(g);
    if (!used.contains(g)) {
      placed.devices.assign(g->num_nodes(), Device::kHost);
      placed.boundaries.clear();
      placed.seconds = placed.host_seconds;
      placed.uses_cuda = false;
    }
    for (uint32_t i = 0; i < g->num_nodes(); ++i) {
      const Node& n = g->node(NodeId(i));
      if (!has_trait(n.op, kHasBody) || placed.devices[i] == Device::kHost) continue;
      for (GraphId body : g->attrs(n).graphs(AttrKey::bodies))
        used.insert(&g->context().graph(body));
    }
  }
}

// Inner graphs first: what surrounds them knows what they cost.
template <class Solve>
Placement place_all(const Graph& graph, const PlacementCosts& costs, const Solve& solve) {
  const std::vector<const Graph*> graphs = inner_first(graph);
  const std::unordered_map<const Graph*, GraphUse> uses = find_uses(graphs);
  AssumedSizes sizes(graph.context(), costs.extent);
  Placement result;
  BodyCosts bodies;
  for (const Graph* g : graphs) {
    const bool is_module = g == &graph;
    const PlacementProblem p(*g, costs, sizes, is_module ? GraphUse() : uses.at(g), bodies);
    const std::vector<uint8_t> on_device = solve(g, p);
    GraphPlacement placed = answer(*g, p, sizes, on_device, is_module);
    if (is_module) {
      static_cast<GraphPlacement&>(result) = std::move(placed);
    } else {
      bodies.emplace(g, p.cost(*g, on_device));
      result.bodies.emplace(g, std::move(placed));
    }
  }
  take_back_bodies(graphs, result);
  return result;
}

}  // namespace

BodyDevices body_devices(const Placement& placement) {
  BodyDevices devices;
  for (const auto& [body, placed] : placement.bodies) devices.emplace(body, placed.devices);
  return devices;
}

Placement place(const Graph& graph, const PlacementCosts& costs) {
  const auto solve = [](const Graph*, const PlacementProblem& p) { return Placer(p).run(); };
  return place_all(graph, costs, solve);
}

Placement place_everything(const Graph& graph, const PlacementCosts& costs) {
  const auto solve = [](const Graph*, const PlacementProblem& p) {
    return std::vector<uint8_t>(p.nodes.size(), 1);
  };
  return place_all(graph, costs, solve);
}

double placed_seconds(const Graph& graph, const std::vector<Device>& devices,
                      const PlacementCosts& costs) {
  const auto solve = [&](const Graph* g, const PlacementProblem& p) {
    if (g != &graph) return Placer(p).run();
    std::vector<uint8_t> on_device;
    for (NodeId n : p.nodes) on_device.push_back(devices[n.index] == Device::kCuda ? 1 : 0);
    return on_device;
  };
  return place_all(graph, costs, solve).seconds;
}

std::string_view name(Boundary::Cause cause) {
  constexpr std::string_view kNames[] = {"input", "output", "no kernel", "control", "cost"};
  return kNames[static_cast<size_t>(cause)];
}

std::string describe(const Graph& graph, const GraphPlacement& placement,
                     const Boundary& boundary) {
  const auto microseconds = [](float seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3g us", static_cast<double>(seconds) * 1e6);
    return std::string(text);
  };
  switch (boundary.cause) {
    case Boundary::Cause::kInput: return "the caller gives it";
    case Boundary::Cause::kOutput: return "the caller takes it";
    case Boundary::Cause::kNoKernel:
      return std::string(name(graph.node(boundary.node).op)) +
             " has no kernel on the GPU: " + std::string(cuda_obstacle(graph, boundary.node));
    case Boundary::Cause::kControl: {
      if (!boundary.node.valid()) {
        return boundary.to == Device::kHost ? "the host decides by it if there is another turn"
                                            : "the host counts turns with it";
      }
      const std::string op(name(graph.node(boundary.node).op));
      return boundary.to == Device::kHost
                 ? "the host runs " + op + " by it, or what is in it reads it there"
                 : op + " makes it on the host";
    }
    case Boundary::Cause::kCost: break;
  }
  const NodeSeconds& s = placement.nodes[boundary.node.index];
  return std::string(name(graph.node(boundary.node).op)) +
         " and its neighbourhood cost least on the host (it " + microseconds(s.host) + " there, " +
         microseconds(s.device) + " on the GPU)";
}

}  // namespace gcomp::passes
