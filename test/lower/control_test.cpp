// Conds and loops, against the evaluator.

#include <doctest/doctest.h>

#include <functional>

#include "../tensors.h"
#include "compare.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "run_artifact.h"

using namespace gcomp;
using interp::Tensor;

namespace {

using test::floats;
using test::integer;
using test::tensor;

using Values = std::vector<ValueId>;
using Texts = std::vector<std::string>;

struct Maker {
  GraphBuilder b;
  explicit Maker(Context& context) : b(context, GraphBuilder::Mode::kInterned) {}
  std::vector<DimId> dims(const Texts& texts) {
    std::vector<DimId> dims;
    for (const std::string& t : texts) dims.push_back(b.dims().parse(t));
    return dims;
  }
  ValueId in(DType t, const Texts& extents) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, dims(extents)});
  }
  ValueId f32(const Texts& extents) { return in(DType::kFloat32, extents); }
  ValueId i64(const Texts& extents = {}) { return in(DType::kInt64, extents); }
  ValueId flag() { return in(DType::kBool, {}); }
  void out(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
  void out(NodeId n) {
    for (int i = 0; i < b.graph().node(n).num_results; ++i) out(b.result(n, i));
  }
  GraphId body() { return b.context().add_graph(b.finish()); }
  ValueId truth(bool t = true) { return b.constant(make_splat(DType::kBool, {}, t ? 1 : 0)); }
  ValueId add(ValueId x, ValueId y) { return b.value(Op::add, {x, y}); }
  ValueId scaled(ValueId x, double by) { return b.value(Op::mul, {x, b.full_like(x, by)}); }
  // x plus a scalar everywhere.
  ValueId plus(ValueId x, ValueId scalar) {
    return add(x, b.broadcast(scalar, b.type(x).dims, {}, {}));
  }
  ValueId concat(ValueId x, ValueId y) { return b.concat(Values{x, y}, 0); }
  ValueId as_float(ValueId v) { return b.cast(v, DType::kFloat32); }

  NodeId cond(const Values& operands, GraphId yes, GraphId no, const Texts& names = {}) {
    std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{yes, no}}};
    if (!names.empty()) attrs.push_back({AttrKey::symbols, dims(names)});
    return b.node(Op::cond, operands, std::move(attrs));
  }
  NodeId loop(const Values& operands, int64_t carried, GraphId of, const Texts& names = {}) {
    std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{of}},
                               {AttrKey::index, carried}};
    if (!names.empty()) attrs.push_back({AttrKey::symbols, dims(names)});
    return b.node(Op::loop, operands, std::move(attrs));
  }
};

Tensor floats(std::vector<int64_t> shape) {
  std::mt19937 rng(7);
  return test::random_tensor(DType::kFloat32, std::move(shape), rng);
}
Tensor boolean(bool value) {
  return tensor<uint8_t>(DType::kBool, {}, {value ? uint8_t{1} : uint8_t{0}});
}

// For each list of inputs: as the evaluator, by pieces and with threads; with and without fusion.
void check_all(Maker& m, const std::vector<std::vector<Tensor>>& runs) {
  const auto graph = m.b.finish();
  const auto errors = verify(*graph);
  REQUIRE_MESSAGE(errors.empty(), (errors.empty() ? "" : errors[0]));
  for (const std::vector<Tensor>& inputs : runs) {
    for (const bool fuse : {true, false}) {
      lower::LowerOptions options;
      options.fuse = fuse;
      CHECK(test::compare(*graph, inputs, options) == "");
    }
  }
}

}  // namespace

