// Ordering, and results whose extent depends on data.

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

void infer_sort(TypeInference& t) {
  const Type& x = t.operand(0);
  if (!check_dtype(t, 0, Domain::kNumeric)) return;
  if (!t.check_axis(t.attrs().integer(AttrKey::axis), x.rank())) return;
  if (!check_flag(t, AttrKey::descending)) return;
  t.result(x);
  t.result(DType::kInt64, x.dims);
}

void infer_top_k(TypeInference& t) {
  const Type& x = t.operand(0);
  const int64_t axis = t.attrs().integer(AttrKey::axis);
  const std::vector<DimId>& shape = t.attrs().dims(AttrKey::shape);
  if (!check_dtype(t, 0, Domain::kNumeric) || !t.check_axis(axis, x.rank())) return;
  if (!check_flag(t, AttrKey::descending)) return;
  if (!check_count(t, AttrKey::shape, shape.size(), 1)) return;
  const DimId extent = x.dims[static_cast<size_t>(axis)];
  const auto excess = t.dims().lower_bound(t.dims().sub(shape[0], extent));
  if (excess && *excess > 0) {
    t.fail("asks for " + t.dims().to_string(shape[0]) + " of the " + t.dims().to_string(extent) +
           " elements along axis " + std::to_string(axis) + " of operand 0, " + t.show(x));
    return;
  }
  std::vector<DimId> dims = x.dims;
  dims[static_cast<size_t>(axis)] = shape[0];
  t.result(x.dtype, dims);
  t.result(DType::kInt64, dims);
}

void infer_nonzero(TypeInference& t) {
  const std::vector<DimId>& symbols = t.attrs().dims(AttrKey::symbols);
  if (!check_count(t, AttrKey::symbols, symbols.size(), 1)) return;
  if (!t.require(t.dims().as_symbol(symbols[0]).has_value(),
                 "attribute 'symbols' must list a plain symbol")) {
    return;
  }
  t.result(DType::kInt64, {t.dims().constant(t.operand(0).rank()), symbols[0]});
}

}  // namespace

std::vector<OpInfo> order_rows() {
  const AttrSpec axis = {AttrKey::axis, AttrKind::kInt, true, "axis that is ordered"};
  return {
      {.op = Op::sort,
       .min_operands = 1,
       .max_operands = 1,
       .num_results = 2,
       .traits = 0,
       .signature = "(x: T) -> (values: T, indices: int64), T: number",
       .doc =
           "x ordered along `axis`, and the index in x each element came from. Ascending, or "
           "descending; NaN counts as larger than all else, 0.0 and -0.0 as equal. Stable in both "
           "directions: equals keep their order.",
       .attrs = {axis,
                 {AttrKey::descending, AttrKind::kInt, false, "1: largest first (default 0)"}},
       .infer = infer_sort},
      {.op = Op::top_k,
       .min_operands = 1,
       .max_operands = -1,
       .num_results = 2,
       .traits = 0,
       .signature = "(x: T, carriers...) -> (values: T, indices: int64), T: number",
       .doc =
           "The first k elements of sort along `axis`, in that order, with their indices: the "
           "largest (descending, the default) or the smallest. k beyond the extent is a run-time "
           "error. Further operands are carriers.",
       .attrs = {axis,
                 {AttrKey::descending, AttrKind::kInt, false, "0: smallest first (default 1)"},
                 {AttrKey::shape, AttrKind::kDims, true, "[k]"}},
       .infer = infer_top_k},
      {.op = Op::nonzero,
       .min_operands = 1,
       .max_operands = 1,
       .num_results = 1,
       .traits = kDefinesDims,
       .signature = "(x: any) -> int64[rank, s]",
       .doc =
           "The coordinates of the elements that are not zero (NaN is not zero) in row-major "
           "order, one a column. Defines the symbol s, their number. A scalar has rank 0 and gives "
           "int64[0, s], s 0 or 1.",
       .attrs = {{AttrKey::symbols, AttrKind::kDims, true, "[s], a plain symbol"}},
       .infer = infer_nonzero},
  };
}

}  // namespace gcomp::ops
