// Fourier transforms (as matrix products) and window functions.

#include <numbers>
#include <numeric>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

constexpr DType kReal = DType::kFloat64;

// ---- Windows: a - b cos(2 pi i / n) + c cos(4 pi i / n) ----

void import_window(NodeImport& n, double a, double b, double c) {
  const DType t = n.dtype_attribute("output_datatype", DType::kFloat32);
  const DimId size = n.extents_from(n.reshape(n.in(0), {n.dim(1)}), "window")[0];
  ValueId period = n.extent_value(size, kReal);
  if (!n.flag("periodic", true)) period = n.sub(period, 1.0);
  const ValueId angle = n.div(n.mul(n.iota(kReal, {size}, 0), 2 * std::numbers::pi), period);
  ValueId y = n.sub(n.b.scalar(kReal, a), n.mul(n.unary(Op::cos, angle), b));
  if (c != 0) y = n.add(y, n.mul(n.unary(Op::cos, n.mul(angle, 2.0)), c));
  n.out(n.cast(y, t));
}

void import_hann(NodeImport& n) { import_window(n, 0.5, 0.5, 0); }

void import_hamming(NodeImport& n) { import_window(n, 25.0 / 46.0, 21.0 / 46.0, 0); }

void import_blackman(NodeImport& n) { import_window(n, 0.42, 0.5, 0.08); }

// ---- Fourier transforms ----

struct Complex {
  ValueId real, imaginary;  // imaginary: invalid where it is 0
};

// Along the last axis, of `length` elements, to `bins` bins.
Complex transform(NodeImport& n, Complex x, DimId length, DimId bins, bool inverse) {
  const DType t = n.dtype(x.real);
  const ValueId row = n.iota(DType::kInt64, {length, bins}, 0);
  const ValueId column = n.iota(DType::kInt64, {length, bins}, 1);
  // The product modulo the length keeps the angle small and exact.
  const ValueId size = n.extent_value(length, DType::kInt64);
  const ValueId turn = n.binary(Op::mod, n.mul(row, column), size);
  const ValueId angle =
      n.div(n.mul(n.cast(turn, kReal), 2 * std::numbers::pi), n.extent_value(length, kReal));
  const ValueId cosine = n.cast(n.unary(Op::cos, angle), t);
  ValueId sine = n.unary(Op::sin, angle);
  sine = n.cast(inverse ? n.unary(Op::neg, sine) : sine, t);
  // (a + bi)(cos - i sin)
  Complex y;
  y.real = n.matmul(x.real, cosine);
  y.imaginary = n.unary(Op::neg, n.matmul(x.real, sine));
  if (x.imaginary.valid()) {
    y.real = n.add(y.real, n.matmul(x.imaginary, sine));
    y.imaginary = n.add(y.imaginary, n.matmul(x.imaginary, cosine));
  }
  if (inverse) {
    const ValueId count = n.extent_value(length, t);
    y.real = n.div(y.real, count);
    y.imaginary = n.div(y.imaginary, count);
  }
  return y;
}

// The parts of a tensor whose last axis is 1 (real) or 2 (complex).
Complex split_parts(NodeImport& n, ValueId x) {
  const int64_t last = n.rank(x) - 1;
  const auto parts = n.static_extent(x, last);
  if (parts != 1 && parts != 2) n.fail("the last axis must have 1 or 2 elements");
  const auto part = [&](int64_t i) {
    return n.squeeze(n.slice_axis(x, last, n.dim(i), n.dim(1)), {last});
  };
  return {part(0), *parts == 2 ? part(1) : ValueId()};
}

ValueId join_parts(NodeImport& n, Complex y) {
  const int64_t last = n.rank(y.real);
  return n.concat({n.unsqueeze(y.real, {last}), n.unsqueeze(y.imaginary, {last})}, last);
}

