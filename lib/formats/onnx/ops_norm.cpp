// Normalisations, by their definitions.

#include <numeric>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

Ints axes_from(int64_t first, int rank) {
  Ints axes;
  for (int64_t a = first; a < rank; ++a) axes.push_back(a);
  return axes;
}

// A rank-1 value along axis 1 of x: scale, bias, mean and the like, one a channel.
ValueId per_channel(NodeImport& n, ValueId v, int rank) {
  if (n.rank(v) != 1) n.fail("scale, bias, mean and variance must have rank 1");
  return n.along(v, 1, rank);
}

struct Moments {
  ValueId centred;
  ValueId mean;
  ValueId inverse_deviation;
};

Moments normalise(NodeImport& n, ValueId x, const Ints& axes, double epsilon) {
  Moments m;
  m.mean = n.mean(x, axes, true);
  m.centred = n.sub(x, m.mean);
  const ValueId variance = n.mean(n.square(m.centred), axes, true);
  m.inverse_deviation = n.reciprocal(n.unary(Op::sqrt, n.add(variance, epsilon)));
  return m;
}

void import_batch_norm(NodeImport& n) {
  const ValueId x = n.in(0);
  const int rank = n.rank(x);
  if (rank < 2) n.fail("BatchNormalization: the input must have rank 2 or more");
  const double epsilon = n.real("epsilon", 1e-5f);
  const bool training = n.flag("training_mode", false);
  if (n.opset() < 9 && !n.flag("spatial", true)) n.unsupported("spatial = 0");
  if (!training && (n.wants(1) || n.wants(2)) && n.opset() < 14) {
    n.unsupported("training (more than one output)", "export the model for inference");
  }
  const DType t = n.dtype(x);
  const ValueId wide = n.widen(x);
  const auto channel = [&](size_t i) {
    return per_channel(n, n.cast(n.in(i), n.dtype(wide)), rank);
  };
  ValueId mean = channel(3), variance = channel(4);
  if (training) {
    Ints axes = {0};
    for (int a = 2; a < rank; ++a) axes.push_back(a);
    const double momentum = n.real("momentum", 0.9f);
    const ValueId batch_mean = n.mean(wide, axes, true);
    const ValueId batch_variance = n.mean(n.square(n.sub(wide, batch_mean)), axes, true);
    const auto blend = [&](ValueId old, ValueId now, size_t like) {
      const ValueId v = n.add(n.mul(old, momentum), n.mul(now, 1 - momentum));
      return n.cast(n.reshape(v, n.shape(n.in(like))), n.dtype(n.in(like)));
    };
    if (n.wants(1)) n.out(1, blend(mean, batch_mean, 3));
    if (n.wants(2)) n.out(2, blend(variance, batch_variance, 4));
    mean = batch_mean;
    variance = batch_variance;
  }
  const ValueId scale = n.div(channel(1), n.unary(Op::sqrt, n.add(variance, epsilon)));
  n.out(0, n.cast(n.add(n.mul(n.sub(wide, mean), scale), channel(2)), t));
}

void import_instance_norm(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const int rank = n.rank(x);
  const Moments m = normalise(n, x, axes_from(2, rank), n.real("epsilon", 1e-5f));
  const ValueId scale = n.mul(m.inverse_deviation, per_channel(n, n.widen(n.in(1)), rank));
  const ValueId y = n.add(n.mul(m.centred, scale), per_channel(n, n.widen(n.in(2)), rank));
  n.out(n.cast(y, n.dtype(n.in(0))));
}

// Computes in the stash type (float32 unless the data is double).
ValueId stash(NodeImport& n, ValueId x) {
  const int64_t type = n.integer("stash_type", 1);
  if (type != 1 && type != 11 && type != 16 && type != 10) n.unsupported("this stash_type");
  return n.widen(x);
}

void import_layer_norm(NodeImport& n) {
  const ValueId x = stash(n, n.in(0));
  const DType t = n.dtype(n.in(0));
  const Ints axes = axes_from(n.axis(n.integer("axis", -1), n.rank(x)), n.rank(x));
  const Moments m = normalise(n, x, axes, n.real("epsilon", 1e-5f));
  ValueId y = n.mul(m.centred, m.inverse_deviation);
  y = n.mul(n.cast(y, t), n.in(1));
  if (n.has(2)) y = n.add(y, n.in(2));
  n.out(0, y);
  if (n.wants(1)) n.out(1, m.mean);
  if (n.wants(2)) n.out(2, m.inverse_deviation);
}

