#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "../sanitized.h"
#include "compare.h"
#include "gcomp/ir/text.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/schedule/fusion.h"

namespace gcomp::test {
namespace {

struct Net {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kInterned};
  DimId dim(int64_t n) { return context.dims.constant(n); }
  std::vector<DimId> shape(const std::vector<int64_t>& extents) {  // negative: symbolic
    std::vector<DimId> dims;
    for (int64_t n : extents) dims.push_back(n < 0 ? context.dims.symbol("N") : dim(n));
    return dims;
  }
  ValueId input(DType t, const std::vector<int64_t>& extents) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), {t, shape(extents)});
  }
  ValueId weights(DType t, const std::vector<int64_t>& extents) {
    std::mt19937 rng(11);
    const interp::Tensor r = random_tensor(t, extents, rng);
    return b.constant(make_constant(t, r.shape, {r.bytes.begin(), r.bytes.end()}));
  }
  std::string check(ValueId y, int64_t n, lower::Stats* stats = nullptr, bool as_artifact = true) {
    b.output("y", y);
    const auto g = b.finish();
    return compare(*g, random_inputs(*g, n, 1), {}, {}, stats, as_artifact);
  }
};

struct MatmulCase {
  int64_t batch, m, k, n;
};

struct ConvCase {
  std::vector<int64_t> x, w;  // channels last
  std::vector<int64_t> strides, dilations, low, high;
  int64_t group;
};

std::string check_matmul(DType t, const MatmulCase& c, bool trans_a, bool trans_b, bool constant,
                         bool as_artifact = true) {
  Net n;
  const ValueId a = trans_a ? n.input(t, {c.batch, c.k, c.m}) : n.input(t, {c.batch, c.m, c.k});
  const std::vector<int64_t> shape =
      trans_b ? std::vector<int64_t>{c.batch, c.n, c.k} : std::vector<int64_t>{c.batch, c.k, c.n};
  const ValueId b = constant ? n.weights(t, shape) : n.input(t, shape);
  return n.check(
      n.b.value(Op::matmul, {a, b},
                {{AttrKey::trans_a, int64_t{trans_a}}, {AttrKey::trans_b, int64_t{trans_b}}}),
      21, nullptr, as_artifact);
}

// Of x and the weights.
std::pair<std::vector<int64_t>, std::vector<int64_t>> conv_shapes(const ConvCase& c,
                                                                  bool channels_last) {
  std::vector<int64_t> x = c.x, w = c.w;
  if (!channels_last) {  // N..C -> NC.., ..CO -> OC..
    std::rotate(x.begin() + 1, x.end() - 1, x.end());
    std::rotate(w.begin(), w.end() - 2, w.end());
    std::swap(w[0], w[1]);
  }
  return {x, w};
}

std::vector<Attr> conv_attrs(Net& n, const ConvCase& c, bool channels_last) {
  return {{AttrKey::strides, c.strides},
          {AttrKey::dilations, c.dilations},
          {AttrKey::low, n.shape(c.low)},
          {AttrKey::high, n.shape(c.high)},
          {AttrKey::group, c.group},
          {AttrKey::layout, std::string(channels_last ? "nhwc" : "nchw")}};
}

std::string check_conv(DType t, const ConvCase& c, bool channels_last) {
  Net n;
  const auto [x_shape, w_shape] = conv_shapes(c, channels_last);
  const ValueId x = n.input(t, x_shape), w = n.weights(t, w_shape);
  const ValueId bias = n.weights(t, {c.w.back()});
  const ValueId y = n.b.value(Op::conv, {x, w, bias}, conv_attrs(n, c, channels_last));
  return n.check(n.b.elementwise(Op::max, {y, n.b.scalar(t, 0)}), 13);
}

}  // namespace

