// Elementwise ops but the functions of real.cpp and cast.

#include <algorithm>
#include <cmath>

#include "call.h"

namespace gcomp::interp {
namespace {

template <class S>
constexpr int kBits = static_cast<int>(sizeof(S)) * 8;

// ---- Integers, in 64 bits: results are right modulo 2^width ----

template <class W>
W wrap_mul(W x, W y) {
  return static_cast<W>(static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
}
template <class W>
W wrap_neg(W x) {
  return static_cast<W>(uint64_t{0} - static_cast<uint64_t>(x));
}

template <class W>
W divide(W x, W y) {
  if (y == 0) return 0;
  if constexpr (std::is_signed_v<W>) {
    if (y == -1) return wrap_neg(x);
  }
  return x / y;
}

template <class W>
W remainder(W x, W y) {
  if (y == 0) return 0;
  if constexpr (std::is_signed_v<W>) {
    if (y == -1) return 0;
  }
  return x % y;
}

template <class W>
W floor_divide(W x, W y) {
  const W m = remainder(x, y);
  const bool below = m != 0 && (m < 0) != (y < 0);
  return divide(x, y) - (below ? 1 : 0);
}

template <class W>
W modulo(W x, W y) {
  const W m = remainder(x, y);
  return m != 0 && (m < 0) != (y < 0) ? m + y : m;
}

template <class W>
W power(W x, W y) {
  if constexpr (std::is_signed_v<W>) {
    if (y < 0) {
      if (x == 1) return 1;
      if (x == -1) return y % 2 == 0 ? 1 : -1;
      return 0;
    }
  }
  W result = 1;
  for (; y > 0; y >>= 1) {
    if (y & 1) result = wrap_mul(result, x);
    x = wrap_mul(x, x);
  }
  return result;
}

template <class W>
W shift_left(W x, W y, int bits) {
  const bool out = y < 0 || y >= static_cast<W>(bits);
  return out ? 0 : static_cast<W>(static_cast<uint64_t>(x) << y);
}

template <class W>
W shift_right(W x, W y, int bits) {
  const bool out = y < 0 || y >= static_cast<W>(bits);
  if (out) return x < 0 ? static_cast<W>(-1) : 0;
  return x >> y;
}

template <class W>
W integer_binary(Op op, W x, W y, int bits) {
  const auto ux = static_cast<uint64_t>(x), uy = static_cast<uint64_t>(y);
  switch (op) {
    case Op::add: return static_cast<W>(ux + uy);
    case Op::sub: return static_cast<W>(ux - uy);
    case Op::mul: return wrap_mul(x, y);
    case Op::div: return divide(x, y);
    case Op::floor_div: return floor_divide(x, y);
    case Op::mod: return modulo(x, y);
    case Op::rem: return remainder(x, y);
    case Op::pow: return power(x, y);
    case Op::min: return smaller(x, y);
    case Op::max: return larger(x, y);
    case Op::bit_and: return x & y;
    case Op::bit_or: return x | y;
    case Op::bit_xor: return x ^ y;
    case Op::shl: return shift_left(x, y, bits);
    case Op::shr: return shift_right(x, y, bits);
    default: GCOMP_CHECK(false, "not an integer op of two operands");
  }
}

// ---- Floats ----

template <class C>
C float_modulo(C x, C y) {
  const C m = std::fmod(x, y);
  if (std::isnan(m)) return m;
  if (m == 0) return std::copysign(C(0), y);
  return (m < 0) != (y < 0) ? m + y : m;
}

template <class C>
C float_floor_divide(C x, C y) {
  if (y == 0) return x / y;
  const C m = std::fmod(x, y);
  C q = (x - m) / y;
  if (m != 0 && (m < 0) != (y < 0)) q -= 1;
  if (q == 0) return std::copysign(C(0), x / y);
  const C whole = std::floor(q);
  return q - whole > C(0.5) ? whole + 1 : whole;
}

template <class C>
C float_binary(Op op, C x, C y) {
  using Wide = std::conditional_t<std::is_same_v<C, float>, double, long double>;
  switch (op) {
    case Op::add: return x + y;
    case Op::sub: return x - y;
    case Op::mul: return x * y;
    case Op::div: return x / y;
    case Op::floor_div: return float_floor_divide(x, y);
    case Op::mod: return float_modulo(x, y);
    case Op::rem: return std::fmod(x, y);
    case Op::pow:
      // Powers of infinity are exact in any width, and glibc's of long double is wrong for y = -2^63.
      if (std::isinf(x)) return std::pow(x, y);
      return static_cast<C>(std::pow(static_cast<Wide>(x), static_cast<Wide>(y)));
    case Op::atan2: return static_cast<C>(std::atan2(static_cast<Wide>(x), static_cast<Wide>(y)));
    case Op::min: return smaller(x, y);
    case Op::max: return larger(x, y);
    default: GCOMP_CHECK(false, "not a float op of two operands");
  }
}

template <class C>
bool compare(Op op, C x, C y) {
  switch (op) {
    case Op::eq: return x == y;
    case Op::ne: return x != y;
    case Op::lt: return x < y;
    case Op::le: return x <= y;
    case Op::gt: return x > y;
    case Op::ge: return x >= y;
    default: GCOMP_CHECK(false, "not a comparison");
  }
}

template <class W>
W integer_unary(Op op, W x) {
  switch (op) {
    case Op::neg: return wrap_neg(x);
    case Op::abs: return x < 0 ? wrap_neg(x) : x;
    case Op::sign: return static_cast<W>((x > 0) - (x < 0));
    case Op::bit_not: return ~x;
    default: GCOMP_CHECK(false, "not an integer op of one operand");
  }
}

template <class C>
C float_unary(Op op, C x) {
  switch (op) {
    case Op::neg: return -x;
    case Op::abs: return std::fabs(x);
    case Op::sign: return std::isnan(x) ? x : static_cast<C>((x > 0) - (x < 0));
    case Op::floor: return std::floor(x);
    case Op::ceil: return std::ceil(x);
    case Op::round: return std::nearbyint(x);  // halves to even, in the default rounding mode
    case Op::trunc: return std::trunc(x);
    case Op::sqrt: return std::sqrt(x);
    default: GCOMP_CHECK(false, "not a float op of one operand");
  }
}

}  // namespace

Results eval_unary(const Call& c) {
  const Tensor& x = c.operand(0);
  Tensor y = make_tensor(x.dtype, x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    const S* from = x.data<S>();
    S* to = y.data<S>();
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<S, bool>) {
        GCOMP_CHECK(c.op == Op::bit_not, "not an op on bool");
        to[i] = !from[i];
      } else if constexpr (std::is_integral_v<S>) {
        to[i] = store<S>(integer_unary(c.op, load(from[i])));
      } else {
        to[i] = store<S>(float_unary(c.op, load(from[i])));
      }
    }
  });
  return one(std::move(y));
}

