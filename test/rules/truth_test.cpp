// The multiprecision evaluator and the measure of errors, against digits computed with mpmath.
#include <doctest/doctest.h>

#include <cmath>

#include "../tensors.h"
#include "evaluate.h"
#include "gcomp/ir/builder.h"
#include "judge.h"

using namespace gcomp;

namespace {

using test::doubles;

// The truth of one op on scalars.
truth::Element apply(Op op, const std::vector<double>& operands) {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  std::vector<ValueId> values;
  std::vector<interp::Tensor> inputs;
  for (double v : operands) {
    values.push_back(b.input("x" + std::to_string(values.size()), {DType::kFloat64, {}}));
    inputs.push_back(doubles({}, {v}));
  }
  b.output("y", b.value(op, values));
  const auto graph = b.finish();
  const auto outputs = truth::evaluate(*graph, inputs);
  REQUIRE(outputs.has_value());
  return (*outputs)[0].elements[0];
}

truth::Element truth_of_sine_of_exp2(double exponent) {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const ValueId x = b.input("x", {DType::kFloat64, {}});
  b.output("y", b.value(Op::sin, {b.value(Op::exp2, {x})}));
  const std::vector<interp::Tensor> inputs{doubles({}, {exponent})};
  return (*truth::evaluate(*b.finish(), inputs))[0].elements[0];
}

// Whether the truth agrees with decimal digits to about 10^-50.
bool is(const truth::Element& e, const char* digits) {
  truth::Real expected;
  mpfr_set_str(expected.get(), digits, 10, MPFR_RNDN);
  return e.known && !(abs(e.value - expected) > scaled(abs(expected), -160));
}

}  // namespace

TEST_CASE("functions have their true values") {
  // mpmath 1.3, 60 digits, of the float64 nearest to the argument written here.
  CHECK(is(apply(Op::exp, {1}), "2.71828182845904523536028747135266249775724709369995957496697"));
  CHECK(
      is(apply(Op::erfc, {2}), "0.00467773498104726583793074363274707138910820295993992326164767"));
  CHECK(
      is(apply(Op::erfcx, {3}), "0.179001151181389950419294815313620987227985364106854215662759"));
  CHECK(is(apply(Op::erfinv, {0.5}),
           "0.476936276204469873381418353643130559808969749059470644703883"));
  CHECK(is(apply(Op::erfinv, {-0.9375}),
           "-1.31715033498613074888392979208444879960261109497866833161062"));
  CHECK(is(apply(Op::erfinv, {1e-20}),
           "8.86226925452757965042436131392703710335633291451555951687397e-21"));
  CHECK(is(apply(Op::erfinv, {5e-324}),
           "4.37854278285719143435811695172590044317514405689895588707079e-324"));
  CHECK(is(apply(Op::erfinv, {1 - 0x1p-53}),
           "5.86358474875516792720766258583278416435553667837373572448965"));
  CHECK(is(apply(Op::lgamma, {0.5}),
           "0.57236494292470008707171367567652935582364740645765578575681"));
  CHECK(is(apply(Op::digamma, {0.25}),
           "-4.22745353337626540808953014609668357736724443870824227165528"));
  CHECK(is(apply(Op::trigamma, {0.25}),
           "17.1973291545071107392713191193352240215068944014941677005453"));
  CHECK(is(apply(Op::trigamma, {-2.5}),
           "9.53924664498912375386168994438252001210129414806483975765112"));
  CHECK(is(apply(Op::trigamma, {1e-10}),
           "99999999999999992715.2054709670598974142639234861217066824396"));
  CHECK(is(apply(Op::trigamma, {1000}),
           "0.00100050016666663333335714282380959956684645471311312101832102"));
  CHECK(apply(Op::trigamma, {-0.0}).value.is_inf());
  CHECK(!apply(Op::trigamma, {-3}).value.is_negative());
  CHECK(apply(Op::trigamma, {-3}).value.is_inf());
  CHECK(apply(Op::trigamma, {INFINITY}).value.is_zero());
  CHECK(apply(Op::trigamma, {-INFINITY}).value.is_nan());
  CHECK(is(apply(Op::sigmoid, {-2}),
           "0.119202922022117555940270858697603204793615701371031724201595"));
  CHECK(is(apply(Op::softplus, {-3}),
           "0.048587351573742058758925919854689997941881642828108620530847"));
  CHECK(is(apply(Op::log1mexp, {-0.5}),
           "-0.932752129567188571894641000148500451632574101360056986035813"));
  CHECK(is(apply(Op::floor_div, {-7, 2}), "-4"));
  CHECK(is(apply(Op::mod, {-7, 2}), "1"));
  CHECK(is(apply(Op::rem, {-7, 2}), "-1"));
  CHECK(is(apply(Op::round, {2.5}), "2"));
}

TEST_CASE("what precision and range cannot tell is not claimed") {
  CHECK(!apply(Op::exp, {1e300}).known);
  CHECK(apply(Op::exp, {1e15}).known);
  CHECK(apply(Op::log, {0.0}).value.is_inf());
  CHECK(apply(Op::log, {0.0}).known);
  CHECK(apply(Op::log, {-1.0}).value.is_nan());
  // The sine of 2^(2^30), which would need as many bits of pi, and of a number within reach.
  CHECK(!truth_of_sine_of_exp2(0x1p30).known);
  CHECK(is(truth_of_sine_of_exp2(100),
           "-0.872183605418267309780719778213470559324313272728379408308328"));
  // log1p(expm1(-1e9)) is -1e9, but expm1 rounds to -1.
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const ValueId x = b.input("x", {DType::kFloat64, {}});
  b.output("y", b.value(Op::log1p, {b.value(Op::expm1, {x})}));
  const auto graph = b.finish();
  const std::vector<interp::Tensor> inputs{doubles({}, {-1e9})};
  CHECK(!(*truth::evaluate(*graph, inputs))[0].elements[0].known);
}

