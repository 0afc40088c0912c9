// Walks a graph in order. Nested graphs run on an explicit stack of frames, one for each graph that
// has begun and not ended, so their nesting needs no host stack.

#include "gcomp/interp/evaluate.h"

#include <memory>
#include <new>
#include <optional>
#include <unordered_map>

#include "call.h"
#include "gcomp/ir/infer.h"
#include "symbols.h"

namespace gcomp::interp {
namespace {

using Value = std::shared_ptr<const Tensor>;

// Facts about a graph that do not depend on a run.
struct Plan {
  std::vector<bool> live;      // per node: an output needs it
  std::vector<uint32_t> uses;  // per value: how often live nodes and outputs read it
};

Plan make_plan(const Graph& g) {
  Plan plan{std::vector<bool>(g.num_nodes()), std::vector<uint32_t>(g.num_values())};
  for (const Port& p : g.outputs()) {
    plan.live[g.producer(p.value).index] = true;
    ++plan.uses[p.value.index];
  }
  for (size_t i = g.num_nodes(); i-- > 0;) {
    if (!plan.live[i]) continue;
    for (ValueId v : g.operands(NodeId(i))) {
      plan.live[g.producer(v).index] = true;
      ++plan.uses[v.index];
    }
  }
  return plan;
}

// One stacked result of a loop, growing by an iteration at a time.
struct Stacked {
  std::optional<Tensor> all;  // with the number of iterations as first extent

  void append(const Tensor& each) {
    if (!all) {
      all = each;
      all->shape.insert(all->shape.begin(), 1);
      return;
    }
    if (!std::equal(each.shape.begin(), each.shape.end(), all->shape.begin() + 1,
                    all->shape.end())) {
      throw RunFailure("the values to stack change their extents from " + to_string(*all) +
                       " without the first to " + to_string(each));
    }
    all->bytes.insert(all->bytes.end(), each.bytes.begin(), each.bytes.end());
    ++all->shape[0];
  }
};

struct LoopState {
  int64_t iteration = 0;
  int64_t limit = 0;
  bool go_on = false;
  size_t carried = 0;  // the first of `values`; the others are captures
  std::vector<Value> values;
  std::vector<Stacked> stacked;
};

struct Frame {
  const Graph* graph;
  const Plan* plan;
  std::vector<Value> values;
  std::vector<uint32_t> uses_left;
  size_t next = 0;  // the node to evaluate, or the cond or loop that waits for the frame above
  std::optional<LoopState> loop;  // if that is a loop
};

Value share(Tensor t) { return std::make_shared<const Tensor>(std::move(t)); }

std::string place_of(const Graph& g, size_t node) {
  const Node& n = g.nodes()[node];
  const std::string& loc = g.context().locs[n.loc];
  return loc.empty() ? "node " + std::to_string(node) + " (" + std::string(name(n.op)) + ")" : loc;
}

// Elements of a bool tensor made exactly 0 or 1.
void normalise(Tensor* t) {
  if (t->dtype != DType::kBool) return;
  for (std::byte& b : t->bytes) b = b == std::byte{0} ? std::byte{0} : std::byte{1};
}

class Evaluator {
 public:
  explicit Evaluator(const Context& context)
      : context_(context),
        symbols_(context.dims),
        extent_([this](DimId d) { return symbols_.evaluate(d); }) {}

  std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs) {
    std::vector<Value> values;
    for (const Tensor& t : inputs) {
      Tensor copy = t;
      normalise(&copy);
      values.push_back(share(std::move(copy)));
    }
    push(graph, values);
    for (;;) {
      Frame& frame = *frames_.back();
      if (frame.next < frame.graph->num_nodes()) {
        step(frame);
        continue;
      }
      std::vector<Value> outputs = take_outputs(frame);
      frames_.pop_back();
      if (frames_.empty()) return unshare(std::move(outputs));
      symbols_.leave();
      try {
        deliver(*frames_.back(), std::move(outputs));
      } catch (const RunFailure& e) {
        fail(*frames_.back(), e.what());
      }
    }
  }

