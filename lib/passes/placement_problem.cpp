#include "placement_problem.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "gcomp/rewrite/cost.h"

namespace gcomp::passes {
namespace {

int64_t picoseconds(double seconds) { return std::llround(std::min(seconds, 1e5) * 1e12); }

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

class Builder {
 public:
  Builder(PlacementProblem& p, const Graph& graph, const PlacementCosts& costs)
      : p_(p),
        graph_(graph),
        costs_(costs),
        anywhere_(graph.num_nodes(), false),
        read_bytes_(graph.num_values(), 0),
        written_(graph.num_values(), false),
        net_of_(graph.num_values(), kNoVariable) {
    symbols_.assign(graph.context().dims.num_symbols(), costs.extent);
  }

  void run() {
    for (uint32_t i = 0; i < graph_.num_nodes(); ++i) visit(NodeId(i));
    for (const Port& out : graph_.outputs()) {
      const uint32_t root = p_.root_of[out.value.index];
      written_[root] = true;
    }
    add_writes();
    mark_outputs();
    collect_readers();
  }

 private:
  double elements(ValueId v) {
    const uint32_t id = graph_.type_id(v).index;
    if (id >= elements_.size()) {
      elements_.resize(id + 1, -1);
      p_.bytes_of_type.resize(id + 1, 0);
    }
    double& n = elements_[id];
    if (n >= 0) return n;
    const DimTable& dims = graph_.context().dims;
    const Type& type = graph_.type(v);
    n = 1;
    for (DimId d : type.dims) {
      n *= static_cast<double>(std::max<int64_t>(dims.evaluate(d, symbols_), 0));
    }
    p_.bytes_of_type[id] = n * static_cast<double>(byte_size(type.dtype));
    return n;
  }
  double bytes(ValueId v) {
    elements(v);
    return p_.bytes_of_type[graph_.type_id(v).index];
  }
  double axis_extent(ValueId v, int64_t axis) const {
    const Type& type = graph_.type(v);
    const int64_t n =
        graph_.context().dims.evaluate(type.dims[static_cast<size_t>(axis)], symbols_);
    return static_cast<double>(std::max<int64_t>(n, 1));
  }

