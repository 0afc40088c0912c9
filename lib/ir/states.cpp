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

constexpr uint32_t kNone = UINT32_MAX;

// Per state: itself where it stays as it is; another whose old value it is, and whose memory no one else
// takes; else kNone.
std::vector<uint32_t> sources(const Graph& g) {
  const auto& states = g.states();
  std::vector<uint32_t> state_of(g.num_values(), kNone);
  for (uint32_t s = 0; s < states.size(); ++s) {
    state_of[g.inputs()[states[s].input].value.index] = s;
  }
  std::vector<uint32_t> source(states.size(), kNone);
  for (uint32_t s = 0; s < states.size(); ++s) {
    const bool stays = states[s].output == State::kUnchanged;
    source[s] = stays ? s : state_of[g.outputs()[states[s].output].value.index];
  }
  std::vector<bool> taken(states.size());
  for (uint32_t s = 0; s < states.size(); ++s) taken[s] = source[s] == s;
  for (uint32_t s = 0; s < states.size(); ++s) {
    if (source[s] == s || source[s] == kNone) continue;
    if (taken[source[s]]) {
      source[s] = kNone;
    } else {
      taken[source[s]] = true;
    }
  }
  return source;
}

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
  graph_error({found->what, "states[" + std::to_string(found->state) + "]", found->advice,
               Code::kState, file_name});
}

bool has_interface_marks(const Graph& graph) {
  return !graph.states().empty() ||
         std::ranges::any_of(graph.inputs(), [](const Port& p) { return p.donate; });
}

std::unique_ptr<Graph> without_states(const Graph& graph) {
  auto step = std::make_unique<Graph>(graph.context());
  step->reserve(graph.num_nodes(), 0);
  std::vector<TypeId> types;
  for (const Node& n : graph.nodes()) {
    types.clear();
    for (uint32_t r = 0; r < n.num_results; ++r) {
      types.push_back(graph.type_id(ValueId(n.first_result.index + r)));
    }
    step->append(n.op, graph.operands(n), n.attrs, types, n.loc);
  }
  for (const Port& p : graph.inputs()) step->add_input(p.name, p.value, p.donate);
  for (const Port& p : graph.outputs()) step->add_output(p.name, p.value);
  return step;
}

// The states form chains and cycles, each taking the memory of the next; at the end of a chain is one that
// the run writes. Trading places along a chain from its head brings each what it takes.
StateFlow::StateFlow(const Graph& graph) : written(graph.states().size()) {
  const std::vector<uint32_t> source = sources(graph);
  std::vector<bool> has_taker(source.size()), done(source.size());
  for (uint32_t s = 0; s < source.size(); ++s) {
    written[s] = source[s] == kNone;
    if (source[s] != kNone) has_taker[source[s]] = true;
  }
  const auto follow = [&](uint32_t head) {
    for (uint32_t s = head; !done[s]; s = source[s]) {
      done[s] = true;
      if (written[s]) {
        swaps.emplace_back(2 * s, 2 * s + 1);
        return;
      }
      if (!done[source[s]]) swaps.emplace_back(2 * s, 2 * source[s]);
    }
  };
  for (uint32_t s = 0; s < source.size(); ++s) {
    if (!has_taker[s]) follow(s);
  }
  for (uint32_t s = 0; s < source.size(); ++s) follow(s);  // what is left are cycles
}

std::vector<bool> unwritten_outputs(const Graph& graph) {
  const StateFlow flow(graph);
  std::vector<bool> unwritten(graph.outputs().size());
  for (size_t s = 0; s < graph.states().size(); ++s) {
    const uint32_t output = graph.states()[s].output;
    if (output != State::kUnchanged) unwritten[output] = !flow.written[s];
  }
  return unwritten;
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
