// From steps to Schedules and back. In each region (regions.h) the steps of one group, as far as they
// follow each other, are one node; a region within is one node too. The values are pieces of memory
// that one node writes, others read, and nothing outside of the region knows.

#include "gcomp/lower/arrange.h"

#include <algorithm>
#include <optional>

#include "gcomp/ir/states.h"
#include "gcomp/schedule/check.h"
#include "gcomp/schedule/peak.h"
#include "gcomp/support/error.h"
#include "regions.h"

namespace gcomp::lower {
namespace {

constexpr uint32_t kNone = 0xffffffffu, kSeveral = 0xfffffffeu;
// What unknown extents are taken for: the first for choices, the others must agree.
constexpr int64_t kUnknownExtents[] = {64, 3, 1000};

// What a step demands of the order.
enum class Order : uint8_t {
  kFree,
  kInOrder,  // may fail: the first failing step of a run tells its message
  kBarrier,  // nothing moves across: control flow, and what makes extents known or sure
};

Order order_of(const Step& s) {
  switch (s.kind) {
    case Step::Kind::kCall: return s.messages.empty() ? Order::kFree : Order::kInOrder;
    case Step::Kind::kCopy:
    case Step::Kind::kFill:
    case Step::Kind::kStoreDims: return Order::kFree;
    case Step::Kind::kCheck: return Order::kInOrder;
    default: return Order::kBarrier;
  }
}

bool is_written(const kernel::Kernel& k, size_t position) {
  for (const kernel::BufferInfo& b : k.buffers) {
    if (kernel::is_parameter(b.role) && b.slot == position) return b.role != kernel::Role::kIn;
  }
  GCOMP_CHECK(false, "a kernel is called with too many buffers");
}

bool writes(const LoweredModule& module, const Step& s, size_t position) {
  switch (s.kind) {
    case Step::Kind::kCall: return is_written(module.kernels[s.kernel], position);
    case Step::Kind::kCheck:
    case Step::Kind::kBind: return false;
    case Step::Kind::kCopy: return position == 0;
    default: return true;
  }
}

// Memory behind views, and what of it is whole: shares the first byte and the size.
class Roots {
 public:
  explicit Roots(const LoweredModule& module)
      : roots_(module.memory.size(), kNone), whole_(module.memory.size(), true) {
    const DimTable& dims = module.graph->context().dims;
    std::vector<uint32_t> chain;
    for (uint32_t i = 0; i < roots_.size(); ++i) {
      uint32_t m = i;
      while (roots_[m] == kNone && module.memory[m].kind == Memory::Kind::kView) {
        chain.push_back(m);
        m = module.memory[m].index;
      }
      if (roots_[m] == kNone) roots_[m] = m;
      for (uint32_t base = m; !chain.empty(); chain.pop_back()) {
        const Memory& view = module.memory[chain.back()];
        roots_[chain.back()] = roots_[m];
        whole_[chain.back()] = whole_[base] && dims.is_constant(view.offset, 0) &&
                               view.bytes == module.memory[base].bytes;
        base = chain.back();
      }
    }
  }
  uint32_t operator[](MemoryId m) const { return roots_[m.index]; }
  bool is_whole(MemoryId m) const { return whole_[m.index]; }

 private:
  std::vector<uint32_t> roots_;
  std::vector<bool> whole_;
};

// A node of a region: steps [begin, end), or those of a region within.
struct Node {
  uint32_t begin = 0, end = 0;
  uint32_t region = kNone;
  Order order = Order::kFree;
};

struct Mention {
  uint32_t node, root;
  bool writes;
};

struct Work {  // a region while its steps are walked over
  uint32_t region = 0;
  std::vector<Node> nodes = {};
  std::vector<Mention> mentions = {};  // in order; of memory known here only
};

class Arranger {
 public:
  Arranger(LoweredModule& module, const ArrangeOptions& options)
      : module_(module),
        options_(options),
        dims_(module.graph->context().dims),
        roots_(module),
        regions_(find_regions(module)),
        orders_(regions_.size()),
        local_(module.memory.size(), kNone),
        input_of_(module.memory.size(), kNone),
        over_(module.memory.size(), kNone) {
    for (uint32_t m = 0; m < input_of_.size(); ++m) {
      if (module.memory[m].kind == Memory::Kind::kInput) input_of_[m] = module.memory[m].index;
    }
    find_states();
    for (const int64_t extent : kUnknownExtents) {
      sizes_.emplace_back(dims_.num_symbols(), extent);
      if (dims_.num_symbols() == 0) break;
    }
  }

