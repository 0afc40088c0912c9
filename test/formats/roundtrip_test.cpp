#include <doctest/doctest.h>

#include "../sanitized.h"
#include "gcomp/formats/binary.h"
#include "gcomp/formats/json.h"
#include "gcomp/formats/safetensors.h"
#include "gcomp/ir/builder.h"
#include "gcomp/support/error.h"

using namespace gcomp;

namespace {

// Every kind of list, pseudo-ops, an extent taken from a value, a nested graph, a donated input, states.
constexpr const char* kText = R"({"version": 1, "symbols": ["N"],
"inputs": [{"id": 0, "name": "x", "dtype": "float64", "shape": ["N", 3]},
           {"id": 1, "name": "n", "dtype": "int64", "shape": []},
           {"id": 2, "name": "p", "dtype": "bool", "shape": [], "donate": true},
           {"id": 3, "name": "w", "dtype": "float64", "shape": ["2*N"]},
           {"id": 4, "name": "count", "dtype": "int64", "shape": [2]},
           {"id": 5, "name": "scale", "dtype": "float32", "shape": []}],
"constants": [{"id": 7, "dtype": "float32", "shape": [2], "data": [0.1, "-inf"]},
              {"id": 8, "dtype": "int64", "shape": [2],
               "data": [9223372036854775807, -9223372036854775808]},
              {"id": 9, "dtype": "float64", "shape": [], "data": [-0.0]}],
"nodes": [
{"op": "shape_of", "in": [0], "out": [20]},
{"op": "broadcast_like", "in": [9, 0], "out": [21], "attrs": {"axes": []}},
{"op": "add", "in": [0, 21], "out": [22], "loc": "sum"},
{"op": "reshape", "in": [22], "out": [23], "attrs": {"shape": ["3*N"]}},
{"op": "slice", "in": [23], "out": [24],
 "attrs": {"starts": [0], "shape": [{"value": 1, "index": 0}], "strides": [1]}},
{"op": "cond", "in": [2, 9], "out": [25], "attrs": {"bodies": [
 {"inputs": [{"id": 0, "name": "a", "dtype": "float64", "shape": []}], "constants": [],
  "nodes": [{"op": "exp", "in": [0], "out": [1]}], "outputs": [{"name": "r", "id": 1}]},
 {"inputs": [{"id": 0, "name": "a", "dtype": "float64", "shape": []}], "constants": [],
  "nodes": [], "outputs": [{"name": "r", "id": 0}]}]}}
],
"outputs": [{"name": "y", "id": 24}, {"name": "s", "id": 20}, {"name": "c", "id": 25},
            {"name": "k", "id": 7}, {"name": "big", "id": 8}],
"states": [{"input": 4, "output": 4, "initial": {"dtype": "int64", "shape": [2], "data": [3, -4]}},
           {"input": 3, "initial": {"dtype": "float64", "shape": [2], "base64": "AAAAAAAA8D8AAAAAAAAAwA=="}},
           {"input": 5}]})";

std::string to_json(const Graph& g) {
  std::string text;
  formats::write_json(g, {}, [&](std::string_view s) { text += s; });
  return text;
}

MappedFile in_memory(std::string_view text) {
  auto owner = std::make_shared<std::string>(text);
  return {std::as_bytes(std::span(*owner)), owner};
}

std::string to_binary(const Graph& g) {
  std::string bytes;
  formats::write_binary(g, [&](std::string_view s) { bytes += s; });
  return bytes;
}

// Builds a fresh context each time, as another process would.
std::string json_again(std::string_view text) {
  Context c;
  return to_json(*formats::read_json(c, text, ".", "test.json"));
}

