// Sums and products over many nodes: named shapes, and random trees judged by the reference evaluator on
// operands for which every order of rounding gives the same (small integers for sums, powers of two for
// products), infinities, NaN and zeros among them.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <random>

#include "../sanitized.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;
using interp::Tensor;

namespace {

std::unique_ptr<Graph> optimise(std::unique_ptr<Graph> g, bool fast_math = false,
                                const std::vector<std::string>& names = {"canonicalize",
                                                                         "reassociate"}) {
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.passes = names;
  options.fast_math = fast_math;
  options.verify_each = true;
  options.verify = [](const Graph& graph) { verify_or_throw(graph, "a pass"); };
  return pass::run(std::move(g), pipeline, options);
}

std::map<std::string, int> count_ops(const Graph& g) {
  std::map<std::string, int> counts;
  for (const Node& n : g.nodes()) {
    if (n.op != Op::input && n.op != Op::constant && n.op != Op::broadcast) {
      ++counts[std::string(name(n.op))];
    }
  }
  return counts;
}

using Counts = std::map<std::string, int>;

struct Fixture {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kRaw};
  Type type{DType::kFloat64, {context.dims.constant(3)}};
  bool fast_math = false;

  ValueId in(std::string name) { return b.input(std::move(name), type); }
  ValueId add(ValueId x, ValueId y) { return b.value(Op::add, {x, y}); }
  ValueId sub(ValueId x, ValueId y) { return b.value(Op::sub, {x, y}); }
  ValueId mul(ValueId x, ValueId y) { return b.value(Op::mul, {x, y}); }
  ValueId div(ValueId x, ValueId y) { return b.value(Op::div, {x, y}); }
  ValueId num(double v) { return b.full(type, v); }
  std::unique_ptr<Graph> graph(ValueId v) {
    b.output("y", v);
    return optimise(b.finish(), fast_math);
  }
  Counts ops(ValueId v) { return count_ops(*graph(v)); }
  // The factor of a graph that has become `x * factor`.
  double factor(ValueId v) {
    const auto g = graph(v);
    CHECK(count_ops(*g) == Counts{{"mul", 1}});
    for (const Node& n : g->nodes()) {
      if (n.op == Op::constant) return g->constant(n.first_result)->as_double(0);
    }
    return NAN;
  }
};

double element(const Tensor& t, int64_t i) { return interp::to_constant(t).as_double(i); }

Tensor tensor_of(DType t, const std::vector<double>& values) {
  Tensor out{t, {static_cast<int64_t>(values.size())}, {}};
  for (double v : values) {
    const Constant c =
        is_float(t) ? make_splat(t, {}, v) : make_scalar_int(t, static_cast<int64_t>(v));
    out.bytes.insert(out.bytes.end(), c.bytes.begin(), c.bytes.end());
  }
  return out;
}

// A random DAG over three inputs by ops of one family.
class RandomGraph {
 public:
  RandomGraph(Context& context, uint64_t seed, DType t, bool product)
      : rng_(seed),
        type_{t, {context.dims.constant(kLanes)}},
        product_(product),
        b_(context, GraphBuilder::Mode::kRaw) {
    for (int i = 0; i < 3; ++i) values_.push_back(b_.input("x" + std::to_string(i), type_));
  }

  static constexpr int64_t kLanes = 24;

  std::unique_ptr<Graph> make() {
    const int size = pick(2, 12);
    for (int i = 0; i < size; ++i) values_.push_back(step());
    // Most graphs are trees of their last values; now and then an inner value is an output too.
    b_.output("y", values_.back());
    if (pick(0, 3) == 0) b_.output("z", values_[static_cast<size_t>(pick(3, size + 2))]);
    return b_.finish();
  }

  std::vector<Tensor> inputs(bool edges) {
    std::vector<Tensor> all;
    for (int i = 0; i < 3; ++i) {
      std::vector<double> lane;
      for (int64_t k = 0; k < kLanes; ++k) lane.push_back(element_value(edges));
      all.push_back(tensor_of(type_.dtype, lane));
    }
    return all;
  }

