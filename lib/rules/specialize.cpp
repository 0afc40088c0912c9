// Cheaper forms of single ops. Scalar constants are kernel parameters, so LLVM does not see them: what
// a number makes cheaper must be done here. (Powers: arithmetic.cpp.)
#include <bit>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern ix = integer("x"), fx = real("x");

std::optional<int> log2_of(const Match& m) {
  const auto splat = m.facts().splat(m["c"]);
  if (!splat || splat->integer < 2 || !std::has_single_bit(static_cast<uint64_t>(splat->integer))) {
    return std::nullopt;
  }
  return std::countr_zero(static_cast<uint64_t>(splat->integer));
}

Condition power_of_two() {
  return [](const Match& m) { return log2_of(m).has_value(); };
}

ResultFunction shifted(Op op) {
  return [op](const Match& m, Emitter& e) -> Replacement {
    return e.value(op, {m["x"], splat_like(e, m["x"], *log2_of(m))});
  };
}

// Integers whose constant operand is a power of two: the fuzzer would hardly draw one by itself.
Generator with_power(Op op, DTypeMask mask) {
  return [=](CaseMaker& make) {
    const Type t{make.dtype(mask), make.shape()};
    const double c = static_cast<double>(int64_t{1} << make.pick(1, 6));
    return make.builder().value(op, {make.input(t), make.splat(t, c)});
  };
}

}  // namespace

std::vector<Rule> specialize_rules() {
  const Pattern c = scalar("c"), ux = any("x", kUnsignedInts);
  return only_in(
      "specialize",
      {
          rule("floor_div_power_of_two", "x floor_div 2^k -> x >> k", floor_div(ix, c),
               shifted(Op::shr))
              .when(power_of_two())
              .cases(with_power(Op::floor_div, kInts)),
          rule("div_power_of_two_unsigned", "x / 2^k -> x >> k, unsigned", ux / c, shifted(Op::shr))
              .when(power_of_two())
              .cases(with_power(Op::div, kUnsignedInts)),
          rule("mod_power_of_two", "x mod 2^k -> x & (2^k - 1)", mod(ix, c),
               [](const Match& m, Emitter& e) -> Replacement {
                 const double mask = std::ldexp(1.0, *log2_of(m)) - 1;
                 return e.value(Op::bit_and, {m["x"], splat_like(e, m["x"], mask)});
               })
              .when([](const Match& m) { return log2_of(m).value_or(64) < 53; })
              .cases(with_power(Op::mod, kInts)),
          rule("rem_power_of_two_unsigned", "x rem 2^k -> x & (2^k - 1), unsigned", rem(ux, c),
               [](const Match& m, Emitter& e) -> Replacement {
                 const double mask = std::ldexp(1.0, *log2_of(m)) - 1;
                 return e.value(Op::bit_and, {m["x"], splat_like(e, m["x"], mask)});
               })
              .when([](const Match& m) { return log2_of(m).value_or(64) < 53; })
              .cases(with_power(Op::rem, kUnsignedInts)),
          rule("mul_power_of_two_int", "x * 2^k -> x << k", ix * c, shifted(Op::shl))
              .when(power_of_two())
              .cases(with_power(Op::mul, kInts)),
          rule("exp_of_multiple_of_log2", exp(fx * 0.693147180559945309417), exp2(fx))
              .reassociates(),
          rule("log_times_inverse_log2", log(fx) * 1.44269504088896340736, log2(fx)).reassociates(),
          // A reciprocal with other readers is computed anyway, and a product costs less than a quotient.
          rule("reciprocal_mul", fx * (1 / real("y")).named("inverse"), fx / real("y"))
              .when([](const Match& m) { return used_once(m, "inverse"); })
              .reassociates(),
      });
}

}  // namespace gcomp::rules
