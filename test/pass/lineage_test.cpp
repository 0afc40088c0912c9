// What the lineage says against the reference evaluator: a node and what became of it have equal values.
#include "gcomp/pass/lineage.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;
using namespace gcomp::pass;

namespace {

constexpr uint32_t kNone = Lineage::kNone;
using Fate = Lineage::Fate;

std::unique_ptr<Graph> run_with(Lineage& lineage, std::unique_ptr<Graph> graph,
                                std::vector<std::string> passes = {}) {
  const Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  Options options;
  options.passes = std::move(passes);
  options.observers = {&lineage};
  graph = run(std::move(graph), pipeline, options);
  lineage.finish(*graph);
  return graph;
}

// Arrays of the right sizes, numbers in range, both directions agreeing.
void check_whole(const Lineage& lineage) {
  REQUIRE(lineage.steps().size() + 1 == lineage.stages().size());
  for (size_t s = 0; s < lineage.steps().size(); ++s) {
    const Lineage::Step& step = lineage.steps()[s];
    const uint32_t before = lineage.stages()[s].num_nodes(),
                   after = lineage.stages()[s + 1].num_nodes();
    REQUIRE(step.became.size() == before);
    REQUIRE(step.fate.size() == before);
    REQUIRE(step.origin.size() == after);
    REQUIRE(step.maker.size() == after);
    for (uint32_t n = 0; n < before; ++n) {
      const bool gone = step.fate[n] == Fate::kUnread || step.fate[n] == Fate::kGone;
      CHECK(gone == (step.became[n] == kNone));
      if (gone) continue;
      REQUIRE(step.became[n] < after);
      CHECK((step.origin[step.became[n]] == n) == (step.fate[n] == Fate::kKept));
    }
    for (uint32_t n = 0; n < after; ++n) {
      CHECK(step.origin[n] < before);
      if (step.maker[n] == kNone) continue;
      REQUIRE(step.maker[n] < step.applications.size());
      CHECK(step.applications[step.maker[n]].before == step.origin[n]);
    }
  }
}

// The first results of the nodes of the outermost graph, those that have some.
std::vector<interp::Tensor> all_values(const Graph& graph, std::span<const interp::Tensor> inputs) {
  Graph copy = graph;
  for (uint32_t i = 0; i < graph.num_nodes(); ++i) copy.add_output("", graph.result(NodeId(i)));
  auto values = interp::evaluate(copy, inputs);
  values.erase(values.begin(), values.begin() + static_cast<long>(graph.outputs().size()));
  return values;
}

void check_near(const interp::Tensor& a, const interp::Tensor& b) {
  REQUIRE(a.dtype == b.dtype);
  REQUIRE(a.shape == b.shape);
  if (a.dtype != DType::kFloat64) {
    CHECK(a.bytes == b.bytes);
    return;
  }
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.data<double>()[i], y = b.data<double>()[i];
    CHECK((x == y || std::abs(x - y) <= 1e-9 * std::max(1.0, std::abs(x))));
  }
}

// Each node's value and that of what it became.
void check_values(const Lineage& lineage, std::span<const interp::Tensor> inputs) {
  for (size_t s = 0; s < lineage.steps().size(); ++s) {
    const Lineage::Stage &from = lineage.stages()[s], &to = lineage.stages()[s + 1];
    const auto before = all_values(from.graph(), inputs), after = all_values(to.graph(), inputs);
    const uint32_t from_base = from.base[from.graphs.size() - 1],
                   to_base = to.base[to.graphs.size() - 1];
    size_t compared = 0;
    for (uint32_t n = 0; n < before.size(); ++n) {
      const uint32_t m = lineage.steps()[s].became[from_base + n];
      if (m == kNone) continue;
      REQUIRE(m >= to_base);
      check_near(before[n], after[m - to_base]);
      ++compared;
    }
    CHECK(compared > 0);
  }
}

interp::Tensor doubles(std::vector<double> values) {
  return interp::from_constant(
      make_constant(DType::kFloat64, {static_cast<int64_t>(values.size())},
                    {reinterpret_cast<std::byte*>(values.data()),
                     reinterpret_cast<std::byte*>(values.data() + values.size())}));
}

