// Reductions.
#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x");
const std::vector<Op> kReductions = {Op::reduce_sum, Op::reduce_prod, Op::reduce_max,
                                     Op::reduce_min, Op::reduce_and,  Op::reduce_or};
const std::vector<Op> kIdempotent = {Op::reduce_max, Op::reduce_min, Op::reduce_and, Op::reduce_or};

const std::vector<int64_t>& root_axes(const Match& m) {
  return m.graph().attrs(m.root()).ints(AttrKey::axes);
}

bool contains(const std::vector<int64_t>& sorted, int64_t v) {
  return std::binary_search(sorted.begin(), sorted.end(), v);
}

Op root_op(const Match& m) { return m.graph().node(m.root()).op; }

// Axes of the operand that are left after reducing `axes`.
std::vector<int64_t> remaining(int rank, const std::vector<int64_t>& axes) {
  std::vector<int64_t> left;
  for (int64_t a = 0; a < rank; ++a) {
    if (!contains(axes, a)) left.push_back(a);
  }
  return left;
}

bool same_reduction(const Match& m) { return root_op(m) == m.op("r"); }

Replacement reduce_reduce(const Match& m, Emitter& e) {
  const std::vector<int64_t> inner = m.attrs("r").ints(AttrKey::axes);
  const std::vector<int64_t> left = remaining(m.type("x").rank(), inner);
  std::vector<int64_t> axes = inner;
  for (int64_t a : root_axes(m)) axes.push_back(left[static_cast<size_t>(a)]);
  return e.builder().reduce(root_op(m), m["x"], axes);
}

// Extents of 1 are not reduced but dropped.
Replacement reduce_of_ones(const Match& m, Emitter& e) {
  const Op o = root_op(m);
  const std::vector<DimId> from = m.type("x").dims;
  const std::vector<DimId> result = m.root_type().dims;
  std::vector<DimId> kept;
  std::vector<int64_t> axes;
  for (int64_t a = 0; a < static_cast<int64_t>(from.size()); ++a) {
    const bool reduced = contains(root_axes(m), a);
    if (reduced && m.dims().is_constant(from[static_cast<size_t>(a)], 1)) continue;
    if (reduced) axes.push_back(static_cast<int64_t>(kept.size()));
    kept.push_back(from[static_cast<size_t>(a)]);
  }
  if (kept.size() == from.size()) return std::nullopt;
  // Of all there is: then sum_of_reshape takes away what would be made here.
  if (!axes.empty() && axes.size() == kept.size()) return std::nullopt;
  const ValueId v = e.builder().reduce(o, e.reshape(m["x"], kept), axes);
  return e.reshape(v, result);
}

// Which reduced axes of a broadcast only repeat: the result axis has no operand axis, or one of extent 1.
struct RepeatedAxes {
  std::vector<int64_t> repeated, real;  // among the reduced ones, in the broadcast
};
RepeatedAxes split_axes(const Match& m, std::string_view broadcast = "b") {
  const std::vector<int64_t>& axes = m.attrs(broadcast).ints(AttrKey::axes);
  const std::vector<DimId>& from = m.type("x").dims;
  RepeatedAxes split;
  for (int64_t a : root_axes(m)) {
    const auto found = std::find(axes.begin(), axes.end(), a);
    const bool one = found != axes.end() &&
                     m.dims().is_constant(from[static_cast<size_t>(found - axes.begin())], 1);
    (found == axes.end() || one ? split.repeated : split.real).push_back(a);
  }
  return split;
}