TEST_CASE("cond: both ways, results computed, handed on and shared") {
  Context context;
  Maker yes(context), no(context), g(context);
  {
    const ValueId a = yes.f32({"n"}), b = yes.f32({"n"});
    const ValueId sum = yes.add(a, b);
    for (ValueId v : {sum, a, sum, yes.b.constant(make_splat(DType::kFloat32, {}, 0x3f800000))}) {
      yes.out(v);
    }
  }
  {
    const ValueId a = no.f32({"n"}), b = no.f32({"n"});
    no.out(b);
    no.out(b);
    no.out(no.scaled(a, 3));
    no.out(no.b.reduce(Op::reduce_sum, a, {0}));
  }
  const GraphId then_body = yes.body(), else_body = no.body();
  const ValueId p = g.flag(), x = g.f32({"N"}), y = g.f32({"N"});
  const NodeId first = g.cond({p, g.scaled(x, 2), y}, then_body, else_body);
  g.out(first);
  // The same bodies once more, on its results; nothing of it lies in an output.
  const NodeId second =
      g.cond({p, g.b.result(first, 1), g.b.result(first, 2)}, then_body, else_body);
  g.out(g.scaled(g.add(g.b.result(second, 0), g.b.result(second, 1)), 0.5));
  g.out(g.b.result(second, 0));
  g.out(x);
  check_all(g, {{boolean(true), floats({5}), floats({5})},
                {boolean(false), floats({5}), floats({5})},
                {boolean(false), floats({0}), floats({0})},
                {boolean(true), floats({70000}), floats({70000})}});
}

TEST_CASE("cond: extents that differ between the bodies") {
  Context context;
  Maker yes(context), no(context), g(context);
  const ValueId a = yes.f32({"n"});
  yes.out(yes.concat(a, a));
  yes.out(a);
  const ValueId b = no.f32({"m"});
  const ValueId found = no.b.value(Op::nonzero, {b}, {{AttrKey::symbols, no.dims({"s"})}});
  no.out(no.b.reshape(no.as_float(found), no.dims({"s"})));
  no.out(no.b.reshape(no.as_float(found), no.dims({"s"})));
  const GraphId then_body = yes.body(), else_body = no.body();
  const ValueId p = g.flag(), x = g.f32({"N"});
  const NodeId c = g.cond({p, x}, then_body, else_body, {"u", "v"});
  g.out(c);
  const ValueId both = g.concat(g.b.result(c, 0), g.b.result(c, 1));
  g.out(g.scaled(both, 2));
  g.out(g.b.value(Op::dims, {both}, {{AttrKey::values, g.dims({"u*N", "v", "u + v"})}}));
  check_all(g, {{boolean(true), floats({4}, {0, 5, 0, 6})},
                {boolean(false), floats({4}, {0, 5, 0, 6})},
                {boolean(false), floats({2}, {0, 0})},
                {boolean(true), floats({0})}});
}

namespace {

// while (k < limit and sum < bound): sum += x[k]; stacks sum (twice) and the iteration number.
GraphId running_sum_body(Context& context) {
  Maker body(context);
  const ValueId k = body.i64(), sum = body.f32({}), x = body.f32({"n"}), bound = body.f32({});
  const ValueId next =
      body.add(sum, body.b.value(Op::gather, {x, k}, {{AttrKey::axis, int64_t{0}}}));
  body.out(body.b.value(Op::lt, {next, bound}));
  for (ValueId v : {next, next, k, next}) body.out(v);
  return body.body();
}

}  // namespace

TEST_CASE("loop: limit, condition, carried and stacked values, no turn, a failing turn") {
  Context context;
  Maker g(context);
  const GraphId body = running_sum_body(context);
  const ValueId limit = g.i64(), go = g.flag(), start = g.f32({}), x = g.f32({"N"});
  const ValueId most = g.f32({});
  const NodeId loop = g.loop({limit, go, start, x, most}, 1, body, {"T"});
  g.out(loop);
  g.out(g.scaled(g.b.result(loop, 1), 2));
  g.out(g.b.value(Op::dims, {g.b.result(loop, 1)}, {{AttrKey::values, g.dims({"2*T", "N"})}}));
  const auto run = [](int64_t n, bool begin, float bound) -> std::vector<Tensor> {
    return {integer(n), boolean(begin), floats({}, {10}), floats({4}, {1, 2, 3, 4}),
            floats({}, {bound})};
  };
  check_all(g, {run(3, true, 100), run(INT64_MAX, true, 13), run(0, true, 100), run(-5, true, 100),
                run(3, false, 100), run(4, true, 100), run(1, true, 0), run(5, true, 100)});
}

