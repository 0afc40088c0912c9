#include "placement_problem.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "gcomp/rewrite/cost.h"

namespace gcomp::passes {
namespace {

bool is_map(Op op) {
  return op == Op::broadcast || op == Op::transpose || op == Op::slice || op == Op::reverse ||
         op == Op::pad || op == Op::gather;
}

// Results are operand 0 under another name.
bool renames(Op op) {
  return op == Op::reshape || op == Op::specify_shape || op == Op::check || op == Op::bind_dims;
}

// The others only tell where symbols are bound.
size_t num_data_operands(const Node& n) {
  switch (n.op) {
    case Op::broadcast:
    case Op::slice:
    case Op::top_k: return 1;
    case Op::pad: return 2;
    default: return n.num_operands;
  }
}

// What each thread of a block does after another in a sum of `length`, those who join threads and blocks included:
// long lines are shared out (lib/codegen/cuda/README.md).
double line_steps(double length) {
  constexpr double kLeast = 32, kPart = 8192, kThreads = 512, kJoins = 20;
  return length < kLeast ? length : std::min(length, kPart) / kThreads + kJoins;
}

// The same of a running sum along neighbours: tiles of 1024 elements.
double scan_steps(double length) { return 24 * std::ceil(length / 1024); }

// Sorting a line takes steps in shared memory, and visits of memory where runs are merged.
struct SortWork {
  double steps, visits;
};
SortWork sort_work(double length) {
  constexpr double kLeast = 33, kRun = 2048, kThreads = 512;
  if (length < kLeast) return {0, length * std::max(1.0, std::log2(length))};
  const double run = std::min(length, kRun), network = std::log2(run) * std::log2(run) / 2;
  const double each = 10 * network * std::max(1.0, run / 2 / kThreads);
  return {each * std::ceil(length / run), length / kThreads * std::log2(length / run)};
}

class Builder {
 public:
  Builder(PlacementProblem& p, const Graph& graph, const PlacementCosts& costs, AssumedSizes& sizes,
          const GraphUse& use, const BodyCosts& bodies)
      : p_(p),
        graph_(graph),
        costs_(costs),
        sizes_(sizes),
        use_(use),
        bodies_(bodies),
        most_seconds_(1e6 / (graph.num_nodes() + graph.num_values() + 1)),
        anywhere_(graph.num_nodes(), false),
        read_bytes_(graph.num_values(), 0),
        written_(graph.num_values(), false),
        net_of_(graph.num_values(), kNoVariable) {}

  void run() {
    for (uint32_t i = 0; i < graph_.num_nodes(); ++i) visit(NodeId(i));
    for (const Port& out : graph_.outputs()) {
      const uint32_t root = p_.root_of[out.value.index];
      written_[root] = true;
    }
    add_writes();
    if (use_.kind == GraphUse::Kind::kModule) {
      p_.run = picoseconds(costs_.run);
      mark_outputs();
    }
    if (use_.kind == GraphUse::Kind::kTurn) mark_turn();
    collect_readers();
  }

 private:
  // No sum over the graph overflows.
  int64_t picoseconds(double seconds) const {
    return std::llround(std::min(seconds, most_seconds_) * 1e12);
  }
  double elements(ValueId v) { return sizes_.elements(graph_.type_id(v)); }
  double bytes(ValueId v) { return sizes_.bytes(graph_.type_id(v)); }
  double axis_extent(ValueId v, int64_t axis) const {
    const Type& type = graph_.type(v);
    const int64_t n = sizes_.extent(type.dims[static_cast<size_t>(axis)]);
    return static_cast<double>(std::max<int64_t>(n, 1));
  }

