// Problem: apply local rules everywhere until none fires, without visiting nodes again and again.
// Method: old nodes in topological order (the order in which they lie). Each is rebuilt on the final
// forms of its operands in an interning builder, so equal nodes are one; then it is settled: constants
// folded, rules tried; a replacement's nodes are settled first, operands before users, on an explicit
// stack. Every node that is final was offered to all rules with final operands, hence a second sweep
// finds nothing to do.
// Why it ends: an old node causes at most kMaxApplicationsPerNode applications, a rule makes a bounded
// number of nodes, and interning shows at once when rules come back to a node that is being replaced.
// Cost: O(nodes + operands + applications); each node is compared with the rules of its op only.
#include "gcomp/rewrite/sweep.h"

#include <algorithm>

#include "fold.h"
#include "gcomp/support/error.h"
#include "matcher.h"
#include "removed.h"
#include "ticks.h"

namespace gcomp::rewrite {
namespace {

// Constants last, else the older value first: one order per pair, so that a + b and b + a are one node.
void order_operands(const Facts& facts, std::vector<ValueId>& pair) {
  const bool first = facts.is_constant(pair[0]), second = facts.is_constant(pair[1]);
  if (first != second ? first : pair[1] < pair[0]) std::swap(pair[0], pair[1]);
}

// Old nested graphs -> swept ones.
using BodyMap = std::unordered_map<uint32_t, GraphId>;

constexpr int kRecentRules = 4;   // named when a limit is hit
constexpr size_t kMaxNotes = 50;  // texts kept in SweepStats::chases

// What outputs need: bits per value, the first result of a live node always set. One backward scan,
// since operands come before users.
std::vector<bool> live_values(const Graph& g) {
  std::vector<bool> live(g.num_values());
  for (const Port& p : g.outputs()) live[p.value.index] = true;
  for (size_t i = g.num_nodes(); i-- > 0;) {
    const Node& n = g.node(NodeId(i));
    bool used = false;
    for (int k = 0; k < n.num_results; ++k) used = used || live[n.first_result.index + k];
    if (!used) continue;
    live[n.first_result.index] = true;
    for (ValueId v : g.operands(n)) live[v.index] = true;
  }
  return live;
}

// Readers among live nodes, outputs included.
std::vector<uint32_t> count_uses(const Graph& g, const std::vector<bool>& live) {
  std::vector<uint32_t> uses(g.num_values());
  for (const Node& n : g.nodes()) {
    if (n.num_results == 0 || !live[n.first_result.index]) continue;
    for (ValueId v : g.operands(n)) ++uses[v.index];
  }
  for (const Port& p : g.outputs()) ++uses[p.value.index];
  return uses;
}

// A copy without the nodes that no output needs; ids keep their order. Null if all are needed. `moved`:
// what each value is in the copy.
std::unique_ptr<Graph> without_dead_nodes(const Graph& g, std::vector<ValueId>& moved) {
  const std::vector<bool> live = live_values(g);
  const auto needed = [&](const Node& n) {
    return n.op == Op::input || live[n.first_result.index];
  };
  size_t kept = 0, slots = 0;
  for (const Node& n : g.nodes()) {
    if (!needed(n)) continue;
    ++kept;
    slots += n.num_operands;
  }
  if (kept == g.num_nodes()) return nullptr;
  auto copy = std::make_unique<Graph>(g.context());
  copy->reserve(kept, slots);
  moved.resize(g.num_values());
  std::vector<ValueId> operands;
  std::vector<TypeId> types;
  for (const Node& n : g.nodes()) {
    if (!needed(n)) continue;
    operands.clear();
    types.clear();
    for (ValueId v : g.operands(n)) operands.push_back(moved[v.index]);
    for (int k = 0; k < n.num_results; ++k) {
      types.push_back(g.type_id(ValueId(n.first_result.index + k)));
    }
    const NodeId id = copy->append(n.op, operands, n.attrs, types, n.loc);
    for (int k = 0; k < n.num_results; ++k) {
      moved[n.first_result.index + k] = copy->result(id, k);
    }
  }
  for (const Port& p : g.inputs()) copy->add_input(p.name, moved[p.value.index], p.donate);
  for (const Port& p : g.outputs()) copy->add_output(p.name, moved[p.value.index]);
  for (const State& s : g.states()) copy->add_state(s);
  return copy;
}

class Sweeper {
 public:
  Sweeper(const Graph& old, const RuleSet& rules, const SweepOptions& options,
          const BodyMap& bodies, SweepStats* stats)
      : old_(old),
        rules_(rules),
        options_(options),
        bodies_(bodies),
        stats_(*stats),
        builder_(old.context(), GraphBuilder::Mode::kInterned),
        facts_(builder_.graph()),
        emit_(builder_, facts_),
        memo_(old.num_values()) {}

