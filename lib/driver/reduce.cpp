// Problem: of a large graph that shows a difference, the few nodes that matter.
// Method: nodes lie in topological order, so a part is what lies between two places of it. The first place
// is found by bisection (values before it are recorded and become inputs), then the last one (values that
// are read behind it become outputs), then single nodes and outputs are left out as long as it still shows.
// Every part is tried out, so the search may be wrong about what is monotone and still gives a true answer.
// Cost: O(log nodes) runs of the graph, then at most kMostTries of the part.

#include "reduce.h"

#include <algorithm>
#include <optional>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

using interp::Tensor;

constexpr int kMostTries = 400;

struct Part {
  std::vector<bool> keep;        // nodes
  std::vector<ValueId> outputs;  // made by nodes of `keep`
};

class Cutter {
 public:
  Cutter(const Graph& graph, std::span<const Tensor> inputs)
      : graph_(graph), inputs_(inputs), input_of_(graph.num_values(), -1) {
    for (size_t i = 0; i < graph.inputs().size(); ++i) {
      input_of_[graph.inputs()[i].value.index] = static_cast<int>(i);
    }
  }

  // The part, with recorded values for what it reads from the rest.
  Case cut(const Part& part) const {
    Case result;
    std::vector<ValueId> read;
    result.graph = build(needed(part), part.outputs, &read);
    result.inputs = record(read);
    return result;
  }

  // The nodes of the part that its outputs need.
  std::vector<bool> needed(const Part& part) const {
    std::vector<bool> live(graph_.num_nodes());
    for (const ValueId v : part.outputs) live[graph_.producer(v).index] = true;
    for (size_t i = graph_.num_nodes(); i-- > 0;) {
      live[i] = live[i] && part.keep[i];
      if (!live[i]) continue;
      for (const ValueId v : graph_.operands(NodeId(i))) live[graph_.producer(v).index] = true;
    }
    return live;
  }

 private:
  std::string input_name(ValueId v) const {
    const int given = input_of_[v.index];
    return given >= 0 ? graph_.inputs()[static_cast<size_t>(given)].name
                      : "recorded_" + std::to_string(v.index);
  }

  // The nodes of `live`; constants they read are copied, other values become inputs, listed in `read`.
  std::unique_ptr<Graph> build(const std::vector<bool>& live, const std::vector<ValueId>& outputs,
                               std::vector<ValueId>* read) const {
    GraphBuilder builder(graph_.context(), GraphBuilder::Mode::kRaw);
    std::vector<ValueId> made(graph_.num_values());
    const auto bring = [&](ValueId v) {
      if (made[v.index].valid()) return made[v.index];
      const Node& producer = graph_.producer_node(v);
      builder.set_loc(producer.loc);
      if (producer.op == Op::constant) {
        made[v.index] = builder.constant(graph_.attrs(producer).constant(AttrKey::value));
      } else {
        made[v.index] = builder.input(input_name(v), graph_.type(v));
        read->push_back(v);
      }
      return made[v.index];
    };
    std::vector<ValueId> operands;
    std::vector<TypeId> types;
    for (size_t i = 0; i < graph_.num_nodes(); ++i) {
      const Node& n = graph_.node(NodeId(i));
      if (!live[i] || n.op == Op::input || n.op == Op::constant) continue;
      operands.clear();
      types.clear();
      for (const ValueId v : graph_.operands(n)) operands.push_back(bring(v));
      builder.set_loc(n.loc);
      for (uint32_t r = 0; r < n.num_results; ++r) {
        types.push_back(graph_.type_id(ValueId(n.first_result.index + r)));
      }
      const NodeId copy = builder.typed_node(n.op, operands, n.attrs, types);
      for (uint32_t r = 0; r < n.num_results; ++r) {
        made[n.first_result.index + r] = builder.result(copy, static_cast<int>(r));
      }
    }
    for (size_t k = 0; k < outputs.size(); ++k) {
      builder.output("y" + std::to_string(k), bring(outputs[k]));
    }
    return builder.finish();
  }

  std::vector<Tensor> record(const std::vector<ValueId>& values) const {
    std::vector<Tensor> found(values.size());
    Part rest{std::vector<bool>(graph_.num_nodes(), true), {}};
    std::vector<size_t> places;
    for (size_t k = 0; k < values.size(); ++k) {
      const int given = input_of_[values[k].index];
      if (given >= 0) {
        found[k] = inputs_[static_cast<size_t>(given)];
        continue;
      }
      rest.outputs.push_back(values[k]);
      places.push_back(k);
    }
    if (rest.outputs.empty()) return found;
    std::vector<ValueId> read;
    const auto probe = build(needed(rest), rest.outputs, &read);
    std::vector<Tensor> inputs;
    for (const ValueId v : read) inputs.push_back(inputs_[static_cast<size_t>(input_of_[v.index])]);
    std::vector<Tensor> recorded = interp::evaluate(*probe, inputs);
    for (size_t k = 0; k < places.size(); ++k) found[places[k]] = std::move(recorded[k]);
    return found;
  }

  const Graph& graph_;
  std::span<const Tensor> inputs_;
  std::vector<int> input_of_;  // per value: which input it is, or -1
};

