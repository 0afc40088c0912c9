// Elementwise ops: equal shapes; equal dtypes but for `where`'s condition and `cast`.
//
// Common to all: integers wrap. float16 and bfloat16 operands are widened to float32, the op is done
// there, and the result is rounded once, to nearest even. Broadcasting does not happen here: it is an
// op of its own.

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

bool check_same_shape(TypeInference& t, int i, int j) {
  const Type& a = t.operand(i);
  const Type& b = t.operand(j);
  if (a.dims == b.dims) return true;
  t.fail("operands " + std::to_string(i) + " and " + std::to_string(j) +
         " must have one shape: " + t.show(a) + " and " + t.show(b) +
         " (insert broadcast, or specify_shape if the extents are equal at run time)");
  return false;
}

template <Domain kDomain, bool kToBool>
void infer_elementwise(TypeInference& t) {
  if (!check_dtype(t, 0, kDomain)) return;
  for (int i = 1; i < t.num_operands(); ++i) {
    if (!check_same_dtype(t, 0, i) || !check_same_shape(t, 0, i)) return;
  }
  t.result(kToBool ? DType::kBool : t.operand(0).dtype, t.operand(0).dims);
}

void infer_cast(TypeInference& t) { t.result(t.attrs().dtype(AttrKey::dtype), t.operand(0).dims); }

void infer_where(TypeInference& t) {
  if (t.operand(0).dtype != DType::kBool) {
    t.fail("operand 0 is " + t.show(t.operand(0)) + "; the condition must be bool (insert cast)");
    return;
  }
  if (!check_same_dtype(t, 1, 2)) return;
  if (!check_same_shape(t, 0, 1) || !check_same_shape(t, 0, 2)) return;
  t.result(t.operand(1));
}

OpInfo row(Op op, int arity, uint32_t traits, std::string_view signature, std::string_view doc,
           void (*infer)(TypeInference&)) {
  return {.op = op,
          .min_operands = arity,
          .max_operands = arity,
          .num_results = 1,
          .traits = kElementwise | traits,
          .signature = signature,
          .doc = doc,
          .attrs = {},
          .infer = infer};
}

OpInfo unary(Op op, std::string_view doc) {  // on numbers
  return row(op, 1, 0, "(x: T) -> T, T: number", doc, infer_elementwise<Domain::kNumeric, false>);
}
OpInfo real(Op op, std::string_view doc) {  // on floats
  return row(op, 1, 0, "(x: T) -> T, T: float", doc, infer_elementwise<Domain::kFloat, false>);
}
OpInfo test(Op op, std::string_view doc) {  // floats to bool
  return row(op, 1, kPredicate, "(x: T) -> bool, T: float", doc,
             infer_elementwise<Domain::kFloat, true>);
}
OpInfo binary(Op op, uint32_t traits, std::string_view doc) {  // on numbers
  return row(op, 2, traits, "(x: T, y: T) -> T, T: number", doc,
             infer_elementwise<Domain::kNumeric, false>);
}
OpInfo compare(Op op, uint32_t traits, std::string_view doc) {
  return row(op, 2, kPredicate | traits, "(x: T, y: T) -> bool, T: any", doc,
             infer_elementwise<Domain::kAny, true>);
}
OpInfo bitwise(Op op, std::string_view doc) {
  return row(op, 2, kCommutative | kAssociative, "(x: T, y: T) -> T, T: bool or integer", doc,
             infer_elementwise<Domain::kBoolOrInt, false>);
}
OpInfo shift(Op op, std::string_view doc) {
  return row(op, 2, 0, "(x: T, y: T) -> T, T: integer", doc,
             infer_elementwise<Domain::kInt, false>);
}

