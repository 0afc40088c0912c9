#include "symbols.h"

#include <unordered_map>

#include "call.h"
#include "gcomp/ir/infer.h"

namespace gcomp::interp {

void Symbols::enter() {
  scopes_.push_back(++last_scope_);
  marks_.push_back(saved_.size());
}

void Symbols::leave() {
  for (; saved_.size() > marks_.back(); saved_.pop_back()) {
    const Saved& s = saved_.back();
    values_[s.symbol.index] = s.value;
    scope_of_[s.symbol.index] = s.scope;
  }
  marks_.pop_back();
  scopes_.pop_back();
}

void Symbols::define(SymbolId s, int64_t value) {
  const std::string& name = dims_.symbol_name(s);
  if (value < 0) {
    throw RunFailure("the extent " + name + " would be negative: " + std::to_string(value));
  }
  if (known(s)) {
    if (values_[s.index] == value) return;
    throw RunFailure("the extent " + name + " is both " + std::to_string(values_[s.index]) +
                     " and " + std::to_string(value));
  }
  if (!marks_.empty()) saved_.push_back({s, values_[s.index], scope_of_[s.index]});
  values_[s.index] = value;
  scope_of_[s.index] = current();
}

int64_t Symbols::evaluate(DimId d) const {
  if (const auto value = dims_.constant_value(d)) return *value;
  std::vector<SymbolId> symbols;
  dims_.collect_symbols(d, &symbols);
  for (SymbolId s : symbols) {
    if (known(s)) continue;
    throw RunFailure("the extent " + dims_.symbol_name(s) +
                     " is needed, but nothing evaluated so far determines it");
  }
  return dims_.evaluate(d, values_);
}

void Symbols::mismatch(const Graph& graph, size_t input, DimId expression, int64_t extent) const {
  const Port& port = graph.inputs()[input];
  throw RunFailure("input '" + port.name + "' has the extent " + std::to_string(extent) +
                   " where its type, " + to_string(graph.context(), graph.type(port.value)) +
                   ", has " + dims_.to_string(expression) + " = " +
                   std::to_string(evaluate(expression)));
}

void Symbols::settle(const Equation& e, const Graph& graph) {
  if (evaluate(e.expression) != e.value) mismatch(graph, e.input, e.expression, e.value);
}

// value + coefficient * unknown + the rest, all known, = the extent.
void Symbols::solve(const Equation& e, const Graph& graph) {
  const DimExpr& expr = dims_.expr(e.expression);
  const auto cannot = [&] {
    throw RunFailure("input '" + graph.inputs()[e.input].name +
                     "': the extents given do not determine " + dims_.to_string(e.expression));
  };
  if (expr.kind != DimKind::kSum) cannot();
  int64_t rest = e.value - expr.value;
  int64_t coefficient = 0;
  SymbolId unknown;
  for (size_t i = 0; i < expr.operands.size(); ++i) {
    const auto symbol = dims_.as_symbol(expr.operands[i]);
    if (symbol && !known(*symbol)) {
      unknown = *symbol;
      coefficient = expr.coefficients[i];
      continue;
    }
    std::vector<SymbolId> symbols;
    dims_.collect_symbols(expr.operands[i], &symbols);
    for (SymbolId s : symbols) {
      if (!known(s)) cannot();  // the unknown within a product, a quotient, ...
    }
    rest -= expr.coefficients[i] * evaluate(expr.operands[i]);
  }
  if (coefficient == 0) cannot();
  if (rest % coefficient != 0 || rest / coefficient < 0) {
    throw RunFailure("input '" + graph.inputs()[e.input].name + "' has the extent " +
                     std::to_string(e.value) + ", which is not " + dims_.to_string(e.expression) +
                     " for any " + dims_.symbol_name(unknown) + " >= 0");
  }
  define(unknown, rest / coefficient);
}

void Symbols::bind_inputs(const Graph& graph, std::span<const Tensor* const> inputs) {
  std::vector<Equation> equations;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = graph.type(graph.inputs()[i].value);
    for (size_t a = 0; a < type.dims.size(); ++a) {
      const DimId d = type.dims[a];
      const int64_t extent = inputs[i]->shape[a];
      const auto symbol = dims_.as_symbol(d);
      if (symbol && !known(*symbol)) {
        define(*symbol, extent);
      } else {
        equations.push_back({d, extent, i, 0});
      }
    }
  }
  // Each equation waits for its unknown symbols; one with a single unknown is solved.
  std::unordered_map<uint32_t, std::vector<size_t>> waiting;
  std::vector<size_t> ready;
  for (size_t i = 0; i < equations.size(); ++i) {
    std::vector<SymbolId> symbols;
    dims_.collect_symbols(equations[i].expression, &symbols);
    for (SymbolId s : symbols) {
      if (known(s)) continue;
      waiting[s.index].push_back(i);
      ++equations[i].unknown;
    }
    if (equations[i].unknown <= 1) ready.push_back(i);
  }
  while (!ready.empty()) {
    const Equation e = equations[ready.back()];
    ready.pop_back();
    if (e.unknown == 0) {
      settle(e, graph);
      continue;
    }
    std::vector<SymbolId> symbols;
    dims_.collect_symbols(e.expression, &symbols);
    SymbolId unknown;
    for (SymbolId s : symbols) {
      if (!known(s)) unknown = s;
    }
    if (!unknown.valid()) {  // another equation found it in the meantime
      settle(e, graph);
      continue;
    }
    solve(e, graph);
    for (size_t i : waiting[unknown.index]) {
      if (--equations[i].unknown <= 1) ready.push_back(i);
    }
  }
}

}  // namespace gcomp::interp
