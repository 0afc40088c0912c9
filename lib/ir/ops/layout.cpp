// Layout ops: the same elements elsewhere. Nothing is computed; lowering turns them into index maps.

#include <algorithm>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

void infer_reshape(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  const DimId have = t.dims().product(x.dims), want = t.dims().product(shape);
  if (!t.compatible(have, want)) {
    t.fail("operand 0, " + t.show(x) + ", has " + t.dims().to_string(have) +
           " elements and the shape asked for, " + t.show({x.dtype, shape}) + ", has " +
           t.dims().to_string(want));
    return;
  }
  t.result(x.dtype, shape);
}

void infer_broadcast(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  const std::vector<int64_t>& axes = t.attrs().ints(AttrKey::axes);
  if (!check_count(t, AttrKey::axes, axes.size(), x.dims.size())) return;
  if (!check_axes(t, AttrKey::axes, axes, static_cast<int>(shape.size()))) return;
  const DimId one = t.dims().constant(1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const DimId target = shape[static_cast<size_t>(axes[i])];
    if (t.compatible(x.dims[i], one) || t.compatible(x.dims[i], target)) continue;
    t.fail("axis " + std::to_string(i) + " of operand 0, " + t.show(x) +
           ", cannot be repeated to extent " + t.dims().to_string(target) +
           ": only an extent of 1 repeats");
    return;
  }
  t.result(x.dtype, shape);
}

void infer_transpose(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<int64_t>& perm = t.attrs().ints(AttrKey::perm);
  if (!check_count(t, AttrKey::perm, perm.size(), x.dims.size())) return;
  std::vector<bool> seen(perm.size());
  std::vector<DimId> shape;
  for (int64_t axis : perm) {
    if (!t.check_axis(axis, x.rank())) return;
    if (!t.require(!seen[static_cast<size_t>(axis)], "attribute 'perm' names an axis twice"))
      return;
    seen[static_cast<size_t>(axis)] = true;
    shape.push_back(x.dims[static_cast<size_t>(axis)]);
  }
  t.result(x.dtype, std::move(shape));
}

// Whether index `at` is outside [0, extent) whatever the symbols are.
bool surely_outside(DimTable& dims, DimId at, DimId extent) {
  const auto index = dims.constant_value(at), length = dims.constant_value(extent);
  if (index && length) return *index < 0 || *index >= *length;
  const auto upper = dims.upper_bound(at);
  const auto beyond = dims.lower_bound(dims.sub(at, extent));
  return (upper && *upper < 0) || (beyond && *beyond >= 0);
}

void infer_slice(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<DimId>& starts = t.attrs().dims(AttrKey::starts);
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  const std::vector<int64_t>& strides = t.attrs().ints(AttrKey::strides);
  if (!check_count(t, AttrKey::starts, starts.size(), x.dims.size()) ||
      !check_count(t, AttrKey::shape, shape.size(), x.dims.size()) ||
      !check_count(t, AttrKey::strides, strides.size(), x.dims.size())) {
    return;
  }
  DimTable& dims = t.dims();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!t.require(strides[i] != 0, "attribute 'strides' has a 0")) return;
    const auto least = dims.lower_bound(shape[i]);
    if (!least || *least < 1) continue;
    const DimId steps = dims.sub(shape[i], dims.constant(1));
    const DimId last = dims.add(starts[i], dims.mul(steps, dims.constant(strides[i])));
    if (surely_outside(dims, starts[i], x.dims[i]) || surely_outside(dims, last, x.dims[i])) {
      t.fail("the slice of axis " + std::to_string(i) + " from " + dims.to_string(starts[i]) +
             " to " + dims.to_string(last) + " leaves operand 0, " + t.show(x));
      return;
    }
  }
  t.result(x.dtype, shape);
}

void infer_pad(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<DimId>& low = t.attrs().dims(AttrKey::low);
  const std::vector<DimId>& high = t.attrs().dims(AttrKey::high);
  if (!check_scalar(t, 1, x.dtype)) return;
  if (!check_count(t, AttrKey::low, low.size(), x.dims.size()) ||
      !check_count(t, AttrKey::high, high.size(), x.dims.size())) {
    return;
  }
  std::vector<DimId> shape;
  for (size_t i = 0; i < low.size(); ++i) {
    shape.push_back(t.dims().add(x.dims[i], t.dims().add(low[i], high[i])));
  }
  t.result(x.dtype, std::move(shape));
}

void infer_concat(TypeInference& t) {
  const Type& first = t.operand(0);
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  if (!t.check_axis(axis, first.rank())) return;
  std::vector<DimId> shape = first.dims;
  for (int i = 1; i < t.num_operands(); ++i) {
    if (!check_same_dtype(t, 0, i) || !check_rank(t, i, first.rank())) return;
    for (int a = 0; a < first.rank(); ++a) {
      if (a != axis && !check_same_extent(t, 0, a, i, a)) return;
    }
    DimId& extent = shape[static_cast<size_t>(axis)];
    extent = t.dims().add(extent, t.operand(i).dims[static_cast<size_t>(axis)]);
  }
  t.result(first.dtype, std::move(shape));
}