  void run() {
    find_homes();
    walk();
    apply();
  }

 private:
  // States whose memory no other state takes.
  void find_states() {
    const Graph& graph = *module_.graph;
    state_of_input_.assign(graph.inputs().size(), kNone);
    output_of_state_.assign(graph.states().size(), kNone);
    const StateFlow flow(graph);
    std::vector<bool> free = flow.written;
    for (const auto& [piece, other] : flow.swaps) {
      if (piece / 2 != other / 2) free[piece / 2] = free[other / 2] = false;
    }
    for (uint32_t s = 0; s < free.size(); ++s) {
      if (!free[s]) continue;
      state_of_input_[graph.states()[s].input] = s;
      output_of_state_[s] = graph.states()[s].output;
    }
  }

  // ---- Which region knows which memory.

  bool contains(uint32_t outer, uint32_t inner) const {
    return regions_[outer].begin <= regions_[inner].begin &&
           regions_[inner].end <= regions_[outer].end;
  }

  void find_homes() {
    home_.assign(module_.memory.size(), kNone);
    std::vector<uint32_t> open;
    uint32_t next = 0;
    for (uint32_t i = 0; i < module_.steps.size(); ++i) {
      while (!open.empty() && regions_[open.back()].end <= i) open.pop_back();
      for (; next < regions_.size() && regions_[next].begin == i; ++next) open.push_back(next);
      for (const MemoryId m : module_.steps[i].memory) {
        if (!m.valid()) continue;
        uint32_t& home = home_[roots_[m]];
        if (home == kNone) home = open.back();
        while (!contains(home, open.back())) home = regions_[home].parent;
      }
    }
    for (uint32_t m = 0; m < module_.memory.size(); ++m) {
      const Memory::Kind kind = module_.memory[m].kind;
      if (kind == Memory::Kind::kInput || kind == Memory::Kind::kOutput) home_[m] = 0;
    }
  }

  // ---- Nodes and what they mention.

  void walk() {
    std::vector<Work> open;
    uint32_t next = 0;
    const auto close = [&] {
      solve(open.back());
      open.pop_back();
    };
    for (uint32_t i = 0; i < module_.steps.size(); ++i) {
      while (!open.empty() && regions_[open.back().region].end <= i) close();
      for (; next < regions_.size() && regions_[next].begin == i; ++next) {
        if (!open.empty()) {
          open.back().nodes.push_back({i, regions_[next].end, next, Order::kBarrier});
        }
        open.push_back({.region = next});
      }
      add_step(open, i);
    }
    while (!open.empty()) close();
  }

  void add_step(std::vector<Work>& open, uint32_t i) {
    const Step& s = module_.steps[i];
    std::vector<Node>& nodes = open.back().nodes;
    const Order order = order_of(s);
    const bool joins = !nodes.empty() && nodes.back().end == i && nodes.back().region == kNone &&
                       !is_control(s) && !is_control(module_.steps[i - 1]) &&
                       module_.steps[i - 1].group == s.group;
    if (joins) {
      nodes.back().end = i + 1;
      nodes.back().order = std::max(nodes.back().order, order);
    } else {
      nodes.push_back({i, i + 1, kNone, order});
    }
    for (size_t k = 0; k < s.memory.size(); ++k) {
      const MemoryId m = s.memory[k];
      if (!m.valid() || module_.memory[roots_[m]].kind == Memory::Kind::kConstant) continue;
      Work& home = open[regions_[home_[roots_[m]]].depth];
      home.mentions.push_back(
          {static_cast<uint32_t>(home.nodes.size() - 1), roots_[m], writes(module_, s, k)});
    }
  }

  // ---- One region.

  void solve(Work& work) {
    schedule::ScheduleTables tables = tables_of(work);
    const schedule::ScheduleTables copy = options_.verify ? tables : schedule::ScheduleTables();
    schedule::InplaceStats stats;
    schedule::Schedule schedule(std::move(tables));
    schedule::InplacePlan plan = decide_inplace(schedule, options_.inplace, &stats);
    if (options_.lower_peak) lower_peak(work, schedule.tables(), plan);
    if (options_.verify) schedule::check_plan(copy, plan);
    add(stats);
    for (uint32_t v = 0; v < values_.size(); ++v) {
      if (plan.overwrites[v].valid()) over_[values_[v]] = values_[plan.overwrites[v].index];
      local_[values_[v]] = kNone;
    }
    std::vector<Node>& ordered = orders_[work.region];
    for (const uint32_t n : plan.order) ordered.push_back(work.nodes[n]);
  }

