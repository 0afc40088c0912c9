// The evaluator's frame: inputs, symbols, nested graphs, size. The ops themselves are compared with NumPy
// in test/interp/test_numpy.py.

#include "gcomp/interp/evaluate.h"

#include <doctest/doctest.h>

#include "../tensors.h"
#include "gcomp/interp/session.h"
#include "gcomp/ir/builder.h"
#include "gcomp/support/error.h"

using namespace gcomp;
using interp::Tensor;

namespace {

using test::floats;
using test::tensor;

template <class T>
std::vector<T> elements(const Tensor& t) {
  return {t.data<T>(), t.data<T>() + t.num_elements()};
}

}  // namespace

TEST_CASE("an input is doubled") {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const DimId n = context.dims.symbol("N");
  const ValueId x = b.input("x", {DType::kFloat32, {n}});
  b.output("y", b.value(Op::add, {x, x}));
  const auto graph = b.finish();
  const std::vector<Tensor> in = {floats({3}, {1, 2, 3})};
  const auto out = interp::evaluate(*graph, in);
  REQUIRE(out.size() == 1);
  CHECK(out[0].shape == std::vector<int64_t>{3});
  CHECK(elements<float>(out[0]) == std::vector<float>{2, 4, 6});
}

TEST_CASE("a session keeps states from run to run, and as they were where a run fails") {
  Context context;
  GraphBuilder b(context, GraphBuilder::Mode::kRaw);
  const Type type{DType::kFloat32, {context.dims.constant(2)}};
  const ValueId a = b.input("a", type), x = b.input("x", type), c = b.input("c", type);
  const ValueId sum = b.value(Op::add, {a, x});
  const ValueId small = b.elementwise(Op::lt, {sum, b.full_like(sum, 100)});
  b.output("new_a",
           b.value(Op::check, {sum, small}, {{AttrKey::message, std::string("too much")}}));
  b.output("y", c);
  b.output("new_c", a);
  b.state({.input = 0,
           .output = 0,
           .initial = context.constants.intern(interp::to_constant(floats({2}, {1, 2})))});
  b.state({.input = 2, .output = 2});
  const auto graph = b.finish();
  interp::Session session(*graph);
  const std::vector<Tensor> in = {floats({2}, {10, 10})}, large = {floats({2}, {0, 99})};
  CHECK_THROWS_WITH_AS(session.run(in), doctest::Contains("state 'c' has no value"), UserError);
  CHECK_THROWS_AS(session.set_state(1, floats({3}, {1, 2, 3})), UserError);
  session.set_state(1, floats({2}, {7, 8}));
  auto out = session.run(in);
  REQUIRE(out.size() == 1);
  CHECK(elements<float>(out[0]) == std::vector<float>{7, 8});
  CHECK(elements<float>(*session.state(0)) == std::vector<float>{11, 12});
  CHECK(elements<float>(*session.state(1)) == std::vector<float>{1, 2});
  CHECK_THROWS_WITH_AS(session.run(large), doctest::Contains("too much"), UserError);
  CHECK(elements<float>(*session.state(0)) == std::vector<float>{11, 12});
  out = session.run(in);
  CHECK(elements<float>(out[0]) == std::vector<float>{1, 2});
  CHECK(elements<float>(*session.state(0)) == std::vector<float>{21, 22});
}
