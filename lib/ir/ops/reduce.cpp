// Reductions and scans along axes.

#include <algorithm>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

void infer_over_axes(TypeInference& t) {
  const Type& x = t.operand(0);
  const std::vector<int64_t>& axes = t.attrs().ints(AttrKey::axes);
  if (!check_axes(t, AttrKey::axes, axes, x.rank())) return;
  std::vector<DimId> shape;
  for (int a = 0; a < x.rank(); ++a) {
    if (!std::binary_search(axes.begin(), axes.end(), a)) shape.push_back(x.dims[a]);
  }
  t.result(x.dtype, std::move(shape));
}

void infer_reduce(TypeInference& t) {
  if (check_dtype(t, 0, Domain::kNumeric)) infer_over_axes(t);
}

void infer_reduce_bool(TypeInference& t) {
  if (t.operand(0).dtype != DType::kBool) {
    t.fail("operand 0 is " + t.show(t.operand(0)) + "; it must be bool (insert cast)");
    return;
  }
  infer_over_axes(t);
}

void infer_arg(TypeInference& t) {
  const Type& x = t.operand(0);
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  if (!check_dtype(t, 0, Domain::kNumeric) || !t.check_axis(axis, x.rank())) return;
  if (!check_flag(t, AttrKey::select_last)) return;
  if (t.dims().is_constant(x.dims[static_cast<size_t>(axis)], 0)) {
    t.fail("axis " + std::to_string(axis) + " of operand 0, " + t.show(x) +
           ", is empty: it has no largest or smallest element");
    return;
  }
  std::vector<DimId> shape = x.dims;
  shape.erase(shape.begin() + axis);
  t.result(DType::kInt64, std::move(shape));
}

void infer_scan(TypeInference& t) {
  const Type& x = t.operand(0);
  if (!check_dtype(t, 0, Domain::kNumeric)) return;
  if (!t.check_axis(t.attrs().integer(AttrKey::axis), x.rank())) return;
  if (!check_flag(t, AttrKey::exclusive) || !check_flag(t, AttrKey::reverse)) return;
  t.result(x);
}

OpInfo reduction(Op op, uint32_t traits, std::string_view signature, std::string_view doc,
                 void (*infer)(TypeInference&)) {
  return {.op = op,
          .min_operands = 1,
          .max_operands = 1,
          .num_results = 1,
          .traits = kReduction | traits,
          .signature = signature,
          .doc = doc,
          .attrs = {{AttrKey::axes, AttrKind::kInts, true,
                     "axes that are reduced and removed, sorted, each once; [] reduces nothing"}},
          .infer = infer};
}

OpInfo arg(Op op, std::string_view doc) {
  return {.op = op,
          .min_operands = 1,
          .max_operands = 1,
          .num_results = 1,
          .traits = 0,
          .signature = "(x: T) -> int64, T: number",
          .doc = doc,
          .attrs = {{AttrKey::axis, AttrKind::kInt, true, "axis that is searched and removed"},
                    {AttrKey::select_last, AttrKind::kInt, false,
                     "0 (default): the first of equals; 1: the last"}},
          .infer = infer_arg};
}

OpInfo scan(Op op, std::string_view doc) {
  return {.op = op,
          .min_operands = 1,
          .max_operands = 1,
          .num_results = 1,
          .traits = kUpdates,
          .signature = "(x: T) -> T, T: number",
          .doc = doc,
          .attrs = {{AttrKey::axis, AttrKind::kInt, true, "axis along which it runs"},
                    {AttrKey::exclusive, AttrKind::kInt, false,
                     "1: element i leaves out x's element i (default 0)"},
                    {AttrKey::reverse, AttrKind::kInt, false, "1: from the end (default 0)"}},
          .infer = infer_scan};
}

}  // namespace

std::vector<OpInfo> reduce_rows() {
  constexpr std::string_view kNumber = "(x: T) -> T, T: number";
  constexpr std::string_view kBool = "(x: bool) -> bool";
  return {
      reduction(
          Op::reduce_sum, 0, kNumber,
          "The sum over `axes`, 0 over no elements. Integers wrap in their own dtype; float16 "
          "and bfloat16 accumulate in float32 and round once. The order of float additions is "
          "fixed but unspecified, and which zero a sum of zeros gives.",
          infer_reduce),
      reduction(Op::reduce_prod, 0, kNumber,
                "The product over `axes`, 1 over no elements. Precision and order as reduce_sum.",
                infer_reduce),
      reduction(Op::reduce_max, 0, kNumber,
                "The largest over `axes`; NaN if any element is NaN. Over no elements: -inf, for "
                "integers the least value. Which zero wins is unspecified.",
                infer_reduce),
      reduction(Op::reduce_min, 0, kNumber,
                "The smallest over `axes`; NaN if any element is NaN. Over no elements: inf, for "
                "integers the largest value. Which zero wins is unspecified.",
                infer_reduce),
      reduction(Op::reduce_and, kPredicate, kBool,
                "Whether all elements over `axes` are true; true over no elements.",
                infer_reduce_bool),
      reduction(Op::reduce_or, kPredicate, kBool,
                "Whether any element over `axes` is true; false over no elements.",
                infer_reduce_bool),
      arg(Op::argmax,
          "The index of the largest element along `axis`. NaN counts as larger than all else, 0.0 "
          "and -0.0 as equal; of equals (NaNs too) the first, or the last by select_last. An empty "
          "axis is an error, at run time if its extent is symbolic (unless the result is empty)."),
      arg(Op::argmin,
          "The index of the smallest element along `axis`. NaN counts as smaller than all else; "
          "ties and empty axes as argmax."),
      scan(Op::cumsum,
           "Running sums along `axis`: element i is the sum of x's elements up to i (exclusive: "
           "before i, so the first is 0); reverse: from i to the end. Integers wrap; float16 and "
           "bfloat16 accumulate in float32, each result rounded once."),
      scan(Op::cumprod,
           "Running products along `axis`; exclusive starts with 1. Otherwise as cumsum."),
  };
}

}  // namespace gcomp::ops