TEST_CASE("matmul of every shape of tile, operand layout and dtype") {
  // Edges of tiles in each direction, empty extents, one row, few columns, -1: symbolic.
  const MatmulCase cases[] = {{1, 13, 17, 33}, {3, 6, 8, 16},  {2, -1, 5, 40}, {1, 7, -1, 19},
                              {1, 5, 9, -1},   {1, 1, 50, 70}, {1, 9, 6, 1},   {1, 0, 4, 8},
                              {2, 4, 0, 9},    {1, 64, 3, 2}};
  if (test::kSanitized) MESSAGE("with sanitizers: every third case; all without");
  size_t number = 0;
  for (DType t : {DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kFloat16}) {
    for (const MatmulCase& c : cases) {
      for (int flags = 0; flags < 8; ++flags) {
        const bool constant = (flags & 4) != 0;
        if (constant && (c.k < 0 || c.n < 0)) continue;
        if (test::kSanitized && number++ % 3 != 0) continue;
        CAPTURE(name(t));
        CAPTURE(flags);
        CAPTURE(c.m);
        CAPTURE(c.n);
        CHECK(check_matmul(t, c, flags & 1, flags & 2, constant) == "");
      }
    }
  }
}

TEST_CASE("a GPU's tiles, large and small, with edges in every direction") {
  CHECK(check_matmul(DType::kFloat32, {128, 128, 12, 136}, false, false, false) == "");  // large
  for (const unsigned flags : {0u, 1u, 2u, 3u}) {
    CAPTURE(flags);
    CHECK(check_matmul(DType::kFloat32, {2, 70, 35, 65}, flags & 1, flags & 2, false) == "");
  }
  CHECK(check_matmul(DType::kFloat64, {1, -1, 33, 129}, false, false, false) == "");
  CHECK(check_matmul(DType::kFloat16, {1, 64, 16, 64}, false, false, false) == "");
}