  void visit(NodeId id) {
    const Node& n = graph_.node(id);
    const auto operands = graph_.operands(n);
    p_.variable_of.push_back(kNoVariable);
    for (uint32_t r = 0; r < n.num_results; ++r) {
      const ValueId v(n.first_result.index + r);
      p_.root_of.push_back(r == 0 && renames(n.op) ? p_.root_of[operands[0].index] : v.index);
      p_.maker_of.push_back(kNoVariable);
      read_bytes_[v.index] = bytes(v);
    }
    anywhere_[id.index] = is_anywhere(n);
    if (renames(n.op)) read_bytes_[n.first_result.index] = read_bytes_[operands[0].index];
    if (is_map(n.op) && n.op != Op::gather) {
      double& read = read_bytes_[n.first_result.index];
      read = std::min(read, read_bytes_[operands[0].index]);
    }
    if (anywhere_[id.index] || n.op == Op::input) return;
    if (n.op == Op::check) return read_here(operands[1], id);
    if (n.op == Op::bind_dims) return read_here(operands[0], id);
    if (renames(n.op)) return;
    if (has_trait(n.op, kHasBody)) return visit_control(id, n);
    if (!cuda_obstacle(graph_, id).empty()) {
      for (ValueId o : operands) read_here(o, id);
      return;
    }
    const uint32_t variable = add_variable(id);
    for (uint32_t r = 0; r < n.num_results; ++r) p_.maker_of[n.first_result.index + r] = variable;
    const double bytes_read = read_all(n, variable);
    add_costs(n, bytes_read);
  }

  uint32_t add_variable(NodeId id) {
    const auto variable = static_cast<uint32_t>(p_.nodes.size());
    p_.variable_of[id.index] = variable;
    p_.nodes.push_back(id);
    return variable;
  }

  // ---- cond and loop

  void visit_control(NodeId id, const Node& n) {
    const bool is_cond = n.op == Op::cond;
    std::vector<const BodyCost*> bodies;
    for (GraphId body : graph_.attrs(n).graphs(AttrKey::bodies)) {
      bodies.push_back(&bodies_.at(&graph_.context().graph(body)));
    }
    const auto any = [&](const auto& property) { return std::ranges::any_of(bodies, property); };
    // A branch is taken every other time.
    const double times = is_cond ? 0.5 : turns(n);
    const auto cost = [&](int64_t BodyCost::* of) {
      double sum = 0;
      for (const BodyCost* b : bodies) sum += static_cast<double>(b->*of);
      return picoseconds(sum * times * 1e-12);
    };
    uint32_t variable = kNoVariable;
    if (any([](const BodyCost* b) { return b->uses_cuda; })) {
      variable = add_variable(id);
      p_.host.push_back(cost(&BodyCost::host));
      p_.device.push_back(cost(&BodyCost::placed));
    } else {
      p_.fixed += cost(&BodyCost::host);
    }
    const uint32_t num_control = is_cond ? 1 : 2;  // operands that the host decides by
    const auto operands = graph_.operands(n);
    const auto carried =
        is_cond ? 0 : static_cast<uint32_t>(graph_.attrs(n).integer(AttrKey::index));
    for (uint32_t i = 0; i < operands.size(); ++i) {
      const uint32_t input = i - num_control + (is_cond ? 0 : 1);
      bool there = false, here = i < num_control || variable == kNoVariable;
      if (!here && i - num_control < carried) {
        there = bodies[0]->made_there[input];
        here = !there;
      } else if (!here) {
        there = any([&](const BodyCost* b) { return b->reads_there[input]; });
        here = any([&](const BodyCost* b) { return b->reads_here[input]; });
      }
      written_[p_.root_of[operands[i].index]] = true;
      if (there) read(operands[i], variable);
      if (here) read_here(operands[i], id);
    }
    for (uint32_t r = 0; r < n.num_results; ++r) {
      const uint32_t output = r + (is_cond ? 0 : 1);
      const bool there = any([&](const BodyCost* b) { return b->made_there[output]; });
      if (there) p_.maker_of[n.first_result.index + r] = variable;
    }
  }

  // Of a loop, as far as they are known before.
  double turns(const Node& n) {
    ValueId limit = graph_.operands(n)[0];
    while (renames(graph_.producer_node(limit).op)) {
      limit = graph_.operands(graph_.producer(limit))[0];
    }
    const Node& maker = graph_.producer_node(limit);
    const Constant* c = graph_.constant(limit);
    int64_t most = costs_.turns;
    if (c != nullptr && c->dtype == DType::kInt64) {
      most = c->as_int(0);
    } else if (maker.op == Op::dims) {
      most = sizes_.extent(graph_.attrs(maker).dims(AttrKey::values)[0]);
    }
    const Graph& body = graph_.context().graph(graph_.attrs(n).graphs(AttrKey::bodies)[0]);
    // With a condition the limit may be any large number.
    if (body.constant(body.outputs()[0].value) == nullptr) most = std::min(most, costs_.turns);
    constexpr int64_t kMost = 1 << 20;  // more decide nothing else
    return static_cast<double>(std::clamp<int64_t>(most, 0, kMost));
  }

