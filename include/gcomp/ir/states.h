#pragma once
// States of a graph: what they must fulfil, and which ports they leave as arguments of a call.

#include <cstdint>
#include <optional>
#include <string>
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

// The inputs and outputs that belong to no state, by number: the arguments of a call.
struct CallPorts {
  explicit CallPorts(const Graph& graph);
  std::vector<uint32_t> inputs, outputs;
};

}  // namespace gcomp
