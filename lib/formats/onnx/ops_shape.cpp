// Constants, shapes and layout: what moves or makes elements without looking at them. Extents that the
// model computes are folded where they are shape arithmetic, else bound at run time.

#include <algorithm>
#include <numeric>

#include "gcomp/support/error.h"
#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

// "To the end", as exporters write it: INT_MAX, INT64_MAX or a billion.
constexpr int64_t kFar = 1000000000;

void import_constant(NodeImport& n) {
  const auto floats = [&](const std::vector<double>& values, std::vector<int64_t> shape) {
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    auto* data = reinterpret_cast<float*>(bytes.data());
    for (size_t i = 0; i < values.size(); ++i) data[i] = static_cast<float>(values[i]);
    return n.b.constant(make_constant(DType::kFloat32, std::move(shape), std::move(bytes)));
  };
  if (n.has_attribute("value")) return n.out(n.b.constant(n.tensor("value")));
  if (n.has_attribute("value_float")) return n.out(floats({n.real("value_float", 0)}, {}));
  if (n.has_attribute("value_floats")) {
    const auto values = n.reals("value_floats");
    return n.out(floats(values, {static_cast<int64_t>(values.size())}));
  }
  if (n.has_attribute("value_int")) {
    return n.out(n.b.scalar_int(DType::kInt64, n.integer("value_int", 0)));
  }
  if (n.has_attribute("value_ints")) return n.out(n.b.int64s(n.ints("value_ints")));
  n.unsupported("a constant that is a string or sparse");
}

void import_constant_of_shape(NodeImport& n) {
  ValueId value = n.b.scalar(DType::kFloat32, 0);
  if (n.has_attribute("value")) value = n.reshape(n.b.constant(n.tensor("value")), {});
  const Dims to = n.extents_from(n.in(0), "n");
  n.out(n.place(value, to, {}));
}

void import_identity(NodeImport& n) { n.out(n.in(0)); }

// A tensor always has its element; optional types themselves are not supported.
void import_has_element(NodeImport& n) { n.out(n.b.scalar_int(DType::kBool, n.has(0) ? 1 : 0)); }

void import_shape(NodeImport& n) {
  const Dims all = n.shape(n.in(0));
  const auto rank = static_cast<int64_t>(all.size());
  const auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  const int64_t start = clamp(n.integer("start", 0));
  const int64_t end = std::max(start, clamp(n.integer("end", rank)));
  n.out(n.shape_value(Dims(all.begin() + start, all.begin() + end)));
}

void import_size(NodeImport& n) { n.out(n.extent_value(n.num_elements(n.in(0)), DType::kInt64)); }

// ---- Reshape ----

// The extents when the elements of `shape` are known expressions.
Dims known_reshape(NodeImport& n, const Dims& wanted, bool allow_zero) {
  DimTable& dims = n.dims();
  const Dims from = n.shape(n.in(0));
  Dims to = wanted;
  std::optional<size_t> rest;
  DimId others = n.dim(1);
  for (size_t i = 0; i < to.size(); ++i) {
    if (dims.is_constant(to[i], -1)) {
      if (rest) n.fail("Reshape: -1 occurs twice");
      rest = i;
      continue;
    }
    if (dims.is_constant(to[i], 0) && !allow_zero) {
      if (i >= from.size()) n.fail("Reshape: 0 at an axis that the input does not have");
      to[i] = from[i];
    }
    others = dims.mul(others, to[i]);
  }
  if (rest) to[*rest] = dims.floor_div(n.num_elements(n.in(0)), others);
  return to;
}

// The same computed at run time.
Dims computed_reshape(NodeImport& n, ValueId shape, bool allow_zero) {
  const Dims from = n.shape(n.in(0));
  const auto rank = n.static_extent(shape, 0);
  if (!rank) n.fail("Reshape: the length of 'shape' must be known when compiling");
  shape = n.cast(shape, DType::kInt64);
  if (!allow_zero) {
    Dims copied = from;
    copied.resize(static_cast<size_t>(*rank), n.dim(0));
    shape = n.where(n.compare(Op::eq, shape, 0), n.shape_value(copied), shape);
  }
  const ValueId is_rest = n.compare(Op::eq, shape, -1);
  const ValueId others =
      n.reduce(Op::reduce_prod, n.where(is_rest, n.like(shape, 1), shape), {0}, false);
  const ValueId rest = n.div(n.extent_value(n.num_elements(n.in(0)), DType::kInt64), others);
  return n.extents_from(n.where(is_rest, rest, shape), "reshape");
}

