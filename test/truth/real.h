#pragma once
// A real number in multiprecision, with infinities, NaN and signed zeros: MPFR behind value semantics.
// 1280 bits: 1 + x is exact enough for the smallest float64 x; exponents reach 2^62, so that exp of
// anything up to 10^18 is finite.

#include <mpfr.h>

#include <utility>

namespace gcomp::truth {

class Real {
 public:
  static constexpr mpfr_prec_t kBits = 1280;

  Real() {
    mpfr_init2(v_, kBits);
    mpfr_set_zero(v_, 1);
  }
  Real(double x) : Real() { mpfr_set_d(v_, x, MPFR_RNDN); }  // NOLINT: exact
  Real(const Real& o) : Real() { mpfr_set(v_, o.v_, MPFR_RNDN); }
  Real(Real&& o) noexcept : Real() { mpfr_swap(v_, o.v_); }
  Real& operator=(Real o) noexcept {
    mpfr_swap(v_, o.v_);
    return *this;
  }
  ~Real() { mpfr_clear(v_); }

  mpfr_ptr get() { return v_; }
  mpfr_srcptr get() const { return v_; }

  bool is_nan() const { return mpfr_nan_p(v_) != 0; }
  bool is_inf() const { return mpfr_inf_p(v_) != 0; }
  bool is_finite() const { return mpfr_number_p(v_) != 0; }
  bool is_zero() const { return mpfr_zero_p(v_) != 0; }
  bool is_negative() const { return mpfr_signbit(v_) != 0; }
  // 2^(e-1) <= |x| < 2^e. Of a finite x that is not zero.
  mpfr_exp_t exponent() const { return mpfr_get_exp(v_); }
  double to_double() const { return mpfr_get_d(v_, MPFR_RNDN); }

 private:
  mpfr_t v_;
};

inline Real operator+(const Real& a, const Real& b) {
  Real r;
  mpfr_add(r.get(), a.get(), b.get(), MPFR_RNDN);
  return r;
}
inline Real operator-(const Real& a, const Real& b) {
  Real r;
  mpfr_sub(r.get(), a.get(), b.get(), MPFR_RNDN);
  return r;
}
inline Real operator*(const Real& a, const Real& b) {
  Real r;
  mpfr_mul(r.get(), a.get(), b.get(), MPFR_RNDN);
  return r;
}
inline Real operator/(const Real& a, const Real& b) {
  Real r;
  mpfr_div(r.get(), a.get(), b.get(), MPFR_RNDN);
  return r;
}
inline Real operator-(const Real& a) {
  Real r;
  mpfr_neg(r.get(), a.get(), MPFR_RNDN);
  return r;
}
inline Real abs(const Real& a) {
  Real r;
  mpfr_abs(r.get(), a.get(), MPFR_RNDN);
  return r;
}
// False whenever one is NaN.
inline bool operator<(const Real& a, const Real& b) { return mpfr_less_p(a.get(), b.get()) != 0; }
inline bool operator>(const Real& a, const Real& b) { return b < a; }
inline bool operator==(const Real& a, const Real& b) { return mpfr_equal_p(a.get(), b.get()) != 0; }
// a * 2^n
inline Real scaled(const Real& a, long n) {
  Real r;
  mpfr_mul_2si(r.get(), a.get(), n, MPFR_RNDN);
  return r;
}

}  // namespace gcomp::truth