std::string error_of(std::string_view text) {
  try {
    json_again(text);
  } catch (const UserError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("JSON is a fixed point after one reading, and exact through the binary form") {
  const std::string once = json_again(kText);
  CHECK(json_again(once) == once);
  Context c;
  const auto graph = formats::read_json(c, once, ".", "test.json");
  const std::string bytes = to_binary(*graph);
  Context d;
  const auto back = formats::read_binary(d, in_memory(bytes), "test.gcb");
  CHECK(to_json(*back) == once);
  CHECK(to_binary(*back) == bytes);
  // 64-bit extremes, negative zero and infinities survive as written.
  CHECK(once.find("[9223372036854775807, -9223372036854775808]") != std::string::npos);
  CHECK(once.find("[0.1, \"-inf\"]") != std::string::npos);
  CHECK(once.find("[-0.0]") != std::string::npos);
  CHECK(once.find("\"donate\": true") != std::string::npos);
  REQUIRE(back->states().size() == 3);
  CHECK(back->states()[0].output == 4);
  CHECK(d.constants[back->states()[0].initial].as_int(1) == -4);
  CHECK(back->states()[1].output == State::kUnchanged);
  CHECK(d.constants[back->states()[1].initial].as_double(1) == -2.0);
  CHECK_FALSE(back->states()[2].initial.valid());
}

TEST_CASE("every truncation is a clear error") {
  const std::string text = json_again(kText);
  const size_t meaningful = text.find_last_of('}');
  for (size_t n = 0; n < meaningful; ++n) {
    Context c;
    CHECK_THROWS_AS(formats::read_json(c, std::string_view(text).substr(0, n), ".", "t"),
                    UserError);
  }
  Context c;
  const std::string bytes = to_binary(*formats::read_json(c, text, ".", "t"));
  for (size_t n = 0; n < bytes.size(); ++n) {
    Context d;
    CHECK_THROWS_AS(formats::read_binary(d, in_memory(bytes.substr(0, n)), "t"), UserError);
  }
}

TEST_CASE(
    "every truncation of a safetensors file is a clear error, and what its header promises is "
    "checked") {
  const std::filesystem::path path = std::filesystem::path(GCOMP_BINARY_DIR) / "cut.safetensors";
  const Constant c = make_splat(DType::kFloat32, {2, 3}, 1.5);
  const std::pair<std::string, const Constant*> tensors[] = {{"w", &c}};
  formats::write_safetensors(path, tensors);
  const std::string whole = read_file(path);
  CHECK(formats::SafetensorsFile(path).tensor("w").shape == c.shape);
  for (size_t n = 0; n < whole.size(); ++n) {
    write_file(path, std::string_view(whole).substr(0, n));
    CHECK_THROWS_AS(formats::SafetensorsFile{path}, UserError);
  }
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string bytes = whole;
    bytes.replace(bytes.find(from), from.size(), to);
    write_file(path, bytes);
    CHECK_THROWS_AS(formats::SafetensorsFile{path}, UserError);
  };
  changed("[2,3]", "[2,4]");
  changed("[0,24]", "[1,25]");
  changed("[0,24]", "[24,0]");
  changed("F32", "F99");
  changed("[2,3]", "2,3 ]");
}

TEST_CASE("mistakes are named with their place and cure") {
  const auto graph = [](const std::string& nodes) {
    return R"({"version": 1, "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": [2]}],
              "constants": [], "nodes": [)" +
           nodes + R"(], "outputs": [{"name": "y", "id": 0}]})";
  };
  CHECK(error_of(
            graph(R"({"op": "exq", "in": [0], "out": [1]}, {"op": "sim", "in": [0], "out": [2]})"))
            .find("did you mean 'exp'?") != std::string::npos);
  const std::string both = error_of(
      graph(R"({"op": "qqqqq", "in": [0], "out": [1]}, {"op": "zzzzz", "in": [1], "out": [2]})"));
  CHECK(both.find("nodes[0]") != std::string::npos);
  CHECK(both.find("nodes[1]") != std::string::npos);
  const std::string forward = error_of(
      graph(R"({"op": "exp", "in": [5], "out": [1]}, {"op": "exp", "in": [0], "out": [5]})"));
  CHECK(forward.find("test.json: nodes[0].in[0]: value 5 is not defined before its use") !=
        std::string::npos);
  CHECK(error_of(graph(R"({"op": "reshape", "in": [0], "out": [1], "attrs": {"shap": [2]}})"))
            .find("did you mean 'shape'?") != std::string::npos);
  CHECK(error_of(graph(R"({"op": "exp", "in": [0], "out": [0]})")).find("defined twice") !=
        std::string::npos);
  CHECK(error_of(R"({"symbols": []})").find("\"version\" must come first") != std::string::npos);
  CHECK(error_of(R"({"version": 2})").find("version 2 is not known") != std::string::npos);
  CHECK(error_of("[]").find("not a JSON object") != std::string::npos);
}

TEST_CASE("deeply nested graphs are read and written without recursion") {
  constexpr int kDepth = test::kSanitized ? 8000 : 20000;
  const std::string input = R"("inputs": [{"id": 0, "name": "p", "dtype": "bool", "shape": []}],
                               "constants": [], "nodes": [)";
  std::string text = "{\"version\": 1, " + input;
  const std::string flat =
      "{" + input +
      R"({"op": "bit_not", "in": [0], "out": [1]}], "outputs": [{"name": "r", "id": 1}]})";
  for (int i = 0; i < kDepth; ++i) {
    text +=
        R"({"op": "cond", "in": [0, 0], "out": [1], "attrs": {"bodies": [)" + flat + ", {" + input;
  }
  text += R"({"op": "bit_not", "in": [0], "out": [1]})";
  for (int i = 0; i < kDepth; ++i) text += R"(], "outputs": [{"name": "r", "id": 1}]}]}})";
  text += R"(], "outputs": [{"name": "r", "id": 1}]})";
  Context c;
  const auto graph = formats::read_json(c, text, ".", "deep.json");
  const std::string bytes = to_binary(*graph);
  Context d;
  CHECK(to_json(*formats::read_binary(d, in_memory(bytes), "deep.gcb")) == to_json(*graph));
}

namespace {

// x, w -> y, v: `states` is the list of that name.
std::string with_states(const std::string& states, const std::string& w = "\"shape\": [2]") {
  return R"({"version": 1, "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": [2]},
    {"id": 1, "name": "w", "dtype": "float32", )" +
         w + R"(}], "constants": [], "nodes": [{"op": "neg", "in": [0], "out": [2]}],
    "outputs": [{"name": "y", "id": 2}, {"name": "v", "id": 0}], )" +
         states + "}";
}

}  // namespace

