// The evaluator's control flow, symbols of nested graphs, checks, and graphs of a million nodes.

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "../tensors.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using interp::Tensor;

namespace {

using test::floats;
using test::integer;
using test::tensor;

Tensor boolean(bool value) {
  return tensor<uint8_t>(DType::kBool, {}, {value ? uint8_t{1} : uint8_t{0}});
}

template <class T>
std::vector<T> elements(const Tensor& t) {
  return {t.data<T>(), t.data<T>() + t.num_elements()};
}

struct Maker {
  GraphBuilder b;
  explicit Maker(Context& context) : b(context, GraphBuilder::Mode::kRaw) {}
  std::vector<DimId> dims(const std::vector<std::string>& texts) {
    std::vector<DimId> dims;
    for (const std::string& t : texts) dims.push_back(b.dims().parse(t));
    return dims;
  }
  ValueId in(DType t, const std::vector<std::string>& extents) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, dims(extents)});
  }
  void out(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
  void out(NodeId n) {
    for (int i = 0; i < b.graph().node(n).num_results; ++i) out(b.result(n, i));
  }
  GraphId body() {
    Context& context = b.context();
    return context.add_graph(b.finish());
  }
  ValueId truth() { return b.constant(make_splat(DType::kBool, {}, 1)); }
};

std::vector<Tensor> run(Maker& m, std::vector<Tensor> inputs) {
  const auto graph = m.b.finish();
  const auto errors = verify(*graph);
  CHECK_MESSAGE(errors.empty(), (errors.empty() ? "" : errors[0]));
  return interp::evaluate(*graph, inputs);
}

std::string error_of(const std::function<void()>& f, ExitCode code = ExitCode::kRun) {
  try {
    f();
  } catch (const UserError& e) {
    CHECK(e.code() == code);
    return e.what();
  }
  return "";
}
bool mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("cond runs one body only") {
  for (const bool pred : {true, false}) {
    Context context;
    Maker ok(context), bad(context), g(context);
    const ValueId a = ok.in(DType::kFloat32, {"n"});
    ok.out(ok.b.value(Op::neg, {a}));
    const ValueId c = bad.in(DType::kFloat32, {"n"});
    const ValueId never = bad.b.constant(make_splat(DType::kBool, {}, 0));
    bad.out(bad.b.value(Op::check, {c, never}, {{AttrKey::message, std::string("reached")}}));
    const std::vector<GraphId> bodies = {ok.body(), bad.body()};
    const ValueId p = g.in(DType::kBool, {}), x = g.in(DType::kFloat32, {"N"});
    g.b.set_loc("the_if");
    g.out(g.b.value(Op::cond, {p, x}, {{AttrKey::bodies, bodies}}));
    if (pred) {
      const auto out = run(g, {boolean(true), floats({2}, {1, 2})});
      CHECK(elements<float>(out[0]) == std::vector<float>{-1, -2});
    } else {
      CHECK(mentions(error_of([&] { run(g, {boolean(false), floats({2}, {1, 2})}); }), "reached"));
    }
  }
}

TEST_CASE("cond: a named extent is known afterwards") {
  Context context;
  std::vector<GraphId> bodies;
  for (const char* name : {"s", "t"}) {
    Maker body(context);
    const ValueId x = body.in(DType::kFloat32, {"n"});
    const ValueId y = name[0] == 's' ? x : body.b.value(Op::neg, {x});
    const ValueId found = body.b.value(Op::nonzero, {y}, {{AttrKey::symbols, body.dims({name})}});
    body.out(found);
    bodies.push_back(body.body());
  }
  Maker g(context);
  const ValueId p = g.in(DType::kBool, {}), x = g.in(DType::kFloat32, {"N"});
  const ValueId y = g.b.value(Op::cond, {p, x},
                              {{AttrKey::bodies, bodies}, {AttrKey::symbols, g.dims({"-1", "u"})}});
  g.out(y);
  g.out(g.b.value(Op::dims, {y}, {{AttrKey::values, g.dims({"u*N"})}}));
  const auto out = run(g, {boolean(false), floats({4}, {0, 5, 0, 6})});
  CHECK(out[0].shape == std::vector<int64_t>{1, 2});
  CHECK(elements<int64_t>(out[0]) == std::vector<int64_t>{1, 3});
  CHECK(elements<int64_t>(out[1]) == std::vector<int64_t>{8});
}

