// Ordering, and results whose extent depends on data.

#include <algorithm>
#include <numeric>

#include "call.h"

namespace gcomp::interp {
namespace {

// NaN is larger than all else.
template <class C>
bool less(C x, C y) {
  if (is_nan(x)) return false;
  return is_nan(y) || x < y;
}

// The first `k` elements of each lane along `axis` in order.
Results order(const Tensor& x, size_t axis, int64_t k, bool descending) {
  Shape shape = x.shape;
  shape[axis] = k;
  Tensor values = make_tensor(x.dtype, shape);
  Tensor indices = make_tensor(DType::kInt64, shape);
  const int64_t extent = x.shape[axis], step = strides_of(x.shape)[axis];
  Shape lanes = x.shape;
  lanes[axis] = 1;
  const std::vector<int64_t> from = strides_of(x.shape), to = strides_of(shape);
  std::vector<int64_t> ranked(static_cast<size_t>(extent));
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    for (Odometer lane(lanes); lane.valid(); lane.next()) {
      const S* data = x.data<S>() + lane.offset(from);
      std::iota(ranked.begin(), ranked.end(), 0);
      std::sort(ranked.begin(), ranked.end(), [&](int64_t i, int64_t j) {
        const auto a = load(data[i * step]), b = load(data[j * step]);
        const bool before = descending ? less(b, a) : less(a, b);
        const bool after = descending ? less(a, b) : less(b, a);
        return before || (!after && i < j);  // equals keep their order
      });
      for (int64_t r = 0; r < k; ++r) {
        const int64_t at = lane.offset(to) + r * step;
        values.data<S>()[at] = data[ranked[static_cast<size_t>(r)] * step];
        indices.data<int64_t>()[at] = ranked[static_cast<size_t>(r)];
      }
    }
  });
  Results results = one(std::move(values));
  results.push_back(std::move(indices));
  return results;
}

}  // namespace

Results eval_sort(const Call& c) {
  const Tensor& x = c.operand(0);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  return order(x, axis, x.shape[axis], c.flag(AttrKey::descending));
}

Results eval_top_k(const Call& c) {
  const Tensor& x = c.operand(0);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  const int64_t k = c.dims(AttrKey::shape)[0];
  if (k < 0 || k > x.shape[axis]) {
    throw RunFailure("asks for " + std::to_string(k) + " elements along axis " +
                     std::to_string(axis) + " of " + to_string(x));
  }
  return order(x, axis, k, c.flag(AttrKey::descending, true));
}

Results eval_nonzero(const Call& c) {
  const Tensor& x = c.operand(0);
  std::vector<Shape> found;
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    int64_t i = 0;
    for (Odometer at(x.shape); at.valid(); at.next()) {
      if (load(x.data<S>()[i++]) != 0) found.push_back(at.index());
    }
  });
  const auto n = static_cast<int64_t>(found.size());
  Tensor y = make_tensor(DType::kInt64, {x.rank(), n});
  for (int64_t a = 0; a < x.rank(); ++a) {
    for (int64_t i = 0; i < n; ++i) {
      y.data<int64_t>()[a * n + i] = found[static_cast<size_t>(i)][static_cast<size_t>(a)];
    }
  }
  return one(std::move(y));
}

Results eval_check(const Call& c) {
  const Tensor& cond = c.operand(1);
  const bool* data = cond.data<bool>();
  if (!std::all_of(data, data + cond.num_elements(), [](bool b) { return b; })) {
    throw RunFailure(c.attrs.string_or(AttrKey::message, ""));
  }
  return one(c.operand(0));
}

}  // namespace gcomp::interp
