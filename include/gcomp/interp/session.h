#pragma once
// A graph with states evaluated again and again, as a context of its artifact runs it.

#include <optional>
#include <span>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/states.h"

namespace gcomp::interp {

class Session {
 public:
  explicit Session(const Graph& graph);  // verified; it must outlive the session

  // Inputs and results are those of a call: without the states'. After an error (as of evaluate()) all
  // states are what they were.
  std::vector<Tensor> run(std::span<const Tensor> inputs);

  // By their number in graph.states(). No value: there is no initial one, and none was set.
  const std::optional<Tensor>& state(size_t i) const { return states_[i]; }
  // UserError (kRun) unless dtype, rank and the extents that are numbers fit.
  void set_state(size_t i, Tensor value);

 private:
  const Graph& graph_;
  const CallPorts ports_;
  std::vector<std::optional<Tensor>> states_;
};

}  // namespace gcomp::interp