void import_rms_norm(NodeImport& n) {
  const ValueId x = stash(n, n.in(0));
  const Ints axes = axes_from(n.axis(n.integer("axis", -1), n.rank(x)), n.rank(x));
  const ValueId mean_square = n.mean(n.square(x), axes, true);
  const ValueId root = n.unary(Op::sqrt, n.add(mean_square, n.real("epsilon", 1e-5f)));
  n.out(n.mul(n.cast(n.div(x, root), n.dtype(n.in(0))), n.in(1)));
}

void import_group_norm(NodeImport& n) {
  const ValueId x = stash(n, n.in(0));
  const Dims shape = n.shape(x);
  const int rank = n.rank(x);
  if (rank < 2) n.fail("GroupNormalization: the input must have rank 2 or more");
  const int64_t groups = n.integer("num_groups", 0);
  if (groups < 1) n.fail("GroupNormalization: num_groups must be at least 1");
  DimTable& d = n.dims();
  const DimId per_group = d.floor_div(shape[1], n.dim(groups));
  Dims grouped = {shape[0], n.dim(groups), per_group};
  grouped.insert(grouped.end(), shape.begin() + 2, shape.end());
  const Moments m =
      normalise(n, n.reshape(x, grouped), axes_from(2, rank + 1), n.real("epsilon", 1e-5f));
  ValueId y = n.reshape(n.mul(m.centred, m.inverse_deviation), shape);
  // Until opset 21 scale and bias are one a group, then one a channel.
  const auto channels = [&](ValueId v) {
    v = n.cast(v, n.dtype(y));
    if (n.opset() >= 21) return per_channel(n, v, rank);
    v = n.reshape(v, {n.dim(groups), n.dim(1)});
    return n.along(n.reshape(n.expand(v, {n.dim(groups), per_group}), {shape[1]}), 1, rank);
  };
  y = n.add(n.mul(y, channels(n.in(1))), channels(n.in(2)));
  n.out(n.cast(y, n.dtype(n.in(0))));
}

void import_lp_norm(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const Ints axes = {n.axis(n.integer("axis", -1), n.rank(x))};
  const int64_t p = n.integer("p", 2);
  if (p != 1 && p != 2) n.unsupported("p = " + std::to_string(p));
  ValueId norm;
  if (p == 1) {
    norm = n.reduce(Op::reduce_sum, n.unary(Op::abs, x), axes, true);
  } else {
    norm = n.unary(Op::sqrt, n.reduce(Op::reduce_sum, n.square(x), axes, true));
  }
  n.out(n.cast(n.div(x, norm), n.dtype(n.in(0))));
}

void import_mean_variance(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const Ints axes = n.axes(n.ints("axes", {0, 2, 3}), n.rank(x));
  const ValueId mean = n.mean(x, axes, true);
  const ValueId variance = n.sub(n.mean(n.square(x), axes, true), n.square(mean));
  const ValueId deviation = n.add(n.unary(Op::sqrt, variance), 1e-9);
  n.out(n.cast(n.div(n.sub(x, mean), deviation), n.dtype(n.in(0))));
}

void import_lrn(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const int64_t size = n.integer("size", 1);
  if (n.rank(x) < 2 || size < 1) n.fail("LRN: bad rank or size");
  const auto rank = static_cast<size_t>(n.rank(x));
  Ints kernel(rank, 1), ones(rank, 1);
  Dims low(rank, n.dim(0)), high = low;
  kernel[1] = size;
  low[1] = n.dim((size - 1) / 2);
  high[1] = n.dim(size - 1 - (size - 1) / 2);
  const ValueId sums = n.b.value(Op::window_sum, {n.square(x)},
                                 {{AttrKey::kernel, kernel},
                                  {AttrKey::strides, ones},
                                  {AttrKey::dilations, ones},
                                  {AttrKey::low, low},
                                  {AttrKey::high, high}});
  const double alpha = n.real("alpha", 1e-4f) / static_cast<double>(size);
  const ValueId base = n.add(n.mul(sums, alpha), n.real("bias", 1));
  const ValueId y = n.div(x, n.binary(Op::pow, base, n.like(base, n.real("beta", 0.75))));
  n.out(n.cast(y, n.dtype(n.in(0))));
}

constexpr OpRow kRows[] = {
    {"BatchNormalization", import_batch_norm, "epsilon momentum spatial training_mode"},
    {"GroupNormalization", import_group_norm, "epsilon num_groups stash_type"},
    {"InstanceNormalization", import_instance_norm, "epsilon"},
    {"LRN", import_lrn, "alpha beta bias size"},
    {"LayerNormalization", import_layer_norm, "axis epsilon stash_type"},
    {"LpNormalization", import_lp_norm, "axis p"},
    {"MeanVarianceNormalization", import_mean_variance, "axes"},
    {"RMSNormalization", import_rms_norm, "axis epsilon stash_type"},
};

}  // namespace

std::span<const OpRow> norm_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