Results eval_binary(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& y = c.operand(1);
  Tensor z = make_tensor(x.dtype, x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    const S* a = x.data<S>();
    const S* b = y.data<S>();
    S* to = z.data<S>();
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_integral_v<S>) {
        to[i] = store<S>(integer_binary(c.op, load(a[i]), load(b[i]), kBits<S>));
      } else {
        to[i] = store<S>(float_binary(c.op, load(a[i]), load(b[i])));
      }
    }
  });
  return one(std::move(z));
}

Results eval_compare(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& y = c.operand(1);
  Tensor z = make_tensor(DType::kBool, x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    const S* a = x.data<S>();
    const S* b = y.data<S>();
    for (int64_t i = 0; i < n; ++i) z.data<bool>()[i] = compare(c.op, load(a[i]), load(b[i]));
  });
  return one(std::move(z));
}

Results eval_test(const Call& c) {
  const Tensor& x = c.operand(0);
  Tensor y = make_tensor(DType::kBool, x.shape);
  const int64_t n = x.num_elements();
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_integral_v<S>) {
      for (int64_t i = 0; i < n; ++i) {
        const auto value = load(x.data<S>()[i]);
        y.data<bool>()[i] = c.op == Op::is_nan ? std::isnan(value) : std::isinf(value);
      }
    }
  });
  return one(std::move(y));
}

Results eval_where(const Call& c) {
  const Tensor& cond = c.operand(0);
  Tensor z = make_tensor(c.operand(1).dtype, cond.shape);
  const size_t width = byte_size(z.dtype);
  const int64_t n = cond.num_elements();
  for (int64_t i = 0; i < n; ++i) {
    const Tensor& from = c.operand(cond.data<bool>()[i] ? 1 : 2);
    const size_t at = static_cast<size_t>(i) * width;
    std::copy_n(from.bytes.begin() + at, width, z.bytes.begin() + at);
  }
  return one(std::move(z));
}

}  // namespace gcomp::interp
