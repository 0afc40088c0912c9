// cast, and the ops that make integers of other dtypes: iota.

#include <bit>
#include <cmath>
#include <limits>

#include "call.h"

namespace gcomp::interp {
namespace {

// A double that rounds to any narrower float as the integer itself does: inexact conversions are
// made odd ("sticky"), so that no second rounding sees a false tie.
double to_double_for_narrowing(long double x) {
  double nearest = static_cast<double>(x);
  if (static_cast<long double>(nearest) == x) return nearest;
  if (std::fabs(static_cast<long double>(nearest)) > std::fabs(x))
    nearest = std::nextafter(nearest, 0.0);
  uint64_t bits = std::bit_cast<uint64_t>(nearest);
  return std::bit_cast<double>(bits | 1u);
}

// `From` is int64_t, uint64_t, float or double: the compute types.
template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (std::isnan(x)) return 0;
    const long double whole = std::trunc(static_cast<long double>(x));
    constexpr auto kLeast = std::numeric_limits<To>::min();
    constexpr auto kMost = std::numeric_limits<To>::max();
    if (whole <= static_cast<long double>(kLeast)) return kLeast;
    if (whole >= static_cast<long double>(kMost)) return kMost;
    return static_cast<To>(whole);
  } else if constexpr (std::is_same_v<To, Half>) {
    return {double_to_half(to_double_for_narrowing(x))};
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return {double_to_bfloat16(to_double_for_narrowing(x))};
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace

void set_integer(Tensor* t, int64_t i, int64_t value) {
  with_type(t->dtype, [&]<class S>(Tag<S>) { t->data<S>()[i] = convert<S>(value); });
}

Results eval_cast(const Call& c) {
  const Tensor& x = c.operand(0);
  Tensor y = make_tensor(c.attrs.dtype(AttrKey::dtype), x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class From>(Tag<From>) {
    with_type(y.dtype, [&]<class To>(Tag<To>) {
      for (int64_t i = 0; i < n; ++i) y.data<To>()[i] = convert<To>(load(x.data<From>()[i]));
    });
  });
  return one(std::move(y));
}

Results eval_iota(const Call& c) {
  Tensor y = make_tensor(c.attrs.dtype(AttrKey::dtype), c.dims(AttrKey::shape));
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next()) set_integer(&y, i++, at[axis]);
  return one(std::move(y));
}

Results eval_dims(const Call& c) {
  const Shape values = c.dims(AttrKey::values);
  Tensor y = make_tensor(DType::kInt64, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) y.data<int64_t>()[i] = values[i];
  return one(std::move(y));
}

}  // namespace gcomp::interp
