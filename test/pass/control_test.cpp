#include <doctest/doctest.h>

#include "../tensors.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;
using interp::Tensor;
using test::floats, test::integer;

namespace {

using Values = std::vector<ValueId>;

struct Maker {
  GraphBuilder b;
  explicit Maker(Context& context) : b(context, GraphBuilder::Mode::kRaw) {}
  ValueId in(DType t, const std::vector<int64_t>& shape = {}) {
    std::vector<DimId> dims;
    for (int64_t i : shape) dims.push_back(b.dims().constant(i));
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, dims});
  }
  ValueId f32() { return in(DType::kFloat32, {2}); }
  ValueId op(Op o, std::initializer_list<ValueId> operands) { return b.value(o, operands); }
  void out(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
  GraphId body() { return b.context().add_graph(b.finish()); }
  ValueId truth() { return b.constant(make_splat(DType::kBool, {}, 1)); }
};

const Node& only(const Graph& g, Op op) {
  const Node* found = nullptr;
  for (const Node& n : g.nodes()) {
    if (n.op == op) found = &n;
  }
  REQUIRE(found != nullptr);
  return *found;
}

const Graph& body_of(const Graph& g, const Node& n, size_t i = 0) {
  return g.context().graph(g.attrs(n).graphs(AttrKey::bodies)[i]);
}

// After the passes `names`; the results on `runs` are those of the graph as it was.
std::unique_ptr<Graph> optimised(Maker& g, const std::vector<std::string>& names,
                                 const std::vector<std::vector<Tensor>>& runs) {
  const auto before = g.b.finish();
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.passes = names;
  options.verify_each = true;
  options.verify = [](const Graph& graph) { verify(graph); };
  auto after = pass::run(std::make_unique<Graph>(*before), pipeline, options);
  for (const auto& inputs : runs) {
    const std::vector<Tensor> expected = interp::evaluate(*before, inputs);
    const std::vector<Tensor> actual = interp::evaluate(*after, inputs);
    REQUIRE(actual.size() == expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      CHECK(actual[i].shape == expected[i].shape);
      CHECK(actual[i].bytes == expected[i].bytes);
    }
  }
  return after;
}

// Carried: a -> a + e; b -> b; c -> c * b; d -> d + e, which starts as a does; e is captured twice.
// Stacked: c, and a + b.
struct LoopNet {
  Context context;
  Maker body{context}, g{context};
  Values results;

  LoopNet() {
    body.in(DType::kInt64);
    const ValueId a = body.f32(), b = body.f32(), c = body.f32(), d = body.f32();
    const ValueId e = body.f32(), again = body.f32(), unused = body.f32();
    static_cast<void>(unused);
    body.out(body.truth());
    const ValueId next = body.op(Op::add, {a, e});
    body.out(next);
    body.out(b);
    body.out(body.op(Op::mul, {c, b}));
    body.out(next);
    body.out(body.op(Op::sub, {c, d}));
    body.out(body.op(Op::add, {a, again}));
    const GraphId id = body.body();
    const ValueId limit = g.in(DType::kInt64);
    const ValueId a0 = g.f32(), b0 = g.f32(), c0 = g.f32(), e0 = g.f32(), f0 = g.f32();
    const Values operands = {limit, g.truth(), a0, b0, c0, a0, e0, e0, f0};
    const NodeId n =
        g.b.node(Op::loop, operands,
                 {{AttrKey::bodies, std::vector<GraphId>{id}},
                  {AttrKey::index, int64_t{4}},
                  {AttrKey::symbols, std::vector<DimId>{context.dims.symbol("turns")}}});
    for (int i = 0; i < 6; ++i) results.push_back(g.b.result(n, i));
  }

  std::vector<std::vector<Tensor>> runs() const {
    std::vector<std::vector<Tensor>> all;
    for (int64_t turns : {0, 1, 3}) {
      all.push_back({integer(turns), floats({2}, {1, 2}), floats({2}, {3, 4}), floats({2}, {5, 6}),
                     floats({2}, {7, 8}), floats({2}, {9, 10})});
    }
    return all;
  }
};

const std::vector<std::string> kPass = {"control"};

}  // namespace

TEST_CASE("control: carried values that stay are captured, equal ones are one, captures too") {
  LoopNet net;
  for (ValueId v : net.results) net.g.out(v);
  const auto g = optimised(net.g, kPass, net.runs());
  const Node& loop = only(*g, Op::loop);
  CHECK(g->attrs(loop).integer(AttrKey::index) == 2);     // a and c
  CHECK(body_of(*g, loop).inputs().size() == 1 + 2 + 2);  // b and e captured
  CHECK(loop.num_results == 4);
}

TEST_CASE("control: what nobody reads is neither carried nor stacked") {
  LoopNet net;
  net.g.out(net.results[3]);  // d, which is a
  const auto g = optimised(net.g, kPass, net.runs());
  const Node& loop = only(*g, Op::loop);
  CHECK(g->attrs(loop).integer(AttrKey::index) == 1);
  CHECK(body_of(*g, loop).inputs().size() == 1 + 1 + 1);
  CHECK(body_of(*g, loop).outputs().size() == 2);
}

TEST_CASE("control: a loop of which only what stays is read goes") {
  LoopNet net;
  net.g.out(net.results[1]);
  const auto g = optimised(net.g, kPass, net.runs());
  CHECK(g->num_nodes() == g->inputs().size());
}

TEST_CASE("control: a stacked value keeps what it depends on") {
  LoopNet net;
  net.g.out(net.results[4]);  // c - d: c needs b, d is a and needs e
  const auto g = optimised(net.g, kPass, net.runs());
  const Node& loop = only(*g, Op::loop);
  CHECK(g->attrs(loop).integer(AttrKey::index) == 2);
  CHECK(loop.num_results == 3);
}

TEST_CASE("control: cond keeps the results and captures that are read; nested ones first") {
  Context context;
  Maker then(context), otherwise(context), g(context);
  std::vector<GraphId> bodies;
  for (Maker* m : {&then, &otherwise}) {
    const ValueId a = m->f32(), b = m->f32(), c = m->f32();
    m->out(m->op(m == &then ? Op::add : Op::sub, {a, b}));
    m->out(m->op(Op::mul, {c, b}));
    bodies.push_back(m->body());
  }
  const ValueId p = g.in(DType::kBool), a = g.f32(), b = g.f32(), c = g.f32();
  const NodeId n = g.b.node(Op::cond, Values{p, a, b, c}, {{AttrKey::bodies, bodies}});
  g.out(g.b.result(n, 0));
  std::vector<std::vector<Tensor>> runs;
  for (uint8_t way : {0, 1}) {
    runs.push_back({test::tensor<uint8_t>(DType::kBool, {}, {way}), floats({2}, {1, 2}),
                    floats({2}, {3, 4}), floats({2}, {5, 6})});
  }
  const auto after = optimised(g, kPass, runs);
  const Node& cond = only(*after, Op::cond);
  CHECK(cond.num_results == 1);
  CHECK(cond.num_operands == 3);
  CHECK(body_of(*after, cond, 1).inputs().size() == 2);
}

TEST_CASE("control: nothing to do changes nothing") {
  LoopNet net;
  for (ValueId v : net.results) net.g.out(v);
  const auto once = optimised(net.g, kPass, {});
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  const pass::Pass control = passes::control();
  pass::PassProfile profile;
  pass::PassContext context;
  context.profile = &profile;
  CHECK(control.run(*once, context) == nullptr);
}
