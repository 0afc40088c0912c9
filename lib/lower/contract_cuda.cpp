// Matrix products and convolutions on a GPU as products by tiles. A convolution is, for each group of channels, the
// product of its windows, which are never written out, with the weights: windows are rows where channels are last,
// columns where they are first, so that neighbouring threads read and write neighbours in memory.

#include "contract_cuda.h"

#include <algorithm>

#include "contraction.h"
#include "cuda_slim.h"

namespace gcomp::lower {

using kernel::Buffer;
using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

Value is_multiple(Builder& b, Value n, int of) {
  return b.eq(b.index_rem(n, b.index(of)), b.index(0));
}

// A matrix in memory: how far apart neighbours are.
struct MatrixSteps {
  Value batch, across, depth;
};

class Matrix : public Factor {
 public:
  Matrix(Buffer buffer, MatrixSteps steps, bool by_depth)
      : Factor(buffer), steps_(steps), by_depth_(by_depth) {}

  Place place(Builder& b, Value batch, Value at, Value depth, Value inside) override {
    const Value row = b.add(b.mul(batch, steps_.batch), b.mul(at, steps_.across));
    return {b.add(row, b.mul(depth, steps_.depth)), inside};
  }

  // Lines of neighbours are as long as they are apart, or as matrices are.
  Value has_groups(Builder& b, int lanes) override {
    return b.bit_and(is_multiple(b, by_depth_ ? steps_.across : steps_.depth, lanes),
                     is_multiple(b, steps_.batch, lanes));
  }

 private:
  MatrixSteps steps_;
  bool by_depth_;
};

// What a convolution multiplies; the batch counts groups.
struct ConvProduct {
  ConvShape shape;
  DimId group_channels, group_features, window, positions,
      pixels;  // pixels: positions of all images
  Product product;
};

ConvProduct conv_product(const Graph& graph, const Node& node) {
  DimTable& dims = graph.context().dims;
  ConvProduct c;
  c.shape = conv_shape(graph, node);
  const ConvShape& s = c.shape;
  const DimId groups = dims.constant(s.groups);
  c.group_channels = dims.floor_div(s.channels, groups);
  c.group_features = dims.floor_div(s.features, groups);
  c.window = dims.product(s.window);
  c.positions = dims.product(s.out);
  c.pixels = dims.mul(s.batch, c.positions);
  c.product = {.batch = groups,
               .rows = s.channels_last ? c.pixels : c.group_features,
               .columns = s.channels_last ? c.group_features : c.pixels,
               .depth = dims.mul(c.group_channels, c.window),
               .dtype = graph.type(node.first_result).dtype,
               .neighbours = s.channels_last ? c.group_features : c.positions};
  return c;
}

// The windows of a convolution: one for each position of the result in each image. In depth the channels are
// neighbours where they are last, else the places of the window.
class Windows : public Factor {
 public:
  Windows(KernelSpec& spec, Buffer x, const ConvProduct& conv)
      : Factor(x), spec_(spec), dims_(spec.dims()), c_(conv), s_(conv.shape) {}

  // Channels, or the positions of windows that are one element.
  Value has_groups(Builder& b, int lanes) override {
    if (s_.channels_last) return is_multiple(b, spec_.dim(c_.group_channels), lanes);
    const bool moves = std::ranges::any_of(s_.strides, [](int64_t stride) { return stride != 1; });
    if (moves || s_.padded || !dims_.is_constant(c_.window, 1)) return b.boolean(false);
    return is_multiple(b, spec_.dim(c_.positions), lanes);
  }

  Place place(Builder& b, Value group, Value at, Value depth, Value inside) override {
    const Value per_group = spec_.dim(c_.group_channels), window = spec_.dim(c_.window);
    const Value first_channel = b.mul(group, per_group);
    const Value n = s_.channels_last ? per_group : window;
    const Value quotient = b.index_div(depth, n), rest = b.index_rem(depth, n);
    const Value channel = b.add(first_channel, s_.channels_last ? rest : quotient);
    Value place = s_.channels_last ? quotient : rest;
    const Value channels = spec_.dim(s_.channels);
    Value step = s_.channels_last ? channels : b.index(1);
    Value offset = b.index(0);
    for (size_t i = s_.spatial; i-- > 0;) {
      const Value out = spec_.dim(s_.out[i]), width = spec_.dim(s_.window[i]);
      const Value moved = b.add(b.mul(b.index_rem(at, out), b.index(s_.strides[i])),
                                b.mul(b.index_rem(place, width), b.index(s_.dilations[i])));
      const Value in = b.sub(moved, spec_.dim(s_.low[i]));
      const Value extent = spec_.dim(dims_.sub(s_.in[i], dims_.add(s_.low[i], s_.high[i])));
      inside = b.bit_and(inside, b.bit_and(b.ge(in, b.index(0)), b.lt(in, extent)));
      offset = b.add(offset, b.mul(in, step));
      step = b.mul(step, extent);
      at = b.index_div(at, out);
      place = b.index_div(place, width);
    }
    if (s_.channels_last) {
      offset = b.add(offset, channel);
    } else {
      offset = b.add(offset, b.mul(channel, step));
      step = b.mul(step, channels);
    }
    offset = b.add(offset, b.mul(at, step));
    return {offset, inside};
  }

