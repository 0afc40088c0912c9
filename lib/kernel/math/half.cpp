// Conversions of the half formats for machines that have none, bit by bit as the hardware does them:
// round to nearest even, subnormals kept, NaN made quiet with its leading payload.

#include "families.h"

namespace gcomp::kernel::math {
namespace {

struct Words {
  Builder& b;
  Type type;  // uint32 of the lanes
  Words(Builder& builder, int lanes)
      : b(builder), type{DType::kUInt32, static_cast<uint16_t>(lanes)} {}
  Value c(uint32_t v) { return b.constant_bits(type, v); }
  Value to_half(Value word, DType half) { return b.bitcast(b.cast(word, DType::kUInt16), half); }
};

Value bfloat16_from(Words& w, Value x) {
  Builder& b = w.b;
  Value bits = b.bitcast(x, DType::kUInt32);
  Value odd = b.bit_and(b.shr(bits, w.c(16)), w.c(1));
  Value rounded = b.shr(b.add(bits, b.add(odd, w.c(0x7fff))), w.c(16));
  Value quiet = b.bit_or(b.shr(bits, w.c(16)), w.c(0x40));
  return w.to_half(b.where(b.op(Op::is_nan, {x}), quiet, rounded), DType::kBFloat16);
}

Value float16_from(Words& w, Value x) {
  Builder& b = w.b;
  Value bits = b.bitcast(x, DType::kUInt32);
  Value sign = b.bit_and(b.shr(bits, w.c(16)), w.c(0x8000));
  Value magnitude = b.bit_and(bits, w.c(0x7fffffff));
  // Normal: rebias the exponent, round on the 13 bits that go.
  Value odd = b.bit_and(b.shr(magnitude, w.c(13)), w.c(1));
  Value rebiased = b.add(magnitude, w.c(0xfffu - 0x38000000u));
  Value normal = b.shr(b.add(rebiased, odd), w.c(13));
  // Subnormal: adding 0.5 rounds to its last place, 2^-24.
  Value x_abs = b.bitcast(magnitude, DType::kFloat32);
  Value sum = b.bitcast(b.add(x_abs, b.like(x_abs, 0.5)), DType::kUInt32);
  Value subnormal = b.sub(sum, w.c(0x3f000000));
  Value r = b.where(b.lt(magnitude, w.c(0x38800000)), subnormal, normal);
  r = b.where(b.ge(magnitude, w.c(0x477ff000)), w.c(0x7c00), r);  // 65520 and above
  Value payload = b.bit_and(b.shr(magnitude, w.c(13)), w.c(0x3ff));
  Value nan = b.bit_or(payload, w.c(0x7e00));
  r = b.where(b.gt(magnitude, w.c(0x7f800000)), nan, r);
  return w.to_half(b.bit_or(r, sign), DType::kFloat16);
}

}  // namespace

Value emit_float_to_half(Builder& b, Value x, DType to) {
  Words w(b, b.type(x).lanes);
  return to == DType::kBFloat16 ? bfloat16_from(w, x) : float16_from(w, x);
}

Value emit_half_to_float(Builder& b, Value h) {
  Words w(b, b.type(h).lanes);
  Value bits = b.cast(b.bitcast(h, DType::kUInt16), DType::kUInt32);
  if (b.type(h).dtype == DType::kBFloat16) {
    return b.bitcast(b.shl(bits, w.c(16)), DType::kFloat32);
  }
  Value sign = b.shl(b.bit_and(bits, w.c(0x8000)), w.c(16));
  Value magnitude = b.bit_and(bits, w.c(0x7fff));
  // Read as a float32 of a too small exponent, normal or not, and multiplied by 2^112.
  Value placed = b.shl(magnitude, w.c(13));
  Value small = b.bitcast(placed, DType::kFloat32);
  Value finite = b.bitcast(b.mul(small, b.like(small, 0x1p112)), DType::kUInt32);
  Value special = b.bit_or(placed, w.c(0x7fc00000));
  special = b.where(b.eq(magnitude, w.c(0x7c00)), w.c(0x7f800000), special);
  Value r = b.where(b.ge(magnitude, w.c(0x7c00)), special, finite);
  return b.bitcast(b.bit_or(r, sign), DType::kFloat32);
}

}  // namespace gcomp::kernel::math
