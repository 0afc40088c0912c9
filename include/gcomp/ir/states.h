#pragma once
// States of a graph: what they must fulfil, and which ports they leave as arguments of a call.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

struct StateProblem {
  size_t state;  // index into states()
  std::string what, advice;
};

// The first state that breaks a rule: its ports exist and belong to no other state, its input is not
// donated, no other state has its name; its new value has its type, and its initial value the dtype, the
// rank and those extents that are numbers. (Extents that are symbols are compared when a run knows them.)
std::optional<StateProblem> check_states(const Graph& graph);

// The same as a UserError (kGraph), its place `file_name` + ": states[i]".
void require_states(const Graph& graph, const std::string& file_name);

// Whether a graph has states or donated inputs: nested graphs must not.
bool has_interface_marks(const Graph& graph);

// One step of the graph: its states are ordinary inputs and outputs.
std::unique_ptr<Graph> without_states(const Graph& graph);

// The inputs and outputs that belong to no state, by number: the arguments of a call.
struct CallPorts {
  explicit CallPorts(const Graph& graph);
  std::vector<uint32_t> inputs, outputs;
};

// Where the states' new values come from when a run is over. A state has two pieces of memory, 2 * s (its
// value) and 2 * s + 1 (where the run writes the new one). One that becomes another's old value, as in a
// swap, takes the other's memory instead, unless a third took it: so nothing is copied.
struct StateFlow {
  explicit StateFlow(const Graph& graph);
  std::vector<bool> written;                         // per state: the run must write its new value
  std::vector<std::pair<uint32_t, uint32_t>> swaps;  // pieces that trade places, in this order
};

// Per output of the graph: it is the new value of a state that the run need not write.
std::vector<bool> unwritten_outputs(const Graph& graph);

}  // namespace gcomp