namespace {

// while (k < limit and sum < bound): sum += x[k]; stacks sum and the iteration number.
void make_running_sum(Context& context, Maker& g) {
  Maker body(context);
  const ValueId k = body.in(DType::kInt64, {}), sum = body.in(DType::kFloat32, {});
  const ValueId x = body.in(DType::kFloat32, {"n"}), bound = body.in(DType::kFloat32, {});
  const ValueId next =
      body.b.value(Op::add, {sum, body.b.value(Op::gather, {x, k}, {{AttrKey::axis, int64_t{0}}})});
  body.out(body.b.value(Op::lt, {next, bound}));
  body.out(next);
  body.out(next);
  body.out(k);
  const std::vector<GraphId> bodies = {body.body()};
  const ValueId limit = g.in(DType::kInt64, {}), go = g.in(DType::kBool, {});
  const ValueId start = g.in(DType::kFloat32, {}), xs = g.in(DType::kFloat32, {"N"});
  const ValueId most = g.in(DType::kFloat32, {});
  const ValueId operands[] = {limit, go, start, xs, most};
  g.out(g.b.node(Op::loop, operands,
                 std::vector<Attr>{{AttrKey::bodies, bodies},
                                   {AttrKey::index, int64_t{1}},
                                   {AttrKey::symbols, g.dims({"T"})}}));
}

std::vector<Tensor> running_sum(int64_t limit, bool go, float bound) {
  Context context;
  Maker g(context);
  make_running_sum(context, g);
  return run(g, {integer(limit), boolean(go), floats({}, {10}), floats({4}, {1, 2, 3, 4}),
                 floats({}, {bound})});
}

}  // namespace

TEST_CASE("loop: limit, condition, carried and stacked values") {
  auto out = running_sum(3, true, 100);
  CHECK(elements<float>(out[0]) == std::vector<float>{16});
  CHECK(elements<float>(out[1]) == std::vector<float>{11, 13, 16});
  CHECK(elements<int64_t>(out[2]) == std::vector<int64_t>{0, 1, 2});
  out = running_sum(std::numeric_limits<int64_t>::max(), true, 13);
  CHECK(elements<float>(out[0]) == std::vector<float>{13});
  CHECK(elements<int64_t>(out[2]) == std::vector<int64_t>{0, 1});
  for (const auto& none :
       {running_sum(0, true, 100), running_sum(-5, true, 100), running_sum(3, false, 100)}) {
    CHECK(elements<float>(none[0]) == std::vector<float>{10});
    CHECK(none[1].shape == std::vector<int64_t>{0});
    CHECK(none[2].dtype == DType::kInt64);
  }
  CHECK(mentions(error_of([] { running_sum(5, true, 100); }), "index 4 is out of range"));
}