TEST_CASE("loop: a number of turns known before, values that are results and not") {
  for (const int64_t turns : {0, 1, 2, 5}) {
    Context context;
    Maker body(context), g(context);
    const ValueId k = body.i64(), a = body.f32({"n"}), c = body.f32({"n"}), x = body.f32({"n"});
    const ValueId next = body.add(body.scaled(a, 0.5), x);
    body.out(body.truth());
    body.out(next);
    body.out(body.add(c, next));
    body.out(body.plus(next, body.as_float(k)));
    const GraphId id = body.body();
    const ValueId first = g.f32({"N"}), second = g.f32({"N"}), xs = g.f32({"N"});
    const ValueId limit = g.b.scalar_int(DType::kInt64, turns);
    const NodeId loop = g.loop({limit, g.truth(), first, g.scaled(second, 2), xs}, 2, id, {"T"});
    g.out(g.b.result(loop, 0));
    g.out(g.scaled(g.b.result(loop, 1), 2));
    g.out(g.b.result(loop, 2));
    g.out(g.b.result(loop, 0));
    g.out(g.add(first, second));
    check_all(g, {{floats({3}), floats({3}), floats({3})},
                  {floats({0}), floats({0}), floats({0})},
                  {floats({50000}), floats({50000}), floats({50000})}});
  }
}

TEST_CASE("loop: the number of turns is an extent; a state that is stacked as well") {
  Context context;
  Maker body(context), g(context);
  const ValueId k = body.i64(), h = body.f32({"h"}), all = body.f32({"s", "h"});
  const ValueId x = body.b.value(Op::gather, {all, k}, {{AttrKey::axis, int64_t{0}}});
  const ValueId next = body.b.value(Op::tanh, {body.add(body.scaled(h, 0.5), x)});
  body.out(body.truth());
  body.out(next);
  body.out(next);
  const GraphId id = body.body();
  const ValueId state = g.f32({"H"}), xs = g.f32({"S", "H"});
  const ValueId steps = g.b.reshape(g.b.dims_value(g.dims({"S"})), {});
  const NodeId loop = g.loop({steps, g.truth(), state, xs}, 1, id, {"T"});
  const ValueId stacked =
      g.b.value(Op::specify_shape, {g.b.result(loop, 1)}, {{AttrKey::shape, g.dims({"S", "H"})}});
  g.out(g.b.result(loop, 0));
  g.out(stacked);
  g.out(g.b.reduce(Op::reduce_sum, stacked, {0}));
  check_all(g, {{floats({3}), floats({4, 3})},
                {floats({3}), floats({0, 3})},
                {floats({0}), floats({4, 0})},
                {floats({40000}), floats({3, 40000})}});
}

TEST_CASE("loop: carried values that change places, stay, and are constant") {
  Context context;
  Maker body(context), g(context);
  body.i64();
  const ValueId a = body.f32({"n"}), b = body.f32({"n"}), c = body.f32({"n"}), d = body.f32({"2"});
  const ValueId e = body.f32({"n"});
  body.out(body.truth());
  body.out(b);
  body.out(a);
  body.out(c);
  body.out(body.b.constant(make_splat(DType::kFloat32, {2}, 0x40000000)));
  body.out(body.plus(body.add(e, a), body.b.reduce(Op::reduce_sum, d, {0})));
  const GraphId id = body.body();
  const ValueId limit = g.i64();
  Values operands = {limit, g.truth()};
  for (int i = 0; i < 5; ++i) operands.push_back(i == 3 ? g.f32({"2"}) : g.f32({"N"}));
  g.out(g.loop(operands, 5, id));
  std::vector<std::vector<Tensor>> runs;
  for (const int64_t turns : {0, 1, 2, 3}) {
    std::mt19937 rng(3);
    std::vector<Tensor> in = {integer(turns)};
    for (int i = 0; i < 5; ++i) {
      in.push_back(test::random_tensor(DType::kFloat32, {i == 3 ? 2 : 4}, rng));
    }
    runs.push_back(in);
  }
  check_all(g, runs);
}

