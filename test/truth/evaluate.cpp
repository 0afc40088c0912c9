#include "evaluate.h"

#include <algorithm>

#include "apply.h"
#include "call.h"
#include "symbols.h"

namespace gcomp::truth {
namespace {

using interp::Shape;
using interp::Tensor;

// The values of all iterations, one after the other.
struct Stack {
  Value all;
  int64_t count = 0;

  void append(const Value& v) {
    if (count == 0) all = v;
    if (count == 0) all.tensor.shape.insert(all.tensor.shape.begin(), 0);
    if (count > 0)
      all.tensor.bytes.insert(all.tensor.bytes.end(), v.tensor.bytes.begin(), v.tensor.bytes.end());
    all.tensor.shape[0] = ++count;
  }
};

std::vector<bool> live_nodes(const Graph& g) {
  std::vector<bool> live(g.num_nodes());
  for (const Port& p : g.outputs()) live[g.producer(p.value).index] = true;
  for (size_t i = g.num_nodes(); i-- > 0;) {
    if (!live[i]) continue;
    for (ValueId v : g.operands(NodeId(i))) live[g.producer(v).index] = true;
  }
  return live;
}

// Walks a graph; bodies of control flow on the host's stack, since cases nest them a few deep.
class Evaluator {
 public:
  Evaluator(const Graph& graph, const Options& options)
      : context_(graph.context()),
        pool_(options),
        symbols_(context_.dims),
        extent_([this](DimId d) { return symbols_.evaluate(d); }) {}

  std::vector<Output> run(const Graph& graph, std::span<const Tensor> inputs) {
    std::vector<Value> values;
    for (const Tensor& t : inputs) values.push_back(pool_.import_input(t));
    std::vector<Output> outputs;
    for (const Value& v : walk(graph, values)) outputs.push_back(pool_.output(v));
    return outputs;
  }

 private:
  std::vector<Value> walk(const Graph& g, const std::vector<Value>& inputs) {
    std::vector<const Tensor*> tensors;
    for (const Value& v : inputs) tensors.push_back(&v.tensor);
    symbols_.bind_inputs(g, tensors);
    std::vector<Value> values(g.num_values());
    for (size_t i = 0; i < inputs.size(); ++i) values[g.inputs()[i].value.index] = inputs[i];
    const std::vector<bool> live = live_nodes(g);
    for (size_t i = 0; i < g.num_nodes(); ++i) {
      const Node& n = g.nodes()[i];
      if (n.op == Op::input || !live[i]) continue;
      std::vector<const Value*> operands;
      for (ValueId v : g.operands(n)) operands.push_back(&values[v.index]);
      std::vector<Value> results = evaluate(g, n, operands);
      define_symbols(g, n, results);
      for (size_t r = 0; r < results.size(); ++r) {
        values[n.first_result.index + r] = std::move(results[r]);
      }
    }
    std::vector<Value> outputs;
    for (const Port& p : g.outputs()) outputs.push_back(values[p.value.index]);
    return outputs;
  }

  std::vector<Value> evaluate(const Graph& g, const Node& n,
                              const std::vector<const Value*>& operands) {
    switch (n.op) {
      case Op::bind_dims: return {*operands[0]};
      case Op::cond: return run_cond(g, n, operands);
      case Op::loop: return run_loop(g, n, operands);
      default: return apply({g, n, operands, extent_, pool_});
    }
  }

  // ---- Symbols ----

  void define_symbols(const Graph& g, const Node& n, const std::vector<Value>& results) {
    if (!has_trait(n.op, kDefinesDims)) return;
    const std::vector<DimId>& symbols = g.attrs(n).dims(AttrKey::symbols);
    for (size_t s = 0; s < symbols.size(); ++s) {
      if (n.op == Op::bind_dims) define(symbols[s], results[0].tensor.data<int64_t>()[s]);
      for (size_t r = 0; r < results.size(); ++r) {
        const std::vector<DimId>& dims = g.type(ValueId(n.first_result.index + r)).dims;
        for (size_t a = 0; a < dims.size(); ++a) {
          if (dims[a] == symbols[s]) define(symbols[s], results[r].tensor.shape[a]);
        }
      }
    }
  }