  void lower_peak(const Work& work, const schedule::ScheduleTables& tables,
                  schedule::InplacePlan& plan) {
    std::vector<bool> counts;  // it is a temporary, and no output is written over it
    for (const uint32_t root : values_) {
      counts.push_back(module_.memory[root].kind == Memory::Kind::kTemporary);
    }
    for (uint32_t v = 0; v < values_.size(); ++v) {
      if (module_.memory[values_[v]].kind != Memory::Kind::kOutput) continue;
      for (ValueId x = plan.overwrites[v]; x.valid(); x = plan.overwrites[x.index]) {
        counts[x.index] = false;
      }
    }
    std::vector<std::vector<uint64_t>> bytes;
    for (const std::vector<int64_t>& sizes : sizes_) {
      bytes.emplace_back();
      for (uint32_t v = 0; v < values_.size(); ++v) {
        bytes.back().push_back(counts[v] ? bytes_of(values_[v], sizes) : 0);
      }
    }
    const schedule::Peak peak = schedule::lower_peak(tables, bytes, plan);
    if (work.region == 0) module_.stats.peak = peak;
  }

  void add(const schedule::InplaceStats& s) {
    schedule::InplaceStats& all = module_.stats.inplace;
    all.candidates += s.candidates;
    all.attempts += s.attempts;
    all.by_labels += s.by_labels;
    all.by_edges += s.by_edges;
    for (size_t i = 0; i < s.refused.size(); ++i) all.refused[i] += s.refused[i];
    all.visits += s.visits;
    all.bytes_saved += s.bytes_saved;
    all.seconds += s.seconds;
  }

  schedule::ScheduleTables tables_of(const Work& work) {
    schedule::ScheduleTables t;
    t.name_of = [this, nodes = &work.nodes](uint32_t n) { return name((*nodes)[n]); };
    find_values(work, t);
    last_failing_ = kNone;
    for (uint32_t n = 0; n < work.nodes.size(); ++n) {
      if (work.nodes[n].order != Order::kFree) last_failing_ = n;
    }
    add_order(work, t);
    add_operands(work, t);
    for (uint32_t n = 0; options_.overwrite && n < work.nodes.size(); ++n) {
      if (work.nodes[n].region == kNone && work.nodes[n].order != Order::kBarrier) {
        add_candidates(work.nodes[n], n, t);
      }
    }
    return t;
  }

  std::string name(const Node& node) const {
    return module_.stats.groups.at(module_.steps[node.begin].group).nodes;
  }

  // Memory that one node writes before any reads it is a value; an input is one that no node writes. What
  // else is written keeps the order of all that mention it.
  void find_values(const Work& work, schedule::ScheduleTables& t) {
    values_.clear();
    for (const Mention& m : work.mentions) {
      if (local_[m.root] == kNone) {
        local_[m.root] = static_cast<uint32_t>(values_.size());
        values_.push_back(m.root);
        t.producer.push_back(m.writes ? m.node : schedule::kNoNode);
        t.protection.push_back(protection_of(m));
        t.bytes.push_back(bytes_of(m.root, sizes_[0]));
        continue;
      }
      const uint32_t v = local_[m.root];
      if (m.writes && t.producer[v] != m.node) t.protection[v] = schedule::Protection::kOutput;
    }
    t.view_of.resize(values_.size());
    keeps_order_.assign(values_.size(), false);
    for (const Mention& m : work.mentions) {
      const uint32_t v = local_[m.root];
      const uint32_t producer = t.producer[v];
      if (m.writes && producer != m.node) keeps_order_[v] = true;
      if (producer != schedule::kNoNode && work.nodes[producer].order == Order::kBarrier) {
        t.protection[v] = schedule::Protection::kOutput;
      }
    }
  }

  // `first`: its first mention. What is read first is an input, or comes from the turn before.
  schedule::Protection protection_of(const Mention& first) const {
    const Memory& memory = module_.memory[first.root];
    const Memory::Kind kind = memory.kind;
    if (kind == Memory::Kind::kInput) {
      // Of what is on both devices the runtime keeps the two alike.
      if (memory.device != Device::kHost) return schedule::Protection::kInput;
      const bool free =
          module_.graph->inputs()[memory.index].donate || state_of_input_[memory.index] != kNone;
      return free ? schedule::Protection::kNone : schedule::Protection::kInput;
    }
    return kind == Memory::Kind::kTemporary && first.writes ? schedule::Protection::kNone
                                                            : schedule::Protection::kOutput;
  }

