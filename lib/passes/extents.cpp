// Extents that the graph itself checks to be equal (specify_shape) become one symbol, or the number they are
// checked against: then the inputs say so, a call is checked once at its start, the checks vanish, and values
// whose extents had different names meet.
//
// Only nodes that outputs need count, since others never run, and only those of the outer graph, since bodies may
// not run. Equalities form classes (union-find over the symbols of inputs), each named by its number if it has one,
// else by its first symbol. Linear but for the inverse Ackermann function.

#include <numeric>

#include "gcomp/ir/substitute.h"
#include "gcomp/passes/passes.h"
#include "gcomp/support/error.h"

namespace gcomp::passes {
namespace {

class EqualExtents {
 public:
  explicit EqualExtents(const Graph& graph)
      : graph_(graph),
        dims_(graph.context().dims),
        parent_(dims_.num_symbols()),
        rank_(dims_.num_symbols(), kNotOfInput),
        number_(dims_.num_symbols()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    std::vector<SymbolId> symbols;
    for (const Port& p : graph.inputs()) {
      for (DimId d : graph.type(p.value).dims) dims_.collect_symbols(d, &symbols);
    }
    for (size_t i = 0; i < symbols.size(); ++i) rank_[symbols[i].index] = i;
  }

  // Null if nothing is equal to anything else.
  std::unique_ptr<Graph> run() {
    const std::vector<bool> live = live_nodes();
    for (size_t i = 0; i < graph_.num_nodes(); ++i) {
      const Node& n = graph_.node(NodeId(i));
      if (n.op != Op::specify_shape || !live[i]) continue;
      const std::vector<DimId>& have = graph_.type(graph_.operands(n)[0]).dims;
      const std::vector<DimId>& want = graph_.attrs(n).dims(AttrKey::shape);
      for (size_t a = 0; a < have.size(); ++a) unite(have[a], want[a]);
    }
    std::vector<DimId> by(dims_.num_symbols());
    for (uint32_t s = 0; s < parent_.size(); ++s) {
      const uint32_t root = find(s);
      if (number_[root].valid()) {
        by[s] = number_[root];
      } else if (root != s) {
        by[s] = dims_.symbol(dims_.symbol_name(SymbolId(root)));
      }
    }
    if (!found_) return nullptr;
    try {
      return substitute(graph_, by);
    } catch (const UserError&) {  // they contradict each other: each run fails, and says where
      return nullptr;
    }
  }

 private:
  static constexpr size_t kNotOfInput = ~size_t{0};

  std::vector<bool> live_nodes() const {
    std::vector<bool> live(graph_.num_nodes(), false);
    for (const Port& p : graph_.outputs()) live[graph_.producer(p.value).index] = true;
    for (size_t i = graph_.num_nodes(); i-- > 0;) {
      if (!live[i]) continue;
      for (ValueId v : graph_.operands(graph_.node(NodeId(i))))
        live[graph_.producer(v).index] = true;
    }
    return live;
  }

  uint32_t find(uint32_t s) {
    while (parent_[s] != s) s = parent_[s] = parent_[parent_[s]];
    return s;
  }

  // Notes that two extents are equal, where both are a symbol of an input or one is a number.
  void unite(DimId a, DimId b) {
    if (a == b) return;
    const auto symbol_a = input_symbol(a), symbol_b = input_symbol(b);
    if (symbol_a && symbol_b) {
      unite_symbols(find(*symbol_a), find(*symbol_b));
    } else if (symbol_a && dims_.constant_value(b)) {
      give_number(find(*symbol_a), b);
    } else if (symbol_b && dims_.constant_value(a)) {
      give_number(find(*symbol_b), a);
    }
  }

  std::optional<uint32_t> input_symbol(DimId d) const {
    const auto s = dims_.as_symbol(d);
    if (!s || rank_[s->index] == kNotOfInput) return std::nullopt;
    return s->index;
  }

  void unite_symbols(uint32_t a, uint32_t b) {
    if (a == b) return;
    if (number_[a].valid() && number_[b].valid() && number_[a] != number_[b]) return;
    if (rank_[b] < rank_[a]) std::swap(a, b);
    if (!number_[a].valid()) number_[a] = number_[b];
    parent_[b] = a;
    found_ = true;
  }

  void give_number(uint32_t s, DimId number) {
    if (number_[s].valid() || *dims_.constant_value(number) < 0) return;
    number_[s] = number;
    found_ = true;
  }

  const Graph& graph_;
  DimTable& dims_;
  std::vector<uint32_t> parent_;  // by symbol
  std::vector<size_t> rank_;      // by symbol: when the inputs first mention it
  std::vector<DimId> number_;     // by class; invalid: none
  bool found_ = false;
};

}  // namespace

pass::Pass extents() {
  const auto run = [](const Graph& graph, pass::PassContext&) { return EqualExtents(graph).run(); };
  return {
      "extents",
      run,
      false,
      {"fast_compile", "fast_run"},
      "extents of inputs that the graph checks to be equal become one, checked when it is called",
      ""};
}

}  // namespace gcomp::passes