TEST_CASE("loop: chains and circles of carried values, results in place and not") {
  Context context;
  Maker body(context);
  body.i64();
  Values v;
  for (int i = 0; i < 8; ++i) v.push_back(body.f32({"n"}));
  const ValueId w = body.f32({"n"});
  const ValueId fresh = body.add(body.scaled(v[0], 0.5), v[2]);
  const ValueId row = body.add(body.scaled(v[6], 0.25), v[7]);
  body.out(body.truth());
  // v0 <- v1 <- v2 <- computed; v3 <-> v4; v5 <- the same in every turn; v6 <- v7 <- a stacked row.
  for (ValueId next : {v[1], v[2], fresh, v[4], v[3], body.scaled(w, 3), v[7], row}) body.out(next);
  body.out(row);
  body.out(v[0]);
  const GraphId id = body.body();
  for (const bool counted : {true, false}) {
    Maker m(context);
    const ValueId n = m.b.reshape(m.b.dims_value(m.dims({"S"})), {});
    Values operands = {counted ? n : m.i64(), m.truth()};
    for (int i = 0; i < 9; ++i) operands.push_back(m.f32({"N"}));
    const ValueId steps = m.f32({"S"});
    const NodeId loop = m.loop(operands, 8, id, {"T"});
    // Three as outputs: the others lie where the loop leaves them.
    for (int i : {2, 4, 8}) m.out(m.b.result(loop, i));
    // Read long after the loop, when other values have come and gone.
    ValueId other = m.b.result(loop, 6);
    for (int i = 0; i < 3; ++i) {
      other = m.b.value(Op::cumsum, {m.scaled(other, 0.5)}, {{AttrKey::axis, int64_t{0}}});
    }
    for (int i = 0; i < 8; ++i) {
      other = m.b.value(Op::cumsum, {m.add(other, m.b.result(loop, i))},
                        {{AttrKey::axis, int64_t{0}}, {AttrKey::reverse, int64_t{i % 2}}});
    }
    m.out(other);
    m.out(steps);
    std::vector<std::vector<Tensor>> runs;
    for (const int64_t turns : {0, 1, 2, 3, 4, 7}) {
      std::mt19937 rng(3);
      std::vector<Tensor> in;
      if (!counted) in.push_back(integer(turns));
      for (int i = 0; i < 9; ++i) in.push_back(test::random_tensor(DType::kFloat32, {4}, rng));
      in.push_back(floats({turns}));
      runs.push_back(in);
    }
    check_all(m, runs);
  }
}

TEST_CASE("loop: carried extents that change, under the body's own symbols") {
  Context context;
  Maker body(context), g(context);
  const ValueId k = body.i64(), c = body.f32({"n"}), x = body.f32({"m"});
  body.out(body.truth());
  body.out(body.concat(body.scaled(c, 0.5), body.plus(x, body.as_float(k))));
  body.out(body.b.reduce(Op::reduce_sum, body.scaled(c, 2), {0}));
  const GraphId id = body.body();
  const ValueId limit = g.i64(), a = g.f32({"n"}), b = g.f32({"m"});  // same names, other scope
  const NodeId loop = g.loop({limit, g.truth(), a, b}, 1, id, {"T", "F"});
  g.out(loop);
  g.out(g.scaled(g.b.result(loop, 0), 3));
  g.out(g.b.value(Op::dims, {g.b.result(loop)}, {{AttrKey::values, g.dims({"F", "T", "n", "m"})}}));
  check_all(g, {{integer(2), floats({1}), floats({2})},
                {integer(0), floats({1}), floats({2})},
                {integer(40), floats({0}), floats({3})},
                {integer(3), floats({2}), floats({0})}});
}

