// Quantised tensors: integers with a scale and a zero point.

#include "onnx/conv.h"

namespace gcomp::formats::onnx {
namespace {

constexpr DType kAccumulator = DType::kInt32;

struct Limits {
  double low, high;
};

Limits limits(NodeImport& n, DType t) {
  switch (t) {
    case DType::kInt8: return {-128, 127};
    case DType::kUInt8: return {0, 255};
    case DType::kInt16: return {-32768, 32767};
    case DType::kUInt16: return {0, 65535};
    default: n.unsupported("quantising to " + std::string(name(t)));
  }
}

// Scale or zero point shaped to broadcast against x: a scalar, one a slice of `axis`, or one a block.
ValueId parameter(NodeImport& n, ValueId p, ValueId x) {
  const int rank = n.rank(x);
  const int64_t block = n.integer("block_size", 0);
  if (block > 0 && n.rank(p) == rank) {
    const int64_t axis = n.axis(n.integer("axis", 1), rank);
    Dims spread = n.shape(p), merged = spread;
    Ints axes;
    for (int64_t i = 0; i < rank; ++i) axes.push_back(i + (i > axis));
    spread.insert(spread.begin() + axis + 1, n.dim(block));
    const auto a = static_cast<size_t>(axis);
    merged[a] = n.dims().mul(merged[a], n.dim(block));
    const ValueId repeated = n.reshape(n.place(p, spread, axes), merged);
    return n.slice_axis(repeated, axis, n.dim(0), n.extent(x, axis));
  }
  if (n.rank(p) == 0 || (n.rank(p) == 1 && n.static_extent(p, 0) == 1)) return n.reshape(p, {});
  if (n.rank(p) != 1) n.unsupported("a scale of this shape");
  return n.along(p, n.axis(n.integer("axis", 1), rank), rank);
}

// round(x / scale) + zero, cut to the range of `t`.
ValueId quantize(NodeImport& n, ValueId scaled, ValueId zero, DType t) {
  const Limits range = limits(n, t);
  ValueId y = n.unary(Op::round, scaled);
  if (zero.valid()) y = n.add(y, n.cast(zero, n.dtype(y)));
  return n.cast(n.min(n.max(y, range.low), range.high), t);
}

void import_quantize(NodeImport& n) {
  const ValueId x = n.in(0);
  DType t = DType::kUInt8;
  if (n.integer("output_dtype", 0) != 0) t = n.dtype_attribute("output_dtype", t);
  if (n.has(2)) t = n.dtype(n.in(2));
  const DType work = n.dtype(n.widen(n.in(1)));
  const ValueId wide = n.cast(x, is_float(n.dtype(x)) ? n.dtype(n.widen(x)) : work);
  const ValueId scale = n.cast(parameter(n, n.in(1), x), n.dtype(wide));
  const ValueId zero = n.has(2) ? parameter(n, n.in(2), x) : ValueId();
  n.out(quantize(n, n.div(wide, scale), zero, t));
}

void import_dequantize(NodeImport& n) {
  const ValueId x = n.in(0);
  const DType t = n.integer("output_dtype", 0) != 0
                      ? n.dtype_attribute("output_dtype", DType::kFloat32)
                      : n.dtype(n.in(1));
  ValueId centred = n.cast(x, kAccumulator);
  if (n.has(2)) centred = n.sub(centred, n.cast(parameter(n, n.in(2), x), kAccumulator));
  const ValueId scale = n.widen(parameter(n, n.in(1), x));
  n.out(n.cast(n.mul(n.cast(centred, n.dtype(scale)), scale), t));
}

void import_dynamic_quantize(NodeImport& n) {
  const ValueId x = n.in(0);
  Ints axes;
  for (int a = 0; a < n.rank(x); ++a) axes.push_back(a);
  const ValueId high = n.max(n.reduce(Op::reduce_max, x, axes, false), 0.0);
  const ValueId low = n.min(n.reduce(Op::reduce_min, x, axes, false), 0.0);
  const ValueId scale = n.div(n.sub(high, low), 255.0);
  const ValueId zero = n.unary(Op::round, n.unary(Op::neg, n.div(low, scale)));
  const ValueId point = n.cast(n.min(n.max(zero, 0.0), 255.0), DType::kUInt8);
  n.out(0, quantize(n, n.div(x, scale), point, DType::kUInt8));
  n.out(1, scale);
  n.out(2, point);
}

// x - zero in 32 bits. A zero point with one value a row or column stands along `axis`.
ValueId centre(NodeImport& n, ValueId x, size_t zero, int64_t axis) {
  const ValueId wide = n.cast(x, kAccumulator);
  if (!n.has(zero)) return wide;
  ValueId z = n.cast(n.in(zero), kAccumulator);
  if (n.rank(z) == 1) {
    z = n.static_extent(z, 0) == 1 ? n.reshape(z, {}) : n.along(z, axis, n.rank(x));
  }
  return n.sub(wide, z);
}

void import_matmul_integer(NodeImport& n) {
  const ValueId a = n.in(0), c = n.in(1);
  n.out(n.matmul(centre(n, a, 2, std::max(n.rank(a) - 2, 0)), centre(n, c, 3, n.rank(c) - 1)));
}

// A per-row or per-column scale against the matrix it scales.
ValueId matrix_scale(NodeImport& n, ValueId scale, int64_t axis, int rank) {
  scale = n.widen(scale);
  if (n.rank(scale) != 1) return scale;
  return n.static_extent(scale, 0) == 1 ? n.reshape(scale, {}) : n.along(scale, axis, rank);
}

void import_qlinear_matmul(NodeImport& n) {
  const ValueId a = n.in(0), c = n.in(3);
  const int rank_a = n.rank(a), rank_c = n.rank(c);
  if (rank_a < 2 || rank_c < 2) n.unsupported("an operand of rank below 2");
  const ValueId sum = n.matmul(centre(n, a, 2, rank_a - 2), centre(n, c, 5, rank_c - 1));
  const int rank = n.rank(sum);
  ValueId scale =
      n.mul(matrix_scale(n, n.in(1), rank - 2, rank), matrix_scale(n, n.in(4), rank - 1, rank));
  scale = n.div(scale, matrix_scale(n, n.in(6), rank - 2, rank));
  const ValueId scaled = n.mul(n.cast(sum, n.dtype(scale)), scale);
  n.out(quantize(n, scaled, n.reshape(n.in(7), {}), n.dtype(n.in(7))));
}

void import_conv_integer(NodeImport& n) {
  const ValueId x = n.in(0), w = n.in(1);
  n.out(convolve(n, centre(n, x, 2, 1), centre(n, w, 3, 0), ValueId()));
}

void import_qlinear_conv(NodeImport& n) {
  const ValueId bias = n.has(8) ? n.in(8) : ValueId();
  const ValueId sum = convolve(n, centre(n, n.in(0), 2, 1), centre(n, n.in(3), 5, 0), bias);
  const int rank = n.rank(sum);
  ValueId scale = n.mul(n.reshape(n.in(1), {}), matrix_scale(n, n.in(4), 1, rank));
  scale = n.div(scale, n.reshape(n.in(6), {}));
  const ValueId scaled = n.mul(n.cast(sum, n.dtype(scale)), scale);
  n.out(quantize(n, scaled, n.reshape(n.in(7), {}), n.dtype(n.in(7))));
}

constexpr OpRow kRows[] = {
    {"ConvInteger", import_conv_integer, "auto_pad dilations group kernel_shape pads strides"},
    {"DequantizeLinear", import_dequantize, "axis block_size output_dtype"},
    {"DynamicQuantizeLinear", import_dynamic_quantize, ""},
    {"MatMulInteger", import_matmul_integer, ""},
    {"QLinearConv", import_qlinear_conv, "auto_pad dilations group kernel_shape pads strides"},
    {"QLinearMatMul", import_qlinear_matmul, ""},
    {"QuantizeLinear", import_quantize, "axis block_size output_dtype precision saturate"},
};

}  // namespace

std::span<const OpRow> quantize_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
