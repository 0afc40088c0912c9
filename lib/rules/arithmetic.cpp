// Sums, differences, products, quotients, signs, minima and maxima.
//
// Floats: x + 0.0 is not x when x is -0.0, x - x is not 0 when x is infinite; rows say what they assume.
#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = number("x"), y = number("y"), z = number("z");
const Pattern fx = real("x"), fy = real("y"), ix = integer("x"), iy = integer("y");
const Pattern sx = any("x", kSignedInts | kFloats);
const Pattern c = constant("c", kNumbers), d = constant("d", kNumbers);
const Pattern ic = constant("c", kInts), id = constant("d", kInts);
const Pattern fc = scalar("c", kFloats), fd = scalar("d", kFloats);
const double kInf = INFINITY;

const std::vector<Op> kOdd = {Op::sign, Op::sin,   Op::tan,   Op::asin, Op::atan,  Op::sinh,
                              Op::tanh, Op::asinh, Op::atanh, Op::erf,  Op::erfinv};
const std::vector<Op> kEven = {Op::cos, Op::cosh};

// The combined coefficient stays an ordinary number of the dtype: neither overflow nor underflow.
bool ordinary(DType t, double v) {
  const double a = std::fabs(v);
  switch (t) {
    case DType::kFloat16: return a >= 0x1p-14 && a < 0x1p15;
    case DType::kFloat64: return a >= 0x1p-1000 && a < 0x1p1000;
    default: return a >= 0x1p-120 && a < 0x1p120;
  }
}

double rounded(DType t, double v) { return make_splat(t, {}, v).as_double(0); }

// x * c * d with the splats c and d: one coefficient. Of one large and one small factor the product
// may overflow (underflow) where x * c alone did or did not; then only near 1 are they merged.
Replacement merge_factors(const Match& m, Emitter& e) {
  const DType t = m.type("x").dtype;
  const double first = std::fabs(m.scalar("c")), second = std::fabs(m.scalar("d"));
  const bool near_one = std::max(first, second) <= 0x1p10 && std::min(first, second) >= 0x1p-10;
  if ((first > 1) != (second > 1) && !near_one) return std::nullopt;
  const double product = rounded(t, m.scalar("c") * m.scalar("d"));
  if (!ordinary(t, product)) return std::nullopt;
  const bool exact = std::fma(m.scalar("c"), m.scalar("d"), -product) == 0;
  if (!exact && !used_once(m, "inner")) return std::nullopt;
  return e.value(Op::mul, {m["x"], splat_like(e, m["x"], product)});
}

// Where the inner value has other readers, nothing is saved by merging, and a constant that is rounded
// moves every element the same way: a text detector, which amplifies rounding, was off by 3.4e-5 on a page
// instead of 1.0e-5.
Replacement merge_terms(const Match& m, Emitter& e) {
  const DType t = m.type("x").dtype;
  const double c = m.scalar("c"), d = m.scalar("d"), sum = rounded(t, c + d);
  if (!std::isfinite(sum)) return std::nullopt;
  const bool exact = sum - c == d && sum - d == c;
  if (!exact && !used_once(m, "inner")) return std::nullopt;
  return e.value(Op::add, {m["x"], splat_like(e, m["x"], sum)});
}

bool finite_coefficients(const Match& m) {
  return std::isfinite(m.scalar("c")) && (!m.has("d") || std::isfinite(m.scalar("d")));
}

bool foldable(const Match& m) { return m.facts().constant_source(m["c"]) != nullptr; }

