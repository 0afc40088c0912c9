#include "plan_writer.h"

#include "gcomp/support/error.h"

namespace gcomp::lower {

PlanWriter::PlanWriter(const Graph& graph, const schedule::Groups& groups, ModuleState& state)
    : graph_(graph), groups_(groups), state_(state), required_(graph.num_nodes(), false) {}

MemoryId PlanWriter::add_memory(Memory m) {
  state_.module->memory.push_back(m);
  return MemoryId(state_.module->memory.size() - 1);
}

MemoryId PlanWriter::temporary(DimId bytes, DType dtype) {
  return add_memory(
      {.kind = Memory::Kind::kTemporary, .index = 0, .dtype = dtype, .bytes = bytes, .offset = {}});
}

DimId PlanWriter::num_bytes(ValueId v) {
  const auto size = static_cast<int64_t>(byte_size(graph_.type(v).dtype));
  return dims().mul(num_elements(v), dims().constant(size));
}

MemoryId PlanWriter::memory_of(ValueId v) {
  const ValueId root = groups_.storage[v.index];
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
                "lower: value " + std::to_string(v.index) + " has no memory");
    m = temporary(num_bytes(root), graph_.type(root).dtype);
  }
  memory_[root.index] = m;
  return m;
}

void PlanWriter::begin_group(uint32_t group) {
  group_temporaries_.clear();
  const schedule::Group& g = groups_.groups[group];
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
}

uint32_t PlanWriter::kernel_id(kernel::Kernel k) {
  std::vector<uint32_t>& bucket = state_.kernel_ids[kernel::hash(k)];
  LoweredModule& m = *state_.module;
  for (uint32_t id : bucket) {
    if (m.kernels[id] == k) return id;
  }
  const auto id = static_cast<uint32_t>(m.kernels.size());
  m.names.push_back("k" + std::to_string(id));
  m.kernels.push_back(std::move(k));
  bucket.push_back(id);
  return id;
}

void PlanWriter::call(LoweredCall c) {
  Step s{.kind = Step::Kind::kCall,
         .kernel = kernel_id(std::move(c.kernel)),
         .memory = {},
         .scalars = std::move(c.scalars),
         .symbols = {},
         .extent = c.extent,
         .grain = c.grain,
         .messages = std::move(c.messages)};
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
                        .offset = {}}));
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

void PlanWriter::write_groups() {
  for (uint32_t g = 0; g < groups_.groups.size(); ++g) {
    const schedule::Group& group = groups_.groups[g];
    const Op op = graph_.node(group.nodes[0]).op;
    if (group.outputs.empty() && group.kind != schedule::GroupKind::kSingle) continue;
    begin_group(g);
    // Not of a node that binds extents itself: its result's are known behind it only.
    const bool binds = has_trait(graph_.node(group.nodes[0]).op, kDefinesDims);
    if (!binds) require_extents(group.nodes);
    if (group.kind == schedule::GroupKind::kNest) {
      lower_nest(*this, g);
    } else {
      lowering_of(op)(*this, g);
    }
  }
}

}  // namespace gcomp::lower