std::vector<OpInfo> unary_rows() {
  return {
      {.op = Op::cast,
       .min_operands = 1,
       .max_operands = 1,
       .num_results = 1,
       .traits = kElementwise,
       .signature = "(x: any) -> dtype",
       .doc =
           "The value in another dtype. To bool: x != 0 (NaN is true). From bool: 0 or 1. Integer "
           "to integer keeps the low bits (wraps). Float to integer truncates toward zero, "
           "saturates at the target's limits, and makes NaN 0. Integer or float to float rounds "
           "once to nearest, ties to even; beyond the largest finite value it is infinite.",
       .attrs = {{AttrKey::dtype, AttrKind::kDType, true, "dtype of the result"}},
       .infer = infer_cast},
      unary(Op::neg,
            "-x. Integers wrap: the least signed value and unsigned values are negated "
            "modulo 2^width. Floats: the sign bit is flipped, of zeros and NaN too."),
      unary(Op::abs, "|x|. The least signed integer is its own absolute value. -0.0 gives 0.0."),
      unary(Op::sign,
            "-1, 0 or 1 as x is negative, zero or positive. NaN gives NaN. Which zero a "
            "zero gives is unspecified."),
      real(Op::floor, "The largest integral value <= x. Infinities, NaN and -0.0 stay."),
      real(Op::ceil,
           "The least integral value >= x. Infinities, NaN and -0.0 stay; (-1, 0) gives "
           "-0.0."),
      real(Op::round, "The nearest integral value, halves to even. Infinities, NaN and -0.0 stay."),
      real(Op::trunc, "The integral part, toward zero. Infinities, NaN and -0.0 stay."),
      real(Op::sqrt, "Square root, correctly rounded. -0.0 stays; below zero: NaN."),
      real(Op::exp, "e^x. exp(-inf) = 0, exp(inf) = inf."),
      real(Op::exp2, "2^x."),
      real(Op::expm1, "e^x - 1, accurate near 0. -0.0 stays; expm1(-inf) = -1."),
      real(Op::log, "Natural logarithm. log(0) = -inf for both zeros; below zero: NaN."),
      real(Op::log2, "Logarithm to base 2; as `log` at and below zero. Exact for powers of 2."),
      real(Op::log10, "Logarithm to base 10; as `log` at and below zero."),
      real(Op::log1p, "log(1 + x), accurate near 0. log1p(-1) = -inf; below -1: NaN; -0.0 stays."),
      real(Op::sin, "Sine of radians, with full argument reduction. Infinities: NaN."),
      real(Op::cos, "Cosine of radians, with full argument reduction. Infinities: NaN."),
      real(Op::tan, "Tangent of radians, with full argument reduction. Infinities: NaN."),
      real(Op::asin, "Inverse sine in [-pi/2, pi/2]. |x| > 1: NaN."),
      real(Op::acos, "Inverse cosine in [0, pi]. |x| > 1: NaN."),
      real(Op::atan, "Inverse tangent in [-pi/2, pi/2]."),
      real(Op::sinh, "Hyperbolic sine."),
      real(Op::cosh, "Hyperbolic cosine."),
      real(Op::tanh, "Hyperbolic tangent."),
      real(Op::asinh, "Inverse hyperbolic sine."),
      real(Op::acosh, "Inverse hyperbolic cosine, >= 0. Below 1: NaN."),
      real(Op::atanh, "Inverse hyperbolic tangent. At -1 and 1: -inf and inf; beyond: NaN."),
      real(Op::erf, "Error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x."),
      real(Op::erfc, "1 - erf(x), accurate for large x."),
      real(Op::erfcx,
           "exp(x^2) * erfc(x), which neither underflows for large x (it is near "
           "1/(x sqrt(pi))) nor loses accuracy. Large negative x: inf."),
      real(Op::erfinv, "Inverse of erf. At -1 and 1: -inf and inf; beyond: NaN."),
      real(Op::lgamma, "log |gamma(x)|. inf at 0, the negative integers and both infinities."),
      real(Op::digamma,
           "Derivative of log gamma(x). At +0.0: -inf, at -0.0: inf, at the negative "
           "integers and -inf: NaN; at inf: inf."),
      real(Op::trigamma,
           "Second derivative of log gamma(x). At 0 and the negative integers: inf; at "
           "inf: 0; at -inf: NaN."),
      real(Op::sigmoid, "1 / (1 + exp(-x)), accurate where it is small; never overflows."),
      real(Op::softplus,
           "log(1 + exp(x)); never overflows: for large x it is x, for very negative "
           "x exp(x)."),
      real(Op::log1mexp,
           "log(1 - exp(x)) for x < 0, accurate both near 0 and far from it. At 0: "
           "-inf; above 0: NaN; at -inf: -0.0 or 0.0."),
      row(Op::bit_not, 1, 0, "(x: T) -> T, T: bool or integer",
          "Bits inverted; of a bool, the logical not.",
          infer_elementwise<Domain::kBoolOrInt, false>),
      test(Op::is_nan, "Whether x is NaN."),
      test(Op::is_inf, "Whether x is infinite, of either sign."),
  };
}

