// Symbols become numbers everywhere: types and attributes.

#include "gcomp/driver/specialize.h"

#include <doctest/doctest.h>

#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

using namespace gcomp;

namespace {

constexpr const char* kText = R"(graph {
  %0 = input "x" : float32[N, M]
  %1 = reshape(%0) {shape=[M*N]} : float32[M*N]
  %2 = exp(%1) : float32[M*N]
  return "y" = %2
}
)";

}  // namespace

TEST_CASE("one of two symbols is fixed, the other stays") {
  Context context;
  const auto graph = parse_graph(context, kText);
  const auto fixed = driver::specialize(*graph, {{"N", 4}});
  CHECK(verify(*fixed).empty());
  CHECK(print(*fixed).find("float32[4*M]") != std::string::npos);
  CHECK(print(*fixed).find('N') == std::string::npos);
}

TEST_CASE("a symbol that no input has is refused with a suggestion") {
  Context context;
  const auto graph = parse_graph(context, kText);
  CHECK_THROWS_WITH_AS(driver::specialize(*graph, {{"n", 4}}),
                       "--dim: no input has an extent named 'n' (did you mean 'N'?)", UserError);
}
