#include "gcomp/rewrite/sweep.h"

#include <doctest/doctest.h>

#include "../sanitized.h"

using namespace gcomp;
using namespace gcomp::rewrite;

namespace {

const Pattern x = any("x"), y = any("y"), z = any("z");

std::vector<Rule> basic_rules() {
  std::vector<Rule> rules;
  rules.push_back(rule("mul_one", x * 1, x).tag("canonicalize"));
  rules.push_back(rule("neg_neg", -(-x), x).tag("canonicalize"));
  rules.push_back(rule("exp_mul", exp(x) * exp(y), exp(x + y)).tag("canonicalize"));
  rules.push_back(rule("add_self", x + x, x * 2).tag("canonicalize"));
  rules.push_back(rule("log_exp", log(exp(x)), x).tag("canonicalize"));
  return rules;
}

RuleSet set_of(const std::vector<Rule>& rules) { return RuleSet(select(rules, {})); }

struct Fixture {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kRaw};
  Type vec() { return {DType::kFloat64, {context.dims.constant(3)}}; }
  ValueId in(std::string name) { return b.input(std::move(name), vec()); }
  std::unique_ptr<Graph> done(ValueId v) {
    b.output("y", v);
    return b.finish();
  }
};

// Op names in order, for small graphs.
std::string ops_of(const Graph& g) {
  std::string s;
  for (const Node& n : g.nodes()) s += (s.empty() ? "" : " ") + std::string(name(n.op));
  return s;
}

std::string swept(const Graph& g, const std::vector<Rule>& rules, SweepStats* stats = nullptr) {
  return ops_of(*sweep(g, set_of(rules), {}, stats));
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "identities, equal nodes and dead code go") {
  const ValueId a = in("a"), c = in("c");
  const ValueId one = b.full(vec(), 1);
  const ValueId left = b.value(Op::mul, {one, b.value(Op::add, {a, c})});
  const ValueId right = b.value(Op::neg, {b.value(Op::neg, {b.value(Op::add, {c, a})})});
  b.value(Op::sin, {a});  // nobody reads it
  const auto g = done(b.value(Op::sub, {left, right}));
  SweepStats stats;
  CHECK(swept(*g, basic_rules(), &stats) == "input input add sub");
  CHECK(stats.applied == 2);
  CHECK(stats.intern_hits >= 1);
  CHECK(stats.nodes_after == 4);
}

TEST_CASE_FIXTURE(Fixture, "a replacement's new nodes are offered to the rules") {
  // exp(a) * exp(-a') -> exp(a + a'), and log(exp(...)) above it.
  const ValueId a = in("a");
  const ValueId product = b.value(Op::mul, {b.value(Op::exp, {a}), b.value(Op::exp, {a})});
  const auto g = done(b.value(Op::log, {product}));
  CHECK(swept(*g, basic_rules()) == "input constant broadcast mul");
}

TEST_CASE_FIXTURE(Fixture, "unused inputs stay, outputs, states and places are kept") {
  b.set_loc("first");
  const ValueId a = in("a"), unused = in("unused");
  b.set_loc("doubled");
  const ValueId sum = b.value(Op::add, {a, a});
  b.output("y", sum);
  b.output("again", sum);
  b.output("same", a);
  b.state({.input = 1, .output = 0});
  const auto g = b.finish();
  const auto s = sweep(*g, set_of(basic_rules()));
  CHECK(s->inputs().size() == 2);
  CHECK(s->inputs()[1].name == "unused");
  REQUIRE(s->outputs().size() == 3);
  CHECK(s->outputs()[0].value == s->outputs()[1].value);
  CHECK(s->outputs()[2].value == s->inputs()[0].value);
  REQUIRE(s->states().size() == 1);
  CHECK(s->states()[0].input == 1);
  const Node& root = s->producer_node(s->outputs()[0].value);
  CHECK(root.op == Op::mul);
  CHECK(context.locs[root.loc] == "doubled");
  CHECK(unused.valid());
}