TEST_CASE("sums, products of matrices, convolutions, orders, moved elements") {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  DimTable& d = context.dims;
  const Type t{DType::kFloat64, {d.constant(2), d.constant(2)}};
  const ValueId x = b.input("x", t), w = b.input("w", t);
  b.output("sum", b.value(Op::reduce_sum, {x}, {{AttrKey::axes, std::vector<int64_t>{0}}}));
  b.output("matmul", b.value(Op::matmul, {x, w}));
  b.output("transposed", b.transpose(x, {1, 0}));
  b.output("argmin", b.value(Op::argmin, {x}, {{AttrKey::axis, int64_t{1}}}));
  b.output("cumsum", b.value(Op::cumsum, {x}, {{AttrKey::axis, int64_t{1}}}));
  const auto graph = b.finish();
  // 1e-200 vanishes beside 1 in any float.
  const std::vector<interp::Tensor> inputs{doubles({2, 2}, {1, 1e-200, -1, 3}),
                                           doubles({2, 2}, {2, 5, 7, 11})};
  const auto out = truth::evaluate(*graph, inputs);
  REQUIRE(out.has_value());
  const auto at = [&](size_t k, size_t i) { return (*out)[k].elements[i].value; };
  CHECK(at(0, 0).is_zero());
  CHECK(at(0, 1) == truth::Real(1e-200) + truth::Real(3));
  CHECK(at(1, 0) == truth::Real(2) + truth::Real(1e-200) * truth::Real(7));
  CHECK(at(1, 3) == truth::Real(28));
  CHECK(at(2, 1) == truth::Real(-1));
  CHECK((*out)[3].tensor.data<int64_t>()[0] == 1);
  CHECK((*out)[3].tensor.data<int64_t>()[1] == 0);
  CHECK(at(4, 1) == truth::Real(1) + truth::Real(1e-200));
}

TEST_CASE("a convolution with stride, dilation, padding, groups and bias") {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  DimTable& d = context.dims;
  const auto dims = [&](std::vector<int64_t> values) {
    std::vector<DimId> out;
    for (int64_t v : values) out.push_back(d.constant(v));
    return out;
  };
  const ValueId x = b.input("x", {DType::kFloat64, dims({1, 2, 3})});
  const ValueId w = b.input("w", {DType::kFloat64, dims({2, 1, 2})});
  const ValueId bias = b.input("bias", {DType::kFloat64, dims({2})});
  b.output("y", b.value(Op::conv, {x, w, bias},
                        {{AttrKey::strides, std::vector<int64_t>{2}},
                         {AttrKey::dilations, std::vector<int64_t>{2}},
                         {AttrKey::low, dims({1})},
                         {AttrKey::high, dims({1})},
                         {AttrKey::group, int64_t{2}}}));
  const auto graph = b.finish();
  const std::vector<interp::Tensor> inputs{doubles({1, 2, 3}, {1, 2, 3, 4, 5, 6}),
                                           doubles({2, 1, 2}, {10, 100, 1000, 10000}),
                                           doubles({2}, {0.25, 0.5})};
  const auto out = truth::evaluate(*graph, inputs);
  REQUIRE(out.has_value());
  // Padded rows 0 1 2 3 0 and 0 4 5 6 0; windows begin at 0 and 2 and take every second element.
  const double expected[] = {0 * 10 + 2 * 100 + 0.25, 2 * 10 + 0 * 100 + 0.25,
                             0 * 1000 + 5 * 10000 + 0.5, 5 * 1000 + 0 * 10000 + 0.5};
  for (size_t i = 0; i < 4; ++i) {
    CHECK((*out)[0].elements[i].value == truth::Real(expected[i]));
  }
}

TEST_CASE("errors are counted in units in the last place of the truth") {
  using truth::Real;
  using truth::ulp_error;
  CHECK(ulp_error(1, Real(1), DType::kFloat64) == 0);
  CHECK(ulp_error(1 + 0x1p-52, Real(1), DType::kFloat64) == 1);
  CHECK(ulp_error(1 + 0x1p-10, Real(1), DType::kFloat16) == 1);
  CHECK(ulp_error(1 + 0x1p-7, Real(1), DType::kBFloat16) == 1);
  CHECK(ulp_error(5e-324, Real(0), DType::kFloat64) == 1);
  CHECK(ulp_error(0, scaled(Real(1), -5000), DType::kFloat64) < 1e-9);
  CHECK(ulp_error(INFINITY, scaled(Real(1), 5000), DType::kFloat64) == 0);
  CHECK(ulp_error(0x1.fffffep127, scaled(Real(1), 200), DType::kFloat32) == 1);
  CHECK(std::isinf(ulp_error(NAN, Real(1), DType::kFloat64)));
  CHECK(std::isinf(ulp_error(1, Real(INFINITY), DType::kFloat64)));
  CHECK(std::isinf(ulp_error(-INFINITY, Real(INFINITY), DType::kFloat64)));
  CHECK(ulp_error(NAN, Real(NAN), DType::kFloat64) == 0);
}