TEST_CASE("loop: a carried extent that grows, under its own symbols") {
  Context context;
  Maker body(context);
  body.in(DType::kInt64, {});
  const ValueId c = body.in(DType::kFloat32, {"n"}), x = body.in(DType::kFloat32, {"m"});
  body.out(body.truth());
  const ValueId parts[] = {c, x};
  body.out(body.b.concat(parts, 0));
  const std::vector<GraphId> bodies = {body.body()};
  Maker g(context);
  const ValueId limit = g.in(DType::kInt64, {}), a = g.in(DType::kFloat32, {"n"});
  const ValueId b = g.in(DType::kFloat32, {"m"});  // the same names as in the body: other scopes
  const ValueId operands[] = {limit, g.truth(), a, b};
  const NodeId loop = g.b.node(Op::loop, operands,
                               std::vector<Attr>{{AttrKey::bodies, bodies},
                                                 {AttrKey::index, int64_t{1}},
                                                 {AttrKey::symbols, g.dims({"T", "F"})}});
  g.out(loop);
  g.out(g.b.value(Op::dims, {g.b.result(loop)}, {{AttrKey::values, g.dims({"F", "T", "n", "m"})}}));
  const auto out = run(g, {integer(2), floats({1}, {7}), floats({2}, {1, 2})});
  CHECK(elements<float>(out[0]) == std::vector<float>{7, 1, 2, 1, 2});
  CHECK(elements<int64_t>(out[1]) == std::vector<int64_t>{5, 2, 1, 2});
}

TEST_CASE("loop: stacked values that change their extents fail") {
  Context context;
  Maker body(context);
  const ValueId k = body.in(DType::kInt64, {});
  body.out(body.truth());
  const ValueId extent = body.b.reshape(k, body.dims({"1"}));
  const ValueId bound =
      body.b.value(Op::bind_dims, {extent}, {{AttrKey::symbols, body.dims({"e"})}});
  body.out(body.b.value(Op::iota, {bound},
                        {{AttrKey::shape, body.dims({"e"})},
                         {AttrKey::axis, int64_t{0}},
                         {AttrKey::dtype, DType::kInt32}}));
  const std::vector<GraphId> bodies = {body.body()};
  for (const int64_t trips : {int64_t{0}, int64_t{1}, int64_t{2}}) {
    Maker g(context);
    const ValueId limit = g.in(DType::kInt64, {});
    const ValueId operands[] = {limit, g.truth()};
    g.b.set_loc("growing_scan");
    g.out(g.b.node(Op::loop, operands,
                   std::vector<Attr>{{AttrKey::bodies, bodies},
                                     {AttrKey::index, int64_t{0}},
                                     {AttrKey::symbols, g.dims({"T", "E"})}}));
    if (trips == 2) {
      const std::string error = error_of([&] { run(g, {integer(trips)}); });
      CHECK(mentions(error, "growing_scan"));
      CHECK(mentions(error, "change their extents"));
    } else {
      CHECK(run(g, {integer(trips)})[0].shape == std::vector<int64_t>{trips, 0});
    }
  }
}

TEST_CASE("ten thousand nested conds need no host stack") {
  Context context;
  Maker innermost(context);
  innermost.in(DType::kBool, {});
  innermost.out(innermost.b.value(Op::neg, {innermost.in(DType::kFloat32, {})}));
  GraphId inner = innermost.body();
  for (int depth = 0; depth < 10000; ++depth) {
    Maker outer(context);
    const ValueId p = outer.in(DType::kBool, {}), x = outer.in(DType::kFloat32, {});
    const std::vector<GraphId> bodies = {inner, inner};
    outer.out(outer.b.value(Op::cond, {p, p, x}, {{AttrKey::bodies, bodies}}));
    inner = outer.body();
  }
  const std::vector<Tensor> in = {boolean(true), floats({}, {3})};
  CHECK(elements<float>(interp::evaluate(context.graph(inner), in)[0]) == std::vector<float>{-3});
}

TEST_CASE("a chain of a million nodes") {
  Context context;
  Maker g(context);
  ValueId v = g.in(DType::kFloat64, {});
  double want = 0.5;
  for (int i = 0; i < 1000000; ++i) {
    v = g.b.value(i % 2 ? Op::neg : Op::abs, {v});
    want = i % 2 ? -want : std::fabs(want);
  }
  g.out(v);
  const auto graph = g.b.finish();
  const std::vector<Tensor> in = {tensor<double>(DType::kFloat64, {}, {0.5})};
  CHECK(elements<double>(interp::evaluate(*graph, in)[0])[0] == want);
}

