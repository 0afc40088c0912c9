#include "gcomp/ir/states.h"

#include <algorithm>
#include <unordered_set>

#include "gcomp/ir/infer.h"
#include "gcomp/support/error.h"

namespace gcomp {
namespace {

class Checker {
 public:
  explicit Checker(const Graph& g)
      : g_(g), input_taken_(g.inputs().size()), output_taken_(g.outputs().size()) {}

  // Sets what_ where the state breaks a rule.
  std::optional<StateProblem> check(size_t i) {
    const State& s = g_.states()[i];
    ports(s);
    if (what_.empty()) new_value(s);
    if (what_.empty() && s.initial.valid()) initial(s);
    if (what_.empty()) return std::nullopt;
    return StateProblem{i, what_, advice_};
  }

 private:
  const Type& type(const State& s) const { return g_.type(g_.inputs()[s.input].value); }
  std::string named(const State& s) const { return "state '" + g_.inputs()[s.input].name + "'"; }
  void problem(std::string what, std::string advice) {
    what_ = std::move(what);
    advice_ = std::move(advice);
  }

  void ports(const State& s) {
    const bool changes = s.output != State::kUnchanged;
    if (s.input >= g_.inputs().size() || (changes && s.output >= g_.outputs().size())) {
      problem("a state refers to no input or output", "they are counted from 0");
    } else if (input_taken_[s.input] || (changes && output_taken_[s.output])) {
      problem(named(s) + " shares an input or output with another state",
              "list a value twice among the outputs if two states become it");
    } else if (!names_.insert(g_.inputs()[s.input].name).second) {
      problem("two states are named '" + g_.inputs()[s.input].name + "'", "rename an input");
    } else if (g_.inputs()[s.input].donate) {
      problem(named(s) + " is a donated input", "a state is memory of its own: do not donate it");
    } else {
      input_taken_[s.input] = true;
      if (changes) output_taken_[s.output] = true;
    }
  }

  void new_value(const State& s) {
    if (s.output == State::kUnchanged) return;
    const Type& found = g_.type(g_.outputs()[s.output].value);
    if (found == type(s)) return;
    problem(named(s) + " is " + to_string(g_.context(), type(s)) + ", its new value " +
                to_string(g_.context(), found),
            "a state keeps its dtype and extents: convert the new value (cast, specify_shape)");
  }

  void initial(const State& s) {
    const Constant& c = g_.context().constants[s.initial];
    const Type& wanted = type(s);
    bool fits = c.dtype == wanted.dtype && c.shape.size() == wanted.dims.size();
    for (size_t a = 0; fits && a < c.shape.size(); ++a) {
      fits = g_.context().dims.constant_value(wanted.dims[a]).value_or(c.shape[a]) == c.shape[a];
    }
    if (fits) return;
    Type found{c.dtype, {}};
    for (const int64_t d : c.shape) found.dims.push_back(g_.context().dims.constant(d));
    problem(named(s) + " is " + to_string(g_.context(), wanted) + ", its initial value " +
                to_string(g_.context(), found),
            "give an initial value of the state's dtype and extents");
  }

  const Graph& g_;
  std::vector<bool> input_taken_, output_taken_;
  std::unordered_set<std::string> names_;
  std::string what_, advice_;
};

}  // namespace

std::optional<StateProblem> check_states(const Graph& graph) {
  Checker checker(graph);
  for (size_t i = 0; i < graph.states().size(); ++i) {
    if (auto found = checker.check(i)) return found;
  }
  return std::nullopt;
}

void require_states(const Graph& graph, const std::string& file_name) {
  const auto found = check_states(graph);
  if (!found) return;
  graph_error(found->what, file_name + ": states[" + std::to_string(found->state) + "]",
              found->advice);
}

bool has_interface_marks(const Graph& graph) {
  return !graph.states().empty() ||
         std::ranges::any_of(graph.inputs(), [](const Port& p) { return p.donate; });
}

CallPorts::CallPorts(const Graph& graph) {
  std::vector<bool> input(graph.inputs().size()), output(graph.outputs().size());
  for (const State& s : graph.states()) {
    input[s.input] = true;
    if (s.output != State::kUnchanged) output[s.output] = true;
  }
  for (uint32_t i = 0; i < input.size(); ++i) {
    if (!input[i]) inputs.push_back(i);
  }
  for (uint32_t i = 0; i < output.size(); ++i) {
    if (!output[i]) outputs.push_back(i);
  }
}

}  // namespace gcomp
