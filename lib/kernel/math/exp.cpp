// exp and what is made of it. x = n ln2 + r, |r| <= ln2/2; e^x = 2^n (1 + r + r^2 q(r)).
//
// Constants go first in max_fast/min_fast so that NaN (which compares with nothing) comes through.

#include "coefficients.h"
#include "families.h"

namespace gcomp::kernel::math {
namespace {

constexpr double kLog2E = 1.4426950408889634;
// ln2 in two parts, the first short enough that n times it is exact without fma.
constexpr double kLn2HiF32 = 0.693359375, kLn2LoF32 = -2.12194440054690583e-4;
constexpr double kLn2HiF64 = 6.93147180369123816490e-01, kLn2LoF64 = 1.90821492927058770002e-10;

struct Parts {
  Value bits;  // n in the low mantissa bits of n + magic
  Value n;
  Value r;
};

double magic(const MathBuilder& m) { return m.is_f64() ? 6755399441055744.0 : 12582912.0; }

// n = round(x / ln2); `low` (optional) is a small addend of x.
Parts reduce(MathBuilder& m, Value x, Value low = {}) {
  Value shifted = m.mad(x, m.c(kLog2E), m.c(magic(m)));
  Value n = m.sub(shifted, m.c(magic(m)));
  Value r = m.mad(n, m.c(-kLn2HiF32, -kLn2HiF64), x);
  if (low.valid()) {
    r = m.add(r, m.mad(n, m.c(-kLn2LoF32, -kLn2LoF64), low));
  } else {
    r = m.mad(n, m.c(-kLn2LoF32, -kLn2LoF64), r);
  }
  return {m.bits(shifted), n, r};
}

// e^r - 1.
Value expm1_small(MathBuilder& m, Value r) {
  Value q = m.is_f64() ? m.estrin(r, kExpF64) : m.estrin(r, kExpF32);
  return m.mad(m.mul(r, r), q, r);
}

Value logical_shift_right(MathBuilder& m, Value i, int by) {
  Builder& b = m.b;
  DType t = m.is_f64() ? DType::kUInt64 : DType::kUInt32;
  Value shifted = b.shr(b.bitcast(i, t), b.constant({t, m.type.lanes}, by));
  return b.bitcast(shifted, m.int_type().dtype);
}

// x * 2^n, n from the bits of Parts; two factors, so that denormals and 2^128 come out right.
Value scale(MathBuilder& m, Value x, Value shifted_bits) {
  Builder& b = m.b;
  int64_t magic_bits = m.is_f64() ? 0x4338000000000000 : 0x4b400000;
  // Kept positive: 64 bits have no arithmetic shift before AVX-512, and a logical one does then.
  int64_t offset = 0x4000;
  Value n = b.sub(shifted_bits, m.ic(magic_bits - offset));
  Value half = logical_shift_right(m, n, 1);
  int64_t bias = m.is_f64() ? 1023 : 127;
  auto power = [&](Value e) {
    return m.from_bits(b.shl(b.add(e, m.ic(bias - offset / 2)), m.ic(m.mantissa_bits())));
  };
  return m.mul(m.mul(x, power(half)), power(b.sub(n, half)));
}

Value clamp(MathBuilder& m, Value x, Value lo, Value hi) {
  return m.min_fast(hi, m.max_fast(lo, x));
}

}  // namespace

Value emit_exp(MathBuilder& m, Value x) {
  x = clamp(m, x, m.c(-104, -746), m.c(90, 711));
  Parts p = reduce(m, x);
  return scale(m, m.add(expm1_small(m, p.r), m.c(1)), p.bits);
}

// e^(x + low), |low| much smaller than x.
Value emit_exp_pair(MathBuilder& m, Value x, Value low) {
  Builder& b = m.b;
  Value inside = b.bit_and(b.gt(x, m.c(-104, -746)), b.lt(x, m.c(90, 711)));
  low = m.where(inside, low, m.c(0));
  Parts p = reduce(m, clamp(m, x, m.c(-104, -746), m.c(90, 711)), low);
  return scale(m, m.add(expm1_small(m, p.r), m.c(1)), p.bits);
}

// e^x for float64 x that came from float32 arithmetic: to 2^-32 or so of its size.
Value emit_exp_short(MathBuilder& m, Value x) {
  Parts p = reduce(m, clamp(m, x, m.c(-200), m.c(200)));
  Value small = m.mad(m.mul(p.r, p.r), m.estrin(p.r, kExpPowF32), p.r);
  Value power = m.from_bits(m.b.shl(m.b.add(p.bits, m.ic(1023)), m.ic(52)));
  return m.mad(power, small, power);
}

// e^x / 2, which is finite a little longer than e^x.
Value emit_half_exp(MathBuilder& m, Value x) {
  Parts p = reduce(m, clamp(m, x, m.c(-104, -746), m.c(91, 712)));
  Value half_bits = m.b.sub(p.bits, m.ic(1));
  return scale(m, m.add(expm1_small(m, p.r), m.c(1)), half_bits);
}

Value emit_exp2(MathBuilder& m, Value x) {
  x = clamp(m, x, m.c(-151, -1076), m.c(129, 1025));
  Value shifted = m.add(x, m.c(magic(m)));
  Value r = m.sub(x, m.sub(shifted, m.c(magic(m))));
  Value q = m.is_f64() ? m.estrin(r, kExp2F64) : m.estrin(r, kExp2F32);
  return scale(m, m.mad(r, q, m.c(1)), m.bits(shifted));
}

Value emit_expm1(MathBuilder& m, Value x) {
  Builder& b = m.b;
  // Below the lower bound the result rounds to -1.
  Parts p = reduce(m, clamp(m, x, m.c(-18, -40), m.c(89, 710)));
  // |x| < 1/2 is not reduced: at n = 1 and -1 the sum below would cancel.
  Value whole = b.lt(m.abs(x), m.c(0.5));
  Value r = m.where(whole, x, p.r);
  Value q = m.is_f64() ? m.estrin(r, kExpm1F64) : m.estrin(r, kExpm1F32);
  Value small = m.mad(m.mul(r, r), q, r);
  // Halved throughout, so that 2^n stays finite.
  Value half =
      m.from_bits(b.shl(b.add(p.bits, m.ic(m.is_f64() ? 1022 : 126)), m.ic(m.mantissa_bits())));
  Value y = m.mad(half, small, m.sub(half, m.c(0.5)));
  y = m.where(whole, small, m.add(y, y));
  return m.copysign(y, x);  // of -0.0
}

// t = e^(-2|x|) - 1 is in [-1, 0]: tanh |x| = -t / (t + 2).
Value emit_tanh(MathBuilder& m, Value x) {
  Value t = emit_expm1(m, m.mul(m.abs(x), m.c(-2)));
  return m.copysign(m.div(t, m.add(t, m.c(2))), x);
}

Value emit_sigmoid(MathBuilder& m, Value x) {
  Value e = emit_exp(m, m.neg(m.abs(x)));
  Value numerator = m.where(m.b.lt(x, m.c(0)), e, m.c(1));
  return m.div(numerator, m.add(e, m.c(1)));
}

// max(x, 0) + log1p(e^-|x|)
Value emit_softplus(MathBuilder& m, Value x) {
  Value tail = emit_log1p(m, emit_exp(m, m.neg(m.abs(x))));
  return m.add(m.max_fast(m.c(0), x), tail);
}

// Near 0, log(-(e^x - 1)); far from it, log1p(-e^x).
Value emit_log1mexp(MathBuilder& m, Value x) {
  Builder& b = m.b;
  Value near = emit_log(m, m.neg(emit_expm1(m, x)));
  Value far = emit_log1p(m, m.neg(emit_exp(m, x)));
  return m.where(b.gt(x, m.c(-0.6931471805599453)), near, far);
}

// (e^x - e^-x) / 2: by expm1 where the terms are near each other.
Value emit_sinh(MathBuilder& m, Value x) {
  Value ax = m.abs(x);
  Value e = emit_expm1(m, m.min_fast(m.c(2), ax));
  Value small = m.mul(m.c(0.5), m.add(e, m.div(e, m.add(e, m.c(1)))));
  Value half = emit_half_exp(m, ax);
  Value large = m.sub(half, m.div(m.c(0.25), half));
  return m.copysign(m.where(m.b.lt(ax, m.c(1)), small, large), x);
}

Value emit_cosh(MathBuilder& m, Value x) {
  Value half = emit_half_exp(m, m.abs(x));
  return m.add(half, m.div(m.c(0.25), half));
}

}  // namespace gcomp::kernel::math
