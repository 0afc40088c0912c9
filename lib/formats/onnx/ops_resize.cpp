// Resize and Upsample, one axis after the other. Along an axis every result element is a sum of
// `taps` input elements with weights; index and weight are small tensors along that axis, computed in
// the graph (and folded where the extents are known).

#include <algorithm>
#include <cmath>
#include <numeric>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

constexpr DType kReal = DType::kFloat64;  // of coordinates

struct ResizeAttrs {
  std::string mode;
  std::string coordinates;
  std::string nearest;
  double cubic_a = -0.75;
  double extrapolation = 0;
  bool exclude_outside = false;
  bool antialias = false;
};

struct AxisResize {
  int64_t axis = 0;
  DimId out;
  ValueId scale;                      // a double scalar
  std::optional<double> known_scale;  // the same, if known when compiling
  ValueId roi_start, roi_end;         // double scalars; tf_crop_and_resize only
};

ResizeAttrs read_attrs(NodeImport& n) {
  ResizeAttrs a;
  a.mode = n.text("mode", "nearest");
  const bool old = n.opset() < 11;
  a.coordinates = n.text("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  a.nearest = n.text("nearest_mode", old ? "floor" : "round_prefer_floor");
  a.cubic_a = n.real("cubic_coeff_a", -0.75);
  a.extrapolation = n.real("extrapolation_value", 0);
  a.exclude_outside = n.flag("exclude_outside", false);
  a.antialias = n.flag("antialias", false);
  static constexpr std::string_view kCoordinates[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
  static constexpr std::string_view kNearest[] = {"round_prefer_floor", "round_prefer_ceil",
                                                  "floor", "ceil"};
  const auto known = [](const auto& list, const std::string& word) {
    return std::find(std::begin(list), std::end(list), word) != std::end(list);
  };
  if (a.mode != "nearest" && a.mode != "linear" && a.mode != "cubic") {
    n.unsupported("mode '" + a.mode + "'");
  }
  if (!known(kCoordinates, a.coordinates)) n.unsupported("coordinates '" + a.coordinates + "'");
  if (!known(kNearest, a.nearest)) n.unsupported("nearest_mode '" + a.nearest + "'");
  return a;
}

ValueId real(NodeImport& n, double v) { return n.b.scalar(kReal, v); }

// Where result element i samples the input: a double tensor along the axis, rank 1.
ValueId coordinates(NodeImport& n, const ResizeAttrs& a, const AxisResize& r, DimId in) {
  const ValueId i = n.iota(kReal, {r.out}, 0);
  const ValueId size_in = n.extent_value(in, kReal);
  const ValueId width = n.mul(r.scale, size_in);  // of the result, before rounding
  const ValueId last = n.sub(size_in, 1.0);
  const auto or_if_one = [&](ValueId x, ValueId if_one) {
    return n.where(n.compare(Op::eq, width, 1), if_one, x);
  };
  const auto half_pixel = [&] { return n.sub(n.div(n.add(i, 0.5), r.scale), 0.5); };
  if (a.coordinates == "asymmetric") return n.div(i, r.scale);
  if (a.coordinates == "half_pixel") return half_pixel();
  if (a.coordinates == "tf_half_pixel_for_nn") return n.div(n.add(i, 0.5), r.scale);
  if (a.coordinates == "pytorch_half_pixel") return or_if_one(half_pixel(), real(n, -0.5));
  if (a.coordinates == "align_corners") {
    return or_if_one(n.div(n.mul(i, last), n.sub(width, 1.0)), real(n, 0));
  }
  if (a.coordinates == "half_pixel_symmetric") {
    const ValueId adjustment = n.div(n.extent_value(r.out, kReal), width);
    const ValueId offset = n.mul(n.div(size_in, 2.0), n.sub(real(n, 1), adjustment));
    return n.add(offset, half_pixel());
  }
  const ValueId span = n.mul(n.sub(r.roi_end, r.roi_start), last);  // tf_crop_and_resize
  const ValueId x = or_if_one(n.div(n.mul(i, span), n.sub(width, 1.0)), n.div(span, 2.0));
  return n.add(x, n.mul(r.roi_start, last));
}

// The cubic convolution kernel at distance |x|.
ValueId cubic_weight(NodeImport& n, ValueId x, double a) {
  x = n.unary(Op::abs, x);
  const ValueId x2 = n.square(x), x3 = n.mul(x2, x);
  const ValueId near = n.add(n.sub(n.mul(x3, a + 2), n.mul(x2, a + 3)), 1.0);
  const ValueId far = n.sub(n.add(n.sub(n.mul(x3, a), n.mul(x2, 5 * a)), n.mul(x, 8 * a)), 4 * a);
  const ValueId outer = n.where(n.compare(Op::lt, x, 2), far, real(n, 0));
  return n.where(n.compare(Op::le, x, 1), near, outer);
}

ValueId linear_weight(NodeImport& n, ValueId x) {
  return n.max(n.sub(real(n, 1), n.unary(Op::abs, x)), 0.0);
}

ValueId nearest_index(NodeImport& n, const ResizeAttrs& a, ValueId x) {
  if (a.nearest == "floor") return n.unary(Op::floor, x);
  if (a.nearest == "ceil") return n.unary(Op::ceil, x);
  if (a.nearest == "round_prefer_floor") return n.unary(Op::ceil, n.sub(x, 0.5));
  return n.unary(Op::floor, n.add(x, 0.5));
}

// The tensor `v` (rank 1) along the axis that is resized.
ValueId along_axis(NodeImport& n, ValueId v, const AxisResize& r, int rank) {
  return n.along(v, r.axis, rank);
}

ValueId pick(NodeImport& n, ValueId x, ValueId position, const AxisResize& r, DimId in) {
  ValueId index = n.cast(position, DType::kInt64);
  index = n.min(n.max(index, 0.0), n.extent_value(n.dims().sub(in, n.dim(1)), DType::kInt64));
  return n.gather(x, index, r.axis);
}

ValueId interpolate(NodeImport& n, const ResizeAttrs& a, const AxisResize& r, ValueId x, ValueId at,
                    DimId in) {
  const bool cubic = a.mode == "cubic";
  // With antialias the kernel is stretched when the image shrinks.
  double stretch = 1;
  if (a.antialias) {
    if (!r.known_scale) n.unsupported("antialias with a scale that is not known when compiling");
    stretch = std::min(*r.known_scale, 1.0);
    if (!(stretch > 1.0 / 4096)) n.unsupported("a scale this small");
  }
  const double reach = (cubic ? 2 : 1) / stretch;
  const auto first = static_cast<int64_t>(std::floor(-reach)) + 1;
  const int64_t taps = 2 - 2 * first;
  const int rank = n.rank(x);
  const DType t = n.dtype(x);
  const ValueId base = n.unary(Op::floor, at);
  const ValueId fraction = n.sub(at, base);
  const bool exclude = a.exclude_outside && (cubic || a.antialias);
  std::vector<ValueId> positions, weights;
  ValueId total;
  for (int64_t k = first; k < first + taps; ++k) {
    const ValueId position = n.add(base, static_cast<double>(k));
    const ValueId distance = n.mul(n.sub(real(n, static_cast<double>(k)), fraction), stretch);
    ValueId w = cubic ? cubic_weight(n, distance, a.cubic_a) : linear_weight(n, distance);
    if (exclude) {
      const ValueId inside = n.binary(Op::bit_and, n.compare(Op::ge, position, 0),
                                      n.binary(Op::lt, position, n.extent_value(in, kReal)));
      w = n.where(inside, w, real(n, 0));
    }
    total = total.valid() ? n.add(total, w) : w;
    positions.push_back(position);
    weights.push_back(w);
  }
  ValueId sum;
  for (size_t k = 0; k < positions.size(); ++k) {
    ValueId w = weights[k];
    if (exclude || a.antialias) w = n.div(w, total);
    const ValueId term =
        n.mul(pick(n, x, positions[k], r, in), along_axis(n, n.cast(w, t), r, rank));
    sum = sum.valid() ? n.add(sum, term) : term;
  }
  return sum;
}

// True if every element is repeated `factor` times: then no index is needed.
bool is_repetition(const ResizeAttrs& a, const AxisResize& r) {
  if (a.mode != "nearest" || !r.known_scale) return false;
  const double s = *r.known_scale;
  if (s != std::floor(s) || s < 1 || s > 65536) return false;
  const bool rounds = a.nearest == "round_prefer_floor" || a.nearest == "round_prefer_ceil";
  return (a.coordinates == "asymmetric" && a.nearest == "floor") ||
         (a.coordinates == "half_pixel" && rounds);
}

ValueId repeat(NodeImport& n, const AxisResize& r, ValueId x) {
  const auto a = static_cast<size_t>(r.axis);
  Dims to = n.shape(x), spread = to;
  Ints axes;
  for (size_t i = 0; i < to.size(); ++i) axes.push_back(static_cast<int64_t>(i + (i > a)));
  spread.insert(spread.begin() + r.axis + 1, n.dim(static_cast<int64_t>(*r.known_scale)));
  to[a] = r.out;
  return n.reshape(n.place(x, spread, axes), to);
}

ValueId resize_axis(NodeImport& n, const ResizeAttrs& a, const AxisResize& r, ValueId x) {
  const DimId in = n.extent(x, r.axis);
  if (is_repetition(a, r) &&
      r.out == n.dims().mul(in, n.dim(static_cast<int64_t>(*r.known_scale)))) {
    return repeat(n, r, x);
  }
  const ValueId at = coordinates(n, a, r, in);
  ValueId y = a.mode == "nearest" ? pick(n, x, nearest_index(n, a, at), r, in)
                                  : interpolate(n, a, r, x, at, in);
  if (a.coordinates == "tf_crop_and_resize") {
    const ValueId last = n.sub(n.extent_value(in, kReal), 1.0);
    const ValueId outside =
        n.binary(Op::bit_or, n.compare(Op::lt, at, 0), n.binary(Op::gt, at, last));
    y = n.where(along_axis(n, outside, r, n.rank(x)), n.like(y, a.extrapolation), y);
  }
  return y;
}

// floor(in * scale) as an extent; binary fractions stay symbolic, others are computed at run time.
DimId scaled_extent(NodeImport& n, DimId in, ValueId scale, std::optional<double> known) {
  if (known && *known > 0 && *known < 1e6) {
    if (const auto extent = n.dims().constant_value(in)) {
      return n.dim(static_cast<int64_t>(std::floor(static_cast<double>(*extent) * *known)));
    }
    for (int64_t q = 1; q <= 1024; q *= 2) {
      const double p = *known * static_cast<double>(q);
      if (p != std::floor(p)) continue;
      return n.dims().floor_div(n.dims().mul(in, n.dim(static_cast<int64_t>(p))), n.dim(q));
    }
  }
  const ValueId size = n.unary(Op::floor, n.mul(n.extent_value(in, kReal), scale));
  return n.extents_from(n.reshape(n.cast(size, DType::kInt64), {n.dim(1)}), "resize")[0];
}

ValueId element(NodeImport& n, ValueId list, int64_t i) {
  return n.reshape(n.slice_axis(list, 0, n.dim(i), n.dim(1)), {});
}

bool is_empty(NodeImport& n, size_t input) {
  if (!n.has(input)) return true;
  return n.rank(n.in(input)) == 1 && n.static_extent(n.in(input), 0) == 0;
}

std::vector<AxisResize> by_scales(NodeImport& n, ValueId scales, const Ints& axes) {
  if (n.rank(scales) != 1 || n.static_extent(scales, 0) != static_cast<int64_t>(axes.size())) {
    n.fail("Resize: one scale for each axis is needed");
  }
  const auto known = n.known_reals(scales);
  std::vector<AxisResize> list;
  for (size_t i = 0; i < axes.size(); ++i) {
    AxisResize r;
    r.axis = axes[i];
    if (known) r.known_scale = (*known)[i];
    r.scale =
        known ? real(n, (*known)[i]) : n.cast(element(n, scales, static_cast<int64_t>(i)), kReal);
    if (known && !(*r.known_scale > 0)) n.fail("Resize: a scale is not positive");
    r.out = scaled_extent(n, n.extent(n.in(0), r.axis), r.scale, r.known_scale);
    list.push_back(r);
  }
  return list;
}

// Sizes that keep the aspect ratio: one scale for all axes.
void keep_ratio(NodeImport& n, const std::string& policy, const Ints& axes, Dims* sizes,
                std::optional<double>* scale) {
  double best = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto in = n.static_extent(n.in(0), axes[i]);
    const auto out = n.dims().constant_value((*sizes)[i]);
    if (!in || !out || *in == 0) n.unsupported("keep_aspect_ratio_policy with symbolic extents");
    const double s = static_cast<double>(*out) / static_cast<double>(*in);
    const bool better = policy == "not_larger" ? s < best : s > best;
    if (i == 0 || better) best = s;
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto in = static_cast<double>(*n.static_extent(n.in(0), axes[i]));
    (*sizes)[i] = n.dim(static_cast<int64_t>(std::floor(best * in + 0.5)));
  }
  *scale = best;
}

std::vector<AxisResize> by_sizes(NodeImport& n, ValueId sizes_value, const Ints& axes) {
  Dims sizes = n.extents_of(sizes_value, "resize");
  if (sizes.size() != axes.size()) n.fail("Resize: one size for each axis is needed");
  const std::string policy = n.text("keep_aspect_ratio_policy", "stretch");
  std::optional<double> common;
  if (policy == "not_larger" || policy == "not_smaller") {
    keep_ratio(n, policy, axes, &sizes, &common);
  } else if (policy != "stretch") {
    n.unsupported("keep_aspect_ratio_policy '" + policy + "'");
  }
  std::vector<AxisResize> list;
  for (size_t i = 0; i < axes.size(); ++i) {
    AxisResize r;
    r.axis = axes[i];
    r.out = sizes[i];
    const DimId in = n.extent(n.in(0), r.axis);
    const auto known_in = n.dims().constant_value(in), known_out = n.dims().constant_value(r.out);
    if (common) {
      r.known_scale = common;
    } else if (known_in && known_out && *known_in > 0) {
      r.known_scale = static_cast<double>(*known_out) / static_cast<double>(*known_in);
    }
    r.scale = r.known_scale ? real(n, *r.known_scale)
                            : n.div(n.extent_value(r.out, kReal), n.extent_value(in, kReal));
    list.push_back(r);
  }
  return list;
}

void resize_all(NodeImport& n, const ResizeAttrs& a, const std::vector<AxisResize>& list) {
  ValueId x = n.widen(n.in(0));
  const DType t = n.dtype(n.in(0));
  if (a.mode != "nearest" && !is_float(t)) x = n.cast(x, DType::kFloat32);
  for (const AxisResize& r : list) {
    const bool same = r.out == n.extent(x, r.axis) && a.coordinates != "tf_crop_and_resize" &&
                      (!r.known_scale || *r.known_scale == 1);
    if (!same) x = resize_axis(n, a, r, x);
  }
  n.out(n.cast(x, t));
}

void import_resize(NodeImport& n) {
  const int rank = n.rank(n.in(0));
  const ResizeAttrs a = read_attrs(n);
  Ints axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  if (n.has_attribute("axes")) {
    axes = n.ints("axes");
    for (int64_t& axis : axes) axis = n.axis(axis, rank);
  }
  if (n.opset() < 11) return resize_all(n, a, by_scales(n, n.in(1), axes));
  const bool has_scales = !is_empty(n, 2), has_sizes = !is_empty(n, 3);
  if (has_scales == has_sizes) n.fail("Resize: either scales or sizes must be given");
  std::vector<AxisResize> list =
      has_scales ? by_scales(n, n.in(2), axes) : by_sizes(n, n.in(3), axes);
  if (a.coordinates == "tf_crop_and_resize") {
    const auto count = static_cast<int64_t>(axes.size());
    if (!n.has(1) || n.rank(n.in(1)) != 1 || n.static_extent(n.in(1), 0) != 2 * count) {
      n.fail("Resize: tf_crop_and_resize needs a region with two values for each axis");
    }
    for (int64_t i = 0; i < count; ++i) {
      auto& r = list[static_cast<size_t>(i)];
      r.roi_start = n.cast(element(n, n.in(1), i), kReal);
      r.roi_end = n.cast(element(n, n.in(1), i + count), kReal);
    }
  }
  resize_all(n, a, list);
}

void import_upsample(NodeImport& n) {
  const int rank = n.rank(n.in(0));
  ResizeAttrs a;
  a.mode = n.text("mode", "nearest");
  if (a.mode == "bilinear") a.mode = "linear";
  if (a.mode != "nearest" && a.mode != "linear") n.unsupported("mode '" + a.mode + "'");
  a.coordinates = "asymmetric";
  a.nearest = "floor";
  Ints axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  if (n.opset() >= 9) return resize_all(n, a, by_scales(n, n.in(1), axes));
  const std::vector<double> scales = n.reals("scales");
  if (scales.size() != axes.size()) n.fail("Upsample: one scale for each axis is needed");
  std::vector<AxisResize> list;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (!(scales[i] > 0)) n.fail("Upsample: a scale is not positive");
    AxisResize r;
    r.axis = axes[i];
    r.known_scale = scales[i];
    r.scale = real(n, scales[i]);
    r.out = scaled_extent(n, n.extent(n.in(0), r.axis), r.scale, r.known_scale);
    list.push_back(r);
  }
  resize_all(n, a, list);
}

constexpr OpRow kRows[] = {
    {"Resize", import_resize,
     "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside "
     "extrapolation_value keep_aspect_ratio_policy mode nearest_mode"},
    {"Upsample", import_upsample, "mode scales"},
};

}  // namespace

std::span<const OpRow> resize_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