// The broadcast without its repeated axes, which all are reduced.
ValueId without_axes(const Match& m, Emitter& e, std::string_view broadcast,
                     const RepeatedAxes& split, std::vector<int64_t>* left = nullptr) {
  const std::vector<int64_t> axes = m.attrs(broadcast).ints(AttrKey::axes);
  const std::vector<DimId> full = m.type(broadcast).dims, from = m.type("x").dims;
  std::vector<DimId> shape, kept;
  std::vector<int64_t> place(full.size(), -1), at;
  for (size_t a = 0; a < full.size(); ++a) {
    if (contains(split.repeated, static_cast<int64_t>(a))) continue;
    place[a] = static_cast<int64_t>(shape.size());
    shape.push_back(full[a]);
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t p = place[static_cast<size_t>(axes[i])];
    if (p < 0) continue;  // extent 1, dropped by the reshape below
    at.push_back(p);
    kept.push_back(from[i]);
  }
  for (int64_t a : split.real) {
    if (left != nullptr) left->push_back(place[static_cast<size_t>(a)]);
  }
  return e.broadcast(e.reshape(m["x"], kept), shape, at);
}

// That, then reduced along the others.
ValueId reduce_without(const Match& m, Emitter& e, const RepeatedAxes& split) {
  std::vector<int64_t> left;
  const Op o = root_op(m);
  const ValueId small = without_axes(m, e, "b", split, &left);
  return e.builder().reduce(o, small, left);
}

bool repeats_provably(const Match& m, const RepeatedAxes& split, int64_t least) {
  const std::vector<DimId>& full = m.type("b").dims;
  return !split.repeated.empty() &&
         std::all_of(split.repeated.begin(), split.repeated.end(), [&](int64_t a) {
           return provably_at_least(m.dims(), full[static_cast<size_t>(a)], least);
         });
}

Replacement max_of_broadcast(const Match& m, Emitter& e) {
  const RepeatedAxes split = split_axes(m);
  if (!repeats_provably(m, split, 1)) return std::nullopt;
  return reduce_without(m, e, split);
}

// A sum of n equal terms is n times the term, for a static n that the dtype holds exactly.
Replacement sum_of_broadcast(const Match& m, Emitter& e) {
  const RepeatedAxes split = split_axes(m);
  if (split.repeated.empty()) return std::nullopt;
  double count = 1;
  for (int64_t a : split.repeated) {
    const auto n = m.dims().constant_value(m.type("b").dims[static_cast<size_t>(a)]);
    if (!n || *n < 1) return std::nullopt;
    count *= static_cast<double>(*n);
  }
  const DType t = m.root_type().dtype;
  if (make_splat(t, {}, count).as_double(0) != count) return std::nullopt;
  const ValueId v = reduce_without(m, e, split);
  return e.value(Op::mul, {v, splat_like(e, v, count)});
}

Replacement reduce_of_transpose(const Match& m, Emitter& e) {
  const Op o = root_op(m);
  const std::vector<int64_t> perm = m.attrs("t").ints(AttrKey::perm);
  std::vector<int64_t> axes, left;
  for (size_t i = 0; i < perm.size(); ++i) {
    (contains(root_axes(m), static_cast<int64_t>(i)) ? axes : left).push_back(perm[i]);
  }
  // Axes left, ranked: the transpose that the smaller result needs.
  std::vector<int64_t> sorted = left, moved;
  std::sort(sorted.begin(), sorted.end());
  for (int64_t a : left) {
    moved.push_back(std::lower_bound(sorted.begin(), sorted.end(), a) - sorted.begin());
  }
  return e.transpose(e.builder().reduce(o, m["x"], axes), moved);
}

Op binary_of(Op reduction) {
  switch (reduction) {
    case Op::reduce_sum: return Op::add;
    case Op::reduce_prod: return Op::mul;
    case Op::reduce_max: return Op::max;
    case Op::reduce_min: return Op::min;
    case Op::reduce_and: return Op::bit_and;
    default: return Op::bit_or;
  }
}