TEST_CASE(
    "convolutions by a GPU's tiles: layouts, groups, ranks, strides, padding, edges of tiles") {
  const ConvCase cases[] = {
      {{2, 9, 8, 17}, {3, 3, 17, 33}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
      {{3, 11, 9, 36}, {2, 3, 18, 40}, {2, 1}, {1, 2}, {0, 2}, {1, 1}, 2},  // two groups
      {{1, 7, 6, 64}, {1, 1, 16, 68}, {1, 2}, {1, 1}, {0, 0}, {0, 0}, 4},
      {{2, -1, 9, 16}, {3, 3, 16, 70}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},  // a symbolic extent
      {{2, 70, 20}, {3, 20, 24}, {2}, {2}, {1}, {3}, 1},
      {{1, 40, 48}, {5, 16, 51}, {1}, {1}, {2}, {2}, 3},
      {{1, 4, 5, 4, 18}, {2, 3, 2, 18, 17}, {1, 2, 1}, {1, 1, 2}, {1, 0, 1}, {0, 1, 1}, 1},
      {{2, 3, 4, 3, 32}, {2, 2, 1, 16, 34}, {1, 1, 1}, {1, 2, 1}, {1, 1, 0}, {1, 1, 0}, 2}};
  for (const ConvCase& c : cases) {
    for (const bool channels_last : {true, false}) {
      CAPTURE(channels_last);
      CAPTURE(c.group);
      CAPTURE(c.w.size());
      CHECK(check_conv(DType::kFloat32, c, channels_last) == "");
    }
  }
  for (const bool channels_last : {true, false}) {
    CHECK(check_conv(DType::kFloat64, cases[1], channels_last) == "");
    CHECK(check_conv(DType::kBFloat16, cases[1], channels_last) == "");
  }
}

namespace {

// Whether a GPU computes the graph's only node by blocks of threads.
bool has_blocks(Net& n, ValueId y) {
  n.b.output("y", y);
  const auto g = n.b.finish();
  lower::LowerOptions options;
  options.placement.assign(g->num_nodes(), Device::kCuda);
  const lower::LoweredModule m = lower::lower(*g, options);
  REQUIRE(m.kernels.size() == 1);
  return m.kernels[0].block_threads != 0;
}

bool conv_has_blocks(const ConvCase& c, bool channels_last) {
  Net n;
  const auto [x_shape, w_shape] = conv_shapes(c, channels_last);
  const ValueId x = n.input(DType::kFloat32, x_shape), w = n.input(DType::kFloat32, w_shape);
  return has_blocks(n, n.b.value(Op::conv, {x, w}, conv_attrs(n, c, channels_last)));
}

}  // namespace

TEST_CASE("a GPU's tiles are for convolutions of either layout with enough channels a group") {
  for (const bool channels_last : {true, false}) {
    const auto blocks = [&](int64_t channels, int64_t features, int64_t group) {
      const ConvCase c = {{1, 6, 7, channels},
                          {3, 3, channels / group, features},
                          {1, 1},
                          {1, 1},
                          {1, 1},
                          {1, 1},
                          group};
      return conv_has_blocks(c, channels_last);
    };
    CHECK(blocks(16, 16, 1));
    CHECK(blocks(4, 32, 2));  // a sum of 18
    CHECK_FALSE(blocks(16, 8, 1));
    CHECK_FALSE(blocks(32, 32, 4));   // 8 features a group
    CHECK_FALSE(blocks(32, 32, 32));  // depthwise
  }
}

TEST_CASE("a GPU's blocks for products with few rows or columns, long and short, of every layout") {
  const MatmulCase cases[] = {{1, 1, 70, 67},   {1, 67, 70, 1},   {3, 1, 33, 5},    {2, 5, 40, 3},
                              {1, 15, 100, 37}, {2, 6, 300, 100}, {1, 1, 5000, 33}, {1, 9, -1, 15},
                              {1, 33, 2100, 2}, {1, 3, 64, -1},   {1, 1, 4099, 1},  {2, -1, 50, 4},
                              {0, 3, 40, 7},    {1, 0, 40, 7}};
  for (const MatmulCase& c : cases) {
    for (const unsigned flags : {0u, 1u, 2u, 3u}) {
      CAPTURE(flags);
      CAPTURE(c.m);
      CAPTURE(c.k);
      const DType t = c.k > 1000 ? DType::kFloat64 : DType::kFloat32;  // long sums show rounding
      CHECK(check_matmul(t, c, flags & 1, flags & 2, false, false) == "");
    }
  }
  CHECK(check_matmul(DType::kFloat64, {1, 15, 900, 40}, false, false, false) == "");
  CHECK(check_matmul(DType::kFloat16, {1, 2, 64, 40}, false, true, false) == "");
  CHECK(check_matmul(DType::kBFloat16, {1, 40, 64, 2}, false, false, false) == "");
}

TEST_CASE("random products with few rows or columns, and what is computed from them") {
  std::mt19937 rng(5);
  const auto random = [&](int64_t from, int64_t to) {
    return from + static_cast<int64_t>(rng() % static_cast<uint32_t>(to - from + 1));
  };
  for (int i = 0; i < 24; ++i) {
    const int64_t few = random(1, 15), lines = random(1, 70), k = random(32, 200);
    const MatmulCase c = rng() % 2 == 0 ? MatmulCase{random(1, 3), few, k, lines}
                                        : MatmulCase{random(1, 3), lines, k, few};
    const bool trans_a = rng() % 2 == 0, trans_b = rng() % 2 == 0;
    const DType t = rng() % 2 == 0 ? DType::kFloat32 : DType::kFloat64;
    using Shape = std::vector<int64_t>;
    Net n;
    const ValueId a = n.input(t, trans_a ? Shape{c.batch, c.k, c.m} : Shape{c.batch, c.m, c.k});
    const ValueId b = n.input(t, trans_b ? Shape{c.batch, c.n, c.k} : Shape{c.batch, c.k, c.n});
    const ValueId row = n.input(t, {c.m, 1}), column = n.input(t, {c.n});
    const ValueId other = n.input(t, {c.batch, c.m, c.n});
    const ValueId y =
        n.b.value(Op::matmul, {a, b},
                  {{AttrKey::trans_a, int64_t{trans_a}}, {AttrKey::trans_b, int64_t{trans_b}}});
    const ValueId moved = n.b.elementwise(Op::add, {n.b.elementwise(Op::mul, {y, row}), column});
    CAPTURE(i);
    CHECK(n.check(n.b.value(Op::add, {n.b.value(Op::tanh, {moved}), other}), 7, nullptr, false) ==
          "");
  }
}

TEST_CASE("few and very long sums of products are cut into parts, with what is computed of them") {
  const MatmulCase cases[] = {
      {1, 1, 33001, 1}, {2, 1, 33000, 2}, {1, 1, 9000, 40}, {1, 1, -1, 1}, {1, 40, 9000, 2}};
  for (const MatmulCase& c : cases) {
    for (const bool trans_a : {false, true}) {
      const bool trans_b = c.n >= 40 ? false : !trans_a || c.m == 1;
      using Shape = std::vector<int64_t>;
      Net n;
      const DType t = DType::kFloat64;  // long sums show rounding
      const ValueId a = n.input(t, trans_a ? Shape{c.batch, c.k, c.m} : Shape{c.batch, c.m, c.k});
      const ValueId b = n.input(t, trans_b ? Shape{c.batch, c.n, c.k} : Shape{c.batch, c.k, c.n});
      const ValueId other = n.input(t, {c.batch, c.m, c.n});
      const ValueId y =
          n.b.value(Op::matmul, {a, b},
                    {{AttrKey::trans_a, int64_t{trans_a}}, {AttrKey::trans_b, int64_t{trans_b}}});
      n.b.output("y", n.b.value(Op::tanh, {n.b.elementwise(Op::add, {y, other})}));
      const auto g = n.b.finish();
      lower::LowerOptions options;
      options.placement.assign(g->num_nodes(), Device::kCuda);
      CAPTURE(c.k);
      CAPTURE(c.m);
      CAPTURE(trans_a);
      const bool neighbours = c.m != 40 || trans_a;  // else rows of 9000 terms are a block each
      CHECK(lower::lower(*g, options).stats.kernel_calls == (neighbours ? 2 : 1));
      CHECK(compare(*g, random_inputs(*g, 21, 1), {}, {}, nullptr, false) == "");
    }
  }
}

TEST_CASE("which products a GPU computes by blocks") {
  const auto blocks = [](const MatmulCase& c) {
    Net n;
    const ValueId x = n.input(DType::kFloat32, {c.batch, c.m, c.k});
    const ValueId y = n.input(DType::kFloat32, {c.batch, c.k, c.n});
    return has_blocks(n, n.b.value(Op::matmul, {x, y}));
  };
  CHECK(blocks({1, 16, 16, 16}));
  CHECK(blocks({1, 1, 32, 500}));
  CHECK(blocks({1, -1, -1, 15}));
  CHECK(blocks({5, 2, 32, 2}));
  CHECK_FALSE(blocks({1, 100, 15, 100}));  // short sums
  CHECK_FALSE(blocks({1, 15, 31, 100}));
}

TEST_CASE("bias and activation are computed on the tile") {
  Net n;
  const ValueId x = n.input(DType::kFloat32, {-1, 20}), r = n.input(DType::kFloat32, {-1, 37});
  const ValueId w = n.weights(DType::kFloat32, {20, 37}), bias = n.weights(DType::kFloat32, {37});
  const ValueId y = n.b.elementwise(Op::add, {n.b.value(Op::matmul, {x, w}), bias});
  const ValueId z = n.b.elementwise(Op::max, {y, n.b.scalar(DType::kFloat32, 0)});
  lower::Stats stats;
  CHECK(n.check(n.b.value(Op::add, {z, r}), 50, &stats) == "");
  CHECK(stats.kernel_calls == 1);
}

TEST_CASE(
    "what is computed from dot products has vectors: one column, several, in blocks of columns") {
  for (const MatmulCase& c : {MatmulCase{1, 500, 5, 1},
                              {1, -1, 9, 1},
                              {3, 70, 600, 1},
                              {2, 1100, 3, 1},
                              {1, 6, 4, 1030},
                              {2, 3, -1, 130}}) {
    for (DType t : {DType::kFloat64, DType::kFloat32}) {
      Net n;
      const ValueId x = n.input(t, {c.batch, c.m, c.k}), w = n.input(t, {c.batch, c.n, c.k});
      const ValueId r = n.input(t, {c.batch, c.m, c.n});
      const ValueId y = n.b.value(Op::matmul, {x, w}, {{AttrKey::trans_b, int64_t{1}}});
      const ValueId z = n.b.elementwise(Op::mul, {n.b.value(Op::sigmoid, {y}), r});
      lower::Stats stats;
      CAPTURE(c.m);
      CHECK(n.check(n.b.value(Op::add, {z, y}), 77, &stats) == "");
      if (c.n == 1) CHECK(stats.kernel_calls == 1);
    }
  }
}

TEST_CASE("convolutions: layouts, strides, dilations, padding, groups, ranks") {
  const ConvCase cases[] = {
      {{2, 9, 7, 3}, {3, 3, 3, 20}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
      {{1, -1, 11, 8}, {3, 2, 8, 16}, {2, 1}, {1, 2}, {0, 1}, {1, 0}, 1},
      {{2, 6, 5, 17}, {1, 1, 17, 33}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 1},
      {{1, 8, 9, 12}, {3, 3, 1, 12}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 12},   // depthwise
      {{1, 9, -1, 21}, {5, 3, 1, 21}, {2, 2}, {1, 1}, {2, 1}, {2, 1}, 21},  // depthwise, strided
      {{1, 8, 9, 16}, {3, 3, 8, 24}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2},
      {{3, -1, 5}, {4, 5, 9}, {1}, {2}, {3}, {3}, 1},
      {{1, 4, 5, 6, 2}, {2, 3, 2, 2, 7}, {1, 2, 1}, {1, 1, 1}, {1, 0, 1}, {0, 1, 1}, 1}};
  for (DType t : {DType::kFloat32, DType::kFloat64}) {
    for (const ConvCase& c : cases) {
      for (const bool channels_last : {true, false}) {
        CAPTURE(name(t));
        CAPTURE(channels_last);
        CAPTURE(c.group);
        CAPTURE(c.w.size());
        CHECK(check_conv(t, c, channels_last) == "");
      }
    }
  }
}

namespace {

// Infinities and NaN here and there. NaN has the bits that inf - inf gives on this CPU: which NaN an operation
// gives is unspecified, but runs of one kernel are compared bit by bit.
void spoil(interp::Tensor* t, std::mt19937& rng) {
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {inf, -inf, std::bit_cast<float>(0xffc00000u)};
  for (int i = 0; i < 3; ++i) {
    const size_t at = rng() % static_cast<size_t>(t->num_elements());
    switch (t->dtype) {
      case DType::kFloat16: t->data<uint16_t>()[at] = double_to_half(values[i]); break;
      case DType::kFloat32: t->data<float>()[at] = values[i]; break;
      default: t->data<double>()[at] = values[i]; break;
    }
  }
}

std::string check_special_conv(DType t, const ConvCase& c, bool channels_last, uint32_t seed) {
  Net n;
  const auto [x_shape, w_shape] = conv_shapes(c, channels_last);
  const ValueId x = n.input(t, x_shape), w = n.input(t, w_shape);
  n.b.output("y", n.b.value(Op::conv, {x, w}, conv_attrs(n, c, channels_last)));
  const auto g = n.b.finish();
  std::vector<interp::Tensor> inputs = random_inputs(*g, 7, seed);
  std::mt19937 rng(seed);
  for (interp::Tensor& input : inputs) spoil(&input, rng);
  return compare(*g, inputs);
}

}  // namespace

TEST_CASE("padding is zeros that are multiplied: what is not finite, at padded places too") {
  const ConvCase cases[] = {{{1, 6, 7, 16}, {3, 3, 16, 16}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
                            {{2, 5, 6, 32}, {3, 2, 16, 32}, {1, 2}, {2, 1}, {2, 1}, {1, 0}, 2},
                            {{1, 9, 17}, {3, 17, 20}, {1}, {1}, {2}, {2}, 1},
                            {{1, 6, 5, 8}, {3, 3, 1, 8}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 8}};
  uint32_t seed = 1;
  for (const ConvCase& c : cases) {
    for (const DType t : {DType::kFloat32, DType::kFloat64, DType::kFloat16}) {
      for (const bool channels_last : {true, false}) {
        CAPTURE(name(t));
        CAPTURE(channels_last);
        CAPTURE(c.group);
        CHECK(check_special_conv(t, c, channels_last, seed++) == "");
      }
    }
  }
}

TEST_CASE("a half format's sum is rounded once, after its bias") {
  for (const Op op : {Op::conv, Op::conv_transpose}) {
    for (const bool channels_last : {true, false}) {
      Net n;
      const ConvCase c = {{1, 4, 5, 16}, {1, 1, 16, 16}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 1};
      const auto [x_shape, w_shape] = conv_shapes(c, channels_last);
      const DType t = DType::kFloat16;
      const ValueId x = n.input(t, x_shape), w = n.input(t, w_shape), bias = n.input(t, {16});
      auto attrs = conv_attrs(n, c, channels_last);
      if (op == Op::conv_transpose) attrs.push_back({AttrKey::output_padding, n.shape({0, 0})});
      const ValueId y = n.b.value(op, {x, w, bias}, attrs);
      n.b.output("y", n.b.elementwise(Op::sub, {y, n.b.scalar(t, 2048)}));
      const auto g = n.b.finish();
      std::vector<interp::Tensor> inputs = random_inputs(*g, 1, 1);
      // 683 * 3 = 2049, which would be 2048, and 1.
      for (interp::Tensor& input : inputs) {
        std::fill_n(input.data<uint16_t>(), input.num_elements(), double_to_half(0));
      }
      std::fill_n(inputs[0].data<uint16_t>(), inputs[0].num_elements(), double_to_half(683));
      for (size_t o = 0; o < 16; ++o) {
        inputs[1].data<uint16_t>()[o * 16 + o] = double_to_half(3);
        inputs[2].data<uint16_t>()[o] = double_to_half(1);
      }
      CAPTURE(channels_last);
      CHECK(compare(*g, inputs) == "");
    }
  }
}

TEST_CASE("long sums are done in blocks: of one piece, of several, known or not") {
  for (const MatmulCase& c : {MatmulCase{1, 7, 600, 20}, {2, 5, 1027, 9}, {1, 6, -1, 17}}) {
    CHECK(check_matmul(DType::kFloat32, c, false, false, c.k == 600) == "");
  }
  for (const ConvCase& c :
       {ConvCase{{1, 5, 6, 64}, {3, 3, 64, 9}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1},
        {{1, 9, 130}, {5, 130, 9}, {1}, {2}, {3}, {3}, 1}}) {
    CHECK(check_conv(DType::kFloat32, c, true) == "");
  }
}

TEST_CASE("transposed convolutions with windows side by side") {
  struct Case {
    std::vector<int64_t> x, window;
    int64_t features;
  };
  const Case cases[] = {{{2, -1, 6, 5}, {4, 3}, 1},   {{2, -1, 6, 5}, {4, 3}, 2},
                        {{1, 3, -1, 24}, {2, 2}, 24}, {{1, 9, 8, 24}, {2, 2}, 1},
                        {{2, -1, 3}, {5}, 9},         {{1, 2, -1, 3, 4}, {2, 1, 3}, 17}};
  for (const Case& c : cases) {
    for (const bool constant : {false, true}) {
      Net n;
      const DType t = c.features == 9 ? DType::kFloat64 : DType::kFloat32;
      std::vector<int64_t> shape = c.window;
      shape.insert(shape.end(), {c.x.back(), c.features});
      const size_t rank = c.window.size();
      const std::vector<DimId> none(rank, n.dim(0));
      const ValueId w = constant ? n.weights(t, shape) : n.input(t, shape);
      const ValueId y =
          n.b.value(Op::conv_transpose, {n.input(t, c.x), w, n.weights(t, {c.features})},
                    {{AttrKey::layout, std::string("nhwc")},
                     {AttrKey::group, int64_t{1}},
                     {AttrKey::strides, c.window},
                     {AttrKey::dilations, std::vector<int64_t>(rank, 1)},
                     {AttrKey::low, none},
                     {AttrKey::high, none},
                     {AttrKey::output_padding, none}});
      lower::Stats stats;
      CAPTURE(c.features);
      CHECK(n.check(n.b.value(Op::tanh, {y}), 7, &stats) == "");
      CHECK(stats.kernel_calls == (constant ? 1u : 2u) + (c.features == 1 ? 1u : 0u));
    }
  }
}

namespace {

// A graph of matrices after the whole pipeline: how many kernels compute it (packing aside), or what it
// computes wrongly.
struct Gemm : Net {
  static constexpr int64_t kSize = 48;
  ValueId matrix() { return input(DType::kFloat64, {kSize, kSize}); }
  ValueId vector() { return input(DType::kFloat64, {kSize}); }
  ValueId dot(ValueId x, ValueId y) { return b.value(Op::matmul, {x, y}); }
  ValueId add(ValueId x, ValueId y) { return b.elementwise(Op::add, {x, y}); }
  ValueId sub(ValueId x, ValueId y) { return b.elementwise(Op::sub, {x, y}); }
  ValueId times(ValueId x, double c) {
    return b.elementwise(Op::mul, {x, b.scalar(DType::kFloat64, c)});
  }

  size_t kernels(ValueId y) {
    b.output("y", y);
    const auto raw = b.finish();
    const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
    const auto g = pass::run(parse_graph(context, print(*raw)), pipeline, {});
    CHECK(compare(*g, random_inputs(*raw, kSize, 1), {}, {1e-4, 1e-11}, nullptr, true, raw.get()) ==
          "");
    return schedule::fuse(*g, {}).groups.size();
  }
};

}  // namespace

TEST_CASE_FIXTURE(Gemm,
                  "gemm forms: one kernel a product, with alpha, beta, bias and what follows") {
  const ValueId a = matrix(), w = matrix(), c = matrix();
  SUBCASE("alpha a w + beta c") { CHECK(kernels(add(times(dot(a, w), 2), times(c, 3))) == 1); }
  SUBCASE("alpha in an operand") { CHECK(kernels(add(dot(times(a, 2), w), c)) == 1); }
  SUBCASE("alpha in both operands and outside") {
    CHECK(kernels(times(dot(times(a, 2), b.value(Op::neg, {w})), 3)) == 1);
  }
  SUBCASE("bias and activation") {
    CHECK(kernels(b.value(Op::tanh, {add(dot(a, w), vector())})) == 1);
  }
  SUBCASE("c - rate * transposed(a) w") {
    CHECK(kernels(sub(c, times(dot(b.transpose(a, {1, 0}), w), 0.01))) == 1);
  }
  SUBCASE("a w + c d") { CHECK(kernels(add(dot(a, w), dot(c, matrix()))) == 2); }
  SUBCASE("tanh(a w) + a c") {
    CHECK(kernels(add(b.value(Op::tanh, {dot(a, w)}), dot(a, c))) == 2);
  }
  SUBCASE("a sum of four products, as a list and as a tree") {
    std::vector<ValueId> dots;
    for (int i = 0; i < 4; ++i) dots.push_back(dot(matrix(), matrix()));
    const ValueId list = add(add(add(dots[0], dots[1]), dots[2]), dots[3]);
    const ValueId tree = add(add(dots[0], dots[1]), add(dots[2], dots[3]));
    SUBCASE("list") { CHECK(kernels(list) <= 4); }
    SUBCASE("tree") { CHECK(kernels(tree) <= 4); }
  }
  SUBCASE("a product read elsewhere stays where it is") {
    const ValueId first = dot(a, w), second = dot(a, c);
    const ValueId sum = add(first, second);
    CHECK(kernels(add(dot(sum, first), dot(second, sum))) <= 5);
  }
  SUBCASE("a vector") {
    const ValueId x = b.reshape(vector(), {dim(kSize), dim(1)});
    const ValueId y = b.reshape(vector(), {dim(kSize), dim(1)});
    CHECK(kernels(add(times(dot(a, x), 2), times(y, 3))) == 1);
  }
  SUBCASE("an outer product: no product of matrices at all") {
    const ValueId x = b.reshape(vector(), {dim(kSize), dim(1)});
    const ValueId y = b.reshape(vector(), {dim(1), dim(kSize)});
    CHECK(kernels(add(dot(x, y), c)) == 1);
  }
}

}  // namespace gcomp::test
