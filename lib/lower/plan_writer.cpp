#include "plan_writer.h"

#include <algorithm>

#include "cost.h"
#include "gcomp/support/error.h"

namespace gcomp::lower {

void ModuleState::insert_copies() {
  std::ranges::stable_sort(copies, {}, [](const auto& copy) { return copy.first; });
  std::vector<Step> steps;
  steps.reserve(module->steps.size() + copies.size());
  auto next = copies.begin();
  for (size_t i = 0; i <= module->steps.size(); ++i) {
    for (; next != copies.end() && next->first == i; ++next)
      steps.push_back(std::move(next->second));
    if (i < module->steps.size()) steps.push_back(std::move(module->steps[i]));
  }
  module->steps = std::move(steps);
  copies.clear();
}

PlanWriter::PlanWriter(const Graph& source, const Graph& graph, const schedule::Groups& groups,
                       const Places& places, ModuleState& state, PlanWriter* outer,
                       const std::vector<bool>* early)
    : graph_(graph),
      groups_(groups),
      places_(places),
      state_(state),
      outer_(outer),
      early_(early),
      required_(graph.num_nodes(), false),
      live_(graph.num_nodes(), false),
      group_begin_(state.module->steps.size()) {
  find_live();
  if (!state.options.trace) return;
  std::vector<GraphTrace>& traces = state.module->stats.traces;
  trace_ = traces.size();
  traces.push_back({.graph = &source,
                    .group_of = groups.group_of,
                    .stats_of = std::vector<uint32_t>(groups.groups.size(), schedule::kNoGroup),
                    .unfused = groups.unfused});
}

void PlanWriter::find_live() {
  for (const Port& p : graph_.outputs()) live_[graph_.producer(p.value).index] = true;
  for (size_t i = graph_.num_nodes(); i-- > 0;) {
    if (!live_[i]) continue;
    for (ValueId v : graph_.operands(NodeId(i))) live_[graph_.producer(v).index] = true;
  }
}

MemoryId PlanWriter::add_memory(Memory m) {
  state_.module->memory.push_back(m);
  return MemoryId(state_.module->memory.size() - 1);
}

MemoryId PlanWriter::temporary(DimId bytes, DType dtype, Device device) {
  return add_memory({.kind = Memory::Kind::kTemporary,
                     .index = 0,
                     .dtype = dtype,
                     .bytes = bytes,
                     .offset = {},
                     .device = device});
}

MemoryId PlanWriter::owned(DType dtype, Device device) {
  return add_memory({.kind = Memory::Kind::kOwned, .index = 0, .dtype = dtype, .device = device});
}

void PlanWriter::set_memory(ValueId v, MemoryId m, bool reserve) {
  const uint32_t root = groups_.storage[v.index].index;
  memory_[root] = m;
  if (reserve) unreserved_.insert(root);
}

void PlanWriter::set_value(ValueId v, PlanWriter& of, ValueId value) {
  names_.emplace(groups_.storage[v.index].index, Name{&of, value});
}

bool PlanWriter::fits(ValueId v) {
  const Memory& m = memory(home_memory(v));
  return m.kind == Memory::Kind::kOwned || m.bytes == num_bytes(v);
}

MemoryId PlanWriter::assigned_now(ValueId v) {
  const MemoryId m = home_memory(v);
  if (unreserved_.erase(groups_.storage[v.index].index) != 0) reserve(m, num_bytes(v));
  return m;
}

void PlanWriter::give(ValueId v, MemoryId from) {
  if (!is_assigned(v)) return set_memory(v, from);
  const MemoryId to = home_memory(v);
  if (to == from) return;
  if (!fits(v)) {  // memory of another name of the value, whose extents no one has compared yet
    require_equal(memory(to).bytes, num_bytes(v), "the number of elements changes");
  }
  copy(assigned_now(v), from, num_bytes(v));
}

DimId PlanWriter::num_bytes(ValueId v) {
  const auto size = static_cast<int64_t>(byte_size(graph_.type(v).dtype));
  return dims().mul(num_elements(v), dims().constant(size));
}

Device PlanWriter::home_of(ValueId v) const {
  if (places_.homes.empty()) return Device::kHost;
  const ValueId root = groups_.storage[v.index];
  const NodeId n = graph_.producer(root);
  const Op op = graph_.node(n).op;
  const bool made = op != Op::input && op != Op::constant && !has_trait(op, kHasBody);
  return made ? device_of(n) : places_.homes[root.index];
}

MemoryId PlanWriter::memory_on(ValueId v, Device device) {
  PlanWriter* w = this;
  ValueId root = groups_.storage[v.index];
  MemoryId found;
  std::vector<MemoryId*> same;  // of the names on the way there
  for (auto name = w->names_.find(root.index); name != w->names_.end() && !found.valid();
       name = w->names_.find(root.index)) {
    same.push_back(&name->second.memory[static_cast<size_t>(device)]);
    found = *same.back();
    w = name->second.of;
    root = w->groups_.storage[name->second.value.index];
  }
  if (!found.valid()) {
    found = device == w->home_of(root) ? w->own_memory(root) : w->memory_abroad(root, device);
  }
  for (MemoryId* const m : same) *m = found;
  return found;
}

// Not where it is written; no name of another value.
MemoryId PlanWriter::memory_abroad(ValueId root, Device device) {
  const auto [it, inserted] = abroad_.try_emplace(root.index);
  if (!inserted) return it->second;
  const Op op = graph_.producer_node(root).op;
  const bool is_input = op == Op::input && outer_ == nullptr;
  const bool copied = !is_input && op != Op::constant;  // those the runtime keeps on both
  const MemoryId home = own_memory(root);
  Memory m = memory(home);
  m.device = device;
  if (copied)
    m = {.kind = Memory::Kind::kTemporary,
         .dtype = m.dtype,
         .bytes = num_bytes(root),
         .device = device};
  it->second = add_memory(m);
  const MemoryId abroad = it->second;
  if (copied) insert_copy(root, abroad, home);
  return abroad;
}

// Before the steps of the current group: each way through a cond or loop needs it. Of an early value: before the
// first turn.
void PlanWriter::insert_copy(ValueId root, MemoryId to, MemoryId from) {
  LoweredModule& m = *state_.module;
  const LocId loc = graph_.producer_node(root).loc;
  const bool upload = memory(to).device == Device::kCuda;
  GroupStats s;
  if (loc != LocTable::none()) s.nodes = graph_.context().locs[loc] + ": ";
  s.nodes += upload ? "copy to the GPU" : "copy to the host";
  const auto number = static_cast<uint32_t>(m.stats.groups.size());
  m.stats.groups.push_back(std::move(s));
  Step copy{
      .kind = Step::Kind::kCopy, .memory = {to, from}, .extent = num_bytes(root), .group = number};
  const bool before_turns = early_end_ != 0 && is_early(root);
  state_.copies.emplace_back(before_turns ? early_end_ : group_begin_, std::move(copy));
}

MemoryId PlanWriter::own_memory(ValueId root) {
  const auto [it, inserted] = memory_.try_emplace(root.index);
  if (!inserted) return it->second;
  const Node& n = graph_.producer_node(root);
  MemoryId m;
  if (n.op == Op::constant) {
    m = add_memory({.kind = Memory::Kind::kConstant,
                    .index = graph_.attrs(n).constant(AttrKey::value).index,
                    .dtype = graph_.type(root).dtype,
                    .bytes = num_bytes(root),
                    .offset = {}});
  } else {
    GCOMP_CHECK(groups_.stored[root.index] && n.op != Op::input,
                "lower: value " + std::to_string(root.index) + " has no memory");
    m = add_memory({.kind = Memory::Kind::kTemporary,
                    .dtype = graph_.type(root).dtype,
                    .bytes = num_bytes(root),
                    .device = home_of(root)});
  }
  memory_[root.index] = m;
  return m;
}

void PlanWriter::begin_group(uint32_t group) {
  group_temporaries_.clear();
  group_ = group;
  group_begin_ = state_.module->steps.size();
  const schedule::Group& g = groups_.groups[group];
  const bool controls = has_trait(graph_.node(g.nodes[0]).op, kHasBody);
  device_ = controls ? Device::kHost : device_of(g.nodes[0]);
  GroupStats s;
  s.num_nodes = static_cast<uint32_t>(g.nodes.size());
  constexpr size_t kMaxNames = 12;
  const LocId loc = graph_.node(g.nodes.back()).loc;
  if (loc != LocTable::none()) s.nodes = graph_.context().locs[loc] + ": ";
  for (size_t i = 0; i < g.nodes.size() && i < kMaxNames; ++i) {
    s.nodes += (i ? " " : "") + std::string(name(graph_.node(g.nodes[i]).op));
  }
  if (g.nodes.size() > kMaxNames) s.nodes += " ...";
  stats_index_ = static_cast<uint32_t>(state_.module->stats.groups.size());
  state_.module->stats.groups.push_back(std::move(s));
  if (state_.options.trace) state_.module->stats.traces[trace_].stats_of[group] = stats_index_;
}

// "k12_conv_add_relu": the first ops of the group that a kernel was made for, for profilers.
std::string PlanWriter::kernel_name(uint32_t id) const {
  constexpr size_t kMaxOps = 3;
  std::string text = "k" + std::to_string(id);
  std::vector<Op> seen;
  for (NodeId n : groups_.groups[group_].nodes) {
    const Op op = graph_.node(n).op;
    if (seen.size() == kMaxOps || std::ranges::find(seen, op) != seen.end()) continue;
    seen.push_back(op);
    text += "_" + std::string(name(op));
  }
  return text;
}

uint32_t PlanWriter::kernel_id(kernel::Kernel k) {
  std::vector<uint32_t>& bucket = state_.kernel_ids[kernel::hash(k)];
  LoweredModule& m = *state_.module;
  for (uint32_t id : bucket) {
    if (m.kernels[id] == k && m.kernel_devices[id] == device_) return id;
  }
  const auto id = static_cast<uint32_t>(m.kernels.size());
  m.names.push_back(kernel_name(id));
  m.kernels.push_back(std::move(k));
  m.kernel_devices.push_back(device_);
  bucket.push_back(id);
  return id;
}

void PlanWriter::call(LoweredCall c) {
  if (c.grain != 0) {  // small work stays on one thread
    const double work = iteration_work(c.kernel, c.scalars, dims(), target().vector_bytes);
    c.grain = std::max(c.grain, grain_of_work(work));
  }
  Step s{.kind = Step::Kind::kCall,
         .kernel = kernel_id(std::move(c.kernel)),
         .memory = {},
         .scalars = std::move(c.scalars),
         .symbols = {},
         .extent = c.extent,
         .grain = c.grain,
         .messages = std::move(c.messages),
         .overwrites = std::move(c.overwrites)};
  for (const BufferArg& b : c.buffers) {
    switch (b.kind) {
      case BufferArg::Kind::kValue: s.memory.push_back(memory_of(b.value)); break;
      case BufferArg::Kind::kConstant: {
        const Constant& constant = graph_.context().constants[b.constant];
        s.memory.push_back(
            add_memory({.kind = Memory::Kind::kConstant,
                        .index = b.constant.index,
                        .dtype = b.dtype,
                        .bytes = dims().constant(static_cast<int64_t>(constant.bytes.size())),
                        .offset = {},
                        .device = device_}));
        break;
      }
      case BufferArg::Kind::kTemporary: {
        const auto [it, inserted] = group_temporaries_.try_emplace(b.key);
        if (inserted) {
          const auto size = static_cast<int64_t>(byte_size(b.dtype));
          it->second = temporary(dims().mul(b.elements, dims().constant(size)), b.dtype);
        }
        s.memory.push_back(it->second);
        break;
      }
      case BufferArg::Kind::kError:
        s.memory.push_back(MemoryId());  // the plan's error word
        break;
    }
  }
  ++state_.module->stats.kernel_calls;
  ++state_.module->stats.groups[stats_index_].calls;
  step(std::move(s));
}

void PlanWriter::step(Step s) {
  s.group = stats_index_;
  state_.module->steps.push_back(std::move(s));
}

void PlanWriter::jump(Step::Kind kind, uint32_t label, std::vector<MemoryId> memory,
                      std::vector<ScalarArg> scalars) {
  step({.kind = kind,
        .kernel = label,
        .memory = std::move(memory),
        .scalars = std::move(scalars),
        .symbols = {},
        .extent = {},
        .messages = {}});
}

void PlanWriter::copy(MemoryId to, MemoryId from, DimId bytes) {
  step({.kind = Step::Kind::kCopy, .memory = {to, from}, .extent = bytes});
}

void PlanWriter::fill(MemoryId m, DimId bytes, uint8_t byte) {
  step({.kind = Step::Kind::kFill, .kernel = byte, .memory = {m}, .extent = bytes});
}

void PlanWriter::reserve(MemoryId owned, DimId bytes) {
  step({.kind = Step::Kind::kReserve, .memory = {owned}, .extent = bytes});
}

void PlanWriter::alias(MemoryId owned, MemoryId to) {
  step({.kind = Step::Kind::kAlias, .memory = {owned, to}});
}

void PlanWriter::bind_values(std::vector<SymbolId> symbols, const std::vector<DimId>& values) {
  if (symbols.empty()) return;
  Step s{.kind = Step::Kind::kBindValues, .symbols = std::move(symbols)};
  for (DimId d : values) s.scalars.push_back({.dim = d});
  step(std::move(s));
}

void PlanWriter::require_less(DimId a, DimId b, const std::string& message) {
  const DimId slack = dims().sub(b, a);
  if (dims().lower_bound(slack).value_or(0) >= 1) return;
  step({.kind = Step::Kind::kRequireLess,
        .scalars = {{.dim = a}, {.dim = b}},
        .messages = {message}});
}

void PlanWriter::require_equal(DimId a, DimId b, const std::string& message) {
  if (a == b) return;
  const DimId one = dims().constant(1);
  require_less(a, dims().add(b, one), message);
  require_less(b, dims().add(a, one), message);
}

void PlanWriter::write_group(uint32_t g) {
  const schedule::Group& group = groups_.groups[g];
  for (ValueId v : group.outputs) {
    if (is_assigned(v)) assigned_now(v);
  }
  if (group.kind == schedule::GroupKind::kNest) {
    lower_nest(*this, g);
  } else {
    lowering_of(graph_.node(group.nodes[0]).op)(*this, g);
  }
}

void PlanWriter::write_early() {
  written_.resize(groups_.groups.size(), false);
  for (uint32_t g = 0; g < groups_.groups.size(); ++g) {
    const schedule::Group& group = groups_.groups[g];
    if (!(*early_)[group.nodes[0].index] || !is_needed(group)) continue;
    written_[g] = true;
    begin_group(g);
    require_extents(group.nodes);
    write_group(g);
  }
  early_end_ = state_.module->steps.size();
}

bool PlanWriter::is_needed(const schedule::Group& group) const {
  if (group.outputs.empty() && group.kind != schedule::GroupKind::kSingle) return false;
  return std::ranges::any_of(group.nodes, [&](NodeId n) { return live_[n.index]; });
}

// Of the outer graph only: how often nested ones are written is not known beforehand.
void PlanWriter::report_share(uint32_t group) const {
  constexpr uint32_t kBetweenReports = 4096;
  if (!state_.options.reached || group % kBetweenReports != 0 || &graph_ != state_.module->graph)
    return;
  state_.options.reached(static_cast<double>(group) / static_cast<double>(groups_.groups.size()));
}

std::optional<NodeId> PlanWriter::write_groups() {
  while (next_group_ < groups_.groups.size()) {
    const uint32_t g = next_group_++;
    report_share(g);
    const schedule::Group& group = groups_.groups[g];
    if (!is_needed(group) || (!written_.empty() && written_[g])) continue;
    begin_group(g);
    // Not of a node that binds extents itself: its result's are known behind it only.
    const Op op = graph_.node(group.nodes[0]).op;
    if (has_trait(op, kDefinesDims)) {
      require_operands(group.nodes[0]);
    } else {
      require_extents(group.nodes);
    }
    if (has_trait(op, kHasBody)) return group.nodes[0];
    write_group(g);
  }
  group_begin_ = state_.module->steps.size();
  return std::nullopt;
}

}  // namespace gcomp::lower
