// Reductions and scans along axes.

#include <algorithm>

#include "call.h"

namespace gcomp::interp {
namespace {

// How the elements of x map to those of its reduction: the result's shape, and for each axis of x its
// stride there (0: reduced).
struct Reduced {
  Shape shape;
  std::vector<int64_t> strides;
};

Reduced reduce_shape(const Shape& x, const std::vector<int64_t>& axes) {
  Reduced r;
  std::vector<bool> gone(x.size());
  for (int64_t axis : axes) gone[static_cast<size_t>(axis)] = true;
  for (size_t a = 0; a < x.size(); ++a) {
    if (!gone[a]) r.shape.push_back(x[a]);
  }
  const std::vector<int64_t> kept = strides_of(r.shape);
  size_t next = 0;
  for (size_t a = 0; a < x.size(); ++a) r.strides.push_back(gone[a] ? 0 : kept[next++]);
  return r;
}

template <class S>
void sum_or_product(const Call& c, const Reduced& r, Tensor* y) {
  const bool sum = c.op == Op::reduce_sum;
  const Tensor& x = c.operand(0);
  std::vector<Accumulator<S>> totals(static_cast<size_t>(y->num_elements()), sum ? 0 : 1);
  int64_t i = 0;
  for (Odometer at(x.shape); at.valid(); at.next()) {
    Accumulator<S>& total = totals[static_cast<size_t>(at.offset(r.strides))];
    const auto value = widen(x.data<S>()[i++]);
    total = sum ? total + value : total * value;
  }
  for (size_t e = 0; e < totals.size(); ++e) y->data<S>()[e] = narrow<S>(totals[e]);
}

template <class S>
void extreme(const Call& c, const Reduced& r, Tensor* y) {
  const bool max = c.op == Op::reduce_max;
  const Tensor& x = c.operand(0);
  std::vector<Compute<S>> best(static_cast<size_t>(y->num_elements()),
                               max ? lowest<S>() : highest<S>());
  int64_t i = 0;
  for (Odometer at(x.shape); at.valid(); at.next()) {
    auto& so_far = best[static_cast<size_t>(at.offset(r.strides))];
    const auto value = load(x.data<S>()[i++]);
    so_far = max ? larger(so_far, value) : smaller(so_far, value);
  }
  for (size_t e = 0; e < best.size(); ++e) y->data<S>()[e] = store<S>(best[e]);
}

// Whether argmax (argmin) prefers x to y; NaN is preferred to all else.
template <class C>
bool preferred(bool max, C x, C y) {
  if (is_nan(y)) return false;
  if (is_nan(x)) return true;
  return max ? x > y : x < y;
}

// A tensor seen as [outer, extent, inner] around one axis.
struct Lanes {
  int64_t outer, extent, inner;
  Lanes(const Shape& shape, size_t axis)
      : outer(count({shape.begin(), shape.begin() + static_cast<ptrdiff_t>(axis)})),
        extent(shape[axis]),
        inner(count({shape.begin() + static_cast<ptrdiff_t>(axis) + 1, shape.end()})) {}
  int64_t at(int64_t o, int64_t k, int64_t i) const { return (o * extent + k) * inner + i; }
};

template <class S>
void scan_lane(const Call& c, const Lanes& lanes, int64_t o, int64_t i, Tensor* y) {
  const S* x = c.operand(0).data<S>();
  const bool exclusive = c.flag(AttrKey::exclusive), reverse = c.flag(AttrKey::reverse);
  const bool sum = c.op == Op::cumsum;
  Accumulator<S> total = sum ? 0 : 1;
  for (int64_t step = 0; step < lanes.extent; ++step) {
    const int64_t e = lanes.at(o, reverse ? lanes.extent - 1 - step : step, i);
    const Accumulator<S> before = total;
    total = sum ? total + widen(x[e]) : total * widen(x[e]);
    y->data<S>()[e] = narrow<S>(exclusive ? before : total);
  }
}

}  // namespace

Results eval_reduce(const Call& c) {
  const Tensor& x = c.operand(0);
  const Reduced r = reduce_shape(x.shape, c.attrs.ints(AttrKey::axes));
  Tensor y = make_tensor(x.dtype, r.shape);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_same_v<S, bool>) {
      if (c.op == Op::reduce_sum || c.op == Op::reduce_prod) {
        sum_or_product<S>(c, r, &y);
      } else {
        extreme<S>(c, r, &y);
      }
    }
  });
  return one(std::move(y));
}

Results eval_reduce_bool(const Call& c) {
  const Tensor& x = c.operand(0);
  const Reduced r = reduce_shape(x.shape, c.attrs.ints(AttrKey::axes));
  const bool all = c.op == Op::reduce_and;
  Tensor y = make_tensor(DType::kBool, r.shape);
  std::fill_n(y.data<bool>(), y.num_elements(), all);
  int64_t i = 0;
  for (Odometer at(x.shape); at.valid(); at.next()) {
    if (x.data<bool>()[i++] != all) y.data<bool>()[at.offset(r.strides)] = !all;
  }
  return one(std::move(y));
}

Results eval_arg(const Call& c) {
  const Tensor& x = c.operand(0);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  const Lanes lanes(x.shape, axis);
  Shape shape = x.shape;
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(axis));
  Tensor y = make_tensor(DType::kInt64, std::move(shape));
  if (lanes.extent == 0 && y.num_elements() > 0) {
    throw RunFailure(to_string(x) + " has no elements along axis " + std::to_string(axis));
  }
  const bool max = c.op == Op::argmax, last = c.flag(AttrKey::select_last);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    const S* data = x.data<S>();
    for (int64_t o = 0; o < lanes.outer; ++o) {
      for (int64_t i = 0; i < lanes.inner; ++i) {
        int64_t best = 0;
        for (int64_t k = 1; k < lanes.extent; ++k) {
          const auto value = load(data[lanes.at(o, k, i)]),
                     champion = load(data[lanes.at(o, best, i)]);
          const bool better =
              last ? !preferred(max, champion, value) : preferred(max, value, champion);
          if (better) best = k;
        }
        y.data<int64_t>()[o * lanes.inner + i] = best;
      }
    }
  });
  return one(std::move(y));
}

Results eval_scan(const Call& c) {
  const Tensor& x = c.operand(0);
  const Lanes lanes(x.shape, static_cast<size_t>(c.attrs.integer(AttrKey::axis)));
  Tensor y = make_tensor(x.dtype, x.shape);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_same_v<S, bool>) {
      for (int64_t o = 0; o < lanes.outer; ++o) {
        for (int64_t i = 0; i < lanes.inner; ++i) scan_lane<S>(c, lanes, o, i, &y);
      }
    }
  });
  return one(std::move(y));
}

}  // namespace gcomp::interp
