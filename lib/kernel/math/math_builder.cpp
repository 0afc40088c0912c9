#include "math_builder.h"

#include <vector>

namespace gcomp::kernel::math {

Value MathBuilder::sign_bit(Value x) {
  int64_t mask = is_f64() ? INT64_MIN : INT32_MIN;
  return b.bit_and(bits(x), ic(mask));
}

Value MathBuilder::copysign(Value magnitude, Value sign) {
  int64_t rest = is_f64() ? INT64_MAX : INT32_MAX;
  return from_bits(b.bit_or(b.bit_and(bits(magnitude), ic(rest)), sign_bit(sign)));
}

Value MathBuilder::poly(Value x, std::span<const double> coefficients) {
  Value r = c(coefficients.back());
  for (size_t i = coefficients.size() - 1; i-- > 0;) r = mad(r, x, c(coefficients[i]));
  return r;
}

Value MathBuilder::estrin(Value x, std::span<const double> coefficients) {
  std::vector<Value> terms;
  for (double v : coefficients) terms.push_back(c(v));
  Value power = x;
  while (terms.size() > 1) {
    std::vector<Value> next;
    for (size_t i = 0; i + 1 < terms.size(); i += 2) {
      next.push_back(mad(terms[i + 1], power, terms[i]));
    }
    if (terms.size() % 2) next.push_back(terms.back());
    terms = std::move(next);
    if (terms.size() > 1) power = mul(power, power);
  }
  return terms[0];
}

MathBuilder::Pair MathBuilder::two_sum(Value x, Value y) {
  Value s = add(x, y);
  Value t = sub(s, x);
  return {s, add(sub(x, sub(s, t)), sub(y, t))};
}

MathBuilder::Pair MathBuilder::fast_two_sum(Value x, Value y) {
  Value s = add(x, y);
  return {s, sub(y, sub(s, x))};
}

MathBuilder::Pair MathBuilder::two_prod(Value x, Value y) {
  Value p = mul(x, y);
  if (has_fma) return {p, fma(x, y, neg(p))};
  auto halves = [&](Value v) -> Pair {  // Veltkamp
    Value t = mul(v, c(4097, 134217729));
    Value hi = sub(t, sub(t, v));
    return {hi, sub(v, hi)};
  };
  Pair a = halves(x), d = halves(y);
  Value e = sub(mul(a.hi, d.hi), p);
  e = add(add(e, mul(a.hi, d.lo)), mul(a.lo, d.hi));
  return {p, add(e, mul(a.lo, d.lo))};
}

MathBuilder::Pair MathBuilder::add(Pair x, Value y) {
  Pair s = two_sum(x.hi, y);
  return fast_two_sum(s.hi, add(s.lo, x.lo));
}

MathBuilder::Pair MathBuilder::add(Pair x, Pair y) {
  Pair s = two_sum(x.hi, y.hi);
  return fast_two_sum(s.hi, add(s.lo, add(x.lo, y.lo)));
}

MathBuilder::Pair MathBuilder::mul(Pair x, Value y) {
  Pair p = two_prod(x.hi, y);
  return fast_two_sum(p.hi, mad(x.lo, y, p.lo));
}

MathBuilder::Pair MathBuilder::mul(Pair x, Pair y) {
  Pair p = two_prod(x.hi, y.hi);
  return fast_two_sum(p.hi, mad(x.lo, y.hi, mad(x.hi, y.lo, p.lo)));
}

// Through stack arrays and a loop over the lanes, so that the code stays small.
Value MathBuilder::libm_where(Value slow, Op op, std::span<const Value> args, Value fast) {
  if (type.lanes == 1) {
    return b.if_else(
        slow, [&] { return Values{b.libm(op, args)}; }, [&] { return Values{fast}; })[0];
  }
  std::vector<Buffer> arrays;
  for (size_t i = 0; i < args.size(); ++i) arrays.push_back(b.local(type.dtype, type.lanes));
  Buffer result = b.local(type.dtype, type.lanes);
  auto call_lanes = [&] {
    for (size_t i = 0; i < args.size(); ++i) b.store(arrays[i], b.index(0), args[i]);
    b.for_loop(b.index(0), b.index(type.lanes), b.index(1), [&](Value lane) {
      Values scalars;
      for (Buffer array : arrays) scalars.push_back(b.load(array, lane));
      b.store(result, lane, b.libm(op, scalars));
    });
    return Values{b.where(slow, b.load(result, b.index(0), type.lanes), fast)};
  };
  return b.if_else(b.any(slow), call_lanes, [&] { return Values{fast}; })[0];
}

}  // namespace gcomp::kernel::math