std::vector<OpInfo> binary_rows() {
  return {
      binary(Op::add, kCommutative | kAssociative, "x + y. Integers wrap."),
      binary(Op::sub, 0, "x - y. Integers wrap."),
      binary(Op::mul, kCommutative | kAssociative, "x * y. Integers wrap."),
      binary(
          Op::div, 0,
          "x / y. Floats: IEEE division. Integers truncate toward zero; x / 0 = 0, and the least "
          "value / -1 wraps to itself."),
      binary(
          Op::floor_div, 0,
          "x / y rounded toward minus infinity. Integers: x floor_div 0 = 0, and the least value "
          "by -1 wraps to itself. Floats, as NumPy: y = 0 gives x / y; else with m = mod(x, y) "
          "before its zero takes a sign, q = (x - m) / y, less 1 if m was corrected, rounded to "
          "the nearest integral value; a zero result has the sign of x / y. Infinite x: NaN."),
      binary(
          Op::mod, 0,
          "The remainder of floor_div: it has the sign of y (Python, NumPy). Integers: x mod 0 = "
          "0. Floats: m = rem(x, y), plus y if m is not 0 and has the other sign; a zero result "
          "has the sign of y. y = 0, x infinite: NaN."),
      binary(Op::rem, 0,
             "The remainder of division truncated toward zero: it has the sign of x (C's %, fmod). "
             "Integers: x rem 0 = 0. Floats are exact; y = 0 or x infinite: NaN; y infinite: x."),
      binary(
          Op::pow, 0,
          "x^y. Integers by repeated squaring, wrapping; a negative y gives 0, except that x = 1 "
          "gives 1 and x = -1 gives 1 or -1; 0^0 = 1. Floats as C's pow: pow(x, 0) = "
          "pow(1, y) = 1 even for NaN, negative x with y not integral: NaN."),
      binary(Op::min, kCommutative | kAssociative,
             "The smaller. NaN if either is NaN. Which of 0.0 and -0.0 wins is unspecified."),
      binary(Op::max, kCommutative | kAssociative,
             "The larger. NaN if either is NaN. Which of 0.0 and -0.0 wins is unspecified."),
      row(Op::atan2, 2, 0, "(y: T, x: T) -> T, T: float",
          "The angle of the point (x, y) in [-pi, pi]: first operand y, second x. Signed zeros and "
          "infinities as C's atan2.",
          infer_elementwise<Domain::kFloat, false>),
      compare(Op::eq, kCommutative, "x == y. NaN equals nothing; 0.0 equals -0.0."),
      compare(Op::ne, kCommutative, "x != y: the negation of eq, so true for NaN."),
      compare(Op::lt, 0, "x < y; false if either is NaN. For bool, false < true."),
      compare(Op::le, 0, "x <= y; false if either is NaN."),
      compare(Op::gt, 0, "x > y; false if either is NaN."),
      compare(Op::ge, 0, "x >= y; false if either is NaN."),
      bitwise(Op::bit_and, "Bitwise and; of bools, logical."),
      bitwise(Op::bit_or, "Bitwise or; of bools, logical."),
      bitwise(Op::bit_xor, "Bitwise exclusive or; of bools, logical."),
      shift(Op::shl, "x shifted left by y bits, zeros shifted in. y >= the width, or negative: 0."),
      shift(Op::shr,
            "x shifted right by y bits; a signed x keeps its sign bit (rounds down), an "
            "unsigned one gets zeros. y >= the width, or negative: as the largest shift, "
            "so 0, or -1 for a negative x."),
  };
}

}  // namespace

std::vector<OpInfo> elementwise_rows() {
  std::vector<OpInfo> rows = unary_rows();
  for (OpInfo& r : binary_rows()) rows.push_back(std::move(r));
  rows.push_back(row(Op::where, 3, 0, "(cond: bool, x: T, y: T) -> T, T: any",
                     "x where cond is true, else y; the element not chosen has no influence.",
                     infer_where));
  return rows;
}

}  // namespace gcomp::ops