  void visit(NodeId id) {
    const Node& n = graph_.node(id);
    const auto operands = graph_.operands(n);
    p_.variable_of.push_back(kNoVariable);
    for (uint32_t r = 0; r < n.num_results; ++r) {
      const ValueId v(n.first_result.index + r);
      p_.root_of.push_back(r == 0 && renames(n.op) ? p_.root_of[operands[0].index] : v.index);
      read_bytes_[v.index] = bytes(v);
    }
    anywhere_[id.index] = is_anywhere(n);
    if (renames(n.op)) read_bytes_[n.first_result.index] = read_bytes_[operands[0].index];
    if (is_map(n.op) && n.op != Op::gather) {
      double& read = read_bytes_[n.first_result.index];
      read = std::min(read, read_bytes_[operands[0].index]);
    }
    if (anywhere_[id.index] || n.op == Op::input) return;
    if (n.op == Op::check) return read(operands[1], kNoVariable);
    if (n.op == Op::bind_dims) return read(operands[0], kNoVariable);
    if (renames(n.op)) return;
    if (!cuda_obstacle(graph_, id).empty() || has_trait(n.op, kHasBody)) {
      for (ValueId o : operands) read(o, kNoVariable);
      return;
    }
    const auto variable = static_cast<uint32_t>(p_.nodes.size());
    p_.variable_of[id.index] = variable;
    p_.nodes.push_back(id);
    const double bytes_read = read_all(n, variable);
    add_costs(n, bytes_read);
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

  void read(ValueId o, uint32_t variable) {
    if (anywhere_[graph_.producer(o).index]) return;
    const uint32_t root = p_.root_of[o.index];
    if (anywhere_[graph_.producer(ValueId(root)).index]) return;
    Net& net = net_for(ValueId(root));
    if (variable == kNoVariable) {
      net.host_reads = true;
    } else {
      reads_.emplace_back(net_of_[root], variable);
    }
  }

  Net& net_for(ValueId root) {
    uint32_t& number = net_of_[root.index];
    if (number == kNoVariable) {
      number = static_cast<uint32_t>(p_.nets.size());
      const NodeId p = graph_.producer(root);
      Net net{.value = root, .maker = p, .producer = p_.variable_of[p.index]};
      // A cut between two nodes of one kernel makes it two.
      const double copy = costs_.transfer + bytes(root) / costs_.transfer_bytes;
      net.up = net.down = picoseconds(copy + costs_.launch);
      if (graph_.node(p).op == Op::input) net.up = picoseconds(copy);
      p_.nets.push_back(net);
    }
    return p_.nets[number];
  }

  // Steps that one thread does after another, and whether each goes to memory.
  double serial_seconds(const Node& n) {
    const Attrs attrs = graph_.attrs(n);
    const auto operands = graph_.operands(n);
    const auto along_axis = [&](ValueId v) { return axis_extent(v, attrs.integer(AttrKey::axis)); };
    switch (n.op) {
      case Op::cumsum:
      case Op::cumprod: return costs_.device_step * 2 * along_axis(operands[0]);
      case Op::sort:
      case Op::top_k: {
        const double length = along_axis(operands[0]);
        return costs_.device_visit * length * std::max(1.0, std::log2(length));
      }
      case Op::scatter_elements: return costs_.device_visit * along_axis(operands[1]);
      case Op::scatter_nd: {
        const double tuple = axis_extent(
            operands[1], static_cast<int64_t>(graph_.type(operands[1]).dims.size()) - 1);
        return costs_.device_visit * elements(operands[1]) / tuple;
      }
      case Op::matmul:
      case Op::conv:
      case Op::conv_transpose:
        return costs_.device_step * products(n) / std::max(1.0, elements(n.first_result));
      default: break;
    }
    if (!is_nest(n.op) || has_trait(n.op, kElementwise)) return 0;
    return costs_.device_step * elements(operands[0]) / std::max(1.0, elements(n.first_result));
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
      if (is_state[i] || anywhere_[graph_.producer(v).index]) continue;
      if (p_.variable_of[graph_.producer(v).index] == kNoVariable) continue;
      Net& net = net_for(v);
      if (!net.host_reads) {
        net.down = picoseconds(costs_.transfer + bytes(v) / costs_.transfer_bytes);
      }
      net.host_reads = true;
    }
  }

  void keep_state(const State& s) {
    const ValueId old = graph_.inputs()[s.input].value;
    if (net_of_[old.index] == kNoVariable) return;  // not read
    Net& net = p_.nets[net_of_[old.index]];
    net.is_state = true;
    if (s.output == State::kUnchanged) {
      net.up = 0;
      return;
    }
    const NodeId maker =
        graph_.producer(ValueId(p_.root_of[graph_.outputs()[s.output].value.index]));
    if (anywhere_[maker.index] || graph_.node(maker).op == Op::input) {
      net.up = 0;
    } else {
      net.maker = maker;
      net.producer = p_.variable_of[maker.index];
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
  std::vector<int64_t> symbols_;
  std::vector<double> elements_;  // per type; -1: not yet
  std::vector<bool> anywhere_;    // per node
  std::vector<double>
      read_bytes_;                // per value: what a reader takes from memory, through index maps
  std::vector<bool> written_;     // per value: a kernel other than its own reads it
  std::vector<uint32_t> net_of_;  // per value
  std::vector<std::pair<uint32_t, uint32_t>> reads_;  // net, variable
  bool leads_ = false;                                // the node at hand begins a kernel
};

}  // namespace

PlacementProblem::PlacementProblem(const Graph& graph, const PlacementCosts& costs) {
  run = picoseconds(costs.run);
  variable_of.reserve(graph.num_nodes());
  root_of.reserve(graph.num_values());
  Builder(*this, graph, costs).run();
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
