#pragma once
// The values of symbols during an evaluation, with scopes: a nested graph binds its own.

#include <span>
#include <string>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"

namespace gcomp::interp {

class Symbols {
 public:
  explicit Symbols(const DimTable& dims)
      : dims_(dims), values_(dims.num_symbols()), scope_of_(values_.size(), 0) {}

  // Enters a nested scope, in which nothing is bound; leaving restores what was before.
  void enter();
  void leave();

  // RunFailure if the value is negative or the symbol has another one.
  void define(SymbolId s, int64_t value);
  bool known(SymbolId s) const { return scope_of_[s.index] == current(); }

  // RunFailure naming a symbol that is not bound.
  int64_t evaluate(DimId d) const;

  // Binds the symbols in the types of a graph's inputs to the extents of `inputs` and compares what
  // is determined twice. RunFailure naming the input.
  void bind_inputs(const Graph& graph, std::span<const Tensor* const> inputs);

 private:
  struct Saved {
    SymbolId symbol;
    int64_t value;
    uint32_t scope;
  };
  struct Equation {  // an extent that is an expression
    DimId expression;
    int64_t value;
    size_t input;
    size_t unknown;  // number of symbols not bound yet
  };

  uint32_t current() const { return scopes_.back(); }
  void settle(const Equation& e, const Graph& graph);
  void solve(const Equation& e, const Graph& graph);
  void mismatch(const Graph& graph, size_t input, DimId expression, int64_t extent) const;

  const DimTable& dims_;
  std::vector<int64_t> values_;
  std::vector<uint32_t> scope_of_;  // per symbol: the scope that bound it
  std::vector<uint32_t> scopes_ = {1};
  std::vector<size_t> marks_;  // size of saved_ when each nested scope was entered
  std::vector<Saved> saved_;
  uint32_t last_scope_ = 1;
};

}  // namespace gcomp::interp
