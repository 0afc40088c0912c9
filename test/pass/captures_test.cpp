#include <doctest/doctest.h>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;

namespace {

using Values = std::vector<ValueId>;

struct Maker {
  GraphBuilder b;
  explicit Maker(Context& context) : b(context, GraphBuilder::Mode::kRaw) {}
  ValueId in(DType t, std::vector<DimId> dims = {}) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, std::move(dims)});
  }
  void out(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
  GraphId body() { return b.context().add_graph(b.finish()); }
  ValueId truth() { return b.constant(make_splat(DType::kBool, {}, 1)); }
  ValueId loop(const Values& operands, GraphId of) {
    const std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{of}},
                                     {AttrKey::index, int64_t{1}}};
    return b.result(b.node(Op::loop, operands, attrs));
  }
};

std::unique_ptr<Graph> optimise(std::unique_ptr<Graph> g, const std::vector<std::string>& names) {
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.passes = names;
  return pass::run(std::move(g), pipeline, options);
}

const Node& only(const Graph& g, Op op) {
  const Node* found = nullptr;
  for (const Node& n : g.nodes()) {
    if (n.op == op) found = &n;
  }
  REQUIRE(found != nullptr);
  return *found;
}

}  // namespace

TEST_CASE("captures: constants go into bodies, nested ones too, and are folded there") {
  Context context;
  const DimId n = context.dims.symbol("n"), m = context.dims.symbol("m");
  Maker inner(context), outer(context), g(context);
  {
    inner.in(DType::kInt64);
    const ValueId a = inner.in(DType::kFloat32, {n}), w = inner.in(DType::kFloat32, {n});
    const ValueId twice = inner.b.value(Op::add, {w, w});
    inner.out(inner.truth());
    inner.out(inner.b.value(Op::add, {a, twice}));
  }
  const GraphId inner_id = inner.body();
  {
    outer.in(DType::kInt64);
    const ValueId a = outer.in(DType::kFloat32, {m}), w = outer.in(DType::kFloat32, {m});
    const ValueId limit = outer.in(DType::kInt64);
    outer.out(outer.truth());
    outer.out(outer.loop({limit, outer.truth(), a, w}, inner_id));
  }
  const GraphId outer_id = outer.body();
  const ValueId limit = g.in(DType::kInt64), x = g.in(DType::kFloat32, {context.dims.constant(3)});
  std::vector<std::byte> bytes(12);
  for (int i = 0; i < 3; ++i) reinterpret_cast<float*>(bytes.data())[i] = static_cast<float>(i + 1);
  const ValueId w = g.b.constant(make_constant(DType::kFloat32, {3}, bytes));
  const ValueId two = g.b.scalar_int(DType::kInt64, 2);
  g.out(g.loop({limit, g.truth(), x, w, two}, outer_id));
  g.out(g.loop({limit, g.truth(), x, x, limit}, outer_id));  // the same body, no constant for it
  const auto graph = optimise(g.b.finish(), {"captures"});
  CHECK(verify(*graph).empty());

  std::vector<const Node*> loops;
  for (const Node& node : graph->nodes()) {
    if (node.op == Op::loop) loops.push_back(&node);
  }
  REQUIRE(loops.size() == 2);
  CHECK(loops[0]->num_operands == 3);
  CHECK(loops[1]->num_operands == 5);
  const Graph& body = context.graph(graph->attrs(*loops[0]).graphs(AttrKey::bodies)[0]);
  const Node& nested = only(body, Op::loop);
  CHECK(nested.num_operands == 3);
  const Graph& innermost = context.graph(body.attrs(nested).graphs(AttrKey::bodies)[0]);
  CHECK(innermost.constant(innermost.operands(only(innermost, Op::add))[1]) != nullptr);

  interp::Tensor turns{DType::kInt64, {}, std::vector<std::byte>(8)};
  *turns.data<int64_t>() = 3;
  interp::Tensor start{DType::kFloat32, {3}, bytes};
  const std::vector<interp::Tensor> inputs = {turns, start};
  const auto results = interp::evaluate(*graph, inputs);
  for (int i = 0; i < 3; ++i) {
    const auto v = static_cast<float>(i + 1);
    CHECK(results[0].data<float>()[i] == v + 3 * 2 * 2 * v);
    CHECK(results[1].data<float>()[i] == v + 3 * 3 * 2 * v);
  }
}

TEST_CASE("captures: nothing to do gives no new graph") {
  Context context;
  Maker body(context), g(context);
  body.in(DType::kInt64);
  const ValueId a = body.in(DType::kFloat32), c = body.in(DType::kFloat32);
  body.out(body.truth());
  body.out(body.b.value(Op::add, {a, c}));
  const GraphId id = body.body();
  const ValueId limit = g.in(DType::kInt64), x = g.in(DType::kFloat32);
  g.out(g.loop({limit, g.truth(), g.b.scalar(DType::kFloat32, 1), x}, id));  // carried: stays
  auto before = g.b.finish();
  const Graph* same = before.get();
  CHECK(optimise(std::move(before), {"captures"}).get() == same);
}
