#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;

namespace {

struct Net {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kRaw};
  std::mt19937 rng{7};

  DimId d(int64_t n) { return context.dims.constant(n); }

  ValueId weights(std::vector<int64_t> shape) {
    int64_t n = 1;
    for (int64_t e : shape) n *= e;
    std::vector<std::byte> bytes(static_cast<size_t>(n) * 4);
    for (int64_t i = 0; i < n; ++i) {
      reinterpret_cast<float*>(bytes.data())[i] =
          static_cast<float>(static_cast<int>(rng() % 17) - 8) / 8;
    }
    return b.constant(make_constant(DType::kFloat32, std::move(shape), std::move(bytes)));
  }

  ValueId conv(ValueId x, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
    const int spatial = b.type(x).rank() - 2;
    std::vector<int64_t> shape{out, in}, strides(spatial, stride), ones(spatial, 1);
    shape.insert(shape.end(), spatial, kernel);
    const std::vector<DimId> pad(spatial, d(kernel / 2));
    return b.value(Op::conv, {x, weights(shape)},
                   {{AttrKey::dilations, ones},
                    {AttrKey::low, pad},
                    {AttrKey::high, pad},
                    {AttrKey::strides, strides}});
  }

  // One constant value per channel, spread over the image.
  ValueId per_channel(ValueId like, int64_t channels) {
    const std::vector<DimId> shape = b.type(like).dims;
    return b.value(Op::broadcast, {weights({channels})},
                   {{AttrKey::axes, std::vector<int64_t>{1}}, {AttrKey::shape, shape}});
  }

  ValueId relu(ValueId x) { return b.value(Op::max, {x, b.full_like(x, 0)}); }
};

size_t count(const Graph& g, Op op) {
  size_t n = 0;
  for (const Node& node : g.nodes()) n += node.op == op;
  return n;
}

std::vector<interp::Tensor> inputs_for(const Graph& g, const std::vector<int64_t>& sizes) {
  std::vector<interp::Tensor> inputs;
  std::mt19937 rng(3);
  for (const Port& p : g.inputs()) {
    interp::Tensor t{DType::kFloat32, {}, {}};
    for (DimId e : g.type(p.value).dims) {
      t.shape.push_back(g.context().dims.evaluate(e, sizes));
    }
    t.bytes.resize(static_cast<size_t>(t.num_elements()) * 4);
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      t.data<float>()[i] = static_cast<float>(static_cast<int>(rng() % 33) - 16) / 16;
    }
    inputs.push_back(std::move(t));
  }
  return inputs;
}

// Runs fast_run, checks the results against those of the graph as it was, and gives the new graph.
std::unique_ptr<Graph> optimized(Net& net) {
  auto g = net.b.finish();
  const std::vector<int64_t> sizes(net.context.dims.num_symbols(), 3);
  const auto inputs = inputs_for(*g, sizes);
  const auto expected = interp::evaluate(*g, inputs);
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  auto after = pass::run(std::move(g), pipeline, {});
  const auto actual = interp::evaluate(*after, inputs);
  REQUIRE(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    REQUIRE(actual[i].shape == expected[i].shape);
    for (int64_t k = 0; k < actual[i].num_elements(); ++k) {
      const double x = expected[i].data<float>()[k], y = actual[i].data<float>()[k];
      REQUIRE(std::fabs(x - y) <= 1e-4 * (1 + std::fabs(x)));
    }
  }
  return after;
}

}  // namespace

