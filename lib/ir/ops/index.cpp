// Indexed ops: elements chosen or written by integer tensors. A negative index counts from the end
// of its axis; one outside [-extent, extent) is a run-time error.

#include <algorithm>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

// The leading `batch` axes of operands 0 and 1 agree.
bool check_batch(TypeInference& t, int64_t batch) {
  const int most = std::min(t.operand(0).rank(), t.operand(1).rank());
  if (batch < 0 || batch > most) {
    t.fail("attribute 'batch_dims' is " + std::to_string(batch) + "; it must be 0 to " +
           std::to_string(most) + " for " + t.show(t.operand(0)) + " and " + t.show(t.operand(1)));
    return false;
  }
  for (int a = 0; a < batch; ++a) {
    if (!check_same_extent(t, 0, a, 1, a)) return false;
  }
  return true;
}

void infer_gather(TypeInference& t) {
  const Type& x = t.operand(0);
  const Type& indices = t.operand(1);
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  const int64_t batch = t.attrs().integer_or(AttrKey::batch_dims, 0);
  if (!check_dtype(t, 1, Domain::kInt) || !t.check_axis(axis, x.rank())) return;
  if (!check_batch(t, batch)) return;
  if (!t.require(batch <= axis, "attribute 'batch_dims' must be at most 'axis'")) return;
  std::vector<DimId> shape(x.dims.begin(), x.dims.begin() + axis);
  shape.insert(shape.end(), indices.dims.begin() + batch, indices.dims.end());
  shape.insert(shape.end(), x.dims.begin() + axis + 1, x.dims.end());
  t.result(x.dtype, std::move(shape));
}

// Axes of operand 1 other than `axis` reach no further than those of operand 0.
bool check_within(TypeInference& t, int64_t axis) {
  const Type& x = t.operand(0);
  const Type& indices = t.operand(1);
  for (int a = 0; a < x.rank(); ++a) {
    const auto beyond = t.dims().lower_bound(t.dims().sub(indices.dims[a], x.dims[a]));
    if (a == axis || !beyond || *beyond <= 0) continue;
    t.fail("axis " + std::to_string(a) + " of operand 1, " + t.show(indices) +
           ", is longer than that of operand 0, " + t.show(x));
    return false;
  }
  return true;
}

void infer_gather_elements(TypeInference& t) {
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  if (!check_dtype(t, 1, Domain::kInt) || !check_rank(t, 1, t.operand(0).rank())) return;
  if (!t.check_axis(axis, t.operand(0).rank()) || !check_within(t, axis)) return;
  t.result(t.operand(0).dtype, t.operand(1).dims);
}

// The static last extent of `indices` (operand 1), or -1 after reporting.
int64_t index_depth(TypeInference& t, int64_t batch) {
  const Type& indices = t.operand(1);
  if (!check_dtype(t, 1, Domain::kInt)) return -1;
  if (!t.require(indices.rank() > 0, "operand 1 must have rank at least 1")) return -1;
  const auto depth = t.dims().constant_value(indices.dims.back());
  if (!depth || *depth + batch > t.operand(0).rank()) {
    t.fail("the last extent of operand 1, " + t.show(indices) +
           ", must be a number, at most the number of axes of operand 0 it can index, " +
           std::to_string(t.operand(0).rank() - batch));
    return -1;
  }
  return *depth;
}

void infer_gather_nd(TypeInference& t) {
  const Type& x = t.operand(0);
  const Type& indices = t.operand(1);
  const int64_t batch = t.attrs().integer_or(AttrKey::batch_dims, 0);
  if (!check_batch(t, batch)) return;
  const int64_t depth = index_depth(t, batch);
  if (depth < 0) return;
  if (!t.require(batch < indices.rank(), "attribute 'batch_dims' covers all axes of operand 1")) {
    return;
  }
  std::vector<DimId> shape(indices.dims.begin(), indices.dims.end() - 1);
  shape.insert(shape.end(), x.dims.begin() + batch + depth, x.dims.end());
  t.result(x.dtype, std::move(shape));
}

bool check_reduction(TypeInference& t) {
  static constexpr std::string_view kChoices[] = {"none", "add", "mul", "min", "max"};
  if (!check_choice(t, AttrKey::reduction, "none", kChoices)) return false;
  if (t.attrs().string_or(AttrKey::reduction, "none") == "none") return true;
  return check_dtype(t, 0, Domain::kNumeric);
}