void import_reshape(NodeImport& n) {
  const bool allow_zero = n.flag("allowzero", false);
  const ValueId shape = n.in(1);
  if (const auto known = n.b.dim_values(shape)) {
    return n.out(n.reshape(n.in(0), known_reshape(n, *known, allow_zero)));
  }
  n.out(n.reshape(n.in(0), computed_reshape(n, shape, allow_zero)));
}

void import_flatten(NodeImport& n) {
  const Dims from = n.shape(n.in(0));
  const int rank = n.rank(n.in(0));
  const int64_t axis = n.integer("axis", 1) == rank ? rank : n.axis(n.integer("axis", 1), rank);
  const Dims outer(from.begin(), from.begin() + axis), inner(from.begin() + axis, from.end());
  n.out(n.reshape(n.in(0), {n.dims().product(outer), n.dims().product(inner)}));
}

// The axes of an operator that has them as attribute in old opsets and as input in newer ones.
std::optional<Ints> axes_of(NodeImport& n, int64_t input_since) {
  if (n.opset() < input_since) {
    if (!n.has_attribute("axes")) return std::nullopt;
    return n.ints("axes");
  }
  if (!n.has(1)) return std::nullopt;
  return n.need_ints(n.in(1), "axes");
}

void import_squeeze(NodeImport& n) {
  const ValueId x = n.in(0);
  auto axes = axes_of(n, 13);
  if (!axes) {
    axes.emplace();
    for (int i = 0; i < n.rank(x); ++i) {
      if (n.static_extent(x, i) == 1) axes->push_back(i);
      if (!n.static_extent(x, i)) n.fail("Squeeze without axes needs known extents");
    }
  }
  axes = n.axes(*axes, n.rank(x));
  for (int64_t a : *axes) {
    const auto have = n.static_extent(x, a);
    if (have && *have != 1) n.fail("Squeeze: axis " + std::to_string(a) + " is not of extent 1");
  }
  n.out(n.squeeze(x, *axes));
}

void import_unsqueeze(NodeImport& n) {
  const auto axes = axes_of(n, 13);
  if (!axes) n.fail("Unsqueeze: axes are missing");
  if (axes->size() > 64) n.fail("Unsqueeze: too many axes");
  const int rank = n.rank(n.in(0)) + static_cast<int>(axes->size());
  n.out(n.unsqueeze(n.in(0), n.axes(*axes, rank)));
}

void import_transpose(NodeImport& n) {
  Ints perm(static_cast<size_t>(n.rank(n.in(0))));
  std::iota(perm.rbegin(), perm.rend(), 0);
  n.out(n.b.value(Op::transpose, {n.in(0)}, {{AttrKey::perm, n.ints("perm", perm)}}));
}

// ---- Repeating ----

void import_expand(NodeImport& n) {
  const ValueId x = n.in(0);
  Dims to = n.extents_of(n.in(1), "expand");
  Dims from = n.shape(x);
  const size_t rank = std::max(to.size(), from.size());
  to.insert(to.begin(), rank - to.size(), n.dim(1));
  from.insert(from.begin(), rank - from.size(), n.dim(1));
  for (size_t i = 0; i < rank; ++i) to[i] = n.common_extent(from[i], to[i]);
  n.out(n.expand(x, to));
}

void import_tile(NodeImport& n) {
  const ValueId x = n.in(0);
  const Dims repeats = n.extents_of(n.in(1), "tile");
  const Dims from = n.shape(x);
  if (repeats.size() != from.size()) n.fail("Tile: one repeat for each axis is needed");
  Dims spread, to;
  Ints axes;
  for (size_t i = 0; i < from.size(); ++i) {
    spread.push_back(repeats[i]);
    spread.push_back(from[i]);
    axes.push_back(static_cast<int64_t>(2 * i + 1));
    to.push_back(n.dims().mul(repeats[i], from[i]));
  }
  if (to == from) return n.out(x);
  n.out(n.reshape(n.place(x, spread, axes), to));
}

// ---- Slice ----

struct SliceRange {
  DimId start;
  DimId extent;
};