std::vector<Rule> sums() {
  return everywhere({
      rule("add_zero_int", ix + 0, ix),
      rule("add_minus_zero", fx + -0.0, fx),
      rule("add_zero", fx + 0.0, fx)
          .when([](const Match& m) { return never_negative_zero(m, m["x"]); })
          .cases([](CaseMaker& make) {
            const Type t{make.dtype(kFloats), make.shape()};
            const ValueId v = make.builder().value(Op::abs, {make.input(t)});
            return make.builder().value(Op::add, {v, make.splat(t, 0)});
          }),
      rule("sub_zero", x - 0, x),
      rule("sub_self_int", ix - ix, Pattern(0)),
      rule("sub_self", fx - fx, Pattern(0)).assumes_finite(),
      rule("zero_sub_int", 0 - ix, -ix),
      rule("minus_zero_sub", -0.0 - fx, -fx),
      rule("neg_neg", -(-x), x),
      rule("sub_neg", x - (-y), x + y),
      rule("add_neg", x + (-y), x - y),
      rule("neg_sub_int", -(ix - iy), iy - ix),
      rule("sub_then_add_int", (ix - iy) + iy, ix),
      rule("add_then_sub_int", (ix + iy) - iy, ix),
      rule("sub_constant", "x - c -> x + (-c)", x - c,
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(Op::add, {m["x"], e.value(Op::neg, {m["c"]})});
           })
          .when([](const Match& m) { return foldable(m) && !m.facts().is_constant(m["x"]); }),
      rule("add_constants_int", (ix + ic) + id, ix + (ic + id)),
      rule("sub_constants_int", (ic - ix) + id, (ic + id) - ix),
      rule("add_constants", "x + c + d -> x + (c + d)", (fx + fc).named("inner") + fd, merge_terms)
          .when(finite_coefficients)
          .reassociates(),
  });
}

std::vector<Rule> products() {
  return everywhere({
      rule("mul_one", x * 1, x),
      rule("mul_zero_int", ix * 0, Pattern(0)),
      rule("mul_zero", fx * 0.0, Pattern(0.0)).assumes_finite(),
      rule("mul_minus_one", sx * -1, -sx),
      rule("mul_neg_neg", (-x) * (-y), x * y),
      rule("mul_neg_constant", (-x) * c, x * (-c)),
      rule("neg_mul_constant", -(x * c), x * (-c)),
      rule("mul_neg", (-x) * y, -(x * y)),
      rule("mul_constants_int", (ix * ic) * id, ix * (ic * id)),
      rule("mul_constants", "x * c * d -> x * (c * d)", (fx * fc).named("inner") * fd,
           merge_factors)
          .when(finite_coefficients)
          .reassociates(),
      rule("mul_abs_abs", abs(x) * abs(x), x * x),
      rule("abs_times_abs", abs(fx) * abs(fy), abs(fx * fy)),
      rule("abs_over_abs", abs(fx) / abs(fy), abs(fx / fy)),
      rule("distribute_divisor", (fy / fx + real("z")) * fx, fy + real("z") * fx).assumes_finite(),
      rule("div_one", x / 1, x),
      rule("div_minus_one", sx / -1, -sx),
      rule("zero_div_int", 0 / ix, Pattern(0)),
      rule("zero_div", 0.0 / fx, Pattern(0.0)).assumes_finite(),
      rule("zero_floor_div_int", floor_div(0, ix), Pattern(0)),
      rule("div_neg_neg", (-fx) / (-fy), fx / fy),
      rule("div_neg", fx / (-fy), -(fx / fy)),
      rule("neg_div", (-fx) / fy, -(fx / fy)),
      rule("div_power_of_two", "x / c -> x * (1 / c), c a power of two", fx / fc,
           [](const Match& m, Emitter& e) -> Replacement {
             return e.value(Op::mul, {m["x"], splat_like(e, m["x"], 1 / m.scalar("c"))});
           })
          .when(scalar_is("c", is_power_of_two)),
      // Where x / c has other readers nothing is saved, and x is read once more.
      rule("div_of_div", "x / c / d -> x / (c * d)", (fx / fc).named("quotient") / fd,
           [](const Match& m, Emitter& e) -> Replacement {
             const double c = m.scalar("c"), d = m.scalar("d");
             const double product = rounded(m.type("x").dtype, c * d);
             if (!(std::fabs(c) <= 0x1p10 && std::fabs(c) >= 0x1p-10)) return std::nullopt;
             if (!(std::fabs(d) <= 0x1p10 && std::fabs(d) >= 0x1p-10)) return std::nullopt;
             if (!ordinary(m.type("x").dtype, product)) return std::nullopt;
             return e.value(Op::div, {m["x"], splat_like(e, m["x"], product)});
           })
          .when([](const Match& m) { return m.facts().uses(m["quotient"]) <= 1; })
          .reassociates(),
      rule("floor_div_one", floor_div(ix, 1), ix),
      rule("floor_div_minus_one", floor_div(sx, -1), -sx).when([](const Match& m) {
        return !is_float(m.root_type().dtype);
      }),
      rule("mod_one_int", mod(ix, 1), Pattern(0)),
      rule("rem_one_int", rem(ix, 1), Pattern(0)),
  });
}