 private:
  // ---- Frames ----

  void push(const Graph& graph, const std::vector<Value>& inputs) {
    auto frame = std::make_unique<Frame>();
    frame->graph = &graph;
    frame->plan = &plan_of(graph);
    frame->values.resize(graph.num_values());
    frame->uses_left = frame->plan->uses;
    const std::vector<Port>& ports = graph.inputs();
    if (inputs.size() != ports.size()) {
      throw UserError(ExitCode::kRun,
                      {.message = "the graph has " + std::to_string(ports.size()) + " inputs; " +
                                  std::to_string(inputs.size()) + " were given",
                       .code = Code::kInput});
    }
    std::vector<const Tensor*> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) {
      check_input(graph, i, *inputs[i]);
      tensors.push_back(inputs[i].get());
      frame->values[ports[i].value.index] = inputs[i];
    }
    if (!frames_.empty()) symbols_.enter();
    try {
      symbols_.bind_inputs(graph, tensors);
    } catch (const RunFailure& e) {
      const std::string place =
          frames_.empty() ? "" : place_of(*frames_.back()->graph, frames_.back()->next);
      throw UserError(ExitCode::kRun, {.message = e.what(), .place = place, .code = Code::kCheck});
    }
    for (size_t i = 0; i < inputs.size(); ++i) {  // an unused input is freed at once
      if (frame->uses_left[ports[i].value.index] == 0) frame->values[ports[i].value.index].reset();
    }
    frames_.push_back(std::move(frame));
  }

  const Plan& plan_of(const Graph& graph) {
    const auto found = plans_.find(&graph);
    if (found != plans_.end()) return found->second;
    return plans_.emplace(&graph, make_plan(graph)).first->second;
  }

  static void check_input(const Graph& graph, size_t i, const Tensor& t) {
    const Port& port = graph.inputs()[i];
    const Type& type = graph.type(port.value);
    const bool sized = static_cast<int64_t>(t.bytes.size()) ==
                       t.num_elements() * static_cast<int64_t>(byte_size(t.dtype));
    if (t.dtype == type.dtype && t.rank() == type.rank() && sized) return;
    throw UserError(ExitCode::kRun, {.message = "input '" + port.name + "' is " + to_string(t) +
                                                "; it must be " + to_string(graph.context(), type),
                                     .place = "",
                                     .hint = sized ? "" : "the bytes do not match the extents",
                                     .code = Code::kInput});
  }

  std::vector<Value> take_outputs(const Frame& frame) {
    std::vector<Value> outputs;
    for (const Port& p : frame.graph->outputs()) outputs.push_back(frame.values[p.value.index]);
    return outputs;
  }

  static std::vector<Tensor> unshare(std::vector<Value> values) {
    std::vector<Tensor> tensors;
    for (Value& v : values) {
      tensors.push_back(*v);
      v.reset();
    }
    return tensors;
  }

  // ---- Nodes ----

  [[noreturn]] static void fail(const Frame& frame, const std::string& message) {
    throw UserError(
        ExitCode::kRun,
        {.message = message, .place = place_of(*frame.graph, frame.next), .code = Code::kCheck});
  }

  void step(Frame& frame) {
    const Node& node = frame.graph->nodes()[frame.next];
    if (!frame.plan->live[frame.next] || node.op == Op::input) {
      ++frame.next;
      return;
    }
    try {
      dispatch(frame, node);
    } catch (const RunFailure& e) {
      fail(frame, e.what());
    } catch (const std::bad_alloc&) {
      fail(frame, "out of memory");
    }
  }

