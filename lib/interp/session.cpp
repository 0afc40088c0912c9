#include "gcomp/interp/session.h"

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/infer.h"
#include "gcomp/support/error.h"

namespace gcomp::interp {
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& hint = "") {
  throw UserError(ExitCode::kRun, {what, "", hint, Code::kInput});
}

}  // namespace

Session::Session(const Graph& graph)
    : graph_(graph), ports_(graph), states_(graph.states().size()) {
  for (size_t s = 0; s < states_.size(); ++s) {
    const ConstantId initial = graph.states()[s].initial;
    if (initial.valid()) states_[s] = from_constant(graph.context().constants[initial]);
  }
}

std::vector<Tensor> Session::run(std::span<const Tensor> inputs) {
  if (inputs.size() != ports_.inputs.size()) {
    fail(std::to_string(inputs.size()) + " inputs given, the graph has " +
         std::to_string(ports_.inputs.size()));
  }
  std::vector<Tensor> all(graph_.inputs().size());
  for (size_t i = 0; i < inputs.size(); ++i) all[ports_.inputs[i]] = inputs[i];
  for (size_t s = 0; s < states_.size(); ++s) {
    const uint32_t input = graph_.states()[s].input;
    if (!states_[s]) {
      fail("state '" + graph_.inputs()[input].name + "' has no value",
           "set it first: the graph gives no initial one");
    }
    all[input] = *states_[s];
  }
  std::vector<Tensor> results = evaluate(graph_, all);
  for (size_t s = 0; s < states_.size(); ++s) {
    const uint32_t output = graph_.states()[s].output;
    if (output != State::kUnchanged) states_[s] = std::move(results[output]);
  }
  std::vector<Tensor> outputs;
  for (const uint32_t o : ports_.outputs) outputs.push_back(std::move(results[o]));
  return outputs;
}

void Session::set_state(size_t i, Tensor value) {
  const Port& port = graph_.inputs()[graph_.states()[i].input];
  const Type& type = graph_.type(port.value);
  bool fits = value.dtype == type.dtype && value.shape.size() == type.dims.size();
  for (size_t a = 0; fits && a < value.shape.size(); ++a) {
    const auto extent = graph_.context().dims.constant_value(type.dims[a]);
    fits = extent.value_or(value.shape[a]) == value.shape[a];
  }
  if (!fits) {
    fail("state '" + port.name + "' is " + to_string(graph_.context(), type) + ", given is " +
         to_string(value));
  }
  states_[i] = std::move(value);
}

}  // namespace gcomp::interp