std::vector<Rule> signs() {
  return everywhere({
      rule("abs_abs", abs(abs(x)), abs(x)),
      rule("abs_neg", abs(-sx), abs(sx)),
      rule("abs_of_positive", abs(x), x).when([](const Match& m) {
        return never_negative(m, m["x"]) && never_negative_zero(m, m["x"]);
      }),
      rule("sign_sign", sign(sign(x)), sign(x)),
      rule("sign_times_abs", sign(x) * abs(x), x),
      rule("over_own_abs", fx / abs(fx), sign(fx)).assumes_finite(),
      rule("abs_over_self", abs(fx) / fx, sign(fx)).assumes_finite(),
      rule("odd_of_neg", one_of(kOdd, "f", {-fx}), -like("f", {fx})),
      rule("even_of_neg", one_of(kEven, "f", {-fx}), like("f", {fx})),
      rule("even_of_abs", one_of(kEven, "f", {abs(fx)}), like("f", {fx})),
      rule("round_of_round",
           one_of({Op::floor, Op::ceil, Op::round, Op::trunc}, "f",
                  {one_of({Op::floor, Op::ceil, Op::round, Op::trunc}, "g", {fx})}),
           any("g")),
  });
}

std::vector<Rule> extrema() {
  return everywhere({
      rule("min_self", min(x, x), x),
      rule("max_self", max(x, x), x),
      rule("min_min", min(min(x, y), y), min(x, y)),
      rule("max_max", max(max(x, y), y), max(x, y)),
      rule("min_inf", min(fx, kInf), fx),
      rule("max_minus_inf", max(fx, -kInf), fx),
      rule("min_constants", min(min(x, c), d), min(x, min(c, d))),
      rule("max_constants", max(max(x, c), d), max(x, max(c, d))),
      rule("max_zero_of_positive", max(x, 0), x).when([](const Match& m) {
        return never_negative(m, m["x"]);
      }),
      rule("min_zero_of_positive", min(ix, 0), Pattern(0)).when([](const Match& m) {
        return never_negative(m, m["x"]);
      }),
      rule("min_of_neg", min(-fx, -fy), -max(fx, fy)),
      rule("max_of_neg", max(-fx, -fy), -min(fx, fy)),
  });
}

}  // namespace

std::vector<Rule> arithmetic_rules() {
  std::vector<Rule> rules;
  for (auto* table : {sums, products, signs, extrema}) {
    for (Rule& r : table()) rules.push_back(std::move(r));
  }
  return rules;
}

// x^c * x^d (d = 1 where it is not bound) is x^(c + d): of positive whole numbers for every x.
bool exponents_add(const Match& m) {
  const double c = m.scalar("c"), d = m.has("d") ? m.scalar("d") : 1;
  const bool whole = c == std::trunc(c) && d == std::trunc(d);
  return c > 0 && d > 0 && std::isfinite(c) && std::isfinite(d) &&
         (whole || never_negative(m, m["x"]));
}

// Beyond it rounding errors of the product are more than an order above those of pow.
constexpr double kMaxSquaredExponent = 64;