// `index`, counted from the end where negative: index + (index < 0 ? extent : 0).
DimId from_end(NodeImport& n, DimId index, DimId extent) {
  DimTable& d = n.dims();
  const auto low = d.lower_bound(index), high = d.upper_bound(index);
  if (low && *low >= 0) return index;
  if (high && *high < 0) return d.add(index, extent);
  const DimId negative = d.min(d.max(d.sub(n.dim(0), index), n.dim(0)), n.dim(1));
  return d.add(index, d.mul(negative, extent));
}

// Elements of [start, end) with a step, as NumPy clamps them. An empty range may start anywhere.
SliceRange known_range(NodeImport& n, DimId start, DimId end, int64_t step, DimId extent) {
  DimTable& d = n.dims();
  const auto s = d.constant_value(start), e = d.constant_value(end);
  DimId first, length;
  if (step > 0) {
    first = s && *s >= 0 ? start : d.max(from_end(n, start, extent), n.dim(0));
    const DimId last = e && *e >= kFar ? extent
                       : e && *e < 0   ? d.add(end, extent)
                                       : d.min(from_end(n, end, extent), extent);
    length = d.sub(last, first);
  } else {
    first = s && *s >= kFar ? d.sub(extent, n.dim(1))
                            : d.min(from_end(n, start, extent), d.sub(extent, n.dim(1)));
    const DimId last = e && *e <= -kFar ? n.dim(-1)
                       : e && *e >= 0   ? end
                                        : d.max(from_end(n, end, extent), n.dim(-1));
    length = d.sub(first, last);
  }
  const DimId steps = d.ceil_div(length, n.dim(step > 0 ? step : -step));
  return {first, d.max(steps, n.dim(0))};
}

// The same for values of run time: all of one axis each, int64[1].
SliceRange computed_range(NodeImport& n, ValueId start, ValueId end, int64_t step, DimId extent) {
  const ValueId size = n.extent_value(extent, DType::kInt64);
  const auto wrap = [&](ValueId i) { return n.where(n.compare(Op::lt, i, 0), n.add(i, size), i); };
  const auto clamp = [&](ValueId i, ValueId low, ValueId high) {
    return n.max(n.min(i, high), low);
  };
  const ValueId zero = n.b.scalar_int(DType::kInt64, 0), one = n.b.scalar_int(DType::kInt64, 1);
  ValueId first, length;
  if (step > 0) {
    first = clamp(wrap(start), zero, size);
    length = n.sub(clamp(wrap(end), zero, size), first);
  } else {
    const ValueId top = n.sub(size, one);
    first = clamp(wrap(start), zero, top);
    length = n.sub(first, clamp(wrap(end), n.b.scalar_int(DType::kInt64, -1), top));
  }
  const ValueId width = n.b.scalar_int(DType::kInt64, step > 0 ? step : -step);
  const ValueId steps = n.binary(Op::floor_div, n.add(length, n.sub(width, one)), width);
  const Dims bound = n.extents_from(n.concat({first, n.max(steps, zero)}, 0), "slice");
  return {bound[0], bound[1]};
}

