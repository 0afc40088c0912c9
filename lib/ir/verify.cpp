// Invariants of a graph:
//   V1  An operand is a value made by an earlier node (topological order), results are numbered in order.
//   V2  Arity, attributes and result types are what the op's row infers from the operands.
//   V3  The inputs are exactly the `input` nodes, in order, each once; their attribute `index` says so.
//   V4  Outputs refer to existing values. States are as check_states (states.h) wants them, and only the
//       outer graph has any, or donated inputs.
//   V5  A symbol in an attribute or a result type is an extent of a graph input, occurs in the type of
//       an operand, is an element of a carrier's `bind_dims`, or is defined by the node itself: so
//       whoever needs an extent depends on what brings it.
//   V6  A symbol is defined by one node only.
//   V7  Nested graphs are closed, sound, and each belongs to a node with a body.
//   V8  (interned graphs) no two equal pure nodes.
#include "gcomp/ir/verify.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "gcomp/ir/infer.h"
#include "gcomp/ir/states.h"
#include "gcomp/ir/symbols.h"
#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {
namespace {

class Verifier {
 public:
  Verifier(const Graph& g, bool nested, bool interned, std::vector<std::string>* errors)
      : g_(g), c_(g.context()), nested_(nested), interned_(interned), errors_(errors) {}

  // Checks the graph itself; nested graphs are appended to `bodies`.
  void run(std::vector<const Graph*>* bodies) {
    ports();
    uint32_t next_value = 0;
    for (size_t i = 0; i < g_.num_nodes(); ++i) {
      const NodeId id(i);
      const Node& n = g_.node(id);
      current_ = id;
      if (n.first_result.index != next_value) report("results are not numbered in order");
      next_value += n.num_results;
      if (!operands_exist(n)) continue;
      types(n);
      if (interned_) duplicates(id, n);
      for (GraphId body : g_.attrs(n).graphs(AttrKey::bodies)) {
        if (body.index >= c_.num_graphs()) {
          report("no such nested graph");
        } else {
          bodies->push_back(&c_.graph(body));
        }
      }
    }
    if (!errors_->empty()) return;  // what follows looks at operands
    for (const SymbolProblem& p : check_symbols(g_)) {
      current_ = p.node;
      report(p.what);
    }
  }

 private:
  void report(const std::string& message) {
    std::string place = "graph";
    if (current_.valid()) {
      const Node& n = g_.node(current_);
      place = "node " + std::to_string(current_.index) + " (" + std::string(name(n.op));
      if (n.loc != LocTable::none()) place += ", " + c_.locs[n.loc];
      place += ")";
    }
    errors_->push_back(place + ": " + message);
  }

  void ports() {
    size_t input_nodes = 0;
    for (const Node& n : g_.nodes()) input_nodes += n.op == Op::input;
    if (input_nodes != g_.inputs().size()) report("an input node is not an input of the graph");
    for (size_t i = 0; i < g_.inputs().size(); ++i) {
      const ValueId v = g_.inputs()[i].value;
      if (v.index >= g_.num_values() || g_.producer_node(v).op != Op::input ||
          g_.attrs(g_.producer(v)).integer_or(AttrKey::index, -1) != static_cast<int64_t>(i)) {
        report("input " + std::to_string(i) + " is not made by its input node");
      }
    }
    for (const Port& p : g_.outputs()) {
      if (p.value.index >= g_.num_values()) report("output '" + p.name + "' does not exist");
    }
    if (const auto problem = check_states(g_)) report(problem->what);
    if (nested_ && has_interface_marks(g_)) {
      report("a nested graph has states or donated inputs");
    }
  }

  bool operands_exist(const Node& n) {
    for (ValueId v : g_.operands(n)) {
      if (v.index < n.first_result.index) continue;
      report("operand " + std::to_string(v.index) + " is made later");
      return false;
    }
    return true;
  }

  void types(const Node& n) {
    if (n.op == Op::input) return;
    std::vector<const Type*> operand_types;
    for (ValueId v : g_.operands(n)) operand_types.push_back(&g_.type(v));
    try {
      // Inference interns: the tables grow, the graph does not change.
      const auto inferred = infer_types(g_.context(), n.op, operand_types, n.attrs, n.loc);
      if (inferred.size() != n.num_results) {
        report("has another number of results than inferred");
        return;
      }
      for (size_t r = 0; r < inferred.size(); ++r) {
        const ValueId v(n.first_result.index + r);
        if (inferred[r] == g_.type_id(v)) continue;
        report("result " + std::to_string(r) + " has type " + to_string(c_, g_.type(v)) +
               ", inferred is " + to_string(c_, c_.types[inferred[r]]));
      }
    } catch (const UserError& e) {
      report(e.what());
    }
  }

  void duplicates(NodeId id, const Node& n) {
    if (n.op == Op::input || has_trait(n.op, kDefinesDims)) return;
    size_t h = hash_combine(static_cast<size_t>(n.op), n.attrs.index);
    for (ValueId v : g_.operands(n)) h = hash_combine(h, v.index);
    for (NodeId other : by_hash_[h]) {
      const Node& o = g_.node(other);
      const auto a = g_.operands(n), b = g_.operands(o);
      if (o.op == n.op && o.attrs == n.attrs &&
          std::equal(a.begin(), a.end(), b.begin(), b.end())) {
        report("equals node " + std::to_string(other.index));
      }
    }
    by_hash_[h].push_back(id);
  }

  const Graph& g_;
  const Context& c_;
  const bool nested_;
  const bool interned_;
  std::vector<std::string>* errors_;
  NodeId current_;
  std::unordered_map<size_t, std::vector<NodeId>> by_hash_;
};

}  // namespace

std::vector<std::string> verify(const Graph& graph, bool require_interned) {
  std::vector<std::string> errors;
  std::vector<const Graph*> pending{&graph};
  std::unordered_set<const Graph*> seen{&graph};
  while (!pending.empty()) {
    const Graph* g = pending.back();
    pending.pop_back();
    std::vector<const Graph*> bodies;
    Verifier(*g, g != &graph, require_interned, &errors).run(&bodies);
    for (const Graph* body : bodies) {
      if (seen.insert(body).second) pending.push_back(body);
    }
  }
  return errors;
}

void verify_or_throw(const Graph& graph, const std::string& after, bool require_interned) {
  const std::vector<std::string> errors = verify(graph, require_interned);
  if (errors.empty()) return;
  constexpr size_t kShown = 10;
  std::string text = "the graph is broken after " + after + ":";
  for (size_t i = 0; i < std::min(errors.size(), kShown); ++i) text += "\n  " + errors[i];
  if (errors.size() > kShown) text += "\n  and " + std::to_string(errors.size() - kShown) + " more";
  throw InternalError(text);
}

}  // namespace gcomp
