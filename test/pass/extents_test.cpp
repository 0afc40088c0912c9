// Extents that the graph checks to be equal, by hand.

#include <doctest/doctest.h>

#include "gcomp/ir/text.h"
#include "gcomp/ir/verify.h"
#include "gcomp/pass/pass.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"

using namespace gcomp;

namespace {

// What the pass, and canonicalize after it, make of a graph in the text form.
std::string after_extents(const char* text) {
  Context context;
  const pass::Pipeline pipeline{passes::table(), passes::order(), rules::all()};
  pass::Options options;
  options.passes = {"extents", "canonicalize"};
  const auto graph = pass::run(parse_graph(context, text), pipeline, options);
  CHECK(verify(*graph).empty());
  return print(*graph);
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE(
    "extents: symbols that are checked to be equal are one, by its first name, through a chain") {
  const std::string text = after_extents(R"(graph {
  %0 = input "x" : float32[N]
  %1 = input "y" : float32[M]
  %2 = input "z" : float32[K, 2*K]
  %3 = specify_shape(%1) {shape=[N]} : float32[N]
  %4 = add(%0, %3) : float32[N]
  %5 = specify_shape(%2) {shape=[M, 2*K]} : float32[M, 2*K]
  return "a" = %4
  return "b" = %5
}
)");
  CHECK(has(text, "input \"y\" : float32[N]"));
  CHECK(has(text, "input \"z\" : float32[N, 2*N]"));
  CHECK(!has(text, "specify_shape"));
}

TEST_CASE("extents: a number is the name of its class") {
  const std::string text = after_extents(R"(graph {
  %0 = input "x" : float32[N]
  %1 = input "y" : float32[M]
  %2 = specify_shape(%1) {shape=[4]} : float32[4]
  %3 = specify_shape(%0) {shape=[M]} : float32[M]
  return "a" = %2
  return "b" = %3
}
)");
  CHECK(has(text, "input \"x\" : float32[4]"));
  CHECK(has(text, "input \"y\" : float32[4]"));
  CHECK(!has(text, "specify_shape"));
}

TEST_CASE("extents: contradictions are left to fail when they run") {
  const std::string text = after_extents(R"(graph {
  %0 = input "x" : float32[N, 2*N]
  %1 = specify_shape(%0) {shape=[4, 2*N]} : float32[4, 2*N]
  %2 = specify_shape(%0) {shape=[N, 7]} : float32[N, 7]
  return "a" = %1
  return "b" = %2
}
)");
  CHECK(has(text, "specify_shape(%0) {shape=[4, 2*N]}"));
  CHECK(has(text, "specify_shape(%0) {shape=[N, 7]}"));
}

TEST_CASE("extents: what no output needs is not taken for granted") {
  const std::string text = after_extents(R"(graph {
  %0 = input "x" : float32[N]
  %1 = input "y" : float32[M]
  %2 = specify_shape(%1) {shape=[N]} : float32[N]
  return "a" = %0
  return "b" = %1
}
)");
  CHECK(has(text, "input \"x\" : float32[N]"));
  CHECK(has(text, "input \"y\" : float32[M]"));
}

TEST_CASE("extents: one that the graph computes is not the caller's") {
  const std::string text = after_extents(R"(graph {
  %0 = input "x" : float32[N]
  %1 = nonzero(%0) {symbols=[s]} : int64[1, s]
  %2 = specify_shape(%1) {shape=[1, N]} : int64[1, N]
  return "a" = %2
}
)");
  CHECK(has(text, "specify_shape"));
  CHECK(has(text, "float32[N]"));
}