  void dispatch(Frame& frame, const Node& node) {
    const Attrs attrs = frame.graph->attrs(node);
    switch (node.op) {
      case Op::constant:
        return finish(frame,
                      one_value(from_constant(context_.constants[attrs.constant(AttrKey::value)])));
      case Op::bind_dims: return bind_dims(frame, node, attrs);
      case Op::cond: return begin_cond(frame, node, attrs);
      case Op::loop: return begin_loop(frame, node, attrs);
      default: break;
    }
    std::vector<const Tensor*> operands;
    for (ValueId v : frame.graph->operands(node)) operands.push_back(frame.values[v.index].get());
    const Call call{context_, node.op, attrs, operands, extent_};
    std::vector<Value> results;
    for (Tensor& t : function_of(node.op)(call)) results.push_back(share(std::move(t)));
    finish(frame, std::move(results));
  }

  static std::vector<Value> one_value(Tensor t) { return {share(std::move(t))}; }

  // The node at frame.next has its results: defines its symbols, checks extents, frees operands.
  void finish(Frame& frame, std::vector<Value> results) {
    const Graph& g = *frame.graph;
    const Node& node = g.nodes()[frame.next];
    for (size_t r = 0; r < results.size(); ++r) {
      const ValueId v = g.result(NodeId(frame.next), static_cast<int>(r));
      check_extents(g, node, g.type(v), *results[r]);
      if (frame.uses_left[v.index] > 0) frame.values[v.index] = std::move(results[r]);
    }
    for (ValueId v : g.operands(node)) {
      if (--frame.uses_left[v.index] == 0) frame.values[v.index].reset();
    }
    ++frame.next;
  }

  bool defines(const Node& node, const Graph& g, DimId d) const {
    if (node.op == Op::bind_dims || !has_trait(node.op, kDefinesDims)) return false;
    for (DimId s : g.attrs(node).dims(AttrKey::symbols)) {
      if (s == d) return context_.dims.as_symbol(d).has_value();
    }
    return false;
  }

  void check_extents(const Graph& g, const Node& node, const Type& type, const Tensor& t) {
    GCOMP_CHECK(
        t.dtype == type.dtype && t.rank() == type.rank(),
        "the evaluator's result is not of the inferred type: " + std::string(name(node.op)));
    for (size_t a = 0; a < type.dims.size(); ++a) {
      const DimId d = type.dims[a];
      if (defines(node, g, d)) {
        symbols_.define(*context_.dims.as_symbol(d), t.shape[a]);
      } else if (symbols_.evaluate(d) != t.shape[a]) {
        throw RunFailure("the result is " + to_string(t) + ", but its type is " +
                         to_string(context_, type) + " and " + context_.dims.to_string(d) + " is " +
                         std::to_string(symbols_.evaluate(d)));
      }
    }
  }

  void bind_dims(Frame& frame, const Node& node, const Attrs& attrs) {
    const Value v = frame.values[frame.graph->operands(node)[0].index];
    const std::vector<DimId>& symbols = attrs.dims(AttrKey::symbols);
    for (size_t i = 0; i < symbols.size(); ++i) {
      symbols_.define(*context_.dims.as_symbol(symbols[i]), v->data<int64_t>()[i]);
    }
    finish(frame, {v});
  }

  // ---- Control flow ----

  std::vector<Value> operand_values(const Frame& frame, const Node& node, size_t from) const {
    std::vector<Value> values;
    const auto operands = frame.graph->operands(node);
    for (size_t i = from; i < operands.size(); ++i)
      values.push_back(frame.values[operands[i].index]);
    return values;
  }

  void begin_cond(Frame& frame, const Node& node, const Attrs& attrs) {
    const Value pred = frame.values[frame.graph->operands(node)[0].index];
    const size_t branch = *pred->data<bool>() ? 0 : 1;
    push(context_.graph(attrs.graphs(AttrKey::bodies)[branch]), operand_values(frame, node, 1));
  }

  void begin_loop(Frame& frame, const Node& node, const Attrs& attrs) {
    const auto operands = frame.graph->operands(node);
    LoopState loop;
    loop.limit = *frame.values[operands[0].index]->data<int64_t>();
    loop.go_on = *frame.values[operands[1].index]->data<bool>();
    loop.carried = static_cast<size_t>(attrs.integer(AttrKey::index));
    loop.values = operand_values(frame, node, 2);
    const Graph& body = context_.graph(attrs.graphs(AttrKey::bodies)[0]);
    loop.stacked.resize(body.outputs().size() - 1 - loop.carried);
    frame.loop = std::move(loop);
    continue_loop(frame);
  }