TEST_CASE_FIXTURE(Fixture, "rules that undo each other end, and are named") {
  std::vector<Rule> rules;
  rules.push_back(rule("there", sin(x), cos(x)));
  rules.push_back(rule("back", cos(x), sin(x)));
  const auto g = done(b.value(Op::tanh, {b.value(Op::sin, {in("a")})}));
  SweepStats stats;
  const auto s = sweep(*g, set_of(rules), {}, &stats);
  CHECK(s->num_nodes() == 3);
  REQUIRE(stats.chases.size() == 1);
  CHECK(stats.chases[0] == "there -> back -> ...");
}

TEST_CASE_FIXTURE(Fixture, "a rule that grows without end is stopped, and named") {
  std::vector<Rule> rules;
  rules.push_back(rule("grow", sin(x), sin(x * 2)));
  const auto g = done(b.value(Op::sin, {in("a")}));
  SweepStats stats;
  const auto s = sweep(*g, set_of(rules), {}, &stats);
  CHECK(s->num_nodes() < 200);
  REQUIRE(!stats.chases.empty());
  CHECK(stats.chases[0].find("grow") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "a rule whose result contains its root ends") {
  std::vector<Rule> rules;
  rules.push_back(
      rule("wrap", "sin(x) -> -sin(x)", sin(x), [](const Match& m, Emitter& e) -> Replacement {
        return e.value(Op::neg, {m.root_value()});
      }));
  const auto g = done(b.value(Op::sin, {in("a")}));
  CHECK(swept(*g, rules) == "input sin neg");
}

TEST_CASE_FIXTURE(Fixture, "a replacement of another type is refused and counted") {
  std::vector<Rule> rules;
  rules.push_back(
      rule("bad", "sin(x) -> x[0]", sin(x), [](const Match& m, Emitter& e) -> Replacement {
        return e.builder().reduce(Op::reduce_sum, m["x"], {0});
      }));
  const auto g = done(b.value(Op::sin, {in("a")}));
  SweepStats stats;
  CHECK(swept(*g, rules, &stats) == "input sin");
  CHECK(stats.refused == 1);
}

TEST_CASE_FIXTURE(Fixture, "uses are counted on the old graph") {
  std::vector<Rule> rules;
  rules.push_back(rule("single", -sin(x), sin(-x)).when([](const Match& m) {
    return m.facts().uses(m.graph().operands(m.root())[0]) == 1;
  }));
  const ValueId s1 = b.value(Op::sin, {in("a")}), s2 = b.value(Op::sin, {in("c")});
  b.output("shared", s1);
  b.output("p", b.value(Op::neg, {s1}));
  b.output("q", b.value(Op::neg, {s2}));
  const auto g = b.finish();
  SweepStats stats;
  CHECK(swept(*g, rules, &stats) == "input input sin neg neg sin");
  CHECK(stats.applied == 1);
}

TEST_CASE_FIXTURE(Fixture,
                  "nested graphs are swept, innermost first, and deep nesting is no problem") {
  // Loop bodies inside loop bodies, thousands deep; each body doubles its value: x + x.
  const Type scalar{DType::kFloat64, {}}, count{DType::kInt64, {}}, truth{DType::kBool, {}};
  constexpr int kDepth = test::kSanitized ? 5000 : 20000;
  GraphId inner;
  for (int depth = 0; depth < kDepth; ++depth) {
    GraphBuilder body(context, GraphBuilder::Mode::kRaw);
    body.input("k", count);
    const ValueId v = body.input("v", scalar);
    ValueId result = body.value(Op::add, {v, v});
    if (depth > 0) {
      const ValueId trips = body.scalar_int(DType::kInt64, 1);
      const ValueId go = body.scalar_int(DType::kBool, 1);
      result = body.value(
          Op::loop, {trips, go, result},
          {{AttrKey::bodies, std::vector<GraphId>{inner}}, {AttrKey::index, int64_t{1}}});
    }
    body.output("go", body.scalar_int(DType::kBool, 1));
    body.output("v", result);
    inner = context.add_graph(body.finish());
  }
  const ValueId a = b.input("a", scalar);
  const auto g =
      done(b.value(Op::loop, {b.scalar_int(DType::kInt64, 2), b.scalar_int(DType::kBool, 1), a},
                   {{AttrKey::bodies, std::vector<GraphId>{inner}}, {AttrKey::index, int64_t{1}}}));
  SweepStats stats;
  const auto s = sweep(*g, set_of(basic_rules()), {}, &stats);
  CHECK(stats.bodies == kDepth);
  CHECK(stats.applied == kDepth);
  const Node& root = s->producer_node(s->outputs()[0].value);
  const Graph& body = context.graph(s->attrs(root).graphs(AttrKey::bodies)[0]);
  bool doubled = false;
  for (const Node& n : body.nodes()) doubled = doubled || n.op == Op::mul;
  CHECK(doubled);
}

TEST_CASE_FIXTURE(Fixture,
                  "a pattern with more operands matches nodes of any number from there on") {
  std::vector<Rule> rules;
  const std::vector<Op> ops = {Op::neg, Op::sub};
  rules.push_back(rule("first", "f(sin(x), ...) -> x",
                       one_of(ops, "f", {op(Op::sin, {x})}).and_more(),
                       [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
                      .tag("canonicalize"));
  const ValueId a = in("a");
  const ValueId sine = b.value(Op::sin, {a});
  CHECK(swept(*done(b.value(Op::sub, {sine, b.value(Op::neg, {sine})})), rules) == "input");
}

TEST_CASE_FIXTURE(Fixture, "several results are replaced together") {
  std::vector<Rule> rules;
  rules.push_back(rule("swap", "top_k -> its operand twice, for the test", op(Op::top_k, {x}),
                       [](const Match& m, Emitter& e) -> Replacement {
                         const ValueId values = m.root_value(0), indices = m.root_value(1);
                         const ValueId v = e.full(m.graph().type(values), 7);
                         return std::vector<ValueId>{v, e.full(m.graph().type(indices), 0)};
                       }));
  const ValueId a = in("a");
  const NodeId top = b.node(Op::top_k, std::vector<ValueId>{a},
                            {{AttrKey::axis, int64_t{0}},
                             {AttrKey::shape, std::vector<DimId>{context.dims.constant(2)}},
                             {AttrKey::descending, int64_t{1}}});
  b.output("values", b.result(top, 0));
  b.output("indices", b.result(top, 1));
  const auto g = b.finish();
  const auto s = sweep(*g, set_of(rules));
  CHECK(s->producer_node(s->outputs()[0].value).op == Op::broadcast);
  CHECK(s->type(s->outputs()[1].value).dtype == DType::kInt64);
}

TEST_CASE("tag queries include, exclude and require by tag or name") {
  std::vector<Rule> rules = basic_rules();
  rules[1].tags.push_back("slow");
  CHECK(select(rules, {}).size() == 5);
  CHECK(select(rules, {{"canonicalize"}, {"slow"}, {}}).size() == 4);
  CHECK(select(rules, {{"canonicalize"}, {"mul_one", "slow"}, {}}).size() == 3);
  CHECK(select(rules, {{}, {}, {"slow", "canonicalize"}}).size() == 1);
  CHECK(select(rules, {{"log_exp"}, {}, {}}).size() == 1);
}

TEST_CASE("patterns print as algebra") {
  CHECK(to_string(log(1 + x) * -(y - 0.5)) == "log(1 + x) * (-(y - 0.5))");
  CHECK(rule("r", x + -0.0, x).doc == "x + -0.0 -> x");
}

namespace {

// Writes down what it is told and allows the first `limit` applications.
struct Recorder : Observer {
  size_t limit = 1000;
  std::vector<std::string> rules;
  std::vector<uint32_t> old_nodes;
  std::string built;            // ops
  std::vector<ValueId> became;  // per value of the last graph swept; not valid: gone

  bool allows(const Rewrite& r) override { return rules.size() < limit && r.root.valid(); }
  void applied(const Rewrite& r) override {
    rules.push_back(r.rule == nullptr ? "folded" : r.rule->name);
    old_nodes.push_back(r.old_node.index);
  }
  void end_graph(const Swept& s) override {
    became.clear();
    built = ops_of(s.built);
    for (ValueId v : s.memo) became.push_back(v.valid() ? s.moved[v.index] : v);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "an observer sees what each value became, and forbids applications") {
  const ValueId a = in("a");
  const ValueId twice = b.value(Op::neg, {b.value(Op::neg, {a})});
  b.value(Op::sin, {a});
  const auto g =
      done(b.value(Op::log, {b.value(Op::exp, {b.value(Op::mul, {b.full(vec(), 1), twice})})}));
  SweepOptions options;
  Recorder all;
  options.observers = {&all};
  CHECK(ops_of(*sweep(*g, set_of(basic_rules()), options)) == "input");
  CHECK(all.rules == std::vector<std::string>{"neg_neg", "mul_one", "log_exp"});
  for (size_t i = 0; i < all.rules.size(); ++i) {
    const std::string_view ops[] = {"neg", "mul", "log"};
    CHECK(name(g->node(NodeId(all.old_nodes[i])).op) == ops[i]);
  }
  CHECK(all.became[twice.index] == ValueId(0));
  CHECK(all.became[g->outputs()[0].value.index] == ValueId(0));
  CHECK_FALSE(all.became[twice.index + 1].valid());  // sin: nobody reads it
  for (size_t limit = 0; limit < 3; ++limit) {
    Recorder some;
    some.limit = limit;
    options.observers = {&some};
    SweepStats stats;
    sweep(*g, set_of(basic_rules()), options, &stats);
    CHECK(stats.applied == limit);
    size_t forbidden = 0;
    for (const RuleStats& r : stats.rules) {
      forbidden += r.refused[static_cast<size_t>(Refusal::kObserver)];
    }
    CHECK(forbidden > 0);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "a profile tells nodes made and removed, refusals and times of each rule") {
  const ValueId a = in("a"), c = in("c");
  const ValueId product = b.value(Op::mul, {b.value(Op::exp, {a}), b.value(Op::exp, {c})});
  const auto g =
      done(b.value(Op::neg, {b.value(Op::neg, {b.value(Op::mul, {product, b.full(vec(), 1)})})}));
  std::vector<Rule> rules = basic_rules();
  rules.push_back(rule("never", -x, x).when([](const Match&) { return false; }));
  SweepOptions options;
  options.profile = true;
  options.fold = false;
  Recorder recorder;
  options.observers = {&recorder};
  SweepStats stats;
  sweep(*g, set_of(rules), options, &stats);
  const auto of = [&](std::string_view name) {
    return *std::ranges::find(stats.rules, name, &RuleStats::name);
  };
  CHECK(of("exp_mul").applied == 1);
  CHECK(of("exp_mul").nodes_created == 2);  // add, exp
  CHECK(of("exp_mul").nodes_removed == 3);  // mul, exp, exp
  CHECK(of("mul_one").nodes_created == 0);
  CHECK(of("mul_one").nodes_removed ==
        3);  // mul, and the broadcast of the constant that it alone read
  CHECK(of("neg_neg").nodes_removed == 2);
  CHECK(of("never").refused[static_cast<size_t>(Refusal::kCondition)] == of("never").matched);
  CHECK(of("never").matched > 0);
  CHECK(of("never").seconds > 0);
  CHECK(stats.rule_seconds < stats.seconds);
  // The result of exp_mul was rebuilt with its operands in order.
  CHECK(recorder.built == "input input exp exp mul add exp add exp constant broadcast mul neg neg");
  CHECK(stats.nodes_built == 14);
  size_t removed = 0;
  for (const RuleStats& r : stats.rules) removed += r.nodes_removed;
  CHECK(removed == 8);
  SweepStats plain;  // nothing is timed without it
  sweep(*g, set_of(rules), {}, &plain);
  CHECK(plain.rule_seconds == 0);
}
