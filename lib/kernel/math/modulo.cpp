// Float remainders. Where the quotient is small, x - trunc(x/y)*y with one fma is exact up to one
// correction; the other lanes (huge quotients, denormal divisors, specials) ask fmod.

#include <array>

#include "families.h"

namespace gcomp::kernel::math {

Value emit_rem(MathBuilder& m, Value x, Value y) {
  Builder& b = m.b;
  Value ax = m.abs(x), ay = m.abs(y);
  Value q = b.op(Op::trunc, {m.div(ax, ay)});
  // q may be one too large (the division rounded up): then r is negative.
  Value r = m.fma(m.neg(q), ay, ax);
  r = m.where(b.lt(r, m.c(0)), m.add(r, ay), r);
  r = m.copysign(r, x);
  Value easy = b.bit_and(b.lt(q, m.c(0x1p22, 0x1p51)), b.gt(ay, m.c(0x1p-100, 0x1p-900)));
  easy = b.bit_and(easy, b.lt(ay, m.c(0x1p120, 0x1p1000)));
  return m.libm_where(b.bit_not(easy), Op::rem, std::array{x, y}, r);
}

namespace {

// fmod, whether it lies on the wrong side of zero, and the remainder moved to the right one.
struct Floored {
  Value rem, moved, mod;
};

Floored floored(MathBuilder& m, Value x, Value y) {
  Builder& b = m.b;
  Value r = emit_rem(m, x, y);
  Value opposite = b.bit_xor(b.lt(r, m.c(0)), b.lt(y, m.c(0)));
  Value moved = b.bit_and(opposite, b.ne(r, m.c(0)));
  return {r, moved, m.where(moved, m.add(r, y), r)};
}

}  // namespace

Value emit_mod(MathBuilder& m, Value x, Value y) {
  Value r = floored(m, x, y).mod;
  return m.where(m.b.eq(r, m.c(0)), m.copysign(m.c(0), y), r);
}

// As NumPy: see the op table.
Value emit_floor_div(MathBuilder& m, Value x, Value y) {
  Builder& b = m.b;
  Floored f = floored(m, x, y);
  Value q = m.div(m.sub(x, f.rem), y);
  q = m.where(f.moved, m.sub(q, m.c(1)), q);
  Value floored_q = b.floor(q);
  Value up = b.gt(m.sub(q, floored_q), m.c(0.5));
  Value nearest = m.where(up, m.add(floored_q, m.c(1)), floored_q);
  Value quotient = m.div(x, y);
  nearest = m.where(b.eq(q, m.c(0)), m.copysign(m.c(0), quotient), nearest);
  return m.where(b.eq(y, m.c(0)), quotient, nearest);
}

}  // namespace gcomp::kernel::math
