#pragma once
// Writes the steps of one graph (the module's or a nested one): which memory each value has, kernels
// deduplicated by structure, calls and other steps in order.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "gcomp/lower/lower.h"
#include "kernel_spec.h"

namespace gcomp::lower {

// Shared by the writers of nested graphs.
struct ModuleState {
  LoweredModule* module = nullptr;
  Target target = {}, cuda_target = {};
  LowerOptions options = {};
  std::unordered_map<uint64_t, std::vector<uint32_t>> kernel_ids = {};  // by structural hash
  uint32_t num_labels = 0;
  schedule::FusionOptions fusion = {};
  size_t num_nodes = 0;  // of all graphs written, nested ones as often as they are used
  const Homes& homes;
  std::vector<std::pair<size_t, Step>> copies = {};  // from device to device: before which step

  // Once all else is written: each copy to its place among the steps.
  void insert_copies();
};

// Where the nodes of a graph are computed, and the results of cond and loop, and the inputs, lie. Empty: all on
// the host.
struct Places {
  std::vector<Device> devices;  // per node
  std::vector<Device> homes;    // per value
};

class PlanWriter {
 public:
  // `source`: what `graph` is a copy of, or itself. Of a nested graph: `outer` writes the graph around it, `early`
  // has the nodes that depend on no others (write_early), if there are any.
  PlanWriter(const Graph& source, const Graph& graph, const schedule::Groups& groups,
             const Places& places, ModuleState& state, PlanWriter* outer = nullptr,
             const std::vector<bool>* early = nullptr);

  const Graph& graph() const { return graph_; }
  const schedule::Groups& groups() const { return groups_; }
  DimTable& dims() { return graph_.context().dims; }
  ModuleState& state() { return state_; }
  // Of the device of the group that is being written.
  const Target& target() const {
    return device_ == Device::kCuda ? state_.cuda_target : state_.target;
  }

  MemoryId add_memory(Memory m);
  MemoryId temporary(DimId bytes, DType dtype) { return temporary(bytes, dtype, device_); }
  MemoryId temporary(DimId bytes, DType dtype, Device device);
  // The memory of a stored value (given by `set_memory`, or made on first use) on the group's device: a
  // value of the other device is copied before the group's steps, once for all who read it here. What is the same
  // in every turn of a loop is copied before the loop.
  MemoryId memory_of(ValueId v) { return memory_on(v, device_); }
  MemoryId memory_on(ValueId v, Device device);
  MemoryId home_memory(ValueId v) { return memory_on(v, home_of(v)); }
  // Where a stored value is written. Inputs of the module and constants: the host, but they are on both.
  Device home_of(ValueId v) const;
  Device device_of(NodeId n) const {
    return places_.devices.empty() ? Device::kHost : places_.devices[n.index];
  }
  const Memory& memory(MemoryId m) const { return state_.module->memory[m.index]; }
  MemoryId owned(DType dtype, Device device);
  // `reserve`: kOwned memory that gets its bytes when the value is computed.
  void set_memory(ValueId v, MemoryId m, bool reserve = false);
  // From here on `v` is another name of that writer's value, on either device.
  void set_value(ValueId v, PlanWriter& of, ValueId value);
  bool is_assigned(ValueId v) const { return memory_.contains(groups_.storage[v.index].index); }
  // Whether memory set for `v` (which may be another name's) is of its size.
  bool fits(ValueId v);
  // The memory of `v`, ready to be written by several graphs.
  MemoryId assigned_now(ValueId v);
  // `v` lies at `from`: copied if it was given memory of its own.
  void give(ValueId v, MemoryId from);
  DimId num_elements(ValueId v) { return dims().product(graph_.type(v).dims); }
  DimId num_bytes(ValueId v);

  // Calls from here on compute this group. The device of a cond or loop: the host.
  void begin_group(uint32_t group);
  void call(LoweredCall call);
  void step(Step s);
  // Memory of a temporary that a call of this group has as parameter.
  MemoryId group_temporary(int key) const { return group_temporaries_.at(key); }
  uint32_t new_label() { return state_.num_labels++; }
  void jump(Step::Kind kind, uint32_t label, std::vector<MemoryId> memory = {},
            std::vector<ScalarArg> scalars = {});

