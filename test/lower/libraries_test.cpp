// Which products a library does, by a table of measurements.

#include "gcomp/artifact/libraries.h"

#include <doctest/doctest.h>

#include "gcomp/runtime/plan.h"
#include "net.h"

namespace gcomp::test {
namespace {

using artifact::LibraryKind;
using artifact::MeasuredProduct;
using Choices = std::vector<std::pair<uint32_t, uint32_t>>;

// float32 [rows, 512] x [512, 256] by the table.
lower::LibraryProduct chosen(const std::vector<MeasuredProduct>& table, bool tf32, DimId rows,
                             Net& net) {
  const DType f32 = DType::kFloat32;
  const ValueId x = net.input(f32, {rows, net.dim(512)});
  const ValueId w = net.input(f32, {net.dim(512), net.dim(256)});
  net.b.output("y", net.b.value(Op::matmul, {x, w}));
  const auto graph = net.b.finish();
  lower::LowerOptions options;
  options.placement.assign(graph->num_nodes(), Device::kCuda);
  lower::LoweredModule module = lower::lower(*graph, options);
  artifact::choose_libraries(module, {.tf32 = tf32, .table = table});
  REQUIRE(module.products.size() == 1);
  return module.products[0];
}

Choices choices(const lower::LibraryProduct& p) {
  Choices all;
  for (const auto& [capability, classes] : p.choices) all.emplace_back(capability, classes);
  return all;
}

TEST_CASE("a library is chosen where a measurement of the same kind says that it is faster") {
  constexpr uint32_t kWideMedium = 7, kWideSmall = 6;
  CHECK(rt::product_class(1, 1024, 256, 512) == kWideMedium);
  const std::vector<MeasuredProduct> table = {
      {LibraryKind::kProduct, 80, DType::kFloat32, false, kWideMedium, 30.04, 20.06},
      {LibraryKind::kProduct, 90, DType::kFloat32, false, kWideMedium, 10, 10},  // not faster
      {LibraryKind::kProduct, 100, DType::kFloat32, false, kWideMedium, 9, 8},
      {LibraryKind::kProduct, 90, DType::kFloat64, false, kWideMedium, 10, 1},  // another dtype
      {LibraryKind::kProduct, 90, DType::kFloat32, true, kWideMedium, 10,
       2},  // with rounded factors
      {LibraryKind::kProduct, 80, DType::kFloat32, false, kWideSmall, 10, 5},  // another size
      {LibraryKind::kConvolution, 90, DType::kFloat32, false, kWideMedium, 10, 1},
  };
  {
    Net net;
    const auto p = chosen(table, false, net.dim(1024), net);
    CHECK(choices(p) == Choices{{80, 1u << kWideMedium}, {100, 1u << kWideMedium}});
    CHECK(!p.tf32);
    CHECK(p.why ==
          "faster where measured: sm_80 wide medium 20.1 us, own kernel 30.0, sm_100 wide medium "
          "8.0 us, own kernel 9.0");
  }
  {
    Net net;
    const auto p = chosen(table, true, net.dim(1024), net);
    CHECK(choices(p) == Choices{{90, 1u << kWideMedium}});
    CHECK(p.tf32);
  }
  {
    Net net;  // the run decides by its rows
    const auto p = chosen(table, false, net.dim("n"), net);
    CHECK(choices(p) ==
          Choices{{80, 1u << kWideMedium | 1u << kWideSmall}, {100, 1u << kWideMedium}});
  }
  {
    Net net;
    const auto p = chosen(table, false, net.dim(8), net);
    CHECK(choices(p).empty());
    CHECK(p.why == "no measurement says that it is faster");
  }
}

}  // namespace
}  // namespace gcomp::test