  uint64_t bytes_of(uint32_t root, const std::vector<int64_t>& sizes) const {
    const DimId bytes = module_.memory[root].bytes;
    if (!bytes.valid()) return 0;
    return static_cast<uint64_t>(std::max<int64_t>(dims_.evaluate(bytes, sizes), 0));
  }

  void add_order(const Work& work, schedule::ScheduleTables& t) const {
    uint32_t barrier = kNone, may_fail = kNone;
    for (uint32_t n = 0; n < work.nodes.size(); ++n) {
      if (work.nodes[n].order == Order::kBarrier) {
        for (uint32_t k = barrier == kNone ? 0 : barrier; k < n; ++k) t.before.emplace_back(k, n);
        barrier = n;
        may_fail = kNone;
        continue;
      }
      if (barrier != kNone) t.before.emplace_back(barrier, n);
      if (work.nodes[n].order != Order::kInOrder) continue;
      if (may_fail != kNone) t.before.emplace_back(may_fail, n);
      may_fail = n;
    }
    std::vector<uint32_t> last(values_.size(), kNone);
    for (const Mention& m : work.mentions) {
      const uint32_t v = local_[m.root];
      if (!keeps_order_[v]) continue;
      if (last[v] != kNone && last[v] != m.node) t.before.emplace_back(last[v], m.node);
      last[v] = m.node;
    }
  }

  void add_operands(const Work& work, schedule::ScheduleTables& t) const {
    std::vector<uint32_t> last_node(values_.size(), kNone);  // that was found to read the value
    std::vector<std::pair<uint32_t, uint32_t>> reads;        // node, value
    for (const Mention& m : work.mentions) {
      const uint32_t v = local_[m.root];
      if (t.producer[v] == m.node || keeps_order_[v] || last_node[v] == m.node) continue;
      last_node[v] = m.node;
      reads.emplace_back(m.node, v);
    }
    t.first_operand.assign(work.nodes.size() + 1, 0);  // mentions are by increasing node
    for (const auto& [node, v] : reads) {
      ++t.first_operand[node + 1];
      t.operands.push_back(ValueId(v));
    }
    for (size_t n = 0; n < work.nodes.size(); ++n) t.first_operand[n + 1] += t.first_operand[n];
  }

  // ---- What one group may overwrite.

  void add_candidates(const Node& node, uint32_t n, schedule::ScheduleTables& t) {
    const std::vector<uint32_t> results = results_of(node, n, t);
    for (const ValueId x : t.operands_of(n)) {
      const uint32_t from = values_[x.index];
      const bool is_state = module_.memory[from].kind == Memory::Kind::kInput &&
                            state_of_input_[module_.memory[from].index] != kNone;
      // A run that fails must leave the old value.
      if (is_state && last_failing_ != kNone && n < last_failing_) continue;
      for (const uint32_t to : results) {
        if (!may_share(from, to) || (is_state && fails_later(node, to))) continue;
        const std::optional<bool> same_index = may_overwrite(node, from, to);
        if (!same_index) continue;
        t.candidates.push_back({ValueId(local_[to]), x, *same_index});
        if (is_state && last_failing_ != kNone && last_failing_ != n)
          t.before.emplace_back(last_failing_, n);
        if (t.protection[x.index] == schedule::Protection::kNone) join_input(to, input_of_[from]);
      }
    }
  }

  // Whether a step of the node may fail once it has begun to write to `root`.
  bool fails_later(const Node& node, uint32_t root) const {
    bool written = false;
    for (uint32_t i = node.begin; i < node.end; ++i) {
      written = written || mentions(module_.steps[i], root);
      if (written && order_of(module_.steps[i]) != Order::kFree) return true;
    }
    return false;
  }

  // `root` may come to lie in that input's memory.
  void join_input(uint32_t root, uint32_t input) {
    if (input == kNone) return;
    const bool is_first = input_of_[root] == kNone || input_of_[root] == input;
    input_of_[root] = is_first ? input : kSeveral;
  }