// Parts of one element each along a reduced axis (a stack): combined one by one, nothing is copied.
Replacement reduce_of_stack(const Match& m, Emitter& e) {
  constexpr size_t kMaxParts = 16;
  const Op o = root_op(m);
  const int64_t axis = m.attrs("c").integer(AttrKey::axis);
  const std::vector<int64_t> axes = root_axes(m);
  const std::vector<ValueId> parts = m.operands("c");
  if (!contains(axes, axis) || parts.size() > kMaxParts) return std::nullopt;
  ValueId all;
  for (ValueId part : parts) {
    if (!m.dims().is_constant(e.type(part).dims[static_cast<size_t>(axis)], 1)) return std::nullopt;
    const ValueId v = e.builder().reduce(o, part, axes);
    all = all.valid() ? e.value(binary_of(o), {all, v}) : v;
  }
  return all;
}

// reduce(-x) with `o` for the reduction of x.
ResultFunction negated(Op o) {
  return [o](const Match& m, Emitter& e) -> Replacement {
    const std::vector<int64_t> axes = root_axes(m);
    return e.value(Op::neg, {e.value(o, {m["x"]}, {{AttrKey::axes, axes}})});
  };
}

Replacement sum_of_multiple(const Match& m, Emitter& e) {
  const double c = m.scalar("c");
  // Far from 1 the factor could make the sum overflow where the product did not, or the reverse.
  if (!(std::fabs(c) <= 1024) || std::fabs(c) < 1.0 / 1024) return std::nullopt;
  const std::vector<int64_t> axes = root_axes(m);
  const ValueId sum = e.value(Op::reduce_sum, {m["x"]}, {{AttrKey::axes, axes}});
  return e.value(Op::mul, {sum, splat_like(e, sum, c)});
}

// A sum of nothing is 0, whatever it would be multiplied with or divided by.
bool sums_something(const Match& m) {
  const std::vector<DimId>& shape = m.type("y").dims;
  const std::vector<int64_t> axes = root_axes(m);
  return std::all_of(axes.begin(), axes.end(), [&](int64_t a) {
    return provably_at_least(m.dims(), shape[static_cast<size_t>(a)], 1);
  });
}

// sum(x * y), y equal along all that is summed: sum(x) * y. Quotients too.
Replacement factor_out_of_sum(const Match& m, Emitter& e) {
  const RepeatedAxes split = split_axes(m, "f");
  if (split.repeated.empty() || !split.real.empty()) return std::nullopt;
  const Op o = m.op("product");
  const std::vector<int64_t> axes = root_axes(m);
  const ValueId factor = without_axes(m, e, "f", split);
  const ValueId sum = e.builder().reduce(Op::reduce_sum, m["y"], axes);
  return e.value(o, {sum, factor});
}

