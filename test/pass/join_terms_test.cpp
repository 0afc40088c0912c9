// Sums of blocks and of products: fewer nodes, the same values as the reference evaluator gives for the graph
// as it was written.
#include <doctest/doctest.h>

#include <cmath>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"

using namespace gcomp;

namespace {

using Ints = std::vector<int64_t>;

struct Net {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kRaw};

  std::vector<DimId> dims(const Ints& numbers) {
    std::vector<DimId> d;
    for (int64_t i : numbers) d.push_back(b.dims().constant(i));
    return d;
  }
  ValueId in(const Ints& shape) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {DType::kFloat64, dims(shape)});
  }
  ValueId pad(ValueId v, const Ints& low, const Ints& high) {
    return b.value(Op::pad, {v, b.scalar(DType::kFloat64, 0)},
                   {{AttrKey::low, dims(low)}, {AttrKey::high, dims(high)}});
  }
  ValueId add(ValueId v, ValueId w) { return v.valid() ? b.value(Op::add, {v, w}) : w; }
  ValueId matmul(ValueId v, ValueId w, bool transposed) {
    std::vector<Attr> attrs;
    if (transposed) attrs.push_back({AttrKey::trans_a, int64_t{1}});
    return b.value(Op::matmul, {v, w}, attrs);
  }
  // x[i] as a matrix.
  ValueId row(ValueId x, int64_t i) {
    std::vector<DimId> shape = b.type(x).dims, starts(shape.size(), b.dims().constant(0));
    starts[0] = b.dims().constant(i);
    shape[0] = b.dims().constant(1);
    const ValueId s = b.value(Op::slice, {x},
                              {{AttrKey::starts, starts},
                               {AttrKey::shape, shape},
                               {AttrKey::strides, Ints(shape.size(), 1)}});
    shape.erase(shape.begin());
    return b.value(Op::reshape, {s}, {{AttrKey::shape, shape}});
  }
};

std::vector<interp::Tensor> inputs_of(const Graph& g) {
  std::vector<interp::Tensor> inputs;
  int k = 0;
  for (const Port& p : g.inputs()) {
    const Type& t = g.type(p.value);
    interp::Tensor x{t.dtype, {}, {}};
    int64_t n = 1;
    for (DimId d : t.dims) {
      x.shape.push_back(*g.context().dims.constant_value(d));
      n *= x.shape.back();
    }
    for (int64_t i = 0; i < n; ++i) {
      const Constant c = make_splat(t.dtype, {}, std::sin(static_cast<double>(++k)));
      x.bytes.insert(x.bytes.end(), c.bytes.begin(), c.bytes.end());
    }
    inputs.push_back(std::move(x));
  }
  return inputs;
}

size_t count(const Graph& g, Op op) {
  return static_cast<size_t>(
      std::ranges::count_if(g.nodes(), [op](const Node& n) { return n.op == op; }));
}

// The graph at fast_run; its values are compared with those of the graph as it was.
std::unique_ptr<Graph> optimised(Net& net, ValueId result) {
  net.b.output("y", result);
  const auto before = net.b.finish();
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.verify_each = true;
  options.verify = [](const Graph& g) { verify(g); };
  const std::vector<interp::Tensor> inputs = inputs_of(*before);
  const interp::Tensor expected = interp::evaluate(*before, inputs)[0];
  auto after = pass::run(std::make_unique<Graph>(*before), pipeline, options);
  const interp::Tensor actual = interp::evaluate(*after, inputs)[0];
  REQUIRE(actual.shape == expected.shape);
  const Constant a = interp::to_constant(expected), c = interp::to_constant(actual);
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    CHECK(c.as_double(i) == doctest::Approx(a.as_double(i)).epsilon(1e-12));
  }
  return after;
}

}  // namespace

TEST_CASE("join_terms: blocks side by side are one concat, with what lies between") {
  Net net;
  ValueId sum = net.in({9, 3});
  for (int64_t i : {4, 0, 8, 5, 2}) sum = net.add(sum, net.pad(net.in({1, 3}), {i, 0}, {8 - i, 0}));
  const auto g = optimised(net, sum);
  CHECK(count(*g, Op::concat) == 1);
  CHECK(count(*g, Op::add) == 1);
}

TEST_CASE("join_terms: blocks at one place are added before they are padded") {
  Net net;
  ValueId sum;
  for (int64_t i = 0; i < 12; ++i) {
    sum = net.add(sum, net.pad(net.in({1, 3}), {i % 3, 0}, {2 - i % 3, 0}));
  }
  const auto g = optimised(net, sum);
  CHECK(count(*g, Op::pad) == 0);  // the three rows are all there is
  CHECK(count(*g, Op::concat) == 1);
  CHECK(count(*g, Op::add) == 9);
}

TEST_CASE("join_terms: blocks that overlap stay apart, along any axis") {
  Net net;
  ValueId sum;
  for (int64_t i = 0; i < 4; ++i) sum = net.add(sum, net.pad(net.in({2, 3}), {0, i}, {0, 3 - i}));
  sum = net.add(sum, net.pad(net.in({1, 2}), {1, 4}, {0, 0}));
  const auto g = optimised(net, sum);
  CHECK(count(*g, Op::concat) <= 2);
}

TEST_CASE("join_terms: products of equal shapes are one, outer products too") {
  for (const bool column : {false, true}) {
    Net net;
    ValueId sum;
    for (int i = 0; i < 6; ++i) {
      const ValueId a = net.in({column ? 1 : 2, 3}), d = net.in({column ? 1 : 2, 4});
      sum = net.add(sum, net.matmul(a, d, true));
    }
    const auto g = optimised(net, sum);
    CHECK(count(*g, Op::matmul) == 1);
    CHECK(count(*g, Op::add) == 0);
  }
}

TEST_CASE("join_terms: rows of a tensor times one matrix are rows of one product") {
  Net net;
  const ValueId x = net.in({5, 2, 3}), w = net.in({3, 4});
  ValueId h = net.in({2, 4});
  for (int64_t i = 0; i < 5; ++i) {
    h = net.b.value(Op::tanh, {net.add(net.matmul(net.row(x, i), w, false), h)});
  }
  const auto g = optimised(net, h);
  CHECK(count(*g, Op::matmul) == 1);
}

TEST_CASE("join_terms: few rows of a large tensor are multiplied alone") {
  Net net;
  const ValueId x = net.in({50, 2, 3}), w = net.in({3, 4});
  ValueId h = net.in({2, 4});
  for (int64_t i = 0; i < 5; ++i) {
    h = net.b.value(Op::tanh, {net.add(net.matmul(net.row(x, i), w, false), h)});
  }
  const auto g = optimised(net, h);
  CHECK(count(*g, Op::matmul) == 5);
}
