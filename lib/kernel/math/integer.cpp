// Integer power by repeated squaring, wrapping; a negative exponent gives 0 but for bases 1 and -1.

#include "families.h"

namespace gcomp::kernel::math {

Value emit_integer_pow(Builder& b, Value x, Value y) {
  Type t = b.type(x);
  auto c = [&](int64_t v) { return b.cast(b.splat(b.index(v), t.lanes), t.dtype); };
  Value one = c(1), zero = c(0);
  bool is_signed = is_signed_int(t.dtype);
  Value exponent = is_signed ? b.max(y, zero) : y;
  auto more = [&](std::span<const Value> v) { return b.any(b.ne(v[0], zero)); };
  auto turn = [&](std::span<const Value> v) {
    Value odd = b.ne(b.bit_and(v[0], one), zero);
    Value result = b.where(odd, b.mul(v[2], v[1]), v[2]);
    return Values{b.shr(v[0], one), b.mul(v[1], v[1]), result};
  };
  Value power = b.while_loop({exponent, x, one}, more, turn)[2];
  if (!is_signed) return power;
  // (-1)^y by the parity of y, which negative numbers have in their low bit too.
  Value minus_one = c(-1);
  Value sign = b.where(b.ne(b.bit_and(y, one), zero), minus_one, one);
  Value inverse = b.where(b.eq(x, one), one, b.where(b.eq(x, minus_one), sign, zero));
  return b.where(b.lt(y, zero), inverse, power);
}

}  // namespace gcomp::kernel::math