void infer_reverse(TypeInference& t) {
  const Type& x = t.operand(0);
  if (!check_axes(t, AttrKey::axes, t.attrs().ints(AttrKey::axes), x.rank())) return;
  t.result(x);
}

void infer_specify_shape(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  const Type wanted{x.dtype, shape};
  bool possible = shape.size() == x.dims.size();
  for (size_t i = 0; possible && i < shape.size(); ++i)
    possible = t.compatible(x.dims[i], shape[i]);
  if (!possible) {
    t.fail("operand 0 is " + t.show(x) + "; it can never be " + t.show(wanted));
    return;
  }
  t.result(wanted);
}

OpInfo row(Op op, int min_operands, int max_operands, std::string_view signature,
           std::string_view doc, std::vector<AttrSpec> attrs, void (*infer)(TypeInference&),
           uint32_t traits = 0) {
  return {.op = op,
          .min_operands = min_operands,
          .max_operands = max_operands,
          .num_results = 1,
          .traits = kLayout | traits,
          .signature = signature,
          .doc = doc,
          .attrs = std::move(attrs),
          .infer = infer};
}

}  // namespace

std::vector<OpInfo> layout_rows() {
  return {
      row(Op::reshape, 1, -1, "(x: T, carriers...) -> T[shape]",
          "The same elements in row-major order with other extents. Both have the same number of "
          "elements; where that is not provable it is checked at run time. Further operands are "
          "carriers.",
          {{AttrKey::shape, AttrKind::kDims, true, "extents of the result"}}, infer_reshape, kView),
      row(Op::broadcast, 1, -1, "(x: T, carriers...) -> T[shape]",
          "Axis i of x becomes axis axes[i] of the result; the other axes of the result, and those "
          "where x has extent 1, repeat. The extent of an axis of x is 1 or the result's; where "
          "neither is provable it is decided at run time (an extent of 1 repeats), and any other "
          "extent is a run-time error. Further operands are carriers.",
          {{AttrKey::axes, AttrKind::kInts, true,
            "for each axis of x its axis in the result, strictly increasing"},
           {AttrKey::shape, AttrKind::kDims, true, "extents of the result"}},
          infer_broadcast),
      row(Op::transpose, 1, 1, "(x: T) -> T",
          "Axes reordered: axis i of the result is axis perm[i] of x (NumPy's transpose).",
          {{AttrKey::perm, AttrKind::kInts, true, "a permutation of the axes"}}, infer_transpose),
      row(Op::slice, 1, -1, "(x: T, carriers...) -> T[shape]",
          "Element i along each axis is x's element start + i * stride, for i < extent in `shape`. "
          "All of them must be within x: a run-time error otherwise (an empty result touches "
          "nothing). Nothing is clamped and negative starts do not count from the end. Further "
          "operands are carriers.",
          {{AttrKey::shape, AttrKind::kDims, true, "extents of the result, one an axis"},
           {AttrKey::starts, AttrKind::kDims, true, "first index, one an axis"},
           {AttrKey::strides, AttrKind::kInts, true, "step, one an axis, negative or positive"}},
          infer_slice),
      row(Op::pad, 2, -1, "(x: T, fill: T[], carriers...) -> T",
          "low elements `fill` before and high after x along each axis; negative counts crop. "
          "Element i of the result is x's element i - low where that exists, else fill. A negative "
          "resulting extent is a run-time error. Further operands are carriers.",
          {{AttrKey::high, AttrKind::kDims, true, "elements added after, one an axis"},
           {AttrKey::low, AttrKind::kDims, true, "elements added before, one an axis"}},
          infer_pad),
      row(Op::concat, 1, -1, "(x: T, y: T, ...) -> T",
          "The operands one after the other along `axis`. Ranks and all other extents are equal.",
          {{AttrKey::axis, AttrKind::kInt, true, "axis along which they are joined"}},
          infer_concat),
      row(Op::reverse, 1, 1, "(x: T) -> T", "The order of elements along each of `axes` reversed.",
          {{AttrKey::axes, AttrKind::kInts, true, "axes, sorted, each once"}}, infer_reverse),
      row(Op::specify_shape, 1, -1, "(x: T, carriers...) -> T[shape]",
          "x, with the promise that its extents are `shape`: checked at run time, an error "
          "otherwise. Further operands are carriers.",
          {{AttrKey::shape, AttrKind::kDims, true, "extents of x"}}, infer_specify_shape, kView),
  };
}

}  // namespace gcomp::ops