  void define(DimId d, int64_t value) {
    if (const auto symbol = context_.dims.as_symbol(d)) symbols_.define(*symbol, value);
  }

  // ---- Control flow ----

  const Graph& body(const Graph& g, const Node& n, size_t i) const {
    return context_.graph(g.attrs(n).graphs(AttrKey::bodies)[i]);
  }

  std::vector<Value> run_body(const Graph& body, const std::vector<Value>& inputs) {
    symbols_.enter();
    std::vector<Value> outputs = walk(body, inputs);
    symbols_.leave();
    return outputs;
  }

  std::vector<Value> run_cond(const Graph& g, const Node& n,
                              const std::vector<const Value*>& operands) {
    std::vector<Value> captures;
    for (size_t i = 1; i < operands.size(); ++i) captures.push_back(*operands[i]);
    return run_body(body(g, n, *operands[0]->tensor.data<bool>() ? 0 : 1), captures);
  }

  std::vector<Value> run_loop(const Graph& g, const Node& n,
                              const std::vector<const Value*>& operands) {
    const Graph& each = body(g, n, 0);
    const int64_t limit = *operands[0]->tensor.data<int64_t>();
    bool go_on = *operands[1]->tensor.data<bool>();
    const auto carried = static_cast<size_t>(g.attrs(n).integer(AttrKey::index));
    std::vector<Value> inputs{{interp::make_tensor(DType::kInt64, {}), false}};
    for (size_t i = 2; i < operands.size(); ++i) inputs.push_back(*operands[i]);
    std::vector<Stack> stacks(each.outputs().size() - 1 - carried);
    int64_t iteration = 0;
    for (; go_on && iteration < limit; ++iteration) {
      *inputs[0].tensor.data<int64_t>() = iteration;
      const std::vector<Value> outputs = run_body(each, inputs);
      go_on = *outputs[0].tensor.data<bool>();
      for (size_t i = 1; i <= carried; ++i) inputs[i] = outputs[i];
      for (size_t s = 0; s < stacks.size(); ++s) stacks[s].append(outputs[1 + carried + s]);
    }
    const std::vector<DimId>& symbols = g.attrs(n).dims(AttrKey::symbols);
    if (!symbols.empty()) define(symbols[0], iteration);
    std::vector<Value> results(inputs.begin() + 1,
                               inputs.begin() + 1 + static_cast<ptrdiff_t>(carried));
    for (size_t s = 0; s < stacks.size(); ++s) {
      const ValueId result(n.first_result.index + carried + s);
      if (iteration == 0) stacks[s].all = stack_of_none(g.type(result), symbols);
      results.push_back(std::move(stacks[s].all));
    }
    return results;
  }

  Value stack_of_none(const Type& type, const std::vector<DimId>& symbols) const {
    Shape shape;
    for (DimId d : type.dims) {
      const bool named = std::find(symbols.begin(), symbols.end(), d) != symbols.end();
      shape.push_back(shape.empty() || named ? 0 : symbols_.evaluate(d));
    }
    const bool real = is_float(type.dtype);
    return {interp::make_tensor(real ? DType::kInt64 : type.dtype, std::move(shape)), real};
  }

  const Context& context_;
  Elements pool_;
  interp::Symbols symbols_;
  std::function<int64_t(DimId)> extent_;
};

}  // namespace

Format format(DType t) {
  switch (t) {
    case DType::kFloat16: return {11, 16, -14};
    case DType::kBFloat16: return {8, 128, -126};
    case DType::kFloat32: return {24, 128, -126};
    default: return {53, 1024, -1022};
  }
}

std::optional<std::vector<Output>> evaluate(const Graph& graph, std::span<const Tensor> inputs,
                                            const Options& options, std::string* why) {
  mpfr_set_emin(mpfr_get_emin_min());
  mpfr_set_emax(mpfr_get_emax_max());
  mpfr_clear_flags();
  try {
    return Evaluator(graph, options).run(graph, inputs);
  } catch (const NotCovered& e) {
    if (why != nullptr) *why = e.what;
  } catch (const interp::RunFailure& e) {
    if (why != nullptr) *why = e.what();
  }
  return std::nullopt;
}

}  // namespace gcomp::truth