 private:
  int pick(int lo, int hi) { return std::uniform_int_distribution(lo, hi)(rng_); }

  double element_value(bool edges) {
    static const double kEdges[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0};
    if (edges && is_float(type_.dtype) && pick(0, 2) == 0) return kEdges[pick(0, 4)];
    if (!product_ || !is_float(type_.dtype)) return pick(-9, 9);
    return std::ldexp(pick(0, 1) ? 1 : -1, pick(-2, 2));
  }

  ValueId some() {
    // Recent values more often, so that regions grow.
    const int n = static_cast<int>(values_.size());
    return values_[static_cast<size_t>(pick(0, 2) ? pick(std::max(0, n - 3), n - 1)
                                                  : pick(0, n - 1))];
  }

  ValueId constant() {
    if (!product_ || !is_float(type_.dtype)) return b_.full(type_, pick(-3, 3));
    return b_.full(type_, std::ldexp(pick(0, 1) ? 1 : -1, pick(-2, 2)));
  }

  ValueId step() {
    const bool real = is_float(type_.dtype);
    switch (pick(0, 6)) {
      case 0: return b_.value(Op::neg, {some()});
      case 1: return b_.value(product_ ? Op::mul : Op::add, {some(), constant()});
      case 2: return b_.value(Op::mul, {some(), constant()});
      case 3:
      case 4:
        if (product_ && real) return b_.value(Op::div, {some(), some()});
        return b_.value(product_ ? Op::mul : Op::sub, {some(), some()});
      default: return b_.value(product_ ? Op::mul : Op::add, {some(), some()});
    }
  }

  std::mt19937_64 rng_;
  Type type_;
  bool product_;
  GraphBuilder b_;
  std::vector<ValueId> values_;
};

// What a graph costs, in half additions: a coefficient fuses with the addition that follows, a sign is free.
int weight(const Graph& g) {
  int all = 0;
  for (const Node& n : g.nodes()) {
    if (!has_trait(n.op, kElementwise) || n.op == Op::neg) continue;
    const bool scales = n.op == Op::mul && g.producer_node(g.operands(n)[1]).op == Op::broadcast;
    all += n.op == Op::div ? 8 : scales ? 1 : 2;
  }
  return all;
}

// Where a value comes near overflow an order of operations decides about it.
bool ordinary(double v) {
  return !std::isfinite(v) || v == 0 || (std::fabs(v) < 0x1p900 && std::fabs(v) > 0x1p-900);
}

void check_random(DType t, bool product, bool fast_math, int rounds) {
  int rebuilt = 0, unsettled = 0;
  for (int seed = 0; seed < rounds; ++seed) {
    Context context;
    RandomGraph make(context, static_cast<uint64_t>(seed), t, product);
    const auto canonical = optimise(make.make(), fast_math, {"canonicalize"});
    const std::string before = print(*canonical);
    INFO("seed ", seed, "\n", before);
    const auto again = parse_graph(context, before);
    const auto result = optimise(parse_graph(context, before), fast_math, {"reassociate"});
    const std::string after = print(*result);
    rebuilt += after != before;
    CHECK_MESSAGE(weight(*result) <= weight(*again), after);
    // A second run finds nothing, or what it may only see since a shared value has one reader left.
    const auto second = optimise(parse_graph(context, after), fast_math);
    CHECK(weight(*second) <= weight(*result));
    unsettled += print(*second) != after;
    for (const bool edges : {false, true}) {
      if (edges && fast_math) continue;
      const std::vector<Tensor> inputs = make.inputs(edges);
      const auto expected = interp::evaluate(*again, inputs);
      const auto actual = interp::evaluate(*result, inputs);
      for (size_t o = 0; o < expected.size(); ++o) {
        for (int64_t i = 0; i < RandomGraph::kLanes; ++i) {
          const double x = element(expected[o], i), y = element(actual[o], i);
          if (!ordinary(x) || !ordinary(y)) continue;
          CHECK_MESSAGE((x == y || (std::isnan(x) && std::isnan(y))), x << " and " << y << " in\n"
                                                                        << after);
        }
      }
    }
  }
  CHECK(rebuilt > rounds / 20);
  CHECK(unsettled <= rounds / 10);
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "equal terms of a sum are one") {
  const ValueId x = in("x"), y = in("y"), z = in("z");
  CHECK(ops(add(add(add(add(x, y), x), z), x)) == Counts{{"add", 2}, {"mul", 1}});
}

