#include "elements.h"

#include <algorithm>

#include "call.h"
#include "functions.h"

namespace gcomp::truth {
namespace {

using interp::Tensor;

// Of the middle half of the dtype's exponents; or 0, infinite or NaN, which never surprise.
bool ordinary(const Real& x, DType t) {
  if (!x.is_finite() || x.is_zero()) return true;
  const Format f = format(t);
  return 2 * x.exponent() <= f.max_exponent && 2 * x.exponent() >= f.min_exponent;
}

// In [1, 2).
double mantissa(std::mt19937_64& rng) { return 1 + static_cast<double>(rng() >> 11) * 0x1p-53; }

}  // namespace

Value Elements::import(const Tensor& t) {
  if (!is_float(t.dtype)) return {t, false};
  const Constant c = interp::to_constant(t);
  Value v{interp::make_tensor(DType::kInt64, t.shape), true};
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    Element e{Real(c.as_double(i))};
    e.ordinary = ordinary(e.value, t.dtype);
    v.tensor.data<int64_t>()[i] = add(std::move(e));
  }
  return v;
}

Value Elements::import_input(const Tensor& t) {
  Value v = import(t);
  if (!v.real) return v;
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    Real& x = at(v, i).value;
    replace(x);
    disturb(x, t.dtype);
  }
  return v;
}

// What the options put in the place of infinities, zeros and NaN.
void Elements::replace(Real& x) {
  const int bits = options_.limit_bits;
  if (bits > 0 && (x.is_inf() || x.is_zero())) {
    const double size = mantissa(inputs_);
    x = scaled(Real(x.is_negative() ? -size : size), x.is_inf() ? bits : -8 * bits);
  }
  if (options_.unsigned_zeros && x.is_zero()) x = Real(0);
  if (options_.numbers_for_nan && x.is_nan()) {
    const double size = mantissa(inputs_);
    x = scaled(Real(inputs_() % 2 == 0 ? size : -size), static_cast<long>(inputs_() % 9) - 4);
  }
}

Output Elements::output(const Value& v) {
  Output out{v.tensor, {}};
  if (!v.real) return out;
  for (int64_t i = 0; i < v.tensor.num_elements(); ++i) out.elements.push_back(at(v, i));
  return out;
}

// Adds between half an ulp and one, in either direction.
void Elements::disturb(Real& x, DType t) {
  if (!options_.noise_seed || !x.is_finite() || x.is_zero()) return;  // rounding does not move 0
  const Format f = format(t);
  const long ulp = std::max<long>(x.exponent() - f.bits, f.least());
  const double direction = static_cast<double>(noise_() >> 11) * 0x1p-53 - 0.5;
  x = x + scaled(Real(direction < 0 ? direction - 0.5 : direction + 0.5), ulp);
}

// A zero or infinity that came out of rounded numbers may be the rounding's work.
Element Elements::finish(Real r, DType t, const Element& from, bool cancels) {
  Element e{std::move(r)};
  e.exact = from.exact && !mpfr_inexflag_p();
  const bool singular = cancels && (e.value.is_zero() || e.value.is_inf());
  const bool out_of_range = mpfr_overflow_p() || mpfr_underflow_p();
  e.known = from.known && !out_of_range && (from.exact || !singular);
  if (e.known && (e.value.is_zero() || e.value.is_inf())) e.exact = true;
  e.ordinary = from.ordinary && ordinary(e.value, t);
  mpfr_clear_flags();
  disturb(e.value, t);
  mpfr_clear_flags();
  return e;
}

int64_t Elements::extreme(bool max, int64_t a, int64_t b) {
  const Element &x = (*this)[a], &y = (*this)[b];
  const bool plain = x.known && y.known && x.ordinary && y.ordinary;
  if (plain && !x.value.is_nan() && !y.value.is_nan()) {
    return (max ? x.value < y.value : y.value < x.value) ? b : a;
  }
  Element e{*binary(max ? Op::max : Op::min, x.value, y.value)};
  join(&e, x);
  join(&e, y);
  return add(std::move(e));
}

Element Elements::product(const Element& x, const Element& y) {
  mpfr_clear_flags();
  Element e{x.value * y.value};
  const bool zero = e.value.is_zero();
  e.exact = zero ? (x.exact && x.value.is_zero()) || (y.exact && y.value.is_zero())
                 : x.exact && y.exact && !mpfr_inexflag_p();
  e.known = x.known && y.known && !mpfr_overflow_p() && !mpfr_underflow_p();
  e.ordinary = x.ordinary && y.ordinary;
  return e;
}

void Elements::join(Element* flags, const Element& other) {
  flags->exact = flags->exact && other.exact;
  flags->known = flags->known && other.known;
  flags->ordinary = flags->ordinary && other.ordinary;
}

}  // namespace gcomp::truth