TEST_CASE("loop: two extents that change together, each from the other") {
  Context context;
  Maker body(context), g(context);
  body.i64();
  const ValueId a = body.f32({"n"}), b = body.f32({"m", "2"});
  const ValueId rows = body.b.reduce(Op::reduce_sum, b, {1});
  body.out(body.truth());
  body.out(body.concat(a, rows));                             // n + m
  body.out(body.b.broadcast(a, body.dims({"n", "2"}), {0}));  // n
  const GraphId id = body.body();
  const ValueId limit = g.i64();
  g.out(g.loop({limit, g.truth(), g.f32({"A"}), g.f32({"B", "2"})}, 2, id, {"T", "P", "Q", "-1"}));
  check_all(g, {{integer(5), floats({1}), floats({1, 2})},
                {integer(1), floats({3}), floats({0, 2})},
                {integer(0), floats({3}), floats({4, 2})}});
}

TEST_CASE("loop: an extent that shrinks by data, and ends the loop") {
  // Keeps what is above the mean, until one is left.
  Context context;
  Maker body(context), g(context);
  body.i64();
  const ValueId x = body.f32({"n"});
  body.i64({"p"});
  const ValueId n = body.as_float(body.b.reshape(body.b.dims_value(body.dims({"n"})), {}));
  const ValueId mean = body.b.value(Op::div, {body.b.reduce(Op::reduce_sum, x, {0}), n});
  const ValueId above = body.b.value(Op::gt, {x, body.b.broadcast(mean, body.dims({"n"}), {}, {})});
  const ValueId at = body.b.value(Op::nonzero, {above}, {{AttrKey::symbols, body.dims({"s"})}});
  const ValueId places = body.b.reshape(at, body.dims({"s"}));
  const ValueId count = body.b.reshape(body.b.dims_value(body.dims({"s"}), Values{at}), {});
  body.out(body.b.value(Op::gt, {count, body.b.scalar_int(DType::kInt64, 1)}));
  body.out(body.b.value(Op::gather, {x, places}, {{AttrKey::axis, int64_t{0}}}));
  body.out(places);
  body.out(count);
  const GraphId id = body.body();
  const ValueId limit = g.b.scalar_int(DType::kInt64, INT64_MAX);
  const ValueId xs = g.f32({"N"}), go = g.flag(), ints = g.i64({"M"});
  const NodeId loop = g.loop({limit, go, xs, ints}, 2, id, {"T", "K", "P"});
  g.out(loop);
  g.out(g.scaled(g.b.result(loop, 0), 2));
  const Tensor none = tensor<int64_t>(DType::kInt64, {2}, {8, 9});
  check_all(g, {{floats({200}), boolean(true), none},
                {floats({200}), boolean(false), none},
                {floats({1}), boolean(true), none}});
}

TEST_CASE("loop: stacked values whose extents depend on data") {
  Context context;
  Maker body(context), g(context);
  const ValueId k = body.i64(), n = body.i64({"1"}), step = body.i64({"1"});
  const ValueId bound = body.b.value(Op::bind_dims, {n}, {{AttrKey::symbols, body.dims({"e"})}});
  body.out(body.truth());
  body.out(body.add(n, step));
  const ValueId many = body.b.value(Op::iota, {bound},
                                    {{AttrKey::shape, body.dims({"e", "2"})},
                                     {AttrKey::axis, int64_t{0}},
                                     {AttrKey::dtype, DType::kFloat32}});
  body.out(
      body.add(many, body.b.broadcast(body.as_float(k), body.dims({"e", "2"}), {}, Values{bound})));
  body.out(k);
  const GraphId id = body.body();
  const ValueId limit = g.i64(), first = g.i64({"1"}), grow = g.i64({"1"});
  const NodeId loop = g.loop({limit, g.truth(), first, grow}, 1, id, {"T", "-1", "E", "-1"});
  g.out(loop);
  g.out(g.b.reduce(Op::reduce_sum, g.b.result(loop, 1), {0, 2}));
  const auto run = [](int64_t turns, int64_t from, int64_t by) -> std::vector<Tensor> {
    return {integer(turns), tensor<int64_t>(DType::kInt64, {1}, {from}),
            tensor<int64_t>(DType::kInt64, {1}, {by})};
  };
  check_all(g,
            {run(3, 4, 0), run(0, 4, 0), run(1, 4, 1), run(2, 4, 1), run(4, 0, 0), run(2, -1, 0)});
}