  std::unique_ptr<Graph> run();

 private:
  enum State : uint8_t {
    kNew,      // not looked at
    kOpen,     // waits for its operands
    kWaiting,  // replaced; waits for the replacement to be final
    kFinal,    // alias_ of its results is final
  };
  struct Frame {
    NodeId node;
    int rule;  // that replaced it; -1: rebuilt or folded
  };

  const Graph& graph() const { return builder_.graph(); }
  void make_inputs(const std::vector<uint32_t>& uses);
  void take(NodeId old_node);
  void register_carriers(NodeId old_node);
  AttrsId map_bodies(AttrsId attrs) const;
  void grow();
  void settle(NodeId n);
  void step();
  bool open_operands(NodeId n);
  bool rebuild(NodeId n);
  bool replace(NodeId n);
  bool fold(NodeId n);
  bool apply_rules(NodeId n);
  bool apply(uint32_t pattern_id, NodeId n);
  std::optional<Refusal> refusal(const Rewrite& rewrite, uint32_t rule);
  void refuse(uint32_t rule, Refusal why);
  bool is_allowed(const Rewrite& rewrite);
  bool leads_back(std::span<const ValueId> values, int rule);
  void wait_for(NodeId n, std::span<const ValueId> values, int rule);
  void finish(NodeId n);
  std::unique_ptr<Graph> finish_graph();
  std::string recent_rules() const;
  void note_chase(NodeId target, int rule);
  void note(std::string text);