DimId number_of_bins(NodeImport& n, DimId length, bool onesided) {
  if (!onesided) return length;
  return n.dims().add(n.dims().floor_div(length, n.dim(2)), n.dim(1));
}

void import_dft(NodeImport& n) {
  const int rank = n.rank(n.in(0));
  int64_t axis = n.integer("axis", 1);
  if (n.opset() >= 20) {
    const Ints given = n.has(2) ? n.need_ints(n.in(2), "axis") : Ints{-2};
    if (given.size() != 1) n.fail("DFT: one axis is needed");
    axis = given[0];
  }
  axis = n.axis(axis, rank);
  if (axis == rank - 1) n.fail("DFT: the last axis holds the parts of complex numbers");
  const bool inverse = n.flag("inverse", false), onesided = n.flag("onesided", false);
  if (inverse && onesided) n.unsupported("an inverse one-sided transform");
  const DType t = n.dtype(n.in(0));
  Complex x = split_parts(n, n.widen(n.in(0)));
  DimId length = n.extent(x.real, axis);
  if (n.has(1)) length = n.extents_from(n.reshape(n.in(1), {n.dim(1)}), "dft")[0];
  const auto prepare = [&](ValueId v) {
    if (!v.valid()) return v;
    if (length != n.extent(v, axis)) {  // cut, or filled up with zeros
      Dims low(static_cast<size_t>(rank - 1), n.dim(0)), high = low;
      high[static_cast<size_t>(axis)] = n.dims().sub(length, n.extent(v, axis));
      v = n.pad(v, n.like(v, 0), low, high);
    }
    return n.move_axis(v, axis, rank - 2);
  };
  x = {prepare(x.real), prepare(x.imaginary)};
  Complex y = transform(n, x, length, number_of_bins(n, length, onesided), inverse);
  y = {n.move_axis(y.real, rank - 2, axis), n.move_axis(y.imaginary, rank - 2, axis)};
  n.out(n.cast(join_parts(n, y), t));
}

void import_stft(NodeImport& n) {
  if (n.rank(n.in(0)) != 3) n.fail("STFT: the signal must be [batch, length, 1 or 2]");
  const DType t = n.dtype(n.in(0));
  const Complex x = split_parts(n, n.widen(n.in(0)));
  const DimId step = n.extents_from(n.reshape(n.in(1), {n.dim(1)}), "frame_step")[0];
  DimId length;
  if (n.has(3)) {
    length = n.extents_from(n.reshape(n.in(3), {n.dim(1)}), "frame_length")[0];
  } else if (n.has(2)) {
    length = n.extent(n.in(2), 0);
  } else {
    n.fail("STFT: a window or a frame length is needed");
  }
  DimTable& d = n.dims();
  const DimId frames = d.add(d.floor_div(d.sub(n.extent(x.real, 1), length), step), n.dim(1));
  const DType i64 = DType::kInt64;
  const Dims grid = {frames, length};
  const ValueId index =
      n.add(n.mul(n.iota(i64, grid, 0), n.extent_value(step, i64)), n.iota(i64, grid, 1));
  const auto cut = [&](ValueId v) {
    if (!v.valid()) return v;
    v = n.gather(v, index, 1);  // [batch, frames, length]
    return n.has(2) ? n.mul(v, n.cast(n.in(2), n.dtype(v))) : v;
  };
  const DimId bins = number_of_bins(n, length, n.flag("onesided", true));
  const Complex y = transform(n, {cut(x.real), cut(x.imaginary)}, length, bins, false);
  n.out(n.cast(join_parts(n, y), t));
}

constexpr OpRow kRows[] = {
    {"BlackmanWindow", import_blackman, "output_datatype periodic"},
    {"DFT", import_dft, "axis inverse onesided"},
    {"HammingWindow", import_hamming, "output_datatype periodic"},
    {"HannWindow", import_hann, "output_datatype periodic"},
    {"STFT", import_stft, "onesided"},
};

}  // namespace

std::span<const OpRow> signal_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