  // Roots that the node writes and others may know: values of this region.
  std::vector<uint32_t> results_of(const Node& node, uint32_t n,
                                   const schedule::ScheduleTables& t) const {
    std::vector<uint32_t> results;
    for (uint32_t i = node.begin; i < node.end; ++i) {
      for (const MemoryId m : module_.steps[i].memory) {
        if (!m.valid()) continue;
        const uint32_t v = local_[roots_[m]];
        if (v != kNone && !keeps_order_[v] && t.producer[v] == n) results.push_back(roots_[m]);
      }
    }
    std::ranges::sort(results);
    results.erase(std::ranges::unique(results).begin(), results.end());
    return results;
  }

  bool may_share(uint32_t from, uint32_t to) const {
    const Memory &x = module_.memory[from], &y = module_.memory[to];
    if (x.device != y.device) return false;
    if (!x.bytes.valid() || x.bytes != y.bytes || dims_.is_constant(x.bytes, 0)) return false;
    if (y.kind == Memory::Kind::kTemporary) return true;
    if (y.kind != Memory::Kind::kOutput) return false;
    // An output is no input's memory, but for a state's.
    const uint32_t input = input_of_[from];
    if (input == kNone) return is_there_early(y);
    if (input == kSeveral || state_of_input_[input] == kNone) return false;
    return output_of_state_[state_of_input_[input]] == y.index;
  }

  // Whether the output's memory is there as soon as its size is known.
  bool is_there_early(const Memory& output) const {
    const Graph& graph = *module_.graph;
    std::vector<SymbolId> needed, of_size;
    for (const DimId d : graph.type(graph.outputs()[output.index].value).dims) {
      dims_.collect_symbols(d, &needed);
    }
    dims_.collect_symbols(output.bytes, &of_size);
    return std::ranges::all_of(
        needed, [&](SymbolId s) { return std::ranges::find(of_size, s) != of_size.end(); });
  }

  // Whether the node's steps read all they need of `from` before they write over it; with true if each
  // element is read just before it is written.
  std::optional<bool> may_overwrite(const Node& node, uint32_t from, uint32_t to) const {
    bool written = false, same_index = true;
    for (uint32_t i = node.begin; i < node.end; ++i) {
      const Step& s = module_.steps[i];
      const bool reads = mentions(s, from), here = mentions(s, to);
      if (reads && here) {
        if (!overwrites(s, from, to)) return std::nullopt;
        if (s.kind == Step::Kind::kCopy && written) return std::nullopt;
      } else if (reads) {
        if (written) return std::nullopt;
        same_index = false;
      }
      written = written || here;
    }
    return same_index;
  }

  bool mentions(const Step& s, uint32_t root) const {
    return std::ranges::any_of(s.memory,
                               [&](MemoryId m) { return m.valid() && roots_[m] == root; });
  }

  bool overwrites(const Step& s, uint32_t from, uint32_t to) const {
    for (const MemoryId m : s.memory) {
      const bool one = m.valid() && (roots_[m] == from || roots_[m] == to);
      if (one && !roots_.is_whole(m)) return false;
    }
    if (s.kind == Step::Kind::kCopy) return s.extent == module_.memory[to].bytes;
    if (s.kind != Step::Kind::kCall) return false;
    for (uint16_t w = 0; w < s.memory.size(); ++w) {
      if (!s.memory[w].valid() || roots_[s.memory[w]] != to) continue;
      for (uint16_t r = 0; r < s.memory.size(); ++r) {
        if (!s.memory[r].valid() || roots_[s.memory[r]] != from) continue;
        const auto is_pair = [&](const Overwrite& o) { return o.written == w && o.read == r; };
        if (!std::ranges::any_of(s.overwrites, is_pair)) return false;
      }
    }
    return true;
  }

  // ---- The decisions, in the steps.

  void apply() {
    join_memory();
    std::vector<Step> steps;
    steps.reserve(module_.steps.size());
    struct Place {
      uint32_t region;
      size_t next;
    };
    std::vector<Place> open = {{0, 0}};
    while (!open.empty()) {
      Place& top = open.back();
      if (top.next == orders_[top.region].size()) {
        open.pop_back();
        continue;
      }
      const Node& node = orders_[top.region][top.next++];
      if (node.region != kNone) {
        open.push_back({node.region, 0});
        continue;
      }
      for (uint32_t i = node.begin; i < node.end; ++i) add_step(std::move(module_.steps[i]), steps);
    }
    module_.steps = std::move(steps);
  }