uint32_t find(const Lineage::Stage& stage, Op op) {
  for (uint32_t n = 0; n < stage.num_nodes(); ++n) {
    if (stage.node(n).op == op) return n;
  }
  return kNone;
}

}  // namespace

TEST_CASE("lineage: kept, rewritten, merged, folded, never read and no longer read") {
  Context context;
  const auto graph = parse_graph(context, R"(graph {
    %0 = input "x" : float64[3]
    %1 = constant : float64[3] {1, 1, 1}
    %2 = exp(%0) : float64[3]
    %3 = add(%1, %2) : float64[3]
    %4 = log(%3) : float64[3]
    %5 = sin(%0) : float64[3]
    %6 = add(%2, %1) : float64[3]
    %7 = log(%6) : float64[3]
    %8 = mul(%4, %7) : float64[3]
    return "y" = %8
  })");
  Lineage lineage;
  const auto done = run_with(lineage, parse_graph(context, print(*graph)));
  check_whole(lineage);
  check_values(lineage, std::vector{doubles({-1, 0.5, 2})});
  const Lineage::Step& canonical = lineage.steps()[0];
  CHECK(canonical.fate[5] == Fate::kUnread);
  CHECK(canonical.fate[6] == Fate::kMerged);
  CHECK(canonical.became[6] == canonical.became[3]);
  CHECK(canonical.became[7] == canonical.became[4]);
  CHECK(canonical.fate[0] == Fate::kKept);
  // Somewhere on the way log(1 + exp(x)) became softplus by a rule, and the sum was no longer read.
  uint32_t node = 4;
  bool softplus = false;
  for (size_t s = 0; s < lineage.steps().size(); ++s) {
    const Lineage::Step& step = lineage.steps()[s];
    const uint32_t sum = find(lineage.stages()[s], Op::add);
    for (const Lineage::Application& a : step.applications) {
      if (a.rule == nullptr || a.rule->name != "softplus") continue;
      softplus = true;
      CHECK(a.before == node);
      CHECK(a.after == step.became[node]);
      CHECK(step.fate[sum] == Fate::kGone);
    }
    node = step.became[node];
    REQUIRE(node != kNone);
  }
  CHECK(softplus);
  CHECK(lineage.stages().back().node(node).op == Op::softplus);
}

TEST_CASE("lineage: a pass that builds a graph and sweeps it is one step; idle passes are named") {
  Context context;
  const auto constant = parse_graph(context, R"(body #0 {
    %0 = input "i" : int64[]
    %1 = input "a" : float64[m]
    %2 = input "w" : float64[m]
    %3 = constant : bool[] {1}
    %4 = exp(%2) : float64[m]
    %5 = max(%1, %4) : float64[m]
    return "go" = %3
    return "a" = %5
  }
  graph {
    %0 = input "x" : float64[3]
    %1 = constant : int64[] {2}
    %2 = constant : bool[] {1}
    %3 = constant : float64[3] {1, 2, 3}
    %4 = loop(%1, %2, %0, %3) {bodies=[#0], index=1} : float64[3]
    return "y" = %4
  })");
  Lineage lineage;
  const auto done = run_with(lineage, parse_graph(context, print(*constant)));
  check_whole(lineage);
  check_values(lineage, std::vector{doubles({-1, 0.5, 2})});
  size_t captured = 0;
  while (lineage.stages()[captured].name != "captures") ++captured;
  const Lineage::Stage &before = lineage.stages()[captured - 1],
                       &after = lineage.stages()[captured];
  REQUIRE(before.graphs.size() == 2);
  REQUIRE(after.graphs.size() == 2);
  // The maximum in the body is followed from body to body, the exponential is folded.
  const Lineage::Step& step = lineage.steps()[captured - 1];
  const uint32_t maximum = find(before, Op::max), exponential = find(before, Op::exp);
  REQUIRE(maximum != kNone);
  REQUIRE(exponential != kNone);
  CHECK(step.became[maximum] == find(after, Op::max));
  CHECK(step.fate[maximum] == Fate::kKept);
  CHECK(find(after, Op::exp) == kNone);
  CHECK(after.node(step.became[exponential]).op == Op::constant);
  CHECK(std::ranges::any_of(step.applications, [&](const Lineage::Application& a) {
    return a.rule == nullptr && a.op == "exp" && a.before == exponential;
  }));
  CHECK(
      std::ranges::any_of(lineage.idle(), [](const auto& idle) { return idle.first == "layout"; }));
}

TEST_CASE("lineage: random graphs, every step judged by values") {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    Context context;
    GraphBuilder b(context, GraphBuilder::Mode::kRaw);
    const Type t{DType::kFloat64, {context.dims.constant(3)}};
    std::vector<ValueId> values{b.input("x", t), b.input("y", t), b.full(t, 1), b.full(t, 0.5)};
    const auto any = [&] { return values[random() % values.size()]; };
    constexpr Op kUnary[] = {Op::neg, Op::exp, Op::tanh, Op::sigmoid, Op::abs, Op::softplus};
    constexpr Op kBinary[] = {Op::add, Op::sub, Op::mul, Op::min, Op::max};
    for (int i = 0; i < 40; ++i) {
      const ValueId v = any();
      values.push_back(random() % 3 == 0
                           ? b.value(Op::tanh, {b.value(kUnary[random() % 6], {v})})
                           : b.value(Op::tanh, {b.value(kBinary[random() % 5], {v, any()})}));
    }
    b.output("a", values.back());
    b.output("b", any());
    Lineage lineage;
    const auto done = run_with(lineage, b.finish());
    check_whole(lineage);
    check_values(lineage, std::vector{doubles({-1, 0.25, 2}), doubles({0.5, -3, 1})});
  }
}