  const Graph& old_;
  const RuleSet& rules_;
  const SweepOptions& options_;
  const BodyMap& bodies_;
  SweepStats& stats_;
  GraphBuilder builder_;
  Facts facts_;
  Emitter emit_;
  std::vector<ValueId> memo_;   // old value -> final new value
  std::vector<uint8_t> state_;  // per new node
  std::vector<ValueId> alias_;  // per new value: what it became
  std::vector<Frame> stack_;
  std::vector<ValueId> operands_;  // scratch
  std::vector<TypeId> types_;      // scratch
  NodeId old_node_;                // that is being settled
  int applications_ = 0;           // caused by it
  int recent_[kRecentRules] = {-1, -1, -1, -1};
};

std::unique_ptr<Graph> Sweeper::run() {
  const std::vector<bool> live = live_values(old_);
  const std::vector<uint32_t> uses = count_uses(old_, live);
  size_t slots = 0;
  for (const Node& n : old_.nodes()) slots += n.num_operands;
  builder_.reserve(old_.num_nodes(), slots);
  state_.reserve(old_.num_nodes());
  alias_.reserve(old_.num_values());
  make_inputs(uses);
  for (size_t i = 0; i < old_.num_nodes(); ++i) {
    const Node& n = old_.node(NodeId(i));
    if (n.op == Op::input || !live[n.first_result.index]) continue;
    take(NodeId(i));
    for (int k = 0; k < n.num_results; ++k) {
      const uint32_t v = n.first_result.index + k;
      facts_.add_uses(memo_[v], uses[v]);
    }
  }
  for (const Port& p : old_.outputs()) builder_.output(p.name, memo_[p.value.index]);
  for (const auto& s : old_.states()) builder_.state(s);
  stats_.intern_hits += builder_.intern_hits();
  return finish_graph();
}

std::unique_ptr<Graph> Sweeper::finish_graph() {
  std::unique_ptr<Graph> built = builder_.finish();
  stats_.nodes_built += built->num_nodes();
  std::vector<ValueId> moved;
  std::unique_ptr<Graph> smaller = without_dead_nodes(*built, moved);
  if (!options_.observers.empty()) {
    for (size_t v = moved.size(); v < built->num_values(); ++v) moved.emplace_back(v);
    const Swept swept{old_, *built, smaller ? *smaller : *built, memo_, moved};
    for (Observer* o : options_.observers) o->end_graph(swept);
  }
  return smaller ? std::move(smaller) : std::move(built);
}

void Sweeper::make_inputs(const std::vector<uint32_t>& uses) {
  for (const Port& p : old_.inputs()) {
    builder_.set_loc(old_.producer_node(p.value).loc);
    const ValueId v = builder_.input(p.name, old_.type(p.value), p.donate);
    grow();
    memo_[p.value.index] = v;
    state_[graph().producer(v).index] = kFinal;
    facts_.add_uses(v, uses[p.value.index]);
  }
}

// Rebuilds one old node on final operands and settles it.
void Sweeper::take(NodeId old_node) {
  const Node& n = old_.node(old_node);
  old_node_ = old_node;
  for (Observer* o : options_.observers) o->take(old_node, graph());
  builder_.set_loc(n.loc);
  operands_.clear();
  for (ValueId v : old_.operands(n)) operands_.push_back(memo_[v.index]);
  types_.clear();
  for (int k = 0; k < n.num_results; ++k) {
    types_.push_back(old_.type_id(ValueId(n.first_result.index + k)));
  }
  if (operands_.size() == 2 && has_trait(n.op, kCommutative)) order_operands(facts_, operands_);
  const AttrsId attrs = has_trait(n.op, kHasBody) ? map_bodies(n.attrs) : n.attrs;
  const NodeId made = builder_.typed_node(n.op, operands_, attrs, types_);
  applications_ = 0;
  std::fill(std::begin(recent_), std::end(recent_), -1);
  settle(made);
  for (int k = 0; k < n.num_results; ++k) {
    memo_[n.first_result.index + k] = alias_[graph().result(made, k).index];
  }
  if (has_trait(n.op, kDefinesDims)) register_carriers(old_node);
}

// Nodes that mention a data-dependent extent take it from the node that defines it.
void Sweeper::register_carriers(NodeId old_node) {
  const ValueId carrier = memo_[old_.result(old_node).index];
  for (DimId d : old_.attrs(old_node).dims(AttrKey::symbols)) {
    if (const auto s = old_.context().dims.as_symbol(d)) facts_.set_carrier(*s, carrier);
  }
}

AttrsId Sweeper::map_bodies(AttrsId id) const {
  AttrTable& table = old_.context().attrs;
  std::vector<Attr> list;
  for (const Attr& a : table[id]) {
    list.push_back(a);
    if (a.value.kind() != AttrKind::kGraphs) continue;
    for (GraphId& g : std::get<std::vector<GraphId>>(list.back().value)) {
      g = bodies_.at(g.index);
    }
  }
  return table.intern(std::move(list));
}

void Sweeper::grow() {
  state_.resize(graph().num_nodes(), kNew);
  for (size_t v = alias_.size(); v < graph().num_values(); ++v) alias_.push_back(ValueId(v));
}

void Sweeper::settle(NodeId n) {
  grow();
  stack_.push_back({n, -1});
  while (!stack_.empty()) step();
}

void Sweeper::step() {
  const NodeId n = stack_.back().node;
  switch (state_[n.index]) {
    case kFinal: stack_.pop_back(); return;
    case kWaiting:
      finish(n);
      stack_.pop_back();
      return;
    default: break;
  }
  state_[n.index] = kOpen;
  if (open_operands(n) || rebuild(n)) return;
  ++stats_.visited;
  if (replace(n)) return;
  state_[n.index] = kFinal;
  stack_.pop_back();
}

// Pushes operands that are not final. One that is open itself belongs to a rule whose result contains
// its own root; it is left as it is.
bool Sweeper::open_operands(NodeId n) {
  bool pushed = false;
  for (ValueId v : graph().operands(n)) {
    const NodeId p = graph().producer(v);
    if (state_[p.index] != kNew) continue;
    stack_.push_back({p, -1});
    pushed = true;
  }
  return pushed;
}

// On the final forms of its operands, in their canonical order; false when that is what it is.
bool Sweeper::rebuild(NodeId id) {
  const Node n = graph().node(id);
  const auto have = graph().operands(n);
  operands_.clear();
  for (ValueId v : have) {
    const bool final = state_[graph().producer(v).index] == kFinal;
    operands_.push_back(final ? alias_[v.index] : v);
  }
  if (operands_.size() == 2 && has_trait(n.op, kCommutative)) order_operands(facts_, operands_);
  if (std::equal(have.begin(), have.end(), operands_.begin())) return false;
  types_.clear();
  for (int k = 0; k < n.num_results; ++k) types_.push_back(graph().type_id(graph().result(id, k)));
  const NodeId made = builder_.typed_node(n.op, operands_, n.attrs, types_);
  grow();
  std::vector<ValueId> values;
  for (int k = 0; k < n.num_results; ++k) values.push_back(graph().result(made, k));
  if (leads_back(values, -1)) return false;
  wait_for(id, values, -1);
  return true;
}

bool Sweeper::replace(NodeId n) {
  if (options_.fold && fold(n)) return true;
  return apply_rules(n);
}

void Sweeper::refuse(uint32_t rule, Refusal why) {
  ++stats_.rules[rule].refused[static_cast<size_t>(why)];
}

bool Sweeper::fold(NodeId n) {
  const uint64_t begin = options_.profile ? ticks() : 0;
  auto constants = fold_node(options_.folder, facts_, n);
  if (options_.profile) stats_.fold_ticks += ticks() - begin;
  if (!constants) return false;
  ++stats_.folded;
  const size_t before = graph().num_nodes();
  std::vector<ValueId> values;
  for (Constant& c : *constants) values.push_back(builder_.constant(std::move(c)));
  grow();
  const Rewrite rewrite{nullptr, old_node_, graph(), n, values, before};
  if (leads_back(values, -1) || !is_allowed(rewrite)) return false;
  wait_for(n, values, -1);
  for (Observer* o : options_.observers) o->applied(rewrite);
  return true;
}

bool Sweeper::apply_rules(NodeId n) {
  const Node& node = graph().node(n);
  OperandLook looks[2];
  const auto operands = graph().operands(node);
  for (size_t i = 0; i < std::min<size_t>(2, operands.size()); ++i) {
    looks[i] = {graph().producer_node(operands[i]).op, facts_.is_constant(operands[i])};
  }
  uint64_t begin = options_.profile ? ticks() : 0;
  return rules_.any_candidate(node.op, looks, [&](uint32_t p) {
    const bool applied = apply(p, n);
    RuleStats& stats = stats_.rules[rules_.pattern(p).rule];
    stats.looks_at_uses = facts_.take_uses_asked() || stats.looks_at_uses;
    if (options_.profile) {
      const uint64_t end = ticks();
      stats.ticks += end - begin;
      begin = end;
    }
    return applied;
  });
}

bool Sweeper::apply(uint32_t pattern_id, NodeId n) {
  const CompiledPattern& pattern = rules_.pattern(pattern_id);
  RuleStats& stats = stats_.rules[pattern.rule];
  ++stats.tried;
  Bindings bindings;
  if (!match_pattern(pattern, facts_, n, &bindings)) return false;
  ++stats.matched;
  const Rule& rule = *rules_.rules()[pattern.rule];
  const Match match(facts_, n, rules_.names(pattern.rule), bindings, options_.fast_math);
  if (rule.condition && !rule.condition(match)) {
    refuse(pattern.rule, Refusal::kCondition);
    return false;
  }
  const size_t before = graph().num_nodes();
  const Replacement result =
      std::holds_alternative<Pattern>(rule.result)
          ? Replacement(build_template(std::get<Pattern>(rule.result), match, emit_))
          : std::get<ResultFunction>(rule.result)(match, emit_);
  grow();
  stats.nodes_created += graph().num_nodes() - before;
  const Rewrite rewrite{&rule, old_node_, graph(), n, result.values, before};
  if (const auto why = refusal(rewrite, pattern.rule)) {
    refuse(pattern.rule, *why);
    return false;
  }
  wait_for(n, result.values, static_cast<int>(pattern.rule));
  for (Observer* o : options_.observers) o->applied(rewrite);
  ++stats.applied;
  ++stats_.applied;
  recent_[applications_++ % kRecentRules] = static_cast<int>(pattern.rule);
  return true;
}

// Accepted: one value per result, of the same type, not the root itself, within the limits.
std::optional<Refusal> Sweeper::refusal(const Rewrite& rewrite, uint32_t rule) {
  const Node& node = graph().node(rewrite.root);
  const std::string& name = rewrite.rule->name;
  if (rewrite.values.empty()) return Refusal::kFunction;
  GCOMP_CHECK(rewrite.values.size() == node.num_results,
              "rule " + name + " gave another number of results");
  bool same = true;
  for (int k = 0; k < node.num_results; ++k) {
    const ValueId value = rewrite.values[k], old = graph().result(rewrite.root, k);
    same = same && value == old;
    if (graph().type_id(value) != graph().type_id(old)) {
      ++stats_.refused;
      note("rule " + name + " changed the type of its root");
      return Refusal::kType;
    }
  }
  if (same) return Refusal::kFunction;
  if (applications_ >= kMaxApplicationsPerNode) {
    note(recent_rules() + name + " (" + std::to_string(kMaxApplicationsPerNode) +
         " applications for one node)");
    return Refusal::kLimit;
  }
  const double limit =
      kMaxGrowthPerRule * static_cast<double>(stats_.nodes_before) + kGrowthAllowance;
  if (static_cast<double>(stats_.rules[rule].nodes_created) > limit) {
    note("rule " + name + " made more nodes than allowed");
    return Refusal::kLimit;
  }
  if (leads_back(rewrite.values, static_cast<int>(rule))) return Refusal::kChase;
  if (!is_allowed(rewrite)) return Refusal::kObserver;
  return std::nullopt;
}

std::string Sweeper::recent_rules() const {
  std::string names;
  for (int i = 0; i < kRecentRules; ++i) {
    const int r = recent_[(applications_ + i) % kRecentRules];
    if (r >= 0) names += rules_.rules()[r]->name + " -> ";
  }
  return names;
}

bool Sweeper::is_allowed(const Rewrite& rewrite) {
  return std::ranges::all_of(options_.observers, [&](Observer* o) { return o->allows(rewrite); });
}

// A value that is itself being replaced: the rules on the way from there to here undo each other, and
// the node they are at stays as it is.
bool Sweeper::leads_back(std::span<const ValueId> values, int rule) {
  for (ValueId v : values) {
    const NodeId p = graph().producer(v);
    if (state_[p.index] != kOpen && state_[p.index] != kWaiting) continue;
    note_chase(p, rule);
    return true;
  }
  return false;
}

// Makes `n` wait for the final form of `values`.
void Sweeper::wait_for(NodeId n, std::span<const ValueId> values, int rule) {
  for (size_t k = 0; k < values.size(); ++k) alias_[graph().result(n, k).index] = values[k];
  state_[n.index] = kWaiting;
  stack_.back().rule = rule;
  for (ValueId v : values) {
    const NodeId p = graph().producer(v);
    if (state_[p.index] == kNew) stack_.push_back({p, -1});
  }
}

void Sweeper::finish(NodeId n) {
  for (int k = 0; k < graph().node(n).num_results; ++k) {
    ValueId& alias = alias_[graph().result(n, k).index];
    alias = alias_[alias.index];
  }
  state_[n.index] = kFinal;
}

// The rules that fired between the node `target` on the stack and its top.
void Sweeper::note_chase(NodeId target, int rule) {
  std::string names;
  bool inside = false;
  for (const Frame& f : stack_) {
    inside = inside || f.node == target;
    if (inside && f.rule >= 0) names += rules_.rules()[f.rule]->name + " -> ";
  }
  note(names + (rule >= 0 ? rules_.rules()[rule]->name : std::string("rebuilt")) + " -> ...");
}

void Sweeper::note(std::string text) {
  if (stats_.chases.size() >= kMaxNotes) return;
  if (std::find(stats_.chases.begin(), stats_.chases.end(), text) == stats_.chases.end()) {
    stats_.chases.push_back(std::move(text));
  }
}

}  // namespace

// An explicit stack: nesting may be deep.
std::vector<GraphId> nested_graphs(const Context& context, const Graph& g) {
  struct Visit {
    GraphId id;
    bool entered;
  };
  std::vector<GraphId> order;
  std::vector<uint8_t> seen(context.num_graphs());
  std::vector<Visit> stack;
  const auto push_bodies = [&](const Graph& of) {
    for (const Node& n : of.nodes()) {
      if (!has_trait(n.op, kHasBody)) continue;
      for (GraphId body : of.attrs(n).graphs(AttrKey::bodies)) stack.push_back({body, false});
    }
  };
  push_bodies(g);
  while (!stack.empty()) {
    const Visit top = stack.back();
    if (top.entered) {
      order.push_back(top.id);
      stack.pop_back();
      continue;
    }
    if (seen[top.id.index]) {
      stack.pop_back();
      continue;
    }
    seen[top.id.index] = 1;
    stack.back().entered = true;
    push_bodies(context.graph(top.id));
  }
  return order;
}

std::string_view name(Refusal r) {
  constexpr std::string_view kNames[kNumRefusals] = {"condition", "function", "type",
                                                     "chase",     "limit",    "observer"};
  return kNames[static_cast<size_t>(r)];
}

std::unique_ptr<Graph> sweep(const Graph& graph, const RuleSet& rules, const SweepOptions& asked,
                             SweepStats* stats) {
  const Stopwatch watch;
  SweepStats ignored;
  if (stats == nullptr) stats = &ignored;
  stats->rules.resize(rules.rules().size());
  for (size_t i = 0; i < rules.rules().size(); ++i) stats->rules[i].name = rules.rules()[i]->name;
  SweepOptions options = asked;
  RemovedNodes removed(rules.rules());
  if (options.profile) options.observers.push_back(&removed);
  BodyMap bodies;
  const auto sweep_one = [&](const Graph& g) {
    for (Observer* o : options.observers) o->begin_graph(g);
    stats->nodes_before += g.num_nodes();
    auto swept = Sweeper(g, rules, options, bodies, stats).run();
    stats->nodes_after += swept->num_nodes();
    return swept;
  };
  for (GraphId id : nested_graphs(graph.context(), graph)) {
    bodies.emplace(id.index, graph.context().add_graph(sweep_one(graph.context().graph(id))));
    ++stats->bodies;
  }
  auto swept = sweep_one(graph);
  stats->seconds += watch.seconds();
  if (options.profile) {
    stats->fold_seconds = watch.seconds(stats->fold_ticks);
    for (size_t i = 0; i < stats->rules.size(); ++i) {
      RuleStats& r = stats->rules[i];
      r.seconds = watch.seconds(r.ticks);
      r.nodes_removed = removed.counts()[i];
      stats->rule_seconds += r.seconds;
    }
  }
  return swept;
}

}  // namespace gcomp::rewrite