void import_slice(NodeImport& n) {
  const ValueId x = n.in(0);
  const int rank = n.rank(x);
  const bool attributes = n.opset() < 10;
  const ValueId starts = attributes ? n.b.int64s(n.ints("starts")) : n.in(1);
  const ValueId ends = attributes ? n.b.int64s(n.ints("ends")) : n.in(2);
  const auto count = n.rank(starts) == 1 ? n.static_extent(starts, 0) : std::nullopt;
  if (!count || n.rank(ends) != 1 || n.static_extent(ends, 0) != count || *count > rank) {
    n.fail("Slice: starts and ends must be lists of one length, which is known when compiling");
  }
  Ints axes(static_cast<size_t>(*count)), steps(static_cast<size_t>(*count), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (attributes) axes = n.ints("axes", axes);
  if (!attributes && n.has(3)) axes = n.need_ints(n.in(3), "axes");
  if (!attributes && n.has(4)) steps = n.need_ints(n.in(4), "steps");
  if (axes.size() != steps.size() || axes.size() != static_cast<size_t>(*count)) {
    n.fail("Slice: starts, ends, axes and steps differ in length");
  }
  const auto known_starts = n.b.dim_values(starts);
  const auto known_ends = n.b.dim_values(ends);
  Dims first(static_cast<size_t>(rank), n.dim(0)), to = n.shape(x);
  Ints strides(static_cast<size_t>(rank), 1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = n.axis(axes[i], rank);
    const auto a = static_cast<size_t>(axis);
    if (steps[i] == 0) n.fail("Slice: a step is 0");
    if (steps[i] == INT64_MIN) n.fail("Slice: a step is out of range");
    SliceRange range;
    if (known_starts && known_ends) {
      range = known_range(n, (*known_starts)[i], (*known_ends)[i], steps[i], to[a]);
    } else {
      const auto element = [&](ValueId list) {
        return n.slice_axis(n.cast(list, DType::kInt64), 0, n.dim(static_cast<int64_t>(i)),
                            n.dim(1));
      };
      range = computed_range(n, element(starts), element(ends), steps[i], to[a]);
    }
    first[a] = range.start;
    to[a] = range.extent;
    strides[a] = steps[i];
    if (n.dims().is_constant(range.extent, 0)) first[a] = n.dim(0);
  }
  n.out(n.slice(x, first, to, strides));
}

void import_split(NodeImport& n) {
  const ValueId x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), n.rank(x));
  const auto parts = static_cast<int64_t>(n.num_outputs());
  Dims sizes;
  if (n.opset() < 13 && n.has_attribute("split")) {
    sizes = n.dim_list(n.ints("split"));
  } else if (n.opset() >= 13 && n.has(1)) {
    sizes = n.extents_of(n.in(1), "split");
  } else {
    // Equal parts; the last may be smaller.
    const DimId size = n.dims().ceil_div(n.extent(x, axis), n.dim(parts));
    sizes.assign(static_cast<size_t>(parts - 1), size);
    sizes.push_back(n.dims().sub(n.extent(x, axis), n.dims().mul(size, n.dim(parts - 1))));
  }
  if (sizes.size() != n.num_outputs()) n.fail("Split: one size for each output is needed");
  DimId start = n.dim(0);
  for (size_t i = 0; i < sizes.size(); ++i) {
    n.out(i, n.slice_axis(x, axis, start, sizes[i]));
    start = n.dims().add(start, sizes[i]);
  }
}

void import_concat(NodeImport& n) {
  if (n.num_inputs() == 0) n.fail("Concat: no inputs");
  Values parts;
  for (size_t i = 0; i < n.num_inputs(); ++i) parts.push_back(n.in(i));
  if (!n.has_attribute("axis")) n.fail("Concat: attribute 'axis' is missing");
  n.out(n.concat(parts, n.axis(n.integer("axis", 0), n.rank(parts[0]))));
}

// ---- Pad ----

// Index of the element of an axis of `extent` that fills position i, i counted from -low.
ValueId padded_index(NodeImport& n, const std::string& mode, DimId low, DimId extent, DimId total) {
  const DType t = DType::kInt64;
  ValueId i = n.sub(n.iota(t, {total}, 0), n.extent_value(low, t));
  const ValueId size = n.extent_value(extent, t);
  if (mode == "edge") return n.max(n.min(i, n.sub(size, 1.0)), 0.0);
  if (mode == "wrap") return n.binary(Op::mod, i, size);
  const ValueId period = n.mul(n.sub(size, 1.0), 2.0);  // reflect
  const ValueId m = n.binary(Op::mod, i, period);
  return n.min(m, n.sub(period, m));
}

void import_pad(NodeImport& n) {
  const ValueId x = n.in(0);
  const int rank = n.rank(x);
  const std::string mode = n.text("mode", "constant");
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "wrap") {
    n.unsupported("mode '" + mode + "'");
  }
  Dims pads;
  if (n.opset() < 11) {
    pads = n.dim_list(n.ints(n.has_attribute("pads") ? "pads" : "paddings"));
  } else {
    pads = n.extents_of(n.in(1), "pad");
  }
  Ints axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  if (n.has(3)) axes = n.need_ints(n.in(3), "axes");
  if (pads.size() != 2 * axes.size()) n.fail("Pad: two paddings for each axis are needed");
  Dims low(static_cast<size_t>(rank), n.dim(0)), high = low;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(n.axis(axes[i], rank));
    low[a] = pads[i];
    high[a] = pads[i + axes.size()];
  }
  if (mode == "constant") {
    ValueId fill = n.opset() < 11 ? n.like(x, n.real("value", 0)) : n.like(x, 0);
    if (n.opset() >= 11 && n.has(2)) fill = n.reshape(n.in(2), {});
    return n.out(n.pad(x, fill, low, high));
  }
  ValueId result = x;
  for (int axis = 0; axis < rank; ++axis) {
    const auto a = static_cast<size_t>(axis);
    if (n.dims().is_constant(low[a], 0) && n.dims().is_constant(high[a], 0)) continue;
    const DimId extent = n.extent(x, axis);
    const DimId total = n.dims().add(extent, n.dims().add(low[a], high[a]));
    result = n.gather(result, padded_index(n, mode, low[a], extent, total), axis);
  }
  n.out(result);
}

