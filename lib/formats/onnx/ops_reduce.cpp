// Reductions over axes.

#include <limits>
#include <numeric>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

// The axes to reduce: an attribute, from opset `input_since` on an input. None: all axes, or with
// noop_with_empty_axes no axis.
Ints reduced_axes(NodeImport& n, int64_t input_since) {
  const int rank = n.rank(n.in(0));
  Ints axes;
  if (n.opset() < input_since) {
    axes = n.ints("axes");
  } else if (n.has(1)) {
    axes = n.need_ints(n.in(1), "axes");
  }
  if (!axes.empty()) return n.axes(axes, rank);
  if (n.flag("noop_with_empty_axes", false)) return {};
  axes.resize(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// Reduces what `before` makes of the input and gives the result to `after`, in float32 for half-size
// floats. The steps are taken even when there is no axis to reduce.
template <class Before, class After>
void import_steps(NodeImport& n, Op op, Before before, After after, int64_t input_since = 18) {
  const Ints axes = reduced_axes(n, input_since);
  const bool keep = n.flag("keepdims", true);
  const ValueId x = n.widen(n.in(0));
  const ValueId y = after(n.reduce(op, before(x), axes, keep), axes, keep);
  n.out(n.cast(y, n.dtype(n.in(0))));
}

template <Op kOp, int64_t kInputSince>
void import_reduce(NodeImport& n) {
  n.out(n.reduce(kOp, n.in(0), reduced_axes(n, kInputSince), n.flag("keepdims", true)));
}

// The extremum of bools is their conjunction or disjunction.
template <Op kOp, Op kBoolOp>
void import_extremum(NodeImport& n) {
  const Op op = n.dtype(n.in(0)) == DType::kBool ? kBoolOp : kOp;
  n.out(n.reduce(op, n.in(0), reduced_axes(n, 18), n.flag("keepdims", true)));
}

void import_mean(NodeImport& n) {
  import_steps(
      n, Op::reduce_sum, [](ValueId x) { return x; },
      [&](ValueId y, const Ints& axes, bool) {
        return n.div(y, n.count(n.in(0), axes, n.dtype(y)));
      });
}

void import_l1(NodeImport& n) {
  import_steps(
      n, Op::reduce_sum, [&](ValueId x) { return n.unary(Op::abs, x); },
      [](ValueId y, const Ints&, bool) { return y; });
}

// Square root, of integers too: by way of double.
ValueId root(NodeImport& n, ValueId x) {
  if (is_float(n.dtype(x))) return n.unary(Op::sqrt, x);
  return n.cast(n.unary(Op::sqrt, n.cast(x, DType::kFloat64)), n.dtype(x));
}

ValueId logarithm(NodeImport& n, ValueId x) {
  if (is_float(n.dtype(x))) return n.unary(Op::log, x);
  return n.cast(n.unary(Op::log, n.cast(x, DType::kFloat64)), n.dtype(x));
}

void import_l2(NodeImport& n) {
  import_steps(
      n, Op::reduce_sum, [&](ValueId x) { return n.square(x); },
      [&](ValueId y, const Ints&, bool) { return root(n, y); });
}

void import_sum_square(NodeImport& n) {
  import_steps(
      n, Op::reduce_sum, [&](ValueId x) { return n.square(x); },
      [](ValueId y, const Ints&, bool) { return y; });
}

void import_log_sum(NodeImport& n) {
  import_steps(
      n, Op::reduce_sum, [](ValueId x) { return x; },
      [&](ValueId y, const Ints&, bool) { return logarithm(n, y); });
}

void import_log_sum_exp(NodeImport& n) {
  const Ints axes = reduced_axes(n, 18);
  const bool keep = n.flag("keepdims", true);
  const DType t = n.dtype(n.in(0));
  ValueId x = n.widen(n.in(0));
  if (!is_float(t)) x = n.cast(x, DType::kFloat64);
  // Shifted by the largest, unless that is infinite: then the plain form says what is right.
  ValueId largest = n.reduce(Op::reduce_max, x, axes, true);
  largest = n.where(n.unary(Op::is_inf, largest), n.like(largest, 0), largest);
  const ValueId total = n.reduce(Op::reduce_sum, n.unary(Op::exp, n.sub(x, largest)), axes, true);
  ValueId y = n.add(n.unary(Op::log, total), largest);
  if (!keep) y = n.squeeze(y, axes);
  n.out(n.cast(y, t));
}

template <Op kOp>
void import_arg(NodeImport& n) {
  const ValueId x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), n.rank(x));
  const ValueId best = n.b.value(
      kOp, {x}, {{AttrKey::axis, axis}, {AttrKey::select_last, n.integer("select_last_index", 0)}});
  n.out(n.flag("keepdims", true) ? n.unsqueeze(best, {axis}) : best);
}

#define GCOMP_REDUCE_ATTRIBUTES "axes keepdims noop_with_empty_axes"

constexpr OpRow kRows[] = {
    {"ArgMax", import_arg<Op::argmax>, "axis keepdims select_last_index"},
    {"ArgMin", import_arg<Op::argmin>, "axis keepdims select_last_index"},
    {"ReduceL1", import_l1, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceL2", import_l2, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceLogSum", import_log_sum, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceLogSumExp", import_log_sum_exp, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceMax", import_extremum<Op::reduce_max, Op::reduce_or>, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceMean", import_mean, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceMin", import_extremum<Op::reduce_min, Op::reduce_and>, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceProd", import_reduce<Op::reduce_prod, 18>, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceSum", import_reduce<Op::reduce_sum, 13>, GCOMP_REDUCE_ATTRIBUTES},
    {"ReduceSumSquare", import_sum_square, GCOMP_REDUCE_ATTRIBUTES},
};

}  // namespace

std::span<const OpRow> reduce_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