// All elements of a reshaped tensor are all elements of the tensor.
Replacement reduce_all_of_reshape(const Match& m, Emitter& e) {
  std::vector<int64_t> axes(m.type("x").dims.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  return e.builder().reduce(root_op(m), m["x"], axes);
}

// Of a tensor without extents of 1: those are reshaped away first.
bool reduces_all(const Match& m) {
  const std::vector<DimId>& from = m.type("x").dims;
  return root_axes(m).size() == m.type("r").dims.size() && !from.empty() &&
         std::none_of(from.begin(), from.end(),
                      [&](DimId d) { return m.dims().is_constant(d, 1); });
}

Replacement window_of_one(const Match& m, Emitter&) {
  const Attrs a = m.graph().attrs(m.root());
  const auto ones = [](const std::vector<int64_t>& v) {
    return std::all_of(v.begin(), v.end(), [](int64_t i) { return i == 1; });
  };
  if (!ones(a.ints(AttrKey::kernel)) || !ones(a.ints(AttrKey::strides))) return std::nullopt;
  for (AttrKey key : {AttrKey::low, AttrKey::high}) {
    for (DimId d : a.dims(key)) {
      if (!m.dims().is_constant(d, 0)) return std::nullopt;
    }
  }
  return m["x"];
}

// ---- cases ----

ValueId reduce(CaseMaker& make, Op o, ValueId v) {
  const int rank = make.builder().type(v).rank();
  return make.builder().value(o, {v}, {{AttrKey::axes, make.axes(rank)}});
}

Op pick_reduction(CaseMaker& make, DType t, const std::vector<Op>& from) {
  std::vector<Op> fit;
  for (Op o : from) {
    if (has_trait(o, kPredicate) == (t == DType::kBool)) fit.push_back(o);
  }
  return make.one_of(fit);
}

ValueId reduce_case(CaseMaker& make, const std::vector<Op>& ops, DTypeMask mask) {
  const DType t = make.dtype(mask);
  const Op o = pick_reduction(make, t, ops);
  const ValueId v = make.input(t, make.shape(1, 3));
  return reduce(make, o, make.chance(0.6) ? reduce(make, o, v) : v);
}

ValueId broadcast_case(CaseMaker& make, const std::vector<Op>& ops, DTypeMask mask) {
  const DType t = make.dtype(mask);
  const std::vector<DimId> shape = make.shape(1, 3);
  const std::vector<int64_t> axes = make.axes(static_cast<int>(shape.size()));
  std::vector<DimId> from;
  for (int64_t a : axes) {
    from.push_back(make.chance(0.3) ? make.dims().constant(1) : shape[static_cast<size_t>(a)]);
  }
  const ValueId b = make.builder().value(Op::broadcast, {make.input(t, from)},
                                         {{AttrKey::axes, axes}, {AttrKey::shape, shape}});
  return reduce(make, pick_reduction(make, t, ops), b);
}

ValueId transpose_case(CaseMaker& make, const std::vector<Op>& ops, DTypeMask mask) {
  const DType t = make.dtype(mask);
  const ValueId v = make.input(t, make.shape(2, 3));
  const int rank = make.builder().type(v).rank();
  const ValueId moved =
      make.builder().value(Op::transpose, {v}, {{AttrKey::perm, make.permutation(rank)}});
  return reduce(make, pick_reduction(make, t, ops), moved);
}

ValueId stack_case(CaseMaker& make, const std::vector<Op>& ops, DTypeMask mask) {
  const DType t = make.dtype(mask);
  std::vector<DimId> shape = make.shape(1, 3);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  shape[static_cast<size_t>(axis)] = make.dims().constant(1);
  std::vector<ValueId> parts;
  for (int64_t i = make.pick(1, 3); i >= 0; --i) parts.push_back(make.input(t, shape));
  std::vector<int64_t> axes = make.axes(static_cast<int>(shape.size()));
  if (!contains(axes, axis)) axes.push_back(axis);
  std::sort(axes.begin(), axes.end());
  const ValueId stack = make.builder().value(Op::concat, parts, {{AttrKey::axis, axis}});
  return make.builder().value(pick_reduction(make, t, ops), {stack}, {{AttrKey::axes, axes}});
}

Generator with(ValueId (*make_case)(CaseMaker&, const std::vector<Op>&, DTypeMask),
               std::vector<Op> ops, DTypeMask mask) {
  return [=](CaseMaker& make) { return make_case(make, ops, mask); };
}

ValueId factor_case(CaseMaker& make) {
  const DType t = make.dtype(kFloats);
  const std::vector<DimId> shape = make.shape(1, 3);
  const int rank = static_cast<int>(shape.size());
  const std::vector<int64_t> axes = make.axes_of_size(rank, static_cast<int>(make.pick(1, rank)));
  const std::vector<int64_t> kept = remaining(rank, axes);
  std::vector<DimId> from;
  for (int64_t a : kept) from.push_back(shape[static_cast<size_t>(a)]);
  const ValueId factor = make.builder().broadcast(make.input(t, from), shape, kept);
  const ValueId product =
      make.builder().value(make.chance(0.5) ? Op::mul : Op::div, {make.input(t, shape), factor});
  return make.builder().value(Op::reduce_sum, {product}, {{AttrKey::axes, axes}});
}

ValueId all_of_reshape_case(CaseMaker& make, const std::vector<Op>& ops, DTypeMask mask) {
  const DType t = make.dtype(mask);
  const std::vector<DimId> from = make.shape(1, 3);
  std::vector<DimId> to = from;
  std::reverse(to.begin(), to.end());
  const ValueId r =
      make.builder().value(Op::reshape, {make.input(t, from)}, {{AttrKey::shape, to}});
  return make.builder().value(pick_reduction(make, t, ops), {r},
                              {{AttrKey::axes, remaining(static_cast<int>(to.size()), {})}});
}

Generator reduced(Op o, DTypeMask mask, ValueId (*inner)(CaseMaker&, DType)) {
  return [=](CaseMaker& make) { return reduce(make, o, inner(make, make.dtype(mask))); };
}

ValueId negated_input(CaseMaker& make, DType t) {
  return make.builder().value(Op::neg, {make.input(t, make.shape(1, 3))});
}

ValueId multiple_of_input(CaseMaker& make, DType t) {
  const std::vector<DimId> shape = make.shape(1, 3);
  return make.builder().value(Op::mul,
                              {make.input(t, shape), make.splat({t, shape}, make.small_number(t))});
}

Pattern reduce_of(std::vector<Op> ops, Pattern operand) {
  return one_of(std::move(ops), "o", {std::move(operand)});
}

}  // namespace