// Crops or pads around the middle.
void import_center_crop_pad(NodeImport& n) {
  ValueId x = n.in(0);
  const Dims wanted = n.extents_of(n.in(1), "size");
  Ints axes(static_cast<size_t>(n.rank(x)));
  std::iota(axes.begin(), axes.end(), 0);
  axes = n.ints("axes", axes);
  if (axes.size() != wanted.size()) n.fail("CenterCropPad: one extent for each axis is needed");
  DimTable& d = n.dims();
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = n.axis(axes[i], n.rank(x));
    const auto a = static_cast<size_t>(axis);
    const DimId have = n.extent(x, axis);
    const DimId cropped = d.min(have, wanted[i]);
    x = n.slice_axis(x, axis, d.floor_div(d.sub(have, cropped), n.dim(2)), cropped);
    const DimId missing = d.sub(wanted[i], cropped);
    Dims low(n.shape(x).size(), n.dim(0)), high = low;
    low[a] = d.floor_div(missing, n.dim(2));
    high[a] = d.sub(missing, low[a]);
    x = n.pad(x, n.like(x, 0), low, high);
  }
  n.out(x);
}

// ---- Ranges and masks ----

void import_range(NodeImport& n) {
  const DType t = n.dtype(n.in(0));
  const ValueId start = n.reshape(n.in(0), {}), delta = n.reshape(n.in(2), {});
  const ValueId limit = n.reshape(n.in(1), {});
  DimTable& d = n.dims();
  DimId count;
  const auto known_start = n.b.dim_values(start), known_limit = n.b.dim_values(limit);
  const auto step = n.known_ints(delta);
  if (step && known_start && known_limit && (*step)[0] != 0 && (*step)[0] != INT64_MIN) {
    const int64_t by = (*step)[0];
    const DimId length = by > 0 ? d.sub((*known_limit)[0], (*known_start)[0])
                                : d.sub((*known_start)[0], (*known_limit)[0]);
    count = d.max(d.ceil_div(length, n.dim(by > 0 ? by : -by)), n.dim(0));
  } else {
    ValueId number;
    if (is_float(t)) {
      number = n.unary(Op::ceil, n.div(n.sub(n.widen(limit), n.widen(start)), n.widen(delta)));
      number = n.cast(number, DType::kInt64);
    } else {  // the ceiling is the negated floor of the negated quotient
      number = n.cast(n.unary(Op::neg, n.binary(Op::floor_div, n.sub(start, limit), delta)),
                      DType::kInt64);
    }
    count = n.extents_from(n.reshape(n.max(number, 0.0), {n.dim(1)}), "range")[0];
  }
  // A short known range is a constant: it may hold axes.
  const auto length = d.constant_value(count);
  const auto first = n.known_ints(start);
  if (step && first && length && *length <= 64 && (t == DType::kInt64 || t == DType::kInt32)) {
    Ints values;
    for (int64_t i = 0; i < *length; ++i) {
      values.push_back(
          static_cast<int64_t>(static_cast<uint64_t>((*first)[0]) +
                               static_cast<uint64_t>(i) * static_cast<uint64_t>((*step)[0])));
    }
    const ValueId list = n.b.int64s(values);
    return n.out(n.cast(list, t));
  }
  n.out(n.add(start, n.mul(n.iota(t, {count}, 0), delta)));
}

// column - row of every element of the matrices of `shape`.
ValueId diagonal_number(NodeImport& n, const Dims& shape) {
  const auto rank = static_cast<int64_t>(shape.size());
  if (rank < 2) n.fail("the input must be a matrix");
  const Dims matrix(shape.end() - 2, shape.end());
  return n.sub(n.iota(DType::kInt64, matrix, 1), n.iota(DType::kInt64, matrix, 0));
}