  // Computed wherever it is read, from nothing that a run has in memory.
  bool is_anywhere(const Node& n) const {
    if (n.op == Op::constant || n.op == Op::iota || n.op == Op::dims) return true;
    if (!is_map(n.op) && n.op != Op::reshape && n.op != Op::specify_shape) return false;
    const size_t data = n.op == Op::reshape || n.op == Op::specify_shape ? 1 : num_data_operands(n);
    for (size_t i = 0; i < data; ++i) {
      if (!anywhere_[graph_.producer(graph_.operands(n)[i]).index]) return false;
    }
    return true;
  }

  bool is_nest(Op op) const {
    return has_trait(op, kElementwise) || has_trait(op, kReduction) || op == Op::argmax ||
           op == Op::argmin;
  }
  // Whether a kernel that computes `o` computes `n` too.
  bool fuses(const Node& n, ValueId o) {
    const NodeId p = graph_.producer(ValueId(p_.root_of[o.index]));
    const Op from = graph_.node(p).op;
    if (!is_nest(n.op) || p_.variable_of[p.index] == kNoVariable) return false;
    if (!has_trait(n.op, kElementwise)) return has_trait(from, kElementwise);
    const bool product = from == Op::matmul || from == Op::conv;
    return (is_nest(from) || product) && elements(o) == elements(n.first_result);
  }

  // Notes who reads what; the bytes read from memory.
  double read_all(const Node& n, uint32_t variable) {
    const auto operands = graph_.operands(n);
    double sum = 0;
    leads_ = !is_map(n.op);
    for (size_t i = 0; i < std::min<size_t>(operands.size(), num_data_operands(n)); ++i) {
      const ValueId o = operands[i];
      const NodeId p = graph_.producer(o);
      if (anywhere_[p.index]) {
        if (graph_.node(p).op == Op::constant) sum += bytes(o);
        continue;
      }
      if (fuses(n, o)) {
        leads_ = false;
      } else {
        sum += read_bytes_[o.index];
        const uint32_t root = p_.root_of[o.index];
        if (!is_map(graph_.producer_node(ValueId(root)).op)) written_[root] = true;
      }
      read(o, variable);
    }
    return is_map(n.op) && n.op != Op::gather ? 0 : sum;  // else by who reads the map
  }

  // The net of what a run has in memory; null for what is computed wherever it is read.
  Net* net_of(ValueId o) {
    if (anywhere_[graph_.producer(o).index]) return nullptr;
    const uint32_t root = p_.root_of[o.index];
    if (anywhere_[graph_.producer(ValueId(root)).index]) return nullptr;
    return &net_for(ValueId(root));
  }
  void read(ValueId o, uint32_t variable) {
    if (net_of(o) != nullptr) reads_.emplace_back(net_of_[p_.root_of[o.index]], variable);
  }
  // By a node that is always on the host.
  void read_here(ValueId o, NodeId reader) {
    Net* const net = net_of(o);
    if (net == nullptr) return;
    net->host_reads = true;
    net->host_reader = reader;
  }

  Net& net_for(ValueId root) {
    uint32_t& number = net_of_[root.index];
    if (number == kNoVariable) {
      number = static_cast<uint32_t>(p_.nets.size());
      const NodeId p = graph_.producer(root);
      Net net{.value = root, .maker = p, .producer = p_.maker_of[root.index]};
      // A cut between two nodes of one kernel makes it two.
      const double copy = costs_.transfer + bytes(root) / costs_.transfer_bytes;
      net.up = net.down = picoseconds(copy + costs_.launch);
      if (graph_.node(p).op == Op::input) net.up = is_given(p) ? 0 : picoseconds(copy);
      p_.nets.push_back(net);
    }
    return p_.nets[number];
  }

