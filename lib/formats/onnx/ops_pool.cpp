// Pools: windows over the spatial axes.

#include <numeric>

#include "onnx/window.h"

namespace gcomp::formats::onnx {
namespace {

Dims spatial_of(NodeImport& n, ValueId x) {
  if (n.rank(x) < 3) n.fail("a pool needs an input of rank 3 or more");
  const Dims shape = n.shape(x);
  return Dims(shape.begin() + 2, shape.end());
}

Ints spatial_axes(NodeImport& n, ValueId x) {
  Ints axes;
  for (int a = 2; a < n.rank(x); ++a) axes.push_back(a);
  return axes;
}

WindowAttrs pool_attrs(NodeImport& n, ValueId x) {
  const Dims spatial = spatial_of(n, x);
  const Ints kernel = n.ints("kernel_shape");
  if (kernel.size() != spatial.size()) {
    n.fail("attribute 'kernel_shape' must have one value for each spatial axis");
  }
  return with_outer_axes(n, window_attrs(n, spatial, kernel, n.flag("ceil_mode", false)));
}

ValueId window_sum(NodeImport& n, ValueId x, const WindowAttrs& w) {
  return n.b.value(Op::window_sum, {x}, to_attrs(w));
}

// Flat index in row-major order to flat index with the spatial axes in reversed order.
ValueId column_major(NodeImport& n, ValueId index, ValueId x) {
  const Dims spatial = spatial_of(n, x);
  const DType t = DType::kInt64;
  const ValueId plane = n.extent_value(n.dims().product(spatial), t);
  ValueId rest = n.binary(Op::mod, index, plane);
  ValueId result = n.sub(index, rest);
  Values coordinates(spatial.size());
  for (size_t i = spatial.size(); i-- > 0;) {
    const ValueId extent = n.extent_value(spatial[i], t);
    coordinates[i] = n.binary(Op::mod, rest, extent);
    rest = n.binary(Op::floor_div, rest, extent);
  }
  DimId stride = n.dim(1);
  for (size_t i = 0; i < spatial.size(); ++i) {
    result = n.add(result, n.mul(coordinates[i], n.extent_value(stride, t)));
    stride = n.dims().mul(stride, spatial[i]);
  }
  return result;
}

void import_max_pool(NodeImport& n) {
  const ValueId x = n.in(0);
  const WindowAttrs w = pool_attrs(n, x);
  n.out(0, n.b.value(Op::window_max, {x}, to_attrs(w)));
  if (!n.wants(1)) return;
  const ValueId index = n.b.value(Op::window_argmax, {x}, to_attrs(w));
  n.out(1, n.flag("storage_order", false) ? column_major(n, index, x) : index);
}

bool no_padding(NodeImport& n, const WindowAttrs& w) {
  for (const Dims* list : {&w.low, &w.high}) {
    for (DimId d : *list) {
      const auto value = n.dims().constant_value(d);
      if (!value || *value > 0) return false;
    }
  }
  return true;
}

void import_average_pool(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const WindowAttrs w = pool_attrs(n, x);
  const ValueId sums = window_sum(n, x, w);
  const bool include = n.flag("count_include_pad", false);
  const int64_t elements =
      std::accumulate(w.kernel.begin(), w.kernel.end(), int64_t{1},
                      [](int64_t a, int64_t b) { return a > INT32_MAX ? a : a * b; });
  ValueId count = n.like(x, static_cast<double>(elements));
  if (!no_padding(n, w) && !(include && !n.flag("ceil_mode", false))) {
    // How many positions of each window count: those within the input, and, if asked for, within
    // the padding the node gives (not what ceil_mode adds).
    WindowAttrs c = w;
    Dims shape = n.shape(x);
    shape[0] = shape[1] = n.dim(1);
    if (include) {
      const WindowAttrs given =
          with_outer_axes(n, window_attrs(n, spatial_of(n, x), n.ints("kernel_shape"), false));
      for (size_t i = 0; i < shape.size(); ++i) {
        shape[i] = n.dims().add(shape[i], n.dims().add(given.low[i], given.high[i]));
        c.low[i] = n.dim(0);
        c.high[i] = n.dims().sub(w.high[i], given.high[i]);
      }
    }
    count = window_sum(n, n.full(n.dtype(x), shape, 1), c);
  }
  n.out(n.cast(n.div(sums, count), n.dtype(n.in(0))));
}

// x^p for p 1 and 2 without pow.
ValueId abs_power(NodeImport& n, ValueId x, int64_t p) {
  if (p == 2) return n.square(x);
  x = n.unary(Op::abs, x);
  return p == 1 ? x : n.binary(Op::pow, x, n.like(x, static_cast<double>(p)));
}

ValueId root(NodeImport& n, ValueId x, int64_t p) {
  if (p == 1) return x;
  if (p == 2) return n.unary(Op::sqrt, x);
  return n.binary(Op::pow, x, n.like(x, 1 / static_cast<double>(p)));
}

int64_t power(NodeImport& n) {
  const int64_t p = n.integer("p", 2);
  if (p < 1) n.unsupported("p = " + std::to_string(p));
  return p;
}

void import_lp_pool(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  const int64_t p = power(n);
  const ValueId sums = window_sum(n, abs_power(n, x, p), pool_attrs(n, x));
  n.out(n.cast(root(n, sums, p), n.dtype(n.in(0))));
}

void import_global_average(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  spatial_of(n, x);
  n.out(n.cast(n.mean(x, spatial_axes(n, x), true), n.dtype(n.in(0))));
}

void import_global_max(NodeImport& n) {
  spatial_of(n, n.in(0));
  n.out(n.reduce(Op::reduce_max, n.in(0), spatial_axes(n, n.in(0)), true));
}

void import_global_lp(NodeImport& n) {
  const ValueId x = n.widen(n.in(0));
  spatial_of(n, x);
  const int64_t p = power(n);
  const ValueId sums = n.reduce(Op::reduce_sum, abs_power(n, x, p), spatial_axes(n, x), true);
  n.out(n.cast(root(n, sums, p), n.dtype(n.in(0))));
}

// Puts each element at the flat index that max-pooling found it at.
void import_max_unpool(NodeImport& n) {
  const ValueId x = n.in(0);
  const Dims spatial = spatial_of(n, x);
  const Ints kernel = n.ints("kernel_shape");
  if (kernel.size() != spatial.size()) {
    n.fail("attribute 'kernel_shape' must have one value for each spatial axis");
  }
  const WindowAttrs w = window_attrs(n, spatial, kernel, false);
  DimTable& d = n.dims();
  Dims shape = n.shape(x);
  for (size_t i = 0; i < spatial.size(); ++i) {
    const DimId steps = d.mul(d.sub(spatial[i], n.dim(1)), n.dim(w.strides[i]));
    shape[i + 2] = d.sub(d.add(steps, n.dim(kernel[i])), d.add(w.low[i], w.high[i]));
  }
  const ValueId zeros = n.full(n.dtype(x), {d.product(shape)}, 0);
  ValueId y = n.b.value(Op::scatter_elements, {zeros, n.flatten(n.in(1)), n.flatten(x)},
                        {{AttrKey::axis, int64_t{0}}});
  y = n.reshape(y, shape);
  if (n.has(2)) {
    const Dims wanted = n.extents_of(n.in(2), "unpool");
    if (wanted.size() != shape.size()) n.fail("MaxUnpool: output_shape has another rank");
    Dims low(shape.size(), n.dim(0)), high;
    for (size_t i = 0; i < shape.size(); ++i) high.push_back(d.sub(wanted[i], shape[i]));
    y = n.pad(y, n.like(y, 0), low, high);
  }
  n.out(y);
}

constexpr OpRow kRows[] = {
    {"AveragePool", import_average_pool,
     "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides"},
    {"GlobalAveragePool", import_global_average, ""},
    {"GlobalLpPool", import_global_lp, "p"},
    {"GlobalMaxPool", import_global_max, ""},
    {"LpPool", import_lp_pool, "auto_pad ceil_mode dilations kernel_shape p pads strides"},
    {"MaxPool", import_max_pool,
     "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"},
    {"MaxUnpool", import_max_unpool, "kernel_shape pads strides"},
};

}  // namespace

std::span<const OpRow> pool_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
