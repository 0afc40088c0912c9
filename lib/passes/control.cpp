// Problem: bodies of cond and loop are closed graphs, so that what crosses their edges is hidden from rules:
// results that nobody reads, captures that no node reads, a carried value that is the same in every turn, two
// that are always equal.
// Method: bodies first, then the graphs that hold them. For each node one walk over its bodies from what is
// read of the results: a carried value is needed if its result is, or if what is needed reads it. The node
// and copies of its bodies are written without the rest.
// Cost: linear in the bodies, once per node that holds them.
#include <algorithm>
#include <map>
#include <numeric>

#include "copy.h"
#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/observer.h"

namespace gcomp::passes {
namespace {

// What is left of a node: numbers of inputs and outputs of its bodies.
struct Plan {
  std::vector<size_t> inputs;                // kept, in their new order
  std::vector<size_t> outputs;               // kept
  std::vector<size_t> same;                  // per input: the one that stands for it
  std::vector<std::optional<size_t>> given;  // per result: the operand that it is
  std::vector<size_t> result_of;             // per result: the result that stands for it
  size_t carried = 0;
};

bool is_loop(const Node& n) { return n.op == Op::loop; }

// Operand number of a body's input.
size_t operand_of(size_t input) { return input + 1; }

class Pruner {
 public:
  Pruner(const Graph& old, const BodyMap& bodies, const pass::PassContext& pass)
      : context_(old.context()),
        pass_(pass),
        old_(old),
        bodies_(bodies),
        builder_(old.context(), GraphBuilder::Mode::kRaw),
        memo_(old.num_values()),
        copier_(old, bodies, builder_, memo_) {}

  // Null if nothing changes.
  std::unique_ptr<Graph> run() {
    find_used();
    copier_.inputs();
    for (size_t i = 0; i < old_.num_nodes(); ++i) {
      const Node& n = old_.node(NodeId(i));
      if (n.op == Op::input || !live_[i]) continue;
      builder_.set_loc(n.loc);
      if (has_trait(n.op, kHasBody) && prune(n)) continue;
      copier_.node(n);
    }
    if (pruned_ == 0 && bodies_.empty()) return nullptr;
    copier_.outputs();
    auto made = builder_.finish();
    pass_.rebuilt(old_, *made, memo_);
    return made;
  }

  size_t changes() const { return pruned_; }

 private:
  void find_used() {
    used_.resize(old_.num_values());
    live_.resize(old_.num_nodes());
    for (const Port& p : old_.outputs()) used_[p.value.index] = true;
    for (size_t i = old_.num_nodes(); i-- > 0;) {
      const Node& n = old_.node(NodeId(i));
      for (uint32_t k = 0; k < n.num_results; ++k) {
        live_[i] = live_[i] || used_[n.first_result.index + k];
      }
      if (!live_[i]) continue;
      for (ValueId v : old_.operands(n)) used_[v.index] = true;
    }
  }

  GraphId current(GraphId body) const {
    const auto found = bodies_.find(body.index);
    return found == bodies_.end() ? body : found->second;
  }

  // ---- what is left ----

  bool result_used(const Node& n, size_t r) const { return used_[n.first_result.index + r]; }

  // Inputs of one type; under other symbols the body would have to be typed again.
  static bool can_stand(const Graph& body, size_t input, size_t other) {
    return body.type(body.inputs()[input].value) == body.type(body.inputs()[other].value);
  }

  Plan plan(const Node& n, const std::vector<const Graph*>& bodies) const {
    const Graph& body = *bodies[0];
    const auto operands = old_.operands(n);
    Plan p;
    p.same.resize(body.inputs().size());
    std::iota(p.same.begin(), p.same.end(), size_t{0});
    p.given.resize(n.num_results);
    p.result_of.resize(n.num_results);
    std::iota(p.result_of.begin(), p.result_of.end(), size_t{0});
    const size_t carried =
        is_loop(n) ? static_cast<size_t>(old_.attrs(n).integer(AttrKey::index)) : 0;
    if (is_loop(n)) plan_carried(n, body, carried, &p);
    // Captures of one value are one.
    std::unordered_map<uint32_t, size_t> first;
    for (size_t i = is_loop(n) ? 1 : 0; i < p.same.size(); ++i) {
      const bool captured = !is_loop(n) || i > carried || p.given[i - 1];
      if (!captured) continue;
      const auto [it, inserted] = first.emplace(operands[operand_of(i)].index, i);
      const bool stands =
          std::ranges::all_of(bodies, [&](const Graph* g) { return can_stand(*g, it->second, i); });
      if (!inserted && stands) p.same[i] = it->second;
    }
    keep_needed(n, bodies, carried, &p);
    return p;
  }