 private:
  KernelSpec& spec_;
  DimTable& dims_;
  const ConvProduct& c_;
  const ConvShape& s_;
};

// A bias and an activation, say.
bool has_little_epilogue(const PlanWriter& w, uint32_t group) {
  return w.groups().groups[group].nodes.size() <= 4;
}

Matrix weights_of(KernelSpec& spec, Buffer weights, const ConvProduct& c) {
  Builder& b = spec.b();
  const Value features = spec.dim(c.group_features), depth = spec.dim(c.product.depth);
  const MatrixSteps steps =
      c.shape.channels_last
          ? MatrixSteps{.batch = features,
                        .across = b.index(1),
                        .depth = spec.dim(c.shape.features)}
          : MatrixSteps{.batch = b.mul(features, depth), .across = depth, .depth = b.index(1)};
  return {weights, steps, !c.shape.channels_last};
}

}  // namespace

bool lower_cuda_matmul(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  const Attrs attrs = graph.attrs(node);
  const bool trans_a = attrs.integer_or(AttrKey::trans_a, 0) != 0;
  const bool trans_b = attrs.integer_or(AttrKey::trans_b, 0) != 0;
  const auto& out = graph.type(node.first_result).dims;
  const auto& a = graph.type(operands[0]).dims;
  const Product p{.batch = dims.product(std::span(out).first(out.size() - 2)),
                  .rows = out[out.size() - 2],
                  .columns = out.back(),
                  .depth = trans_a ? a[a.size() - 2] : a.back(),
                  .dtype = graph.type(node.first_result).dtype,
                  .left_by_depth = !trans_a,
                  .right_by_depth = trans_b,
                  .neighbours = out.back(),
                  .little_follows = has_little_epilogue(w, group)};
  const bool slim = is_slim(dims, p);
  if (!slim && !is_worth_tiles(dims, p)) return false;
  const auto factor = [&](KernelSpec& spec, bool of_left) {
    Builder& b = spec.b();
    const Buffer buffer = spec.input(w.groups().storage[operands[of_left ? 0 : 1].index]);
    const Value across = spec.dim(of_left ? p.rows : p.columns), depth = spec.dim(p.depth);
    const bool by_depth = of_left ? p.left_by_depth : p.right_by_depth;
    return Matrix(buffer,
                  {.batch = b.mul(across, depth),
                   .across = by_depth ? depth : b.index(1),
                   .depth = by_depth ? b.index(1) : across},
                  by_depth);
  };
  const bool in_parts = is_slim_in_parts(dims, p);
  if (in_parts) {
    KernelSpec spec(graph, w.target());
    Matrix x = factor(spec, true), y = factor(spec, false);
    w.call(spec.finish(emit_slim_parts(spec, p, x, y), 1));
  }
  Contraction c(w, group, dims.mul(p.batch, p.rows), p.columns);
  KernelSpec& spec = c.spec();
  Builder& b = c.b();
  c.begin();
  const Value rows = spec.dim(p.rows);
  const FinishSum finish = [&](Value batch, Value row, Value column, Value sum) {
    c.finish_piece(b.add(b.mul(batch, rows), row), column, sum, b.type(sum).lanes);
  };
  if (in_parts) {
    c.call(emit_slim_joined(spec, p, finish), 1);
    return true;
  }
  Matrix x = factor(spec, true), y = factor(spec, false);
  c.call((slim ? emit_slim : emit_tiles)(spec, p, x, y, finish), 1);
  return true;
}

bool lower_cuda_conv(PlanWriter& w, uint32_t group) {
  const Graph& graph = w.graph();
  DimTable& dims = w.dims();
  const Node& node = graph.node(w.groups().groups[group].nodes[0]);
  const auto operands = graph.operands(node);
  ConvProduct conv = conv_product(graph, node);
  conv.product.little_follows = has_little_epilogue(w, group);
  const ConvShape& s = conv.shape;
  if (!is_worth_tiles(dims, conv.product)) return false;
  const bool last = s.channels_last;
  Contraction c(w, group, last ? conv.pixels : dims.mul(s.batch, s.features),
                last ? s.features : conv.positions);
  KernelSpec& spec = c.spec();
  Builder& b = c.b();
  const Buffer x = spec.input(w.groups().storage[operands[0].index]);
  const Buffer k = spec.input(w.groups().storage[operands[1].index]);
  if (operands.size() > 2) c.set_bias(operands[2], !last);
  c.begin();
  Windows windows(spec, x, conv);
  Matrix weights = weights_of(spec, k, conv);
  Factor& left = last ? static_cast<Factor&>(windows) : weights;
  Factor& right = last ? static_cast<Factor&>(weights) : windows;
  const Value per_group = spec.dim(conv.group_features), features = spec.dim(s.features);
  const Value positions = spec.dim(conv.positions);
  const DimId tiles =
      emit_tiles(spec, conv.product, left, right, [&](Value g, Value row, Value column, Value sum) {
        const Value feature = b.add(b.mul(g, per_group), last ? column : row);
        const int lanes = b.type(sum).lanes;
        if (last) return c.finish_piece(row, feature, sum, lanes);
        const Value image = b.index_div(column, positions);
        c.finish_piece(b.add(b.mul(image, features), feature), b.index_rem(column, positions),
                       feature, sum, lanes);
      });
  c.call(tiles, 1);
  return true;
}

}  // namespace gcomp::lower