TEST_CASE("loop: a loop and a cond in the body, results carried and stacked") {
  Context context;
  Maker inner(context), yes(context), no(context), outer(context), g(context);
  {
    const ValueId j = inner.i64(), a = inner.f32({"n"});
    inner.out(inner.truth());
    inner.out(inner.plus(inner.scaled(a, 0.5), inner.as_float(j)));
    inner.out(inner.b.reduce(Op::reduce_sum, a, {0}));
  }
  const GraphId inner_id = inner.body();
  yes.out(yes.scaled(yes.f32({"p"}), -1));
  no.out(no.f32({"p"}));
  const GraphId yes_id = yes.body(), no_id = no.body();
  {
    const ValueId k = outer.i64(), a = outer.f32({"n"});
    const ValueId even =
        outer.b.value(Op::eq, {outer.b.value(Op::mod, {k, outer.b.scalar_int(DType::kInt64, 2)}),
                               outer.b.scalar_int(DType::kInt64, 0)});
    const NodeId loop = outer.loop({k, even, a}, 1, inner_id, {"t"});
    const NodeId pick = outer.cond({even, outer.b.result(loop, 0)}, yes_id, no_id);
    outer.out(outer.truth());
    outer.out(outer.b.result(pick));
    outer.out(outer.b.result(loop, 0));
    outer.out(outer.b.reduce(Op::reduce_sum, outer.b.result(loop, 1), {0}));
  }
  const GraphId outer_id = outer.body();
  const ValueId limit = g.i64();
  const NodeId loop = g.loop({limit, g.truth(), g.f32({"N"})}, 1, outer_id, {"T"});
  g.out(loop);
  g.out(g.scaled(g.b.result(loop, 1), 2));
  check_all(g, {{integer(5), floats({3})}, {integer(0), floats({3})}, {integer(4), floats({0})}});
}

TEST_CASE("loop: growing values in nested loops") {
  Context context;
  Maker inner(context), outer(context), g(context);
  {
    inner.i64();
    const ValueId a = inner.f32({"n"}), x = inner.f32({"m"});
    inner.out(inner.truth());
    inner.out(inner.concat(a, inner.scaled(x, 2)));
  }
  const GraphId inner_id = inner.body();
  {
    const ValueId k = outer.i64(), a = outer.f32({"n"}), x = outer.f32({"m"});
    const NodeId loop = outer.loop({k, outer.truth(), a, x}, 1, inner_id, {"t", "f"});
    outer.out(outer.truth());
    outer.out(outer.b.result(loop, 0));
    outer.out(outer.b.reduce(Op::reduce_sum, outer.b.result(loop, 0), {0}));
  }
  const GraphId outer_id = outer.body();
  const ValueId limit = g.i64();
  g.out(g.loop({limit, g.truth(), g.f32({"N"}), g.f32({"M"})}, 1, outer_id, {"T", "F"}));
  check_all(g, {{integer(5), floats({3}), floats({2})}, {integer(0), floats({3}), floats({2})}});
}

