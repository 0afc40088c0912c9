#include "gcomp/ir/text.h"

#include <doctest/doctest.h>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

using namespace gcomp;

namespace {

constexpr const char* kText = R"(body #0 {
  %0 = input "a" : float64[N, 3]
  %1 = exp(%0) : float64[N, 3]
  return "r" = %1
}
graph {
  %0 = input "x" : float64[N, 3]  @"x"
  %1 = input "p" donate : bool[]
  %2 = constant : float64[] {-0.0}
  %3 = broadcast(%2) {axes=[], shape=[N, 3]} : float64[N, 3]
  %4 = add(%0, %3) : float64[N, 3]  @"a \"quoted\" name"
  %5 = reduce_max(%4) {axes=[1]} : float64[N]
  %6 = reshape(%4) {shape=[3*N]} : float64[3*N]
  %7, %8 = sort(%5) {axis=0, descending=0} : float64[N], int64[N]
  %9 = cond(%1, %0) {bodies=[#0, #0]} : float64[N, 3]
  return "sorted" = %7
  return "order" = %8
  return "flat" = %6
  return "c" = %9
  state 0 -> 3 = float64[2, 3] {0.5, 1.0, 1.5, 2.0, -0.0, inf}
}
)";

std::string error_of(const std::string& text) {
  try {
    Context c;
    parse_graph(c, text);
  } catch (const UserError& e) {
    return e.what();
  }
  return "no error";
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = kText;
  text.replace(text.find(from), from.size(), to);
  return text;
}

}  // namespace

TEST_CASE("text parses and prints the same again") {
  Context c;
  const auto g = parse_graph(c, kText);
  CHECK(print(*g) == kText);
  CHECK(verify(*g).empty());
}

TEST_CASE("mistakes in text name their line") {
  CHECK(error_of(replaced("add(%0, %3)", "add(%0, %9)")) ==
        "line 11: a value is not defined before its use");
  CHECK(error_of(replaced("float64[3*N]", "float64[4*N]")).find("inferred float64[3*N]") !=
        std::string::npos);
  CHECK(error_of(replaced("reduce_max", "reduce_mux")) == "line 12: no op 'reduce_mux'");
  CHECK(error_of(replaced("[#0, #0]", "[#0, #1]")) == "line 15: no such nested graph");
}

TEST_CASE("the verifier finds planted faults") {
  Context c;
  const TypeId scalar = c.types.intern(DType::kFloat64, {});
  const TypeId other = c.types.intern(DType::kFloat32, {});
  SUBCASE("wrong type") {
    GraphBuilder b(c, GraphBuilder::Mode::kRaw);
    const ValueId x = b.input("x", c.types[scalar]);
    auto g = b.finish();
    g->append(Op::exp, {&x, 1}, AttrTable::none(), {&other, 1}, LocTable::none());
    const auto errors = verify(*g);
    REQUIRE(errors.size() == 1);
    CHECK(errors[0] == "node 1 (exp): result 0 has type float32[], inferred is float64[]");
  }
  SUBCASE("an input node that is no input") {
    Graph g(c);
    g.append(Op::input, {}, c.attrs.intern({{AttrKey::index, int64_t{0}}}), {&scalar, 1},
             LocTable::none());
    CHECK(verify(g).size() == 1);
  }
  SUBCASE("equal nodes in an interned graph") {
    GraphBuilder b(c, GraphBuilder::Mode::kRaw);
    const ValueId x = b.input("x", c.types[scalar]);
    b.value(Op::exp, {x});
    b.value(Op::exp, {x});
    const auto g = b.finish();
    CHECK(verify(*g).empty());
    CHECK(verify(*g, /*require_interned=*/true).size() == 1);
  }
  SUBCASE("a symbol that nothing brings") {
    GraphBuilder b(c, GraphBuilder::Mode::kRaw);
    const ValueId x = b.input("x", c.types[scalar]);
    b.broadcast(x, {c.dims.symbol("K")}, {});
    const auto errors = verify(*b.finish());
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].find("no operand brings symbol K") != std::string::npos);
  }
}

TEST_CASE("interning shares equal nodes and keeps inputs apart") {
  Context c;
  GraphBuilder b(c, GraphBuilder::Mode::kInterned);
  const Type t = {DType::kFloat64, {c.dims.symbol("N")}};
  const ValueId x = b.input("x", t), y = b.input("y", t);
  CHECK(x != y);
  CHECK(b.value(Op::add, {x, y}) == b.value(Op::add, {x, y}));
  CHECK(b.value(Op::add, {x, y}) != b.value(Op::add, {y, x}));
  CHECK(b.scalar(DType::kFloat64, 0.0) != b.scalar(DType::kFloat64, -0.0));
  CHECK(verify(*b.finish(), true).empty());
}

TEST_CASE("shape arithmetic folds to extents") {
  Context c;
  GraphBuilder b(c, GraphBuilder::Mode::kInterned);
  const ValueId x = b.input("x", {DType::kFloat32, {c.dims.symbol("N"), c.dims.constant(4)}});
  const ValueId shape = b.shape_of(x);
  const ValueId zero = b.int64s(std::vector<int64_t>{0});
  const ValueId n = b.value(Op::gather, {shape, zero}, {{AttrKey::axis, int64_t{0}}});
  const ValueId two = b.int64s(std::vector<int64_t>{2});
  const ValueId twice = b.value(Op::mul, {n, two});
  const ValueId parts[] = {twice, two};
  std::vector<ValueId> carriers;
  const auto dims = b.extents_from(b.concat(parts, 0), "d", &carriers);
  CHECK(carriers.empty());
  CHECK(dims == std::vector<DimId>{c.dims.parse("2*N"), c.dims.constant(2)});
}

TEST_CASE("the verifier knows what states and donated inputs must fulfil") {
  const auto errors = [](const auto& change) {
    Context c;
    const auto g = parse_graph(c, kText);
    REQUIRE(g->states().size() == 1);
    change(*g, c);
    std::string all;
    for (const std::string& e : verify(*g)) all += e + "\n";
    return all;
  };
  using G = Graph&;
  using C = Context&;
  CHECK(errors([](G, C) {}).empty());
  CHECK(errors([](G g, C) { g.add_state({.input = 2}); }).find("no input or output") !=
        std::string::npos);
  CHECK(errors([](G g, C) { g.add_state({.input = 0}); }).find("shares") != std::string::npos);
  CHECK(errors([](G g, C) { g.add_state({.input = 1}); }).find("donated") != std::string::npos);
  CHECK(errors([](G g, C c) {
          GraphBuilder body(c, GraphBuilder::Mode::kRaw);
          const ValueId a = body.input("a", {DType::kBool, {}}, /*donate=*/true);
          body.output("r", a);
          const std::vector<GraphId> bodies(2, c.add_graph(body.finish()));
          const std::vector<ValueId> operands(2, g.inputs()[1].value);
          const TypeId type = g.type_id(g.inputs()[1].value);
          g.append(Op::cond, operands, c.attrs.intern({{AttrKey::bodies, bodies}}), {&type, 1},
                   LocTable::none());
        }).find("a nested graph has states or donated inputs") != std::string::npos);
}
