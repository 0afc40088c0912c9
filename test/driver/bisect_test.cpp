// Planted wrong rules and wrong code are found, named and cut out.
#include "gcomp/driver/bisect.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "gcomp/driver/pipeline.h"
#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/rule.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;
using namespace gcomp::driver;
using interp::Tensor;
using rewrite::any;
using rewrite::op;
using rewrite::rule;

namespace {

// The product's pipeline with one more rule, in front of the others.
struct Planted {
  explicit Planted(rewrite::Rule wrong) {
    rules = rewrite::tagged({"basic", "fast_run"}, {std::move(wrong)});
    for (const rewrite::Rule& r : rules::all()) rules.push_back(r);
    pipeline = {passes::table(), passes::order(), rules};
  }
  std::vector<rewrite::Rule> rules;
  pass::Pipeline pipeline;
};

// cos(x) -> sin(x): wrong everywhere.
rewrite::Rule cos_is_sin() {
  return rule("cos_is_sin", op(Op::cos, {rewrite::real("x")}), op(Op::sin, {rewrite::real("x")}));
}

// A chain of `length` steps y = y - -tanh(y) * 0.5, in which step `special` takes cos instead.
std::unique_ptr<Graph> chain(Context& context, int length, int special) {
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const Type t{DType::kFloat64, {context.dims.symbol("N")}};
  ValueId y = b.input("x", t);
  for (int i = 0; i < length; ++i) {
    b.set_loc("step_" + std::to_string(i));
    const ValueId f = b.value(Op::neg, {b.value(i == special ? Op::cos : Op::tanh, {y})});
    y = b.value(Op::sub, {y, b.value(Op::mul, {f, b.full(t, 0.5)})});
  }
  b.output("y", y);
  return b.finish();
}

std::vector<Tensor> input(std::vector<double> values) {
  Tensor t{DType::kFloat64, {static_cast<int64_t>(values.size())}, {}};
  t.bytes.resize(values.size() * sizeof(double));
  std::ranges::copy(values, t.data<double>());
  return {t};
}

size_t num_ops(const Graph& g) {
  return static_cast<size_t>(std::ranges::count_if(
      g.nodes(), [](const Node& n) { return n.op != Op::input && n.op != Op::constant; }));
}

bool has_op(const Graph& g, Op wanted) {
  return std::ranges::any_of(g.nodes(), [&](const Node& n) { return n.op == wanted; });
}

double first(const Tensor& t) { return t.data<double>()[0]; }

}  // namespace

TEST_CASE("a limit of N makes the first N changes, one more each time") {
  Context context;
  const auto graph = chain(context, 6, -1);
  pass::RewriteLimit all;
  pass::Options options;
  options.observers = {&all};
  pass::run(std::make_unique<Graph>(*graph), pipeline(), options);
  REQUIRE(all.made() > 2);
  std::vector<std::string> texts;
  for (size_t n = 0; n <= all.made() + 1; ++n) {
    pass::RewriteLimit limit(n);
    options.observers = {&limit};
    pass::run(std::make_unique<Graph>(*graph), pipeline(), options);
    CHECK(limit.made() == std::min(n, all.made()));
    if (n > 0 && n <= all.made()) texts.push_back(to_string(limit.last()));
  }
  CHECK(texts.back() == to_string(all.last()));
  CHECK(texts.front().find("step_") != std::string::npos);
  CHECK(texts.front().find("(pass canonicalize)") != std::string::npos);
}

TEST_CASE("a wrong rule is named, with pass and place, and cut down to its node") {
  for (const int special : {0, 7, 19}) {
    CAPTURE(special);
    Context context;
    const Planted planted(cos_is_sin());
    const auto graph = chain(context, 20, special);
    const BisectResult r = bisect(*graph, input({0.3, -1.2, 2.0}), planted.pipeline, {});
    REQUIRE(r.kind == BisectResult::Kind::kRewrite);
    REQUIRE(r.change.rule != nullptr);
    CHECK(r.change.rule->name == "cos_is_sin");
    CHECK(r.change.pass == "canonicalize");
    CHECK(r.change.place == "step_" + std::to_string(special));
    CHECK(r.difference.starts_with("output 'y', element 0: "));
    REQUIRE(r.reduced.graph != nullptr);
    CHECK(num_ops(*r.reduced.graph) == 1);
    CHECK(has_op(*r.reduced.graph, Op::cos));
    // The recorded input is what the node had: NumPy's own steps, in double.
    double y = 0.3;
    for (int i = 0; i < special; ++i) y += 0.5 * std::tanh(y);
    REQUIRE(r.reduced.inputs.size() == 1);
    CHECK(first(r.reduced.inputs[0]) == doctest::Approx(y).epsilon(1e-14));
    // It is the same fault.
    const BisectResult again = bisect(*r.reduced.graph, r.reduced.inputs, planted.pipeline, {});
    CHECK(again.kind == BisectResult::Kind::kRewrite);
    CHECK(again.change.rule == r.change.rule);
  }
}

