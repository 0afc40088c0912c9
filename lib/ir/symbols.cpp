#include "gcomp/ir/symbols.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "gcomp/support/error.h"

namespace gcomp {
namespace {

class Checker {
 public:
  explicit Checker(const Graph& g) : g_(g), dims_(g.context().dims) {
    for (const Port& p : g_.inputs()) add_symbols(g_.type(p.value).dims, &inputs_);
  }

  std::vector<SymbolProblem> run() {
    for (size_t i = 0; i < g_.num_nodes(); ++i) {
      node_ = NodeId(i);
      check();
    }
    return std::move(problems_);
  }

 private:
  using Symbols = std::unordered_set<uint32_t>;

  // Nearly all nodes are done here: their extents are numbers or known from the inputs.
  void check() {
    const Node& n = g_.node(node_);
    if (n.op == Op::input) return;
    own_.clear();
    needed_.clear();
    for (const Attr& a : g_.attrs(n)) {
      const auto* list = std::get_if<std::vector<DimId>>(&a.value);
      if (list == nullptr) continue;
      if (a.key == AttrKey::symbols) define(n, *list);
      if (!of_inputs(*list)) add_symbols(*list, &needed_);
    }
    for (int r = 0; r < n.num_results; ++r) {
      const std::vector<DimId>& extents = g_.type(ValueId(n.first_result.index + r)).dims;
      if (!of_inputs(extents)) add_symbols(extents, &needed_);
    }
    if (!needed_.empty()) require_brought(n);
  }

  void define(const Node& n, const std::vector<DimId>& list) {
    for (DimId d : list) {
      const auto s = dims_.as_symbol(d);
      if (!s && has_trait(n.op, kHasBody) && dims_.is_constant(d, -1)) continue;  // not named
      if (!s) {
        report("attribute 'symbols' holds more than a plain symbol", "");
        continue;
      }
      own_.insert(s->index);
      if (inputs_.contains(s->index) || !defined_.insert(s->index).second) {
        report("symbol " + dims_.symbol_name(*s) + " is defined twice", "rename one of them");
      }
    }
  }

  void require_brought(const Node& n) {
    std::erase_if(needed_, [&](uint32_t s) { return inputs_.contains(s) || own_.contains(s); });
    for (ValueId v : g_.operands(n)) {
      if (needed_.empty()) return;
      Symbols brought;
      add_symbols(g_.type(v).dims, &brought);
      const Attrs maker = g_.attrs(g_.producer_node(v));
      add_symbols(maker.dims(AttrKey::symbols), &brought);
      add_symbols(maker.dims(AttrKey::values), &brought);
      std::erase_if(needed_, [&](uint32_t s) { return brought.contains(s); });
    }
    std::vector<uint32_t> missing(needed_.begin(), needed_.end());
    std::ranges::sort(missing);
    for (uint32_t s : missing) {
      report("no operand brings symbol " + dims_.symbol_name(SymbolId(s)),
             "make it an extent of an input, or give a value as operand whose shape has it");
    }
  }

  // Whether the extents are made of numbers and the inputs' symbols.
  bool of_inputs(std::span<const DimId> list) {
    return std::ranges::all_of(list, [&](DimId d) {
      if (dims_.constant_value(d)) return true;
      const auto [known, is_new] = of_inputs_.try_emplace(d.index, false);
      if (is_new) {
        Symbols found;
        add_symbols({&d, 1}, &found);
        known->second = std::ranges::all_of(found, [&](uint32_t s) { return inputs_.contains(s); });
      }
      return known->second;
    });
  }

  void add_symbols(std::span<const DimId> list, Symbols* out) const {
    std::vector<SymbolId> found;
    for (DimId d : list) dims_.collect_symbols(d, &found);
    for (SymbolId s : found) out->insert(s.index);
  }

  void report(std::string what, std::string advice) {
    problems_.push_back({node_, std::move(what), std::move(advice)});
  }

  const Graph& g_;
  const DimTable& dims_;
  Symbols inputs_, defined_;                      // the graph's
  Symbols own_, needed_;                          // the node's
  std::unordered_map<uint32_t, bool> of_inputs_;  // extents with symbols
  NodeId node_;
  std::vector<SymbolProblem> problems_;
};

}  // namespace

std::vector<SymbolProblem> check_symbols(const Graph& graph) { return Checker(graph).run(); }

void require_symbols(const Graph& graph, const std::string& file_name,
                     const std::function<std::string()>& path) {
  const std::vector<SymbolProblem> found = check_symbols(graph);
  if (found.empty()) return;
  const Node& n = graph.node(found[0].node);
  const std::string outer = path ? path() : "";
  graph_error({found[0].what, outer + graph.context().locs[n.loc], found[0].advice,
               Code::kFreeSymbol, file_name});
}

}  // namespace gcomp