void import_eye_like(NodeImport& n) {
  const DType t = n.dtype_attribute("dtype", n.dtype(n.in(0)));
  const double k = static_cast<double>(n.integer("k", 0));
  n.out(n.cast(n.compare(Op::eq, diagonal_number(n, n.shape(n.in(0))), k), t));
}

void import_trilu(NodeImport& n) {
  const ValueId x = n.in(0);
  const ValueId k = n.has(1) ? n.reshape(n.in(1), {}) : n.b.scalar_int(DType::kInt64, 0);
  const ValueId diagonal = diagonal_number(n, n.shape(x));
  const ValueId keep = n.binary(n.flag("upper", true) ? Op::ge : Op::le, diagonal, k);
  n.out(n.where(keep, x, n.like(x, 0)));
}

// ---- Blocks ----

void import_depth_to_space(NodeImport& n) {
  const ValueId x = n.in(0);
  if (n.rank(x) != 4) n.fail("DepthToSpace: the input must have rank 4");
  const Dims s = n.shape(x);
  const int64_t block = n.integer("blocksize", 0);
  if (block < 1 || block > 65536) n.fail("DepthToSpace: bad blocksize");
  const std::string mode = n.text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") n.unsupported("mode '" + mode + "'");
  DimTable& d = n.dims();
  const DimId k = n.dim(block), c = d.floor_div(s[1], n.dim(block * block));
  ValueId y;
  if (mode == "DCR") {
    y = n.transpose(n.reshape(x, {s[0], k, k, c, s[2], s[3]}), {0, 3, 4, 1, 5, 2});
  } else {
    y = n.transpose(n.reshape(x, {s[0], c, k, k, s[2], s[3]}), {0, 1, 4, 2, 5, 3});
  }
  n.out(n.reshape(y, {s[0], c, d.mul(s[2], k), d.mul(s[3], k)}));
}

void import_space_to_depth(NodeImport& n) {
  const ValueId x = n.in(0);
  if (n.rank(x) != 4) n.fail("SpaceToDepth: the input must have rank 4");
  const Dims s = n.shape(x);
  const int64_t block = n.integer("blocksize", 0);
  if (block < 1 || block > 65536) n.fail("SpaceToDepth: bad blocksize");
  DimTable& d = n.dims();
  const DimId k = n.dim(block), h = d.floor_div(s[2], k), w = d.floor_div(s[3], k);
  const ValueId y = n.transpose(n.reshape(x, {s[0], s[1], h, k, w, k}), {0, 3, 5, 1, 2, 4});
  n.out(n.reshape(y, {s[0], d.mul(s[1], d.mul(k, k)), h, w}));
}

constexpr OpRow kRows[] = {
    {"CenterCropPad", import_center_crop_pad, "axes"},
    {"Concat", import_concat, "axis"},
    {"Constant", import_constant,
     "value value_float value_floats value_int value_ints value_string value_strings sparse_value"},
    {"ConstantOfShape", import_constant_of_shape, "value"},
    {"DepthToSpace", import_depth_to_space, "blocksize mode"},
    {"Expand", import_expand, ""},
    {"EyeLike", import_eye_like, "dtype k"},
    {"Flatten", import_flatten, "axis"},
    {"Identity", import_identity, ""},
    {"OptionalGetElement", import_identity, ""},
    {"OptionalHasElement", import_has_element, ""},
    {"Pad", import_pad, "mode pads paddings value"},
    {"Range", import_range, "stash_type"},
    {"Reshape", import_reshape, "allowzero"},
    {"Shape", import_shape, "start end"},
    {"Size", import_size, ""},
    {"Slice", import_slice, "starts ends axes"},
    {"SpaceToDepth", import_space_to_depth, "blocksize"},
    {"Split", import_split, "axis split num_outputs"},
    {"Squeeze", import_squeeze, "axes"},
    {"Tile", import_tile, ""},
    {"Transpose", import_transpose, "perm"},
    {"Trilu", import_trilu, "upper"},
    {"Unsqueeze", import_unsqueeze, "axes"},
};

}  // namespace

std::span<const OpRow> shape_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