TEST_CASE("what states must fulfil is said with place and advice") {
  CHECK(error_of(with_states(R"("states": [{"input": 1, "output": 0}])")) == "no error");
  const auto fails = [](const std::string& text, std::string_view with) {
    const std::string error = error_of(text);
    CAPTURE(error);
    CHECK(error.find(with) != std::string::npos);
  };
  fails(with_states(R"("states": [{"output": 0}])"), "states[0]");
  fails(with_states(R"("states": [{"input": 2}])"), "states[0].input");
  fails(with_states(R"("states": [{"input": 1, "output": 2}])"), "states[0].output");
  fails(with_states(R"("states": [{"input": 1, "output": 0}, {"input": 1}])"),
        "shares an input or output");
  fails(with_states(R"("states": [{"input": 1, "output": 0}, {"input": 0, "output": 0}])"),
        "states[1]");
  fails(with_states(R"("states": [{"input": 1, "output": 0}])", R"("shape": [3])"),
        "state 'w' is float32[3], its new value float32[2]");
  fails(with_states(R"("states": [{"input": 1}])", R"("shape": [2], "donate": true)"),
        "do not donate it");
  fails(
      with_states(
          R"("states": [{"input": 1, "initial": {"dtype": "float32", "shape": [3], "data": [1, 2, 3]}}])"),
      "its initial value float32[3]");
  fails(
      with_states(
          R"("states": [{"input": 1, "initial": {"dtype": "int32", "shape": [2], "data": [1, 2]}}])"),
      "its initial value int32[2]");
  fails(with_states(R"("states": [{"input": 1, "initial": {"dtype": "float32", "shape": [2]}}])"),
        "states[0].initial");
  fails(with_states(R"("states": [])", R"("shape": [2], "donate": 1)"), "inputs[1].donate");
}