  // Whether the input is the same in every turn of a loop, or a branch's: copied before, if at all.
  bool is_given(NodeId input) const {
    const auto i = static_cast<uint32_t>(graph_.attrs(input).integer(AttrKey::index));
    return use_.kind == GraphUse::Kind::kBranch ||
           (use_.kind == GraphUse::Kind::kTurn && i > use_.carried);
  }

  // Steps that one thread does after another, and whether each goes to memory.
  double serial_seconds(const Node& n) {
    const Attrs attrs = graph_.attrs(n);
    const auto operands = graph_.operands(n);
    const auto along_axis = [&](ValueId v) { return axis_extent(v, attrs.integer(AttrKey::axis)); };
    switch (n.op) {
      case Op::cumsum:
      case Op::cumprod: {
        const double length = along_axis(operands[0]);
        const auto rank = static_cast<int64_t>(graph_.type(operands[0]).dims.size());
        const bool neighbours = attrs.integer(AttrKey::axis) == rank - 1;
        return costs_.device_step * (neighbours ? scan_steps(length) : 2 * length);
      }
      case Op::sort:
      case Op::top_k: {
        const SortWork work = sort_work(along_axis(operands[0]));
        return costs_.device_step * work.steps + costs_.device_visit * work.visits;
      }
      case Op::scatter_elements: return costs_.device_visit * along_axis(operands[1]);
      case Op::scatter_nd: {
        const double tuple = axis_extent(
            operands[1], static_cast<int64_t>(graph_.type(operands[1]).dims.size()) - 1);
        return costs_.device_visit * elements(operands[1]) / tuple;
      }
      case Op::matmul:
        if (is_slim(n)) {
          return costs_.device_step *
                 line_steps(products(n) / std::max(1.0, elements(n.first_result)));
        }
        [[fallthrough]];
      case Op::conv:
      case Op::conv_transpose:
        return costs_.device_step * products(n) / std::max(1.0, elements(n.first_result));
      default: break;
    }
    if (!is_nest(n.op) || has_trait(n.op, kElementwise)) return 0;
    const double terms = elements(operands[0]) / std::max(1.0, elements(n.first_result));
    return costs_.device_step * line_steps(terms);
  }

  // A product of few rows or columns: its sums are lines.
  bool is_slim(const Node& n) const {
    constexpr double kLeast = 16;
    const auto rank = static_cast<int64_t>(graph_.type(n.first_result).dims.size());
    return rank < 2 || axis_extent(n.first_result, rank - 1) < kLeast ||
           axis_extent(n.first_result, rank - 2) < kLeast;
  }

  double products(const Node& n) {
    const auto operands = graph_.operands(n);
    const double out = elements(n.first_result);
    if (n.op == Op::matmul) {
      const double columns = axis_extent(
          n.first_result, static_cast<int64_t>(graph_.type(n.first_result).dims.size()) - 1);
      return elements(operands[0]) * columns;
    }
    const bool last = graph_.attrs(n).string_or(AttrKey::layout, "nchw") == "nhwc";
    const auto rank = static_cast<int64_t>(graph_.type(operands[1]).dims.size());
    return out * elements(operands[1]) / axis_extent(operands[1], last ? rank - 1 : 0);
  }

  void add_costs(const Node& n, double bytes_read) {
    const DType dtype = graph_.type(n.first_result).dtype;
    const double wide = byte_size(dtype) == 8 ? 2 : 1;
    double host = leads_ ? costs_.call : 0, device = leads_ ? costs_.launch : 0;
    double most = 0;  // elements computed
    for (uint32_t r = 0; r < n.num_results; ++r) {
      most = std::max(most, elements(ValueId(n.first_result.index + r)));
    }
    if (has_trait(n.op, kReduction)) most = std::max(most, elements(graph_.operands(n)[0]));
    const bool product = n.op == Op::matmul || n.op == Op::conv || n.op == Op::conv_transpose;
    double ops = product ? products(n) * wide : most * wide * rewrite::cost(n.op) / 4;
    if (n.op == Op::sort || n.op == Op::top_k) {
      const ValueId x = graph_.operands(n)[0];
      ops *= std::max(1.0, std::log2(axis_extent(x, graph_.attrs(n).integer(AttrKey::axis))));
    }
    const double waits = is_map(n.op) ? 0 : std::max(1.0, rewrite::cost(n.op) / 4.0);
    if (!leads_) {  // a part of a kernel
      host += costs_.call * waits / costs_.kernel_ops;
      device += costs_.launch * waits / costs_.kernel_ops;
    }
    host += std::max({bytes_read / costs_.host_bytes,
                      ops / (product ? costs_.host_products : costs_.host_ops),
                      costs_.host_op * waits});
    device += std::max({bytes_read / costs_.device_bytes,
                        ops / (product ? costs_.device_products : costs_.device_ops),
                        costs_.device_op * waits, serial_seconds(n)});
    p_.host.push_back(picoseconds(host));
    p_.device.push_back(picoseconds(device));
  }