TEST_CASE("loop: what is alive over the loop is not overwritten in it") {
  Context context;
  Maker body(context), g(context);
  body.i64();
  const ValueId a = body.f32({"n"});
  ValueId v = a;  // several stages, so that the body has temporaries
  for (int i = 0; i < 4; ++i) {
    v = body.b.value(Op::cumsum, {body.scaled(v, 0.003)}, {{AttrKey::axis, int64_t{0}}});
  }
  body.out(body.truth());
  body.out(v);
  const GraphId id = body.body();
  const ValueId limit = g.i64(), x = g.f32({"N"});
  const ValueId before = g.b.value(Op::cumsum, {x}, {{AttrKey::axis, int64_t{0}}});
  const ValueId early = g.b.value(Op::cumsum, {g.scaled(x, 2)}, {{AttrKey::axis, int64_t{0}}});
  const NodeId loop = g.loop({limit, g.truth(), before}, 1, id);
  const ValueId late = g.b.value(Op::cumsum, {g.b.result(loop)}, {{AttrKey::axis, int64_t{0}}});
  g.out(g.add(g.add(early, late), before));
  g.out(g.b.value(Op::cumsum, {g.add(early, g.b.result(loop))}, {{AttrKey::axis, int64_t{0}}}));
  check_all(g, {{integer(6), floats({9})}, {integer(1), floats({900})}, {integer(0), floats({9})}});
}

TEST_CASE("a thousand nested conds") {
  Context context;
  Maker innermost(context);
  innermost.flag();
  innermost.out(innermost.b.value(Op::neg, {innermost.f32({})}));
  GraphId inner = innermost.body();
  Maker other(context);
  other.flag();
  other.out(other.f32({}));
  const GraphId leaf = other.body();
  for (int depth = 0; depth < 1000; ++depth) {
    Maker outer(context);
    const ValueId p = outer.flag(), x = outer.f32({});
    outer.out(outer.cond({p, p, x}, inner, leaf));
    inner = outer.body();
  }
  const std::vector<Tensor> in = {boolean(true), floats({}, {3})};
  CHECK(test::compare(context.graph(inner), in) == "");
}

TEST_CASE("demands on extents in bodies are compared when they run") {
  Context context;
  Maker body(context), g(context);
  body.i64();
  const ValueId a = body.f32({"n"}), b = body.f32({"n"});
  body.out(body.truth());
  body.out(body.add(a, b));
  const GraphId id = body.body();
  const ValueId limit = g.i64();
  g.out(g.loop({limit, g.truth(), g.f32({"N"}), g.f32({"M"})}, 1, id));
  check_all(g, {{integer(2), floats({3}), floats({3})},
                {integer(2), floats({3}), floats({2})},
                {integer(0), floats({3}), floats({2})}});
}

TEST_CASE("loop: what is the same in every turn is computed before the first") {
  Context context;
  Maker body(context), g(context);
  const ValueId k = body.i64(), a = body.f32({"n"}), w = body.f32({"n", "n"}), x = body.f32({"n"});
  const ValueId square = body.b.value(Op::matmul, {w, w});
  const ValueId weight = body.b.value(Op::exp, {body.b.reduce(Op::reduce_sum, square, {0})});
  const ValueId mixed = body.add(body.b.value(Op::tanh, {x}), weight);
  const ValueId size = body.as_float(body.b.reshape(body.b.dims_value(body.dims({"n"})), {}));
  body.out(body.b.value(Op::lt, {k, body.b.scalar_int(DType::kInt64, 5)}));
  body.out(body.add(body.scaled(a, 0.5), body.plus(mixed, size)));
  body.out(mixed);  // the same row in every turn
  const GraphId id = body.body();
  const ValueId limit = g.i64();
  g.out(g.loop({limit, g.truth(), g.f32({"N"}), g.scaled(g.f32({"N", "N"}), 0.1), g.f32({"N"})}, 1,
               id, {"T"}));
  auto graph = g.b.finish();
  const lower::LoweredModule module = lower::lower(*graph, {});
  int calls = 0;
  bool inside = false;
  for (const lower::Step& s : module.steps) {
    if (s.kind == lower::Step::Kind::kBeginLoop) inside = true;
    if (s.kind == lower::Step::Kind::kEndLoop) inside = false;
    calls += inside && s.kind == lower::Step::Kind::kCall ? 1 : 0;
  }
  CHECK(calls == 2);  // the carried value, and whether to go on
  for (const int64_t turns : {0, 1, 4, 9}) {
    const std::vector<Tensor> in = {integer(turns), floats({6}), floats({6, 6}), floats({6})};
    CHECK(test::compare(*graph, in) == "");
  }
}