class Reducer {
 public:
  Reducer(const Graph& graph, std::span<const Tensor> inputs, const Shows& shows)
      : graph_(graph), cutter_(graph, inputs), shows_(shows) {
    uses_.resize(graph.num_values());
    for (size_t i = 0; i < graph.num_nodes(); ++i) {
      for (const ValueId v : graph.operands(NodeId(i)))
        uses_[v.index] = static_cast<uint32_t>(i) + 1;
    }
  }

  Case run(size_t output) {
    best_.keep.assign(graph_.num_nodes(), true);
    best_.outputs = {graph_.outputs()[output].value};
    if (!take(best_)) {  // several outputs together
      best_.outputs.clear();
      for (const Port& p : graph_.outputs()) best_.outputs.push_back(p.value);
      if (!take(best_)) return {};
    }
    raise_first();
    lower_last();
    thin_out();
    return std::move(case_);
  }

 private:
  // Whether the part shows it; if so it is the best one yet.
  bool take(Part part) {
    if (part.outputs.empty()) return false;
    try {
      Case smaller = cutter_.cut(part);
      if (!verify(*smaller.graph).empty() || !shows_(*smaller.graph, smaller.inputs)) return false;
      case_ = std::move(smaller);
    } catch (const UserError&) {
      return false;
    } catch (const InternalError&) {
      return false;
    }
    part.keep = cutter_.needed(part);
    best_ = std::move(part);
    return true;
  }

  // The last place from which on it still shows.
  void raise_first() {
    size_t shows = 0, fails = graph_.num_nodes();
    while (fails - shows > 1) {
      const size_t middle = shows + (fails - shows) / 2;
      Part part = best_;
      for (size_t i = 0; i < middle; ++i) part.keep[i] = false;
      std::erase_if(part.outputs, [&](ValueId v) { return graph_.producer(v).index < middle; });
      (take(std::move(part)) ? shows : fails) = middle;
    }
  }

  // The first place up to which it shows: what is read behind it is the output.
  void lower_last() {
    size_t fails = 0, shows = graph_.num_nodes();
    const Part whole = best_;
    while (shows - fails > 1) {
      const size_t middle = fails + (shows - fails) / 2;
      Part part{whole.keep, {}};
      for (size_t i = middle; i < part.keep.size(); ++i) part.keep[i] = false;
      for (size_t i = 0; i < middle; ++i) {
        const Node& n = graph_.node(NodeId(i));
        if (!part.keep[i] || n.op == Op::input || n.op == Op::constant) continue;
        for (uint32_t r = 0; r < n.num_results; ++r) {
          const ValueId v(n.first_result.index + r);
          const bool is_output = std::ranges::find(whole.outputs, v) != whole.outputs.end();
          if (uses_[v.index] > middle || is_output) part.outputs.push_back(v);
        }
      }
      (take(std::move(part)) ? shows : fails) = middle;
    }
  }

  void thin_out() {
    int tries = 0;
    for (bool changed = true; changed;) {
      changed = false;
      changed = thin_out_outputs(&tries);
      for (size_t i = graph_.num_nodes(); i-- > 0 && tries < kMostTries;) {
        if (!in_case(NodeId(i))) continue;
        ++tries;
        changed = take(without(NodeId(i))) || changed;
      }
      if (tries >= kMostTries) return;
    }
  }

  // By halves, then one by one.
  bool thin_out_outputs(int* tries) {
    bool changed = false;
    for (bool halved = true; halved && best_.outputs.size() > 1 && *tries < kMostTries;) {
      const auto middle =
          best_.outputs.begin() + static_cast<std::ptrdiff_t>(best_.outputs.size() / 2);
      Part first{best_.keep, {best_.outputs.begin(), middle}};
      Part second{best_.keep, {middle, best_.outputs.end()}};
      *tries += 2;
      halved = take(std::move(first)) || take(std::move(second));
      changed = changed || halved;
    }
    for (size_t k = best_.outputs.size();
         k-- > 0 && best_.outputs.size() > 1 && *tries < kMostTries;) {
      Part part = best_;
      part.outputs.erase(part.outputs.begin() + static_cast<std::ptrdiff_t>(k));
      ++*tries;
      changed = take(std::move(part)) || changed;
    }
    return changed;
  }

  bool in_case(NodeId id) const {
    const Node& n = graph_.node(id);
    return best_.keep[id.index] && n.op != Op::input && n.op != Op::constant;
  }

  // Its results are inputs; where they were outputs, its operands are.
  Part without(NodeId id) const {
    Part part = best_;
    part.keep[id.index] = false;
    const Node& n = graph_.node(id);
    if (std::erase_if(part.outputs, [&](ValueId v) { return graph_.producer(v) == id; }) == 0)
      return part;
    for (const ValueId v : graph_.operands(n)) {
      const bool is_new = std::ranges::find(part.outputs, v) == part.outputs.end();
      if (is_new && in_case(graph_.producer(v))) {
        part.outputs.push_back(v);
      }
    }
    return part;
  }

  const Graph& graph_;
  Cutter cutter_;
  const Shows& shows_;
  std::vector<uint32_t> uses_;  // per value: 1 + its last reader
  Part best_;
  Case case_;
};

}  // namespace

Case reduce(const Graph& graph, std::span<const Tensor> inputs, size_t output, const Shows& shows) {
  return Reducer(graph, inputs, shows).run(output);
}

}  // namespace gcomp::driver