  // Carried values that stay what they are, and those that are always equal to an earlier one.
  void plan_carried(const Node& n, const Graph& body, size_t carried, Plan* p) const {
    const auto operands = old_.operands(n);
    const auto result_type = [&](size_t i) {
      return old_.type_id(ValueId(n.first_result.index + i - 1));
    };
    std::map<std::pair<uint32_t, uint32_t>, size_t> first;  // by next value and operand
    for (size_t i = 1; i <= carried; ++i) {
      const ValueId next = body.outputs()[i].value, operand = operands[operand_of(i)];
      if (next == body.inputs()[i].value && old_.type_id(operand) == result_type(i)) {
        p->given[i - 1] = operand_of(i);
        continue;
      }
      const auto [it, inserted] = first.emplace(std::pair(next.index, operand.index), i);
      const size_t j = it->second;
      if (inserted || !can_stand(body, j, i) || result_type(i) != result_type(j)) continue;
      p->same[i] = j;
      p->result_of[i - 1] = j - 1;
    }
  }

  void keep_needed(const Node& n, const std::vector<const Graph*>& bodies, size_t carried,
                   Plan* p) const {
    const bool loop = is_loop(n);
    std::vector<bool> output(bodies[0]->outputs().size()), input(p->same.size());
    std::vector<size_t> pending;
    const auto need = [&](size_t o) {
      if (!output[o]) pending.push_back(o);
      output[o] = true;
    };
    if (loop) need(0);
    for (size_t r = 0; r < n.num_results; ++r) {
      const size_t stands = p->result_of[r];
      if (result_used(n, r) && !p->given[stands]) need(stands + (loop ? 1 : 0));
    }
    std::vector<std::vector<bool>> seen;
    for (const Graph* g : bodies) seen.emplace_back(g->num_nodes());
    while (!pending.empty()) {
      const size_t o = pending.back();
      pending.pop_back();
      for (size_t b = 0; b < bodies.size(); ++b) {
        mark(*bodies[b], bodies[b]->outputs()[o].value, &seen[b], [&](size_t i) {
          const size_t stands = p->same[i];
          input[stands] = true;
          if (loop && stands >= 1 && stands <= carried && !p->given[stands - 1]) need(stands);
        });
      }
    }
    if (loop) p->inputs.push_back(0);
    for (size_t i = 1; loop && i <= carried; ++i) {
      if (!output[i] || p->same[i] != i || p->given[i - 1]) continue;
      p->inputs.push_back(i);
      ++p->carried;
    }
    for (size_t i = loop ? 1 : 0; i < input.size(); ++i) {
      const bool captured = !loop || i > carried || p->given[i - 1];
      if (captured && input[i] && p->same[i] == i) p->inputs.push_back(i);
    }
    for (size_t o = 0; o < output.size(); ++o) {
      if (output[o]) p->outputs.push_back(o);
    }
  }

  // The inputs that `from` depends on, each told once.
  template <class Found>
  static void mark(const Graph& g, ValueId from, std::vector<bool>* seen, const Found& found) {
    std::vector<NodeId> stack{g.producer(from)};
    while (!stack.empty()) {
      const NodeId n = stack.back();
      stack.pop_back();
      if ((*seen)[n.index]) continue;
      (*seen)[n.index] = true;
      if (g.node(n).op == Op::input) {
        found(static_cast<size_t>(g.attrs(n).integer(AttrKey::index)));
      }
      for (ValueId v : g.operands(n)) stack.push_back(g.producer(v));
    }
  }

  // ---- writing it ----

  bool prune(const Node& n) {
    std::vector<const Graph*> bodies;
    for (GraphId b : old_.attrs(n).graphs(AttrKey::bodies)) {
      bodies.push_back(&context_.graph(current(b)));
    }
    const Plan p = plan(n, bodies);
    if (p.inputs.size() == bodies[0]->inputs().size() &&
        p.outputs.size() == bodies[0]->outputs().size()) {
      return false;
    }
    const size_t skip = is_loop(n) ? 1 : 0;  // the condition is no result
    NodeId made;
    if (p.outputs.size() > skip) made = write(n, bodies, p);
    for (size_t r = 0; r < n.num_results; ++r) {
      const size_t stands = p.result_of[r];
      ValueId& to = memo_[n.first_result.index + r];
      if (p.given[stands]) {
        to = memo_[old_.operands(n)[*p.given[stands]].index];
        continue;
      }
      const auto at = std::ranges::lower_bound(p.outputs, stands + skip);
      if (at == p.outputs.end() || *at != stands + skip) continue;  // nobody reads it
      to = builder_.result(made, static_cast<int>(at - p.outputs.begin() - skip));
    }
    ++pruned_;
    return true;
  }