  void copy(MemoryId to, MemoryId from, DimId bytes);
  void fill(MemoryId m, DimId bytes, uint8_t byte);
  void reserve(MemoryId owned, DimId bytes);
  void alias(MemoryId owned, MemoryId to);
  void bind_values(std::vector<SymbolId> symbols, const std::vector<DimId>& values);
  void require_less(DimId a, DimId b, const std::string& message);
  void require_equal(DimId a, DimId b, const std::string& message);

  // Compares, when run, what these nodes (and the index maps they read) demand of extents.
  void require_extents(std::span<const NodeId> nodes);

  // The groups in order, up to the next cond or loop, whose node is returned: its bodies are to be
  // written before this is called again. nullopt: all are written.
  std::optional<NodeId> write_groups();
  // Those of early nodes; `write_groups` then leaves them out.
  void write_early();

 private:
  struct Name {
    PlanWriter* of;
    ValueId value;
    MemoryId memory[2] = {};  // by device, once somebody asked
  };

  void write_group(uint32_t group);
  void report_share(uint32_t group) const;
  MemoryId own_memory(ValueId root);
  MemoryId memory_abroad(ValueId root, Device device);
  void insert_copy(ValueId root, MemoryId to, MemoryId from);
  bool is_early(ValueId v) const {
    return early_ != nullptr && !early_->empty() && (*early_)[graph_.producer(v).index];
  }
  void find_live();
  bool is_needed(const schedule::Group& group) const;
  void require_operands(NodeId node);
  uint32_t kernel_id(kernel::Kernel k);
  std::string kernel_name(uint32_t id) const;

  const Graph& graph_;
  const schedule::Groups& groups_;
  const Places& places_;
  ModuleState& state_;
  PlanWriter* const outer_;
  const std::vector<bool>* const early_;
  std::unordered_map<uint32_t, MemoryId> memory_;  // by storage root
  std::unordered_map<uint32_t, MemoryId> abroad_;  // the same on the other device
  std::unordered_map<uint32_t, Name> names_;       // storage roots that are others' values
  std::map<int, MemoryId> group_temporaries_;      // BufferArg::key of the current group
  std::unordered_set<uint32_t> unreserved_;        // storage roots
  std::vector<bool> required_;                     // nodes whose demands are written
  std::vector<bool> live_;                         // nodes that an output needs
  std::vector<bool> written_;                      // groups, by write_early
  uint32_t next_group_ = 0;
  uint32_t group_ = 0;  // the current one
  Device device_ = Device::kHost;
  size_t group_begin_;    // its first step
  size_t early_end_ = 0;  // behind the steps of early groups
  uint32_t stats_index_ = 0;
  size_t trace_ = 0;  // index in stats.traces
};

// One function an op family; each writes the calls and steps of one group (nodes[0] is the op).
using GroupLowering = void (*)(PlanWriter&, uint32_t group);
GroupLowering lowering_of(Op op);  // nullptr: not supported

void lower_nest(PlanWriter& w, uint32_t group);
void lower_contraction(PlanWriter& w, uint32_t group);  // matmul, conv
void lower_conv_transpose(PlanWriter& w, uint32_t group);
void lower_window(PlanWriter& w, uint32_t group);
void lower_scan(PlanWriter& w, uint32_t group);
void lower_concat(PlanWriter& w, uint32_t group);
void lower_gather_elements(PlanWriter& w, uint32_t group);
void lower_gather_nd(PlanWriter& w, uint32_t group);
void lower_scatter_elements(PlanWriter& w, uint32_t group);
void lower_scatter_nd(PlanWriter& w, uint32_t group);
void lower_sort(PlanWriter& w, uint32_t group);
void lower_nonzero(PlanWriter& w, uint32_t group);
void lower_bind_dims(PlanWriter& w, uint32_t group);
void lower_check(PlanWriter& w, uint32_t group);

}  // namespace gcomp::lower