TEST_CASE(
    "a symbol that nothing brings is an error of the graph, in JSON, nested graphs and binary "
    "files") {
  const std::string broadcast =
      R"({"op": "broadcast", "in": [0], "out": [1], "attrs": {"shape": ["K"], "axes": []}, "loc": "wide"})";
  const std::string head = R"("inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": []}],
    "constants": [], )";
  const std::string whole = R"({"version": 1, "symbols": ["K"], )" + head + R"("nodes": [)" +
                            broadcast + R"(], "outputs": [{"name": "y", "id": 1}]})";
  CHECK(error_of(whole).find("wide: no operand brings symbol K") != std::string::npos);

  const std::string body =
      "{" + head + R"("nodes": [)" + broadcast +
      R"(, {"op": "reduce_sum", "in": [1], "out": [2], "attrs": {"axes": [0]}}],
    "outputs": [{"name": "y", "id": 2}]})";
  const std::string nested =
      R"({"version": 1, "symbols": ["K"], "inputs": [{"id": 0, "name": "x", "dtype": "float32", "shape": []},
      {"id": 1, "name": "p", "dtype": "bool", "shape": []}], "constants": [],
      "nodes": [{"op": "cond", "in": [1, 0], "out": [2], "attrs": {"bodies": [)" +
      body + ", " + body + R"(]}}], "outputs": [{"name": "y", "id": 2}]})";
  const std::string error = error_of(nested);
  CAPTURE(error);
  CHECK(error.find("nodes[0]") != std::string::npos);
  CHECK(error.find("wide: no operand brings symbol K") != std::string::npos);

  Context c;
  GraphBuilder b(c, GraphBuilder::Mode::kRaw);
  const ValueId x = b.input("x", Type{DType::kFloat32, {}});
  b.set_loc("wide");
  b.output("y", b.broadcast(x, {c.dims.symbol("K")}, {}));
  const std::string bytes = to_binary(*b.finish());
  Context other;
  CHECK_THROWS_WITH_AS(formats::read_binary(other, in_memory(bytes), "x.gcb"),
                       doctest::Contains("wide: no operand brings symbol K"), UserError);
}

TEST_CASE("the older form of states is read: pairs in JSON, version 1 of the binary form") {
  Context c;
  const auto g = formats::read_json(c, with_states(R"("updates": [[1, 0]])"), ".", "test.json");
  REQUIRE(g->states().size() == 1);
  CHECK(g->states()[0].input == 1);
  CHECK(g->states()[0].output == 0);
  CHECK_FALSE(g->states()[0].initial.valid());
  // Version 1 of a graph with one scalar input that becomes its own output: no flags, no initial value.
  std::string bytes("GCOMPBIN\1\0\0\0\0\0\0\0", 16);
  bytes += std::string(
      "\2\1x\0"
      "\0"
      "\0"
      "\1\0"
      "\1",
      9);  // strings x and ""; one list
  bytes += std::string(
      "\0"
      "\1\0\1\x0b\0"
      "\0"
      "\0"
      "\1\0\0"
      "\1\0\0",
      14);  // the graph
  bytes.resize((bytes.size() + 63) / 64 * 64, '\0');
  Context d;
  const auto old = formats::read_binary(d, in_memory(bytes), "old.gcb");
  REQUIRE(old->inputs().size() == 1);
  CHECK(old->inputs()[0].name == "x");
  REQUIRE(old->states().size() == 1);
  CHECK(old->states()[0].output == 0);
}