TEST_CASE_FIXTURE(Fixture, "constants of a sum are one") {
  const ValueId x = in("x"), y = in("y");
  CHECK(ops(add(add(add(x, num(1)), y), num(2))) == Counts{{"add", 2}});
}

TEST_CASE_FIXTURE(Fixture, "what is added and what is subtracted meet only under fast-math") {
  const ValueId x = in("x"), y = in("y");
  const ValueId v = sub(add(x, y), x);
  SUBCASE("default") { CHECK(ops(v) == Counts{{"add", 1}, {"sub", 1}}); }
  SUBCASE("fast-math") {
    fast_math = true;
    CHECK(ops(v).empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "2 * x - x / 2 under fast-math") {
  const ValueId x = in("x");
  fast_math = true;
  CHECK(factor(sub(mul(num(2), x), div(x, num(2)))) == 1.5);
}

TEST_CASE_FIXTURE(Fixture, "finite values meet by default") {
  const ValueId x = in("x"), y = in("y");
  const ValueId s = b.value(Op::sigmoid, {x});
  const ValueId v = sub(sub(add(add(s, s), s), y), s);
  CHECK(ops(v) == Counts{{"sigmoid", 1}, {"mul", 1}, {"sub", 1}});
}

TEST_CASE_FIXTURE(Fixture, "a common leaf of products with coefficients") {
  const ValueId x = in("x"), y = in("y");
  const ValueId p = mul(x, y);
  CHECK(ops(add(add(mul(p, num(2)), y), mul(p, num(3)))) == Counts{{"mul", 2}, {"add", 1}});
}

TEST_CASE_FIXTURE(Fixture, "equal factors are powers") {
  const ValueId x = in("x"), y = in("y");
  SUBCASE("x y x y x y") {
    CHECK(ops(mul(mul(mul(mul(mul(x, y), x), y), x), y)) == Counts{{"mul", 5}});
  }
  SUBCASE("x^100, one by one") {
    ValueId v = x;
    for (int i = 1; i < 100; ++i) v = mul(v, x);
    CHECK(ops(v) == Counts{{"mul", 8}});
  }
  SUBCASE("x * y * x and x * x * y are one value") {
    CHECK(ops(sub(b.value(Op::sin, {mul(mul(x, y), x)}), b.value(Op::cos, {mul(mul(x, x), y)}))) ==
          Counts{{"mul", 2}, {"sin", 1}, {"cos", 1}, {"sub", 1}});
  }
  SUBCASE("pow counts") {
    CHECK(ops(mul(mul(b.value(Op::pow, {x, num(3)}), y), x)) == Counts{{"mul", 3}});
  }
}

TEST_CASE_FIXTURE(Fixture, "quotients divide once") {
  const ValueId x = in("x"), y = in("y"), z = in("z");
  SUBCASE("x / y / z") { CHECK(ops(div(div(x, y), z)) == Counts{{"mul", 1}, {"div", 1}}); }
  SUBCASE("x / y * (1 / z)") {
    CHECK(ops(mul(div(x, y), div(num(1), z))) == Counts{{"mul", 1}, {"div", 1}});
  }
  SUBCASE("x * y / x") { CHECK(ops(div(mul(x, y), x)) == Counts{{"mul", 1}, {"div", 1}}); }
  SUBCASE("x * y / x under fast-math") {
    fast_math = true;
    CHECK(ops(div(mul(x, y), x)).empty());
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "doubling a thousand times is one multiplication, and beyond the range a few") {
  ValueId v = in("x");
  SUBCASE("a thousand") {
    for (int i = 0; i < 900; ++i) v = add(v, v);
    CHECK(factor(v) == 0x1p900);
  }
  SUBCASE("a hundred thousand") {
    for (int i = 0; i < 100000; ++i) v = add(v, v);
    const auto g = graph(v);
    CHECK(count_ops(*g)["mul"] <= 3);
    const auto y = interp::evaluate(*g, std::vector{tensor_of(DType::kFloat64, {5e-324, -1, 0})});
    CHECK(element(y[0], 0) == INFINITY);
    CHECK(element(y[0], 1) == -INFINITY);
    CHECK(element(y[0], 2) == 0);
  }
}

TEST_CASE_FIXTURE(Fixture, "integers wrap") {
  type.dtype = DType::kInt8;
  const ValueId x = in("x"), y = in("y");
  ValueId v = x;
  SUBCASE("doubled until nothing is left") {
    for (int i = 0; i < 100; ++i) v = add(v, v);
    CHECK(ops(v).empty());
  }
  SUBCASE("3 x + y - 4 x") {
    CHECK(ops(sub(add(mul(x, num(3)), y), mul(x, num(4)))) == Counts{{"sub", 1}});
  }
}

TEST_CASE_FIXTURE(Fixture, "a left-deep sum of many terms, few of them different") {
  std::vector<ValueId> x;
  for (int i = 0; i < 10; ++i) x.push_back(in("x" + std::to_string(i)));
  ValueId v = x[0];
  for (size_t i = 1; i < 100000; ++i) v = add(v, x[i % 10]);
  CHECK(ops(v) == Counts{{"mul", 10}, {"add", 9}});
}

TEST_CASE_FIXTURE(Fixture, "a left-deep sum of many different terms stays as it is") {
  ValueId last = in("x"), v = last;
  for (size_t i = 1; i < 50000; ++i) {
    last = b.value(i % 2 ? Op::sin : Op::tanh, {last});
    v = add(v, last);
  }
  CHECK(ops(v)["add"] == 49999);
}

TEST_CASE("nested graphs") {
  Context context;
  GraphBuilder yes(context, GraphBuilder::Mode::kRaw), no(context, GraphBuilder::Mode::kRaw),
      b(context, GraphBuilder::Mode::kRaw);
  const Type t{DType::kFloat32, {}};
  {
    const ValueId x = yes.input("x", t), y = yes.input("y", t);
    const ValueId sum = yes.value(Op::add, {yes.value(Op::add, {x, y}), x});
    yes.output("z", sum);
  }
  no.input("x", t);
  no.output("z", no.input("y", t));
  const GraphId then_graph = context.add_graph(yes.finish()),
                else_graph = context.add_graph(no.finish());
  const ValueId c = b.input("c", {DType::kBool, {}}), x = b.input("x", t), y = b.input("y", t);
  const std::vector<ValueId> operands{c, x, y};
  b.output("z",
           b.result(b.node(Op::cond, operands,
                           {{AttrKey::bodies, std::vector<GraphId>{then_graph, else_graph}}})));
  const auto g = optimise(b.finish());
  for (const Node& n : g->nodes()) {
    if (n.op != Op::cond) continue;
    const GraphId body = g->attrs(n).graphs(AttrKey::bodies)[0];
    CHECK(count_ops(context.graph(body)) == Counts{{"add", 1}, {"mul", 1}});
  }
}

TEST_CASE("random sums and products keep their values, infinities and NaN too") {
  for (const bool product : {false, true}) {
    const int share = test::kSanitized ? 5 : 1;  // of the seeds
    check_random(DType::kFloat64, product, false, 150 / share);
    check_random(DType::kInt8, product, false, 60 / share);
    check_random(DType::kInt64, product, false, 60 / share);
    check_random(DType::kUInt16, product, false, 60 / share);
    check_random(DType::kFloat64, product, true, 60 / share);
  }
}