void infer_scatter_elements(TypeInference& t) {
  const Type& x = t.operand(0);
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  if (!check_reduction(t) || !check_same_dtype(t, 0, 2)) return;
  if (!check_dtype(t, 1, Domain::kInt) || !check_rank(t, 1, x.rank())) return;
  if (!check_rank(t, 2, x.rank()) || !t.check_axis(axis, x.rank()) || !check_within(t, axis))
    return;
  for (int a = 0; a < x.rank(); ++a) {
    if (!check_same_extent(t, 1, a, 2, a)) return;
  }
  t.result(x);
}

void infer_scatter_nd(TypeInference& t) {
  const Type& x = t.operand(0);
  const Type& indices = t.operand(1);
  if (!check_reduction(t) || !check_same_dtype(t, 0, 2)) return;
  const int64_t depth = index_depth(t, 0);
  if (depth < 0) return;
  std::vector<DimId> wanted(indices.dims.begin(), indices.dims.end() - 1);
  wanted.insert(wanted.end(), x.dims.begin() + depth, x.dims.end());
  if (t.operand(2).dims != wanted) {
    t.fail("operand 2 is " + t.show(t.operand(2)) + "; for x of " + t.show(x) + " and indices of " +
           t.show(indices) + " the updates must be " + t.show({x.dtype, wanted}));
    return;
  }
  t.result(x);
}

OpInfo row(Op op, int operands, std::string_view signature, std::string_view doc,
           std::vector<AttrSpec> attrs, void (*infer)(TypeInference&), uint32_t traits = 0) {
  return {.op = op,
          .min_operands = operands,
          .max_operands = operands,
          .num_results = 1,
          .traits = traits,
          .signature = signature,
          .doc = doc,
          .attrs = std::move(attrs),
          .infer = infer};
}

}  // namespace

std::vector<OpInfo> index_rows() {
  const AttrSpec batch = {AttrKey::batch_dims, AttrKind::kInt, false,
                          "number of leading axes that x and indices share (default 0)"};
  const AttrSpec reduction = {AttrKey::reduction, AttrKind::kString, false,
                              "none (default), add, mul, min or max"};
  return {
      row(Op::gather, 2, "(x: T, indices: integer) -> T",
          "x's slices at `indices` along `axis`, as NumPy's take: the result's extents are x's "
          "before axis, those of indices (without the batch axes), x's after axis. With batch_dims "
          "= b the first b axes of x and indices are equal and run together. A negative index "
          "counts "
          "from the end; one out of range is a run-time error.",
          {{AttrKey::axis, AttrKind::kInt, true, "axis of x that is indexed, >= batch_dims"},
           batch},
          infer_gather),
      row(Op::gather_elements, 2, "(x: T, indices: integer) -> T",
          "result[i, j, ...] = x[i, j, ...] with the coordinate along `axis` replaced by "
          "indices[i, j, ...] (NumPy's take_along_axis, ONNX GatherElements). Ranks are equal; on "
          "the other axes indices is at most as long as x (checked at run time where not "
          "provable). Negative and out-of-range indices as gather.",
          {{AttrKey::axis, AttrKind::kInt, true, "axis that is indexed"}}, infer_gather_elements),
      row(Op::gather_nd, 2, "(x: T, indices: integer[..., k]) -> T",
          "The last axis of indices (static extent k) holds coordinates into the k axes of x after "
          "the b batch axes; the result's extents are those of indices without the last, then "
          "those "
          "of x after the indexed axes (ONNX GatherND). Negative and out-of-range indices as "
          "gather.",
          {batch}, infer_gather_nd),
      row(Op::scatter_elements, 3, "(x: T, indices: integer, updates: T) -> T",
          "x with updates[i, j, ...] written (or, by `reduction`, combined) at [i, j, ...] with "
          "the "
          "coordinate along `axis` replaced by indices[i, j, ...]. Indices and updates have one "
          "shape, on the other axes at most as long as x. Applied in row-major order of updates: "
          "with reduction none the last write wins. min and max propagate NaN; float16 and "
          "bfloat16 "
          "round after every step. Negative and out-of-range indices as gather.",
          {{AttrKey::axis, AttrKind::kInt, true, "axis that is indexed"}, reduction},
          infer_scatter_elements, kUpdates),
      row(Op::scatter_nd, 3, "(x: T, indices: integer[..., k], updates: T) -> T",
          "x with slices of updates written (or, by `reduction`, combined) at the coordinates in "
          "the "
          "last axis of indices, as gather_nd reads them; updates has the extents of indices "
          "without "
          "the last, then those of x from axis k on. Order, NaN and rounding as scatter_elements.",
          {reduction}, infer_scatter_nd, kUpdates),
  };
}

}  // namespace gcomp::ops