std::vector<Rule> reduce_rules() {
  const Pattern inner = one_of(kReductions, "r", {x});
  const Pattern broadcast = one_of({Op::broadcast}, "b", {x});
  const Pattern transpose = one_of({Op::transpose}, "t", {x});
  const std::vector<Op> sums = {Op::reduce_sum, Op::reduce_prod};
  return everywhere({
      rule("reduce_nothing", "reduce over no axes -> x", reduce_of(kReductions, x),
           [](const Match& m, Emitter&) -> Replacement { return m["x"]; })
          .when([](const Match& m) { return root_axes(m).empty(); })
          .cases(with(reduce_case, kReductions, kNumbers | kBools)),
      rule("reduce_of_ones", "reduce over extents 1 -> reshape", reduce_of(kReductions, x),
           reduce_of_ones)
          .cases(with(reduce_case, kReductions, kNumbers | kBools)),
      rule("max_of_max", "max(max(x)) over other axes -> max(x); min, and, or too",
           reduce_of(kIdempotent, one_of(kIdempotent, "r", {x})), reduce_reduce)
          .when(same_reduction)
          .cases(with(reduce_case, kIdempotent, kNumbers | kBools)),
      rule("sum_of_sum_int", "sum(sum(x)) over other axes -> sum(x), integers; products too",
           reduce_of(sums, one_of(sums, "r", {integer("x")})), reduce_reduce)
          .when(same_reduction)
          .cases(with(reduce_case, sums, kInts)),
      rule("sum_of_sum", "sum(sum(x)) over other axes -> sum(x); products too",
           reduce_of(sums, one_of(sums, "r", {real("x")})), reduce_reduce)
          .when(same_reduction)
          .reassociates()
          .cases(with(reduce_case, sums, kFloats)),
      rule("max_of_broadcast", "max over repeated axes of broadcast(x) -> max(x)",
           reduce_of(kIdempotent, broadcast), max_of_broadcast)
          .cases(with(broadcast_case, kIdempotent, kNumbers | kBools)),
      rule("sum_of_broadcast", "sum over n repetitions of x -> x * n",
           reduce_of({Op::reduce_sum}, broadcast), sum_of_broadcast)
          .reassociates()
          .cases(with(broadcast_case, {Op::reduce_sum}, kNumbers)),
      rule("reduce_of_transpose", "reduce(transpose(x)) -> transpose(reduce(x))",
           reduce_of(kReductions, transpose), reduce_of_transpose)
          .reassociates()
          .cases(with(transpose_case, kReductions, kNumbers | kBools)),
      rule("max_of_stack", "max of concat of single elements -> max of those; min, and, or too",
           reduce_of(kIdempotent, one_of({Op::concat}, "c", {x})), reduce_of_stack)
          .cases(with(stack_case, kIdempotent, kNumbers | kBools)),
      rule("sum_of_stack", "sum of concat of single elements -> sum of those; products too",
           reduce_of(sums, one_of({Op::concat}, "c", {x})), reduce_of_stack)
          .reassociates()
          .cases(with(stack_case, sums, kNumbers)),
      rule("sum_of_neg", "sum(-x) -> -sum(x)", reduce_of({Op::reduce_sum}, -x),
           negated(Op::reduce_sum))
          .reassociates()
          .cases(reduced(Op::reduce_sum, kNumbers, negated_input)),
      rule("max_of_neg_reduce", "reduce_max(-x) -> -reduce_min(x)",
           reduce_of({Op::reduce_max}, -real("x")), negated(Op::reduce_min))
          .cases(reduced(Op::reduce_max, kFloats, negated_input)),
      rule("min_of_neg_reduce", "reduce_min(-x) -> -reduce_max(x)",
           reduce_of({Op::reduce_min}, -real("x")), negated(Op::reduce_max))
          .cases(reduced(Op::reduce_min, kFloats, negated_input)),
      rule("sum_of_multiple_int", "sum(x * c) -> sum(x) * c, integers",
           reduce_of({Op::reduce_sum}, integer("x") * scalar("c")), sum_of_multiple)
          .cases(reduced(Op::reduce_sum, kInts, multiple_of_input)),
      rule("sum_of_multiple", "sum(x * c) -> sum(x) * c",
           reduce_of({Op::reduce_sum}, real("x") * scalar("c")), sum_of_multiple)
          .reassociates()
          .cases(reduced(Op::reduce_sum, kFloats, multiple_of_input)),
      rule("factor_out_of_sum", "sum(y * broadcast(x)) over the repeated axes -> sum(y) * x",
           reduce_of({Op::reduce_sum},
                     one_of({Op::mul}, "product", {real("y"), one_of({Op::broadcast}, "f", {x})})),
           factor_out_of_sum)
          .extends_domain()  // an infinite x times terms of both signs
          .when(sums_something)
          .cases(factor_case),
      rule("divisor_out_of_sum", "sum(y / broadcast(x)) over the repeated axes -> sum(y) / x",
           reduce_of({Op::reduce_sum},
                     one_of({Op::div}, "product", {real("y"), one_of({Op::broadcast}, "f", {x})})),
           factor_out_of_sum)
          .assumes_finite()  // terms of both signs divided by 0
          .when(sums_something)
          .cases(factor_case),
      rule("max_of_reshape", "max of all of reshape(x) -> max of all of x; min, and, or too",
           reduce_of(kIdempotent, one_of({Op::reshape}, "r", {x})), reduce_all_of_reshape)
          .when(reduces_all)
          .cases(with(all_of_reshape_case, kIdempotent, kNumbers | kBools)),
      rule("sum_of_reshape", "sum of all of reshape(x) -> sum of all of x; products too",
           reduce_of(sums, one_of({Op::reshape}, "r", {x})), reduce_all_of_reshape)
          .when(reduces_all)
          .reassociates()
          .cases(with(all_of_reshape_case, sums, kNumbers)),
      rule("window_of_one", "pooling with a window of one element -> x",
           one_of({Op::window_max, Op::window_sum}, "o", {x}), window_of_one)
          .cases([](CaseMaker& make) {
            const ValueId v = make.input(make.dtype(kNumbers), make.shape(1, 3));
            const size_t rank = make.builder().type(v).dims.size();
            const std::vector<int64_t> ones(rank, 1);
            const std::vector<DimId> none(rank, make.dims().constant(0));
            return make.builder().value(make.chance(0.5) ? Op::window_max : Op::window_sum, {v},
                                        {{AttrKey::kernel, ones},
                                         {AttrKey::strides, ones},
                                         {AttrKey::dilations, ones},
                                         {AttrKey::low, none},
                                         {AttrKey::high, none}});
          }),
  });
}

}  // namespace gcomp::rules