TEST_CASE("data-dependent extents reach their users through carriers") {
  Context context;
  Maker g(context);
  const ValueId n = g.in(DType::kInt64, {"1"}), x = g.in(DType::kFloat32, {});
  const ValueId bound = g.b.value(Op::bind_dims, {n}, {{AttrKey::symbols, g.dims({"k"})}});
  const ValueId carriers[] = {bound};
  const ValueId y = g.b.broadcast(x, g.dims({"2*k", "3"}), {}, carriers);
  g.out(g.b.reduce(Op::reduce_sum, y, {0, 1}));
  const auto out = run(g, {tensor<int64_t>(DType::kInt64, {1}, {4}), floats({}, {0.5f})});
  CHECK(elements<float>(out[0]) == std::vector<float>{12});
}

TEST_CASE("the first failing check in order is reported, and unneeded ones are not run") {
  Context context;
  Maker g(context);
  const ValueId x = g.in(DType::kFloat32, {}), bad = g.in(DType::kBool, {});
  const auto check = [&](ValueId v, std::string message) {
    return g.b.value(Op::check, {v, bad}, {{AttrKey::message, std::move(message)}});
  };
  check(x, "unneeded");
  g.b.set_loc("first");
  const ValueId a = check(x, "negative sigma");
  g.b.set_loc("second");
  g.out(check(a, "also wrong"));
  const std::string error = error_of([&] { run(g, {floats({}, {1}), boolean(false)}); });
  CHECK(mentions(error, "first: negative sigma"));
  Maker h(context);
  const ValueId y = h.in(DType::kFloat32, {});
  const ValueId never = h.b.constant(make_splat(DType::kBool, {}, 0));
  h.b.value(Op::check, {y, never}, {{AttrKey::message, std::string("unneeded")}});
  h.out(y);
  CHECK(elements<float>(run(h, {floats({}, {1})})[0]) == std::vector<float>{1});
}

TEST_CASE("wrong inputs are named") {
  Context context;
  Maker g(context);
  g.b.input("a", {DType::kFloat32, g.dims({"N"})});
  g.out(g.b.input("b", {DType::kFloat32, g.dims({"N", "2"})}));
  const auto graph = g.b.finish();
  const auto error = [&](std::vector<Tensor> inputs) {
    return error_of([&] { interp::evaluate(*graph, inputs); });
  };
  const Tensor a = floats({2}, {1, 2}), b = floats({2, 2}, {1, 2, 3, 4});
  CHECK(mentions(error({a}), "the graph has 2 inputs; 1 were given"));
  CHECK(mentions(error({a, a}), "input 'b' is float32[2]; it must be float32[N, 2]"));
  CHECK(mentions(error({tensor<double>(DType::kFloat64, {2}, {1, 2}), b}),
                 "input 'a' is float64[2]"));
  CHECK(mentions(error({floats({1}, {1}), b}), "input 'b' has the extent 2 where its type"));
  CHECK(mentions(error({floats({3}, {1}), b}), "the bytes do not match"));
  CHECK(error({a, b}).empty());
}

TEST_CASE("one op on known operands") {
  Context context;
  const Tensor a = floats({2}, {1, 2}), b = floats({2}, {3, 5});
  const Tensor* operands[] = {&a, &b};
  const auto out = interp::evaluate_op(context, Op::mul, {}, operands);
  CHECK(elements<float>(out[0]) == std::vector<float>{3, 10});
  const AttrsId attrs = context.attrs.intern({{AttrKey::axis, int64_t{0}}});
  const Tensor index = integer(7);
  const Tensor* gather[] = {&a, &index};
  CHECK(mentions(
      error_of([&] { interp::evaluate_op(context, Op::gather, context.attrs[attrs], gather); }),
      "index 7 is out of range"));
  CHECK_THROWS_AS(interp::evaluate_op(context, Op::bind_dims, {}, operands), InternalError);
}