  // Begins the next iteration, or ends the loop.
  void continue_loop(Frame& frame) {
    const Node& node = frame.graph->nodes()[frame.next];
    const Attrs attrs = frame.graph->attrs(node);
    LoopState& loop = *frame.loop;
    if (!loop.go_on || loop.iteration >= loop.limit) return end_loop(frame, node, attrs);
    Tensor iteration = make_tensor(DType::kInt64, {});
    *iteration.data<int64_t>() = loop.iteration;
    std::vector<Value> inputs = one_value(std::move(iteration));
    inputs.insert(inputs.end(), loop.values.begin(), loop.values.end());
    push(context_.graph(attrs.graphs(AttrKey::bodies)[0]), inputs);
  }

  void end_loop(Frame& frame, const Node& node, const Attrs& attrs) {
    LoopState loop = std::move(*frame.loop);
    frame.loop.reset();
    const std::vector<DimId>& symbols = attrs.dims(AttrKey::symbols);
    if (!symbols.empty()) symbols_.define(*context_.dims.as_symbol(symbols[0]), loop.iteration);
    std::vector<Value> results(loop.values.begin(),
                               loop.values.begin() + static_cast<ptrdiff_t>(loop.carried));
    for (size_t s = 0; s < loop.stacked.size(); ++s) {
      const Type& type = frame.graph->type(
          frame.graph->result(NodeId(frame.next), static_cast<int>(loop.carried + s)));
      if (!loop.stacked[s].all) loop.stacked[s].all = stack_of_none(frame, node, type);
      results.push_back(share(std::move(*loop.stacked[s].all)));
    }
    finish(frame, std::move(results));
  }

  Tensor stack_of_none(const Frame& frame, const Node& node, const Type& type) {
    Shape shape = {0};
    for (size_t a = 1; a < type.dims.size(); ++a) {
      const bool named = defines(node, *frame.graph, type.dims[a]);
      shape.push_back(named ? 0 : symbols_.evaluate(type.dims[a]));
    }
    return make_tensor(type.dtype, std::move(shape));
  }

  // A body has ended with `outputs`; `frame` holds the node it belongs to.
  void deliver(Frame& frame, std::vector<Value> outputs) {
    if (!frame.loop) return finish(frame, std::move(outputs));
    LoopState& loop = *frame.loop;
    loop.go_on = *outputs[0]->data<bool>();
    for (size_t i = 0; i < loop.carried; ++i) loop.values[i] = outputs[i + 1];
    for (size_t s = 0; s < loop.stacked.size(); ++s) {
      loop.stacked[s].append(*outputs[1 + loop.carried + s]);
    }
    ++loop.iteration;
    continue_loop(frame);
  }

  const Context& context_;
  Symbols symbols_;
  std::function<int64_t(DimId)> extent_;
  std::unordered_map<const Graph*, Plan> plans_;
  std::vector<std::unique_ptr<Frame>> frames_;
};

}  // namespace

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs) {
  return Evaluator(graph.context()).run(graph, inputs);
}

std::vector<Tensor> evaluate_op(const Context& context, Op op, Attrs attrs,
                                std::span<const Tensor* const> operands) {
  const Function function = function_of(op);
  GCOMP_CHECK(function != nullptr, "evaluate_op: not an op that stands alone");
  const std::function<int64_t(DimId)> extent = [&](DimId d) {
    const auto value = context.dims.constant_value(d);
    GCOMP_CHECK(value.has_value(), "evaluate_op: an extent is not a number");
    return *value;
  };
  try {
    return function({context, op, attrs, operands, extent});
  } catch (const RunFailure& e) {
    throw UserError(ExitCode::kRun, {.message = e.what(), .code = Code::kCheck});
  }
}

}  // namespace gcomp::interp
