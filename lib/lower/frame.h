#pragma once
// Graphs being written. A cond or loop is written in parts: its node's group is begun, then each body is
// written in a frame of its own on an explicit stack, then what follows the body.

#include <memory>
#include <optional>

#include "instance.h"
#include "plan_writer.h"

namespace gcomp::lower {

class Frame;

// A cond or loop node, while its bodies are written.
class Control {
 public:
  Control() = default;
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  virtual ~Control() = default;
  // The next body to write, or nullptr when the node is done. `finished`: the body given last, which is
  // written now; nullptr at first.
  virtual std::unique_ptr<Frame> next(Frame* finished) = 0;
};

// What is the same in every turn of a loop.
struct Turns {
  std::vector<bool> fixed = {};        // inputs of the body; empty: none, or it is no loop
  std::vector<SymbolId> varying = {};  // extents that are not
};

class Frame {
 public:
  Frame(const Graph& module_graph, ModuleState& state);
  // `outer`: of the cond or loop `node`; `inputs`: where the body's inputs lie, if the node is on the GPU.
  Frame(const Graph& body, SymbolMap symbols, const Turns& turns, PlanWriter& outer, NodeId node,
        std::span<const Device> inputs);

  // Before the copy's symbols were mapped; node and value numbers are the same.
  const Graph& source() const { return source_; }
  const Graph& graph() const { return copy_ ? *copy_ : source_; }
  SymbolMap& symbols() { return symbols_; }
  PlanWriter& writer() { return writer_; }

  void set_input(size_t i, MemoryId m) { writer_.set_memory(graph().inputs()[i].value, m); }
  // Input i is the outer graph's value `v`, for as long as the body runs.
  void give_input(size_t i, PlanWriter& outer, ValueId v) {
    writer_.set_value(graph().inputs()[i].value, outer, v);
  }
  ValueId output(size_t i) const { return graph().outputs()[i].value; }
  // The value whose memory an output is.
  ValueId output_root(size_t i) const { return groups_.storage[output(i).index]; }
  // Has output i written to `m` when it is computed (`reserve`: allocated then). False if it cannot
  // be, for one on its own device: it is to be copied from `output_memory` when the body is written.
  bool place_output(size_t i, MemoryId m, bool reserve = false);
  // Writes what depends on fixed inputs only; the rest follows in each turn.
  void write_early() { writer_.write_early(); }
  // Whether output i is computed once, before the first turn.
  bool is_early(size_t i) const {
    return !early_.empty() && early_[graph().producer(output_root(i)).index];
  }
  // Whether output i is input `input` with some elements changed, all else that reads the input comes
  // before, and `place_output` would take the output: both may lie in one place.
  bool updates_input(size_t i, size_t input) const;
  MemoryId output_memory(size_t i, Device device) { return writer_.memory_on(output(i), device); }

  std::unique_ptr<Control> control;  // of the node that is being written

 private:
  void check_supported() const;
  bool is_read_from(ValueId input, uint32_t group) const;

  const Graph& source_;
  SymbolMap symbols_;
  std::unique_ptr<Graph> copy_;
  std::vector<bool> early_;  // nodes
  Places places_;
  schedule::Groups groups_;
  PlanWriter writer_;
};

std::unique_ptr<Control> make_cond(Frame& frame, NodeId node);
std::unique_ptr<Control> make_loop(Frame& frame, NodeId node);

// The value of a bool constant.
std::optional<bool> known_truth(const Graph& graph, ValueId v);
// One integer that is an expression of extents.
std::optional<DimId> known_extent(const Graph& graph, ValueId v);

}  // namespace gcomp::lower