bool small_whole_exponent(const Match& m) {
  const double exponent = m.scalar("c");
  const bool negative = exponent < 0 && is_float(m.root_type().dtype);
  return exponent == std::trunc(exponent) && exponent != 0 && (exponent > 0 || negative) &&
         std::fabs(exponent) <= kMaxSquaredExponent;
}

// x^c by the bits of c, from the lowest; of a negative c the reciprocal.
Replacement squarings(const Match& m, Emitter& e) {
  const double exponent = m.scalar("c");
  ValueId product, power = m["x"];
  for (auto bits = static_cast<uint32_t>(std::fabs(exponent)); bits != 0; bits >>= 1) {
    if (bits & 1) product = product.valid() ? e.value(Op::mul, {product, power}) : power;
    if (bits > 1) power = e.value(Op::mul, {power, power});
  }
  if (exponent > 0) return product;
  return e.value(Op::div, {splat_like(e, product, 1), product});
}

ValueId whole_power_case(CaseMaker& make) {
  const Type t{make.dtype(kNumbers), make.shape()};
  const auto exponent = static_cast<double>(make.pick(2, 20));
  const bool negative = is_float(t.dtype) && make.chance(0.3);
  return make.builder().value(Op::pow,
                              {make.input(t), make.splat(t, negative ? -exponent : exponent)});
}

// Powers become products and roots: cheaper, so in the last sweep, except for the trivial ones.
std::vector<Rule> power_rules() {
  const Pattern nan(NAN);
  std::vector<Rule> rules = everywhere({
      rule("pow_zero", pow(x, 0), Pattern(1)),
      rule("pow_one", pow(x, 1), x),
      rule("pow_times_pow", pow(fx, fc) * pow(fx, fd), pow(fx, fc + fd))
          .when(exponents_add)
          .reassociates(),
      rule("pow_times_base", pow(fx, fc) * fx, pow(fx, fc + 1)).when(exponents_add).reassociates(),
      rule("one_pow", pow(1, y), Pattern(1)),
      rule("sqrt_square", sqrt(fx * fx), abs(fx)).extends_domain(),
      rule("sqrt_times_sqrt", sqrt(fx) * sqrt(fx), where(fx < 0, nan, fx)).extends_domain(),
      rule("log_sqrt", log(sqrt(fx)), log(fx) * 0.5).reassociates(),
  });
  std::vector<Rule> cheaper = only_in(
      "specialize",
      {
          rule("pow_two", pow(x, 2), x * x).reassociates(),
          rule("pow_three", pow(x, 3), (x * x) * x).reassociates(),
          rule("pow_four", "pow(x, 4) -> (x * x)^2", pow(x, 4),
               [](const Match& m, Emitter& e) -> Replacement {
                 const ValueId square = e.value(Op::mul, {m["x"], m["x"]});
                 return e.value(Op::mul, {square, square});
               })
              .reassociates(),
          rule("pow_whole", "pow(x, c) -> products of squares, c whole, up to 64",
               pow(x, scalar("c", kNumbers)), squarings)
              .when(small_whole_exponent)
              .reassociates()
              .cases(whole_power_case),
          rule("pow_minus_one", pow(fx, -1), 1 / fx).reassociates(),
          rule("pow_minus_two", pow(fx, -2), 1 / (fx * fx)).reassociates(),
          // pow(-0.0, 0.5) is 0.0 and pow(-inf, 0.5) inf, unlike sqrt.
          rule("pow_half", pow(fx, 0.5), where(fx == -kInf, kInf, sqrt(fx + 0.0))).reassociates(),
          rule("pow_minus_half", pow(fx, -0.5), where(fx == -kInf, 0.0, 1 / sqrt(fx + 0.0)))
              .reassociates(),
          rule("pow_three_halves", pow(fx, 1.5), where(fx == -kInf, kInf, abs(fx) * sqrt(fx)))
              .reassociates(),
          rule("two_pow", pow(2, fx), exp2(fx)).reassociates(),
      });
  for (Rule& r : cheaper) rules.push_back(std::move(r));
  return rules;
}

}  // namespace gcomp::rules