  NodeId write(const Node& n, const std::vector<const Graph*>& bodies, const Plan& p) {
    const bool loop = is_loop(n);
    const auto old_operands = old_.operands(n);
    std::vector<ValueId> operands;
    for (size_t i = 0; i < (loop ? 2u : 1u); ++i) operands.push_back(memo_[old_operands[i].index]);
    for (size_t i : p.inputs) {
      if (!loop || i > 0) operands.push_back(memo_[old_operands[operand_of(i)].index]);
    }
    std::vector<GraphId> made;
    for (const Graph* g : bodies) made.push_back(context_.add_graph(pruned_body(*g, p)));
    std::vector<Attr> attrs(old_.attrs(n).begin(), old_.attrs(n).end());
    for (Attr& a : attrs) {
      if (a.key == AttrKey::bodies) a.value = made;
      if (a.key == AttrKey::index) a.value = static_cast<int64_t>(p.carried);
      if (a.key == AttrKey::symbols) a.value = symbols_left(n, *bodies[0], p);
    }
    std::vector<TypeId> types;
    for (size_t o : p.outputs) {
      if (loop && o == 0) continue;
      types.push_back(old_.type_id(ValueId(n.first_result.index + o - (loop ? 1 : 0))));
    }
    return builder_.typed_node(n.op, operands, context_.attrs.intern(std::move(attrs)), types);
  }

  // The names of extents, without those of results that go.
  std::vector<DimId> symbols_left(const Node& n, const Graph& body, const Plan& p) const {
    const std::vector<DimId> all = old_.attrs(n).dims(AttrKey::symbols);
    const size_t lead = is_loop(n) ? 1 : 0;
    if (all.size() <= lead) return all;
    const auto carried =
        is_loop(n) ? static_cast<size_t>(old_.attrs(n).integer(AttrKey::index)) : 0;
    std::vector<DimId> left(all.begin(), all.begin() + static_cast<int64_t>(lead));
    size_t at = lead;
    for (size_t o = lead; o < body.outputs().size(); ++o) {
      const auto rank = is_loop(n) && o <= carried ? body.type(body.inputs()[o].value).dims.size()
                                                   : body.type(body.outputs()[o].value).dims.size();
      const bool kept = std::ranges::binary_search(p.outputs, o);
      for (size_t a = 0; a < rank; ++a, ++at) {
        if (kept) left.push_back(all[at]);
      }
    }
    return left;
  }

  std::unique_ptr<Graph> pruned_body(const Graph& g, const Plan& p) {
    const std::vector<bool> live = live_nodes(g, p);
    GraphBuilder b(context_, GraphBuilder::Mode::kRaw);
    std::vector<ValueId> made(g.num_values());
    for (size_t i : p.inputs) {
      const Port& port = g.inputs()[i];
      b.set_loc(g.producer_node(port.value).loc);
      made[port.value.index] = b.input(port.name, g.type(port.value));
    }
    for (size_t i = 0; i < p.same.size(); ++i) {
      made[g.inputs()[i].value.index] = made[g.inputs()[p.same[i]].value.index];
    }
    for (uint32_t i = 0; i < g.num_nodes(); ++i) {
      if (g.node(NodeId(i)).op != Op::input && live[i]) copy_into(b, g, NodeId(i), &made);
    }
    for (size_t o : p.outputs) b.output(g.outputs()[o].name, made[g.outputs()[o].value.index]);
    return b.finish();
  }

  static std::vector<bool> live_nodes(const Graph& g, const Plan& p) {
    std::vector<bool> live(g.num_nodes());
    for (size_t o : p.outputs) mark(g, g.outputs()[o].value, &live, [](size_t) {});
    return live;
  }

  static void copy_into(GraphBuilder& b, const Graph& g, NodeId id, std::vector<ValueId>* made) {
    const Node& n = g.node(id);
    std::vector<ValueId> operands;
    std::vector<TypeId> types;
    for (ValueId v : g.operands(n)) operands.push_back((*made)[v.index]);
    for (uint32_t r = 0; r < n.num_results; ++r) {
      types.push_back(g.type_id(ValueId(n.first_result.index + r)));
    }
    b.set_loc(n.loc);
    const NodeId copied = b.typed_node(n.op, operands, n.attrs, types);
    for (uint32_t r = 0; r < n.num_results; ++r) {
      (*made)[n.first_result.index + r] = b.result(copied, static_cast<int>(r));
    }
  }

  Context& context_;
  const pass::PassContext& pass_;
  const Graph& old_;
  const BodyMap& bodies_;
  GraphBuilder builder_;
  std::vector<ValueId> memo_;
  Copier copier_;
  std::vector<bool> used_, live_;  // per old value; per old node
  size_t pruned_ = 0;
};

}  // namespace

pass::Pass control() {
  const auto run = [](const Graph& graph, pass::PassContext& context) {
    return rebuild_all<Pruner>(graph, context, "conds and loops made smaller");
  };
  return {"control",
          run,
          false,
          {"fast_compile", "fast_run"},
          "what cond and loop compute, carry and capture in vain goes; carried values that never "
          "change are captured",
          "canonicalize"};
}

}  // namespace gcomp::passes