TEST_CASE(
    "lineage: a pass that says nothing is followed by places and ops; without passes one stage") {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const Type t{DType::kFloat64, {context.dims.constant(3)}};
  b.set_loc("first");
  const ValueId x = b.input("x", t);
  b.set_loc("second");
  const ValueId e = b.value(Op::exp, {x});
  b.set_loc("third");
  b.output("y", b.value(Op::sin, {e}));
  auto graph = b.finish();
  const Graph* read = graph.get();
  Lineage none;
  none.finish(*graph);
  REQUIRE(none.stages().size() == 1);
  CHECK(none.stages()[0].name == "read");
  // It copies the graph with one node more in front, and sweeps the copy.
  Pipeline pipeline;
  pipeline.passes.push_back({"mute",
                             [](const Graph& old, PassContext& pass) -> std::unique_ptr<Graph> {
                               GraphBuilder copy(old.context(), GraphBuilder::Mode::kInterned);
                               copy.set_loc("first");
                               const ValueId in = copy.input("x", old.type(old.inputs()[0].value));
                               copy.set_loc("new");
                               copy.value(Op::tanh, {in});
                               copy.set_loc("second");
                               const ValueId v = copy.value(Op::exp, {in});
                               copy.set_loc("third");
                               copy.output("y", copy.value(Op::sin, {v}));
                               const auto middle = copy.finish();
                               rewrite::SweepOptions options;
                               options.observers = pass.observers;
                               return rewrite::sweep(*middle, rewrite::RuleSet(), options);
                             },
                             true,
                             {},
                             "copies",
                             ""});
  Lineage lineage;
  Options options;
  options.observers = {&lineage};
  graph = run(std::move(graph), pipeline, options);
  check_whole(lineage);
  CHECK(&lineage.stages()[0].graph() == read);
  CHECK(lineage.steps()[0].became == std::vector<uint32_t>{0, 1, 2});
  // The same without a sweep: nothing but the graph itself is known.
  pipeline.passes[0].run = [](const Graph& old, PassContext&) -> std::unique_ptr<Graph> {
    GraphBuilder copy(old.context(), GraphBuilder::Mode::kRaw);
    copy.set_loc("first");
    const ValueId in = copy.input("x", old.type(old.inputs()[0].value));
    copy.set_loc("third");
    copy.output("y", copy.value(Op::sin, {in}));
    return copy.finish();
  };
  Lineage mute;
  options.observers = {&mute};
  graph = run(std::move(graph), pipeline, options);
  check_whole(mute);
  CHECK(mute.steps()[0].became == std::vector<uint32_t>{0, kNone, 1});
}