TEST_CASE("a rule that is wrong only on what an earlier rule made is cut with what it needs") {
  // neg(neg(x)) -> x is right; exp(x) * exp(y) -> exp(x * y) is not.
  Context context;
  const Planted planted(rule("exp_mul", exp(rewrite::real("x")) * exp(rewrite::real("y")),
                             exp(rewrite::real("x") * rewrite::real("y"))));
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const Type t{DType::kFloat64, {context.dims.symbol("N")}};
  const ValueId x = b.input("x", t);
  const ValueId e = b.value(Op::exp, {b.value(Op::neg, {b.value(Op::neg, {x})})});
  b.set_loc("the_product");
  const ValueId p = b.value(Op::mul, {e, b.value(Op::exp, {b.value(Op::sin, {x})})});
  b.set_loc("");
  b.output("y", b.value(Op::tanh, {b.value(Op::mul, {p, b.full(t, 0.01)})}));
  const auto graph = b.finish();
  const BisectResult r = bisect(*graph, input({0.5, 1.5}), planted.pipeline, {});
  REQUIRE(r.change.rule != nullptr);
  CHECK(r.change.rule->name == "exp_mul");
  CHECK(r.change.place == "the_product");
  REQUIRE(r.reduced.graph != nullptr);
  CHECK(num_ops(*r.reduced.graph) == 3);
}

TEST_CASE("right rules leave results alone") {
  Context context;
  const auto graph = chain(context, 12, -1);
  const BisectResult r = bisect(*graph, input({0.3, -1.2}), pipeline(), {});
  CHECK(r.kind == BisectResult::Kind::kAgrees);
  CHECK(r.num_changes > 0);
}

TEST_CASE("a rule in a body is found; the node that has the body is left") {
  Context context;
  const Planted planted(cos_is_sin());
  const Type t{DType::kFloat64, {context.dims.symbol("N")}};
  std::vector<GraphId> bodies;
  for (const bool cosine : {true, false}) {
    GraphBuilder b(context, GraphBuilder::Mode::kRaw);
    const ValueId x = b.input("x", t);
    b.output("y", cosine ? b.value(Op::cos, {x}) : b.value(Op::tanh, {x}));
    bodies.push_back(context.add_graph(b.finish()));
  }
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const ValueId p = b.input("p", {DType::kBool, {}});
  const ValueId e = b.value(Op::exp, {b.input("x", t)});
  b.output("y", b.value(Op::tanh, {b.value(Op::cond, {p, e}, {{AttrKey::bodies, bodies}})}));
  const auto graph = b.finish();
  Tensor truth{DType::kBool, {}, {std::byte{1}}};
  const BisectResult r =
      bisect(*graph, std::vector<Tensor>{truth, input({0.3, 0.9})[0]}, planted.pipeline, {});
  REQUIRE(r.change.rule != nullptr);
  CHECK(r.change.rule->name == "cos_is_sin");
  REQUIRE(r.reduced.graph != nullptr);
  CHECK(num_ops(*r.reduced.graph) == 1);
  CHECK(has_op(*r.reduced.graph, Op::cond));
}

TEST_CASE("wrong code is told from wrong rewrites, with the stage that makes it") {
  Context context;
  const auto graph = chain(context, 10, 4);
  BisectOptions options;
  // A code generator that is right but for cosines, and for those too without fusion.
  options.run_compiled = [](const Graph& g, std::span<const Tensor> inputs,
                            const pass::Options& stages) {
    GraphBuilder b(g.context(), GraphBuilder::Mode::kRaw);
    std::vector<ValueId> made(g.num_values());
    const bool wrong = pass::selects(pipeline(), stages, passes::kFusion);
    for (const Node& n : g.nodes()) {
      std::vector<ValueId> operands;
      for (const ValueId v : g.operands(n)) operands.push_back(made[v.index]);
      if (n.op == Op::input) {
        for (const Port& p : g.inputs()) {
          if (p.value == n.first_result) made[p.value.index] = b.input(p.name, g.type(p.value));
        }
        continue;
      }
      const Op o = wrong && n.op == Op::cos ? Op::sin : n.op;
      made[n.first_result.index] = b.result(b.node(o, operands, n.attrs));
    }
    for (const Port& p : g.outputs()) b.output(p.name, made[p.value.index]);
    return CompiledRun{interp::evaluate(*b.finish(), inputs), {"k0_cos"}};
  };
  const BisectResult r = bisect(*graph, input({0.3, -1.2}), pipeline(), options);
  REQUIRE(r.kind == BisectResult::Kind::kCode);
  CHECK(r.stages == std::vector<std::string>{"fusion"});
  CHECK(r.kernels == std::vector<std::string>{"k0_cos"});
  REQUIRE(r.reduced.graph != nullptr);
  CHECK(num_ops(*r.reduced.graph) == 1);
  CHECK(has_op(*r.reduced.graph, Op::cos));
}