TEST_CASE_FIXTURE(Net, "batch norm, relu, pooling, concat, a residual and a head: one transpose") {
  const DimId batch = context.dims.symbol("N");
  const ValueId x = b.input("x", {DType::kFloat32, {batch, d(3), d(8), d(6)}});
  ValueId v = conv(x, 3, 4, 3);
  v = b.value(Op::sub, {v, per_channel(v, 4)});  // batch norm: mean, scale, shift
  v = b.value(Op::mul, {v, per_channel(v, 4)});
  v = b.value(Op::add, {v, per_channel(v, 4)});
  v = relu(v);
  const std::vector<int64_t> kernel{1, 1, 2, 2}, ones{1, 1, 1, 1};
  const std::vector<DimId> none(4, d(0));
  v = b.value(Op::window_max, {v},
              {{AttrKey::kernel, kernel},
               {AttrKey::strides, kernel},
               {AttrKey::dilations, ones},
               {AttrKey::low, none},
               {AttrKey::high, none}});
  const ValueId branch = b.value(Op::sigmoid, {conv(v, 4, 4, 1)});
  v = b.value(Op::add, {v, branch});
  v = b.concat(std::vector<ValueId>{v, branch}, 1);
  v = conv(v, 8, 5, 3, 2);
  // Squeeze and excite: mean over the image, back over it.
  const ValueId mean = b.reduce(Op::reduce_sum, v, {2, 3});
  v = b.value(Op::mul, {v, b.broadcast(mean, b.type(v).dims, {0, 1})});
  v = b.reduce(Op::reduce_sum, v, {2, 3});
  b.output("y", b.value(Op::matmul, {v, weights({5, 2})}));
  const auto g = optimized(*this);
  CHECK(count(*g, Op::transpose) == 1);  // of the input
  CHECK(count(*g, Op::sub) == 0);        // batch norm went into the convolution
  for (const Node& n : g->nodes()) {
    if (n.op == Op::conv) CHECK(g->attrs(n).string_or(AttrKey::layout, "nchw") == "nhwc");
  }
}

TEST_CASE_FIXTURE(Net, "an image out: one transpose each side; a single channel: none") {
  const ValueId x = b.input("x", {DType::kFloat32, {d(1), d(2), d(5), d(5)}});
  b.output("y", relu(conv(conv(x, 2, 3, 3), 3, 4, 3)));
  CHECK(count(*optimized(*this), Op::transpose) == 2);

  Net one;
  const ValueId grey =
      one.b.input("x", {DType::kFloat32, {one.d(1), one.d(1), one.d(5), one.d(5)}});
  one.b.output("y", one.relu(one.conv(grey, 1, 1, 3)));
  CHECK(count(*optimized(one), Op::transpose) == 0);
}

TEST_CASE_FIXTURE(Net, "one-dimensional convolutions, softmax over channels, padding and slices") {
  const ValueId x = b.input("x", {DType::kFloat32, {d(2), d(3), context.dims.symbol("L")}});
  ValueId v = conv(x, 3, 4, 3);
  v = b.pad(v, b.scalar(DType::kFloat32, 0.5), {d(0), d(0), d(1)}, {d(0), d(1), d(2)});
  v = b.value(Op::tanh, {v});
  const ValueId exps = b.value(Op::exp, {v});
  const ValueId sum = b.reduce(Op::reduce_sum, exps, {1});
  v = b.value(Op::div, {exps, b.broadcast(sum, b.type(v).dims, {0, 2})});
  const std::vector<DimId> dims = b.type(v).dims;
  v = b.slice(v, {d(0), d(1), d(1)}, {dims[0], d(3), context.dims.sub(dims[2], d(2))}, {1, 1, 1});
  b.output("y", b.reduce(Op::reduce_max, v, {2}));
  CHECK(count(*optimized(*this), Op::transpose) == 1);
}

TEST_CASE_FIXTURE(Net, "upsampling and dropped axes stay channels last") {
  const DimId batch = context.dims.symbol("N");
  const ValueId x = b.input("x", {DType::kFloat32, {batch, d(2), d(3), d(5)}});
  ValueId v = conv(x, 2, 3, 3);
  v = b.reshape(v, {batch, d(3), d(3), d(1), d(5), d(1)});
  v = b.broadcast_to(v, {batch, d(3), d(3), d(2), d(5), d(2)});
  v = b.reshape(v, {batch, d(3), d(6), d(10)});
  b.output("y", b.value(Op::tanh, {conv(v, 3, 4, 1)}));
  CHECK(count(*optimized(*this), Op::transpose) == 2);  // at the graph's edges
}

TEST_CASE_FIXTURE(Net, "a graph without convolutions is left alone") {
  const ValueId x = b.input("x", {DType::kFloat32, {d(2), d(3), d(4)}});
  b.output("y", b.transpose(b.value(Op::exp, {x}), {0, 2, 1}));
  CHECK(count(*optimized(*this), Op::transpose) == 1);
}
