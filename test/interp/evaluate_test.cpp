// The evaluator's frame: inputs, symbols, nested graphs, size. The ops themselves are compared with NumPy
// in test/interp/test_numpy.py.

#include "gcomp/interp/evaluate.h"

#include <doctest/doctest.h>

#include "../tensors.h"
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