  void add_writes() {
    for (uint32_t v = 0; v < p_.nodes.size(); ++v) {
      const Node& n = graph_.node(p_.nodes[v]);
      if (has_trait(n.op, kHasBody)) continue;  // their bodies have them
      for (uint32_t r = 0; r < n.num_results; ++r) {
        const ValueId value(n.first_result.index + r);
        if (!written_[value.index]) continue;
        p_.host[v] += picoseconds(bytes(value) / costs_.host_bytes);
        p_.device[v] += picoseconds(bytes(value) / costs_.device_bytes);
      }
    }
  }

  // The caller reads outputs on the host. A state stays where its new value is made.
  void mark_outputs() {
    std::vector<bool> is_state(graph_.outputs().size(), false);
    for (const State& s : graph_.states()) {
      if (s.output != State::kUnchanged) is_state[s.output] = true;
      keep_state(s);
    }
    for (size_t i = 0; i < is_state.size(); ++i) {
      const ValueId v(p_.root_of[graph_.outputs()[i].value.index]);
      if (!is_state[i]) read_at_end(v);
    }
  }

  // What the caller, or the host, takes when all is computed: no kernel ends for it.
  void read_at_end(ValueId v) {
    if (anywhere_[graph_.producer(v).index] || p_.maker_of[v.index] == kNoVariable) return;
    Net& net = net_for(v);
    if (!net.host_reads) {
      net.down = picoseconds(costs_.transfer + bytes(v) / costs_.transfer_bytes);
    }
    net.host_reads = true;
  }

  // The host decides by the condition. What is carried stays where it is made.
  void mark_turn() {
    read_at_end(ValueId(p_.root_of[graph_.outputs()[0].value.index]));
    for (uint32_t i = 1; i <= use_.carried; ++i) {
      keep(graph_.inputs()[i].value, graph_.outputs()[i].value);
    }
  }

  void keep_state(const State& s) {
    const ValueId old = graph_.inputs()[s.input].value;
    keep(old, s.output == State::kUnchanged ? old : graph_.outputs()[s.output].value);
  }

  // The input is, in the next run or turn, what `next` is in this one.
  void keep(ValueId old, ValueId next) {
    if (net_of_[old.index] == kNoVariable) return;  // not read
    Net& net = p_.nets[net_of_[old.index]];
    const ValueId root(p_.root_of[next.index]);
    const NodeId maker = graph_.producer(root);
    if (anywhere_[maker.index] || graph_.node(maker).op == Op::input) {
      net.up = 0;
    } else {
      net.maker = maker;
      net.producer = p_.maker_of[root.index];
    }
  }

  void collect_readers() {
    // By net; each net's are in the order of the variables, those of one variable next to each other.
    for (const auto& [net, variable] : reads_) ++p_.nets[net].num_readers;
    uint32_t begin = 0;
    for (Net& n : p_.nets) {
      n.first_reader = begin;
      begin += n.num_readers;
      n.num_readers = 0;
    }
    p_.readers.resize(begin);
    for (const auto& [net, variable] : reads_) {
      Net& n = p_.nets[net];
      if (n.producer == variable) continue;  // a state's new value from its old one
      const bool again =
          n.num_readers > 0 && p_.readers[n.first_reader + n.num_readers - 1] == variable;
      if (!again) p_.readers[n.first_reader + n.num_readers++] = variable;
    }
    std::vector<uint32_t>& first = p_.first_net;
    first.assign(p_.nodes.size() + 1, 0);
    const auto each = [&](const auto& visit) {
      for (uint32_t i = 0; i < p_.nets.size(); ++i) {
        const Net& n = p_.nets[i];
        if (n.producer != kNoVariable) visit(n.producer, i);
        for (uint32_t k = 0; k < n.num_readers; ++k) visit(p_.readers[n.first_reader + k], i);
      }
    };
    each([&](uint32_t v, uint32_t) { ++first[v + 1]; });
    for (size_t v = 0; v < p_.nodes.size(); ++v) first[v + 1] += first[v];
    p_.nets_of.resize(first.back());
    std::vector<uint32_t> fill(first.begin(), first.end() - 1);
    each([&](uint32_t v, uint32_t net) { p_.nets_of[fill[v]++] = net; });
  }