  void add_step(Step s, std::vector<Step>& steps) {
    if (s.kind == Step::Kind::kCopy && is_same(s.memory[0], s.memory[1])) {
      ++module_.stats.saved_copies;
      return;
    }
    for (MemoryId& m : s.memory) {
      if (m.valid() && same_[m.index].valid()) m = same_[m.index];
    }
    steps.push_back(std::move(s));
  }

  void overwrite_state(uint32_t input) {
    const uint32_t state = state_of_input_[input];
    module_.overwritten_states[state] = true;
    module_.unwritten[output_of_state_[state]] = true;
  }

  bool is_same(MemoryId a, MemoryId b) const {
    return roots_.is_whole(a) && roots_.is_whole(b) && chain_[roots_[a]] == chain_[roots_[b]];
  }

  static uint32_t last_of(uint32_t first, const std::vector<uint32_t>& next) {
    while (next[first] != kNone) first = next[first];
    return first;
  }

  // A state's old value gives its memory to its new value only: it may lie in the artifact's constants, and stays
  // where it is if the new one comes to lie elsewhere.
  void spare_states(std::vector<uint32_t>& next) {
    for (uint32_t first = 0; first < over_.size(); ++first) {
      if (over_[first] != kNone || next[first] == kNone) continue;
      const Memory& memory = module_.memory[first];
      if (memory.kind != Memory::Kind::kInput || state_of_input_[memory.index] == kNone) continue;
      if (module_.memory[last_of(first, next)].kind == Memory::Kind::kOutput) continue;
      over_[next[first]] = kNone;
      next[first] = kNone;
    }
  }

  // All that overwrite one another are the first of them, or the output that is the last.
  void join_memory() {
    std::vector<uint32_t> next(module_.memory.size(), kNone);
    for (uint32_t m = 0; m < over_.size(); ++m) {
      if (over_[m] != kNone) next[over_[m]] = m;
    }
    spare_states(next);
    same_.assign(module_.memory.size(), MemoryId());
    chain_.resize(module_.memory.size());
    for (uint32_t m = 0; m < chain_.size(); ++m) chain_[m] = m;
    for (uint32_t first = 0; first < over_.size(); ++first) {
      if (over_[first] != kNone || next[first] == kNone) continue;
      const uint32_t last = last_of(first, next);
      const bool is_output = module_.memory[last].kind == Memory::Kind::kOutput;
      const bool is_input = module_.memory[first].kind == Memory::Kind::kInput;
      if (is_output && is_input) overwrite_state(module_.memory[first].index);
      const MemoryId one(is_output && !is_input ? last : first);
      for (uint32_t m = first; m != kNone; m = next[m]) {
        if (m != one.index) same_[m] = one;
        chain_[m] = first;
      }
    }
    const DimId zero = module_.graph->context().dims.constant(0);
    for (uint32_t m = 0; m < same_.size(); ++m) {
      Memory& memory = module_.memory[m];
      if (same_[m].valid() && memory.dtype != module_.memory[same_[m].index].dtype) {
        memory.kind = Memory::Kind::kView;
        memory.index = same_[m].index;
        memory.offset = zero;
        same_[m] = MemoryId();
      } else if (memory.kind == Memory::Kind::kView && same_[memory.index].valid()) {
        memory.index = same_[memory.index].index;
      }
    }
  }

  LoweredModule& module_;
  const ArrangeOptions& options_;
  const DimTable& dims_;
  std::vector<std::vector<int64_t>> sizes_;  // per symbol, several times
  Roots roots_;
  std::vector<Region> regions_;
  std::vector<uint32_t> home_;             // per root: the region that holds every mention
  std::vector<std::vector<Node>> orders_;  // per region
  std::vector<uint32_t> local_;            // per root: its value in the region being solved
  std::vector<uint32_t> input_of_;  // per root: the input whose memory it may have, kNone, kSeveral
  std::vector<uint32_t> state_of_input_;   // per input: its state if that may be overwritten
  std::vector<uint32_t> output_of_state_;  // per such state
  uint32_t last_failing_ = kNone;          // node of the region being solved
  std::vector<uint32_t> values_;           // roots, of that region
  std::vector<bool> keeps_order_;          // per value: written by several
  std::vector<uint32_t> over_;             // per root: the one it overwrites
  std::vector<MemoryId> same_;             // per memory: what takes its place
  std::vector<uint32_t> chain_;  // per root: the first of those that overwrite one another
};

}  // namespace

void arrange(LoweredModule& module, const ArrangeOptions& options) {
  Arranger(module, options).run();
}

}  // namespace gcomp::lower
