// The multiprecision evaluator on control flow, windows, scatters and data-dependent extents, against
// numbers worked out by hand.
#include <doctest/doctest.h>

#include <cmath>

#include "../tensors.h"
#include "evaluate.h"
#include "functions.h"
#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"

using namespace gcomp;

namespace {

using test::doubles;
using test::integers;

std::vector<truth::Output> truth_of(const char* text, const std::vector<interp::Tensor>& inputs) {
  Context context;
  const auto graph = parse_graph(context, text);
  const auto faults = verify(*graph);
  REQUIRE_MESSAGE(faults.empty(), faults[0]);
  std::string why;
  const auto outputs = truth::evaluate(*graph, inputs, {}, &why);
  REQUIRE_MESSAGE(outputs.has_value(), why);
  return *outputs;
}

void check(const truth::Output& out, const std::vector<int64_t>& shape,
           const std::vector<double>& values) {
  CHECK(out.tensor.shape == shape);
  REQUIRE(out.elements.size() == values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    CHECK(out.elements[i].known);
    CHECK(out.elements[i].value.to_double() == values[i]);
  }
}

}  // namespace

TEST_CASE("truth of a cond: the branch that a true comparison takes") {
  const char* text = R"(
    body #0 {
      %0 = input "a" : float64[]
      %1 = exp(%0) : float64[]
      return "y" = %1
    }
    body #1 {
      %0 = input "a" : float64[]
      %1 = neg(%0) : float64[]
      return "y" = %1
    }
    graph {
      %0 = input "x" : float64[]
      %1 = input "y" : float64[]
      %2 = add(%0, %1) : float64[]
      %3 = gt(%2, %0) : bool[]
      %4 = cond(%3, %1) {bodies=[#0, #1]} : float64[]
      return "y" = %4
    })";
  // In float64 x + y is x.
  const auto out = truth_of(text, {doubles({}, {1e30}), doubles({}, {1})});
  CHECK(out[0].elements[0].value.to_double() == std::exp(1.0));
  check(truth_of(text, {doubles({}, {1}), doubles({}, {-2})})[0], {}, {2});
}

const char* const kPowersOfThree = R"(
    body #0 {
      %0 = input "k" : int64[]
      %1 = input "sum" : float64[]
      %2 = input "factor" : float64[]
      %3 = mul(%1, %2) : float64[]
      %4 = constant : float64[] {100.0}
      %5 = lt(%3, %4) : bool[]
      return "go_on" = %5
      return "sum" = %3
      return "each" = %1
    }
    graph {
      %0 = input "x" : float64[]
      %1 = input "limit" : int64[]
      %2 = constant : bool[] {1}
      %3 = constant : float64[] {3.0}
      %4, %5 = loop(%1, %2, %0, %3) {bodies=[#0], index=1, symbols=[T]} : float64[], float64[T]
      return "last" = %4
      return "all" = %5
    })";

TEST_CASE("truth of a loop: carried and stacked values, ended by a condition or the limit") {
  const auto ended = truth_of(kPowersOfThree, {doubles({}, {1}), integers({}, {50})});
  check(ended[0], {}, {243});
  check(ended[1], {5}, {1, 3, 9, 27, 81});
  const auto limited = truth_of(kPowersOfThree, {doubles({}, {1}), integers({}, {2})});
  check(limited[0], {}, {9});
  check(limited[1], {2}, {1, 3});
  const auto none = truth_of(kPowersOfThree, {doubles({}, {7}), integers({}, {0})});
  check(none[0], {}, {7});
  check(none[1], {0}, {});
}

TEST_CASE("truth of windows") {
  const char* text = R"(
    graph {
      %0 = input "x" : float64[5]
      %1 = window_max(%0) {dilations=[1], high=[0], kernel=[3], low=[1], strides=[2]} : float64[2]
      %2 = window_sum(%0) {dilations=[2], high=[1], kernel=[2], low=[1], strides=[1]} : float64[5]
      %3 = window_argmax(%0) {dilations=[1], high=[0], kernel=[3], low=[1], strides=[2]} : int64[2]
      return "max" = %1
      return "sum" = %2
      return "argmax" = %3
    })";
  const auto out = truth_of(text, {doubles({5}, {-1, -5, 2, 1e-200, 7})});
  check(out[0], {2}, {-1, 2});  // (padding, -1, -5), (-5, 2, 1e-200)
  CHECK(out[1].tensor.shape == std::vector<int64_t>{5});
  CHECK(out[1].elements[0].value == truth::Real(-5));                        // padding, -5
  CHECK(out[1].elements[2].value == truth::Real(-5) + truth::Real(1e-200));  // -5, 1e-200
  CHECK(out[1].elements[4].value == truth::Real(1e-200));                    // 1e-200, padding
  CHECK(out[2].tensor.data<int64_t>()[0] == 0);
  CHECK(out[2].tensor.data<int64_t>()[1] == 2);
  const double nan = std::nan("");
  CHECK(truth_of(text, {doubles({5}, {0, nan, 2, 3, 4})})[0].elements[1].value.is_nan());
}

TEST_CASE("truth of scatters that combine") {
  const auto scatter = [](const std::string& reduction) {
    const std::string text = R"(
      graph {
        %0 = input "x" : float64[3]
        %1 = input "i" : int64[4]
        %2 = input "u" : float64[4]
        %3 = scatter_elements(%0, %1, %2) {axis=0, reduction=")" +
                             reduction + R"("} : float64[3]
        return "y" = %3
      })";
    return truth_of(text.c_str(), {doubles({3}, {2, 5, 0.5}), integers({4}, {0, 2, 0, -1}),
                                   doubles({4}, {3, 4, -6, 8})})[0];
  };
  check(scatter("none"), {3}, {-6, 5, 8});
  check(scatter("add"), {3}, {-1, 5, 12.5});
  check(scatter("mul"), {3}, {-36, 5, 16});
  check(scatter("max"), {3}, {3, 5, 8});
  check(scatter("min"), {3}, {-6, 5, 0.5});
}

TEST_CASE("truth of what is not zero: by true values, as many as there are") {
  const char* text = R"(
    graph {
      %0 = input "x" : float64[3]
      %1 = input "y" : float64[3]
      %2 = add(%0, %1) : float64[3]
      %3 = sub(%2, %0) : float64[3]
      %4 = nonzero(%3) {symbols=[s]} : int64[1, s]
      %5 = reshape(%4) {shape=[s]} : int64[s]
      %6 = gather(%1, %5) {axis=0} : float64[s]
      return "y" = %6
    })";
  // 1e30 + 1 - 1e30 is 0 in float64.
  check(truth_of(text, {doubles({3}, {1e30, 1, 0}), doubles({3}, {1, 0, 5})})[0], {2}, {1, 5});
}

TEST_CASE("every elementwise function of floats has a truth") {
  for (const OpInfo& row : all_ops()) {
    const bool floats = row.signature.find("float") != std::string_view::npos ||
                        row.signature.find("number") != std::string_view::npos;
    if (!has_trait(row.op, kElementwise) || has_trait(row.op, kPredicate) || !floats) continue;
    if (row.op == Op::cast) continue;  // test/truth/apply.cpp
    const truth::Real x(0.5), y(0.75);
    INFO(row.name);
    CHECK((row.max_operands == 1 ? truth::unary(row.op, x) : truth::binary(row.op, x, y)));
  }
}