  PlacementProblem& p_;
  const Graph& graph_;
  const PlacementCosts& costs_;
  AssumedSizes& sizes_;
  const GraphUse& use_;
  const BodyCosts& bodies_;
  const double most_seconds_;   // of one node or copy
  std::vector<bool> anywhere_;  // per node
  std::vector<double>
      read_bytes_;                // per value: what a reader takes from memory, through index maps
  std::vector<bool> written_;     // per value: a kernel other than its own reads it
  std::vector<uint32_t> net_of_;  // per value
  std::vector<std::pair<uint32_t, uint32_t>> reads_;  // net, variable
  bool leads_ = false;                                // the node at hand begins a kernel
};

}  // namespace

double AssumedSizes::elements(TypeId type) {
  if (type.index >= elements_.size()) elements_.resize(type.index + 1, -1);
  double& n = elements_[type.index];
  if (n >= 0) return n;
  n = 1;
  for (DimId d : context_.types[type].dims) {
    n *= static_cast<double>(std::max<int64_t>(extent(d), 0));
  }
  return n;
}

double AssumedSizes::bytes(TypeId type) {
  return elements(type) * static_cast<double>(byte_size(context_.types[type].dtype));
}

PlacementProblem::PlacementProblem(const Graph& graph, const PlacementCosts& costs,
                                   AssumedSizes& sizes, const GraphUse& use,
                                   const BodyCosts& bodies) {
  variable_of.reserve(graph.num_nodes());
  root_of.reserve(graph.num_values());
  Builder(*this, graph, costs, sizes, use, bodies).run();
}

BodyCost PlacementProblem::cost(const Graph& graph, const std::vector<uint8_t>& on_device) const {
  BodyCost c;
  c.host = total(std::vector<uint8_t>(nodes.size(), 0));
  c.placed = total(on_device);
  c.uses_cuda = std::ranges::find(on_device, 1) != on_device.end();
  std::vector<bool> there(graph.num_values(), false), here(graph.num_values(), false);
  for (const Net& n : nets) {
    here[n.value.index] = n.host_reads;
    for (uint32_t k = 0; k < n.num_readers; ++k) {
      const bool reads_there = on_device[readers[n.first_reader + k]] != 0;
      (reads_there ? there : here)[n.value.index] = true;
    }
  }
  for (const Port& input : graph.inputs()) {
    c.reads_there.push_back(there[input.value.index]);
    c.reads_here.push_back(here[input.value.index]);
  }
  for (const Port& output : graph.outputs()) {
    const uint32_t maker = maker_of[root_of[output.value.index]];
    c.made_there.push_back(maker != kNoVariable && on_device[maker] != 0);
  }
  return c;
}

int64_t PlacementProblem::total(const std::vector<uint8_t>& on_device) const {
  int64_t sum = fixed;
  bool any = false;
  for (size_t v = 0; v < nodes.size(); ++v) {
    sum += on_device[v] ? device[v] : host[v];
    any = any || on_device[v] != 0;
  }
  for (const Net& n : nets) {
    uint32_t there = 0;  // readers on the GPU
    for (uint32_t k = 0; k < n.num_readers; ++k) there += on_device[readers[n.first_reader + k]];
    if (n.producer != kNoVariable && on_device[n.producer]) {
      if (n.host_reads || there < n.num_readers) sum += n.down;
    } else if (there > 0) {
      sum += n.up;
    }
  }
  return any ? sum + run : sum;
}

}  // namespace gcomp::passes
