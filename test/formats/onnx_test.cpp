// The ONNX reader: traps seen in real files, errors, bad input. What operators compute is for the node
// tests (test/conformance).

#include "gcomp/formats/onnx.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "gcomp/ir/infer.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "onnx_writer.h"

using namespace gcomp;
using namespace onnx_writer;

namespace {

struct Read {
  std::unique_ptr<Context> context = std::make_unique<Context>();
  std::unique_ptr<Graph> graph;
  Diagnostics diagnostics;

  std::string type(size_t output) const {
    return to_string(*context, graph->type(graph->outputs().at(output).value));
  }
  std::string errors() const {
    std::string all;
    for (const Diagnostic& d : diagnostics.errors()) all += format(d) + "\n";
    return all;
  }
  bool says(const std::string& text) const { return errors().find(text) != std::string::npos; }
};

Read read(const std::string& bytes, const formats::OnnxOptions& options = {}) {
  Read r;
  r.graph = formats::read_onnx(*r.context, std::as_bytes(std::span(bytes)), nullptr, options,
                               r.diagnostics);
  if (r.graph) CHECK(verify(*r.graph).empty());
  return r;
}

Message output(std::string_view name) { return value_info(name, kFloat, {}); }

// One convolution, a reshape by shape arithmetic, a scalar input, a weight listed as input.
GraphParts small_parts() {
  GraphParts p;
  p.inputs = {value_info("x", kFloat, {"batch", 3, "", ""}), value_info("s", kFloat, {}),
              value_info("w", kFloat, {4, 3, 1, 1})};
  p.initializers = {raw_tensor<float>("w", kFloat, {4, 3, 1, 1}, std::vector<float>(12, 0.5f)),
                    raw_tensor<int64_t>("tail", kInt64, {1}, {-1}),
                    raw_tensor<int64_t>("zero", kInt64, {1}, {0}),
                    raw_tensor<int64_t>("one", kInt64, {1}, {1})};
  p.nodes = {node("Conv", {"x", "w"}, {"y"}, {attribute("kernel_shape", {1, 1})}, "first"),
             node("Mul", {"y", "s"}, {"z"}),
             node("Shape", {"x"}, {"shape"}),
             node("Slice", {"shape", "zero", "one"}, {"batch"}),
             node("Concat", {"batch", "tail"}, {"wanted"}, {attribute("axis", 0)}),
             node("Reshape", {"z", "wanted"}, {"r"})};
  p.outputs = {output("r")};
  return p;
}

}  // namespace

TEST_CASE(
    "shape arithmetic folds, weights listed as inputs are weights, ranks declared wrong do not "
    "matter") {
  const Read r = read(model(graph(small_parts())));
  REQUIRE(r.graph);
  CHECK(r.graph->inputs().size() == 2);
  CHECK(r.type(0) == "float32[batch, 4*x_d2*x_d3]");
  bool bound = false;
  for (const Node& n : r.graph->nodes()) bound = bound || n.op == Op::bind_dims;
  CHECK_FALSE(bound);
}

TEST_CASE("locations are node names, or operator and index") {
  const Read r = read(model(graph(small_parts())));
  REQUIRE(r.graph);
  std::vector<std::string> places;
  for (const Node& n : r.graph->nodes()) places.push_back(r.context->locs[n.loc]);
  CHECK(std::count(places.begin(), places.end(), "first") >= 1);
  CHECK(std::count(places.begin(), places.end(), "Mul_#1") >= 1);
}

TEST_CASE("dims are given by name, and a wrong name is an error that lists the right ones") {
  formats::OnnxOptions options;
  options.dims = {{"batch", 8}, {"x_d2", 5}};
  CHECK(read(model(graph(small_parts())), options).type(0) == "float32[8, 20*x_d3]");
  options.dims = {{"bacth", 8}};
  const Read r = read(model(graph(small_parts())), options);
  CHECK_FALSE(r.graph);
  CHECK(r.says("did you mean 'batch'"));
}

TEST_CASE("a dim called -1 is not one symbol") {
  GraphParts p;
  p.inputs = {value_info("a", kFloat, {"-1", "?"}), value_info("b", kFloat, {"-1", -1})};
  p.nodes = {node("Relu", {"a"}, {"c"}), node("Relu", {"b"}, {"d"})};
  p.outputs = {output("c"), output("d")};
  const Read r = read(model(graph(p)));
  REQUIRE(r.graph);
  CHECK(r.type(0) == "float32[a_d0, a_d1]");
  CHECK(r.type(1) == "float32[b_d0, b_d1]");
}

TEST_CASE("all that is unsupported is reported at once, with place and cure") {
  GraphParts p;
  p.inputs = {value_info("x", kFloat, {2, 3}), value_info("t", kString, {1})};
  p.nodes = {node("Relo", {"x"}, {"a"}), node("NoSuchOp", {"a"}, {"b"}, {}, "second"),
             node("Relu", {"x"}, {"c"}, {attribute("slope", 1)}, "third"),
             node("Gather", {"c", "nowhere"}, {"d"}),
             node("Softmax", {"x"}, {"e"}, {attribute("axis", 5)})};
  p.outputs = {output("d"), output("e")};
  const Read r = read(model(graph(p)));
  CHECK_FALSE(r.graph);
  CHECK(r.says("Relo_#0: operator Relo is not supported (output 'a') (did you mean Relu?)"));
  CHECK(r.says("second: operator NoSuchOp is not supported (output 'b')"));
  CHECK(r.says("third: Relu: attribute 'slope' is not supported"));
  CHECK(r.says("'nowhere' is used but not defined before"));
  CHECK(r.says("Softmax_#4: axis 5 is not within a tensor of rank 2"));
  CHECK(r.says("t: input of element type string is not supported"));
}

TEST_CASE("unused domains do not matter, used ones do; opsets below 7 are refused") {
  Message g = graph(small_parts());
  std::string text = model(g);
  text += Message().message(8, Message().bytes(1, "ai.onnx.ml").integer(2, 2)).text();
  CHECK(read(text).graph);
  CHECK(read(model(g, 6)).says("opset 6 is older than 7"));
  CHECK(read(model(g, 99)).says("opset 99 is newer"));
  GraphParts p = small_parts();
  p.nodes.push_back(node("Scaler", {"r"}, {"q"}).bytes(7, "ai.onnx.ml"));
  CHECK(read(model(graph(p))).says("operator ai.onnx.ml.Scaler is not supported"));
}

TEST_CASE("every truncation of a valid model is an error or a smaller valid model, never a crash") {
  const std::string whole = model(graph(small_parts()));
  REQUIRE(read(whole).graph);
  for (size_t size = 0; size < whole.size(); ++size) {
    try {
      const Read r = read(whole.substr(0, size));
      CHECK((r.graph != nullptr) != r.diagnostics.any());
    } catch (const UserError& error) {
      CHECK(error.code() == ExitCode::kGraph);
    }
  }
}

TEST_CASE("every changed byte of a valid model is answered") {
  const std::string whole = model(graph(small_parts()));
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int change : {1, 4, 8, 128, 255}) {
      std::string bad = whole;
      bad[at] = static_cast<char>(bad[at] ^ change);
      const Read r = read(bad);
      CHECK((r.graph != nullptr) != r.diagnostics.any());
    }
  }
}

TEST_CASE("functions: every truncation and every changed byte is answered") {
  const std::string whole =
      read_file(std::filesystem::path(GCOMP_SOURCE_DIR) / "test/fuzz/corpus/onnx/functions.onnx");
  REQUIRE(read(whole).graph);
  for (size_t at = 0; at < whole.size(); ++at) {
    const Read cut = read(whole.substr(0, at));
    CHECK((cut.graph != nullptr) != cut.diagnostics.any());
    for (int change : {1, 4, 8, 128, 255}) {
      std::string bad = whole;
      bad[at] = static_cast<char>(bad[at] ^ change);
      const Read r = read(bad);
      CHECK((r.graph != nullptr) != r.diagnostics.any());
    }
  }
}

TEST_CASE("a tensor's extents must match its data") {
  const auto with = [](const Message& tensor) {
    GraphParts p;
    p.initializers = {tensor};
    p.nodes = {node("Relu", {"w"}, {"y"})};
    p.outputs = {output("y")};
    return read(model(graph(p)));
  };
  CHECK(with(raw_tensor<float>("w", kFloat, {2}, {1, 2})).graph);
  CHECK(with(raw_tensor<float>("w", kFloat, {3}, {1, 2})).says("dims and type need 12"));
  CHECK(with(raw_tensor<float>("w", kFloat, {INT64_MAX / 4, 1 << 20}, {1})).says("too large"));
  CHECK(with(raw_tensor<float>("w", kFloat, {-1}, {1})).says("negative extent"));
  // 10^12 elements promised, none there: refused before any memory is taken.
  CHECK(with(raw_tensor<float>("w", kFloat, {1000000, 1000000}, {})).says("0 bytes of data"));
  CHECK(with(raw_tensor<float>("w", kString, {1}, {1})).says("element type string"));
}

TEST_CASE("external data comes from the model's folder only") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / "gcomp_onnx_test";
  fs::remove_all(folder);
  fs::create_directories(folder / "inside");
  write_file(folder / "secret.bin", std::string(16, 's'));
  const float values[] = {1, 2, 3, 4};
  write_file(folder / "inside/w.bin",
             std::string_view(reinterpret_cast<const char*>(values), sizeof values));
  fs::create_symlink("../secret.bin", folder / "inside/link.bin");
  const auto with = [&](const std::string& location, const std::string& offset) {
    const auto pair = [](const char* key, const std::string& value) {
      return Message().bytes(1, key).bytes(2, value);
    };
    Message t;
    t.integer(1, 2).integer(2, kFloat).bytes(8, "w").message(13, pair("location", location));
    t.message(13, pair("offset", offset)).integer(14, 1);
    GraphParts p;
    p.initializers = {t};
    p.nodes = {node("Relu", {"w"}, {"y"})};
    p.outputs = {output("y")};
    write_file(folder / "inside/model.onnx", model(graph(p)));
    Read r;
    r.graph = formats::read_onnx(*r.context, folder / "inside/model.onnx", {}, r.diagnostics);
    return r;
  };
  const Read good = with("w.bin", "8");
  REQUIRE(good.graph);
  const Constant* w = nullptr;
  for (size_t i = 0; i < good.graph->num_values(); ++i) {
    if (const Constant* c = good.graph->constant(ValueId(i)); c && c->num_elements() == 2) w = c;
  }
  REQUIRE(w != nullptr);
  CHECK(w->as_double(0) == 3);
  CHECK(with("w.bin", "12").says("too short"));
  CHECK(with("w.bin", "18446744073709551615").says("too short"));
  CHECK(with("w.bin", "x").says("bad offset"));
  for (const char* bad : {"../secret.bin", "link.bin", "/etc/passwd", "a/../../secret.bin", ""}) {
    CHECK_MESSAGE(!with(bad, "0").graph, bad);
  }
  fs::remove_all(folder);
}

TEST_CASE("graphs nested deeply are imported without recursion") {
  Message inner = graph({{node("Identity", {"x"}, {"y"})}, {}, {}, {output("y")}});
  for (int depth = 0; depth < 1000; ++depth) {
    inner = graph({{node("If", {"c"}, {"y"},
                         {attribute("then_branch", inner),
                          attribute("else_branch",
                                    graph({{node("Neg", {"x"}, {"y"})}, {}, {}, {output("y")}}))})},
                   {},
                   {},
                   {output("y")}});
  }
  GraphParts p;
  p.inputs = {value_info("c", kBool, {}), value_info("x", kFloat, {"n"})};
  p.nodes = {node("If", {"c"}, {"out"},
                  {attribute("then_branch", inner), attribute("else_branch", inner)})};
  p.outputs = {output("out")};
  const Read r = read(model(graph(p)));
  CHECK_MESSAGE(r.graph, r.errors());
  CHECK(r.type(0) == "float32[n]");
}

TEST_CASE("a loop whose carried tensor grows has a named extent") {
  GraphParts body;
  body.inputs = {value_info("i", kInt64, {}), value_info("go", kBool, {}),
                 value_info("acc", kFloat, {"k"})};
  body.nodes = {node("Concat", {"acc", "x"}, {"next"}, {attribute("axis", 0)}),
                node("Identity", {"go"}, {"again"}), node("ReduceSum", {"next"}, {"sum"})};
  body.outputs = {output("again"), output("next"), output("sum")};
  GraphParts p;
  p.inputs = {value_info("n", kInt64, {}), value_info("x", kFloat, {2})};
  p.nodes = {node("Loop", {"n", "", "x"}, {"last", "sums"}, {attribute("body", graph(body))})};
  p.outputs = {output("last"), output("sums")};
  const Read r = read(model(graph(p)));
  REQUIRE_MESSAGE(r.graph, r.errors());
  CHECK(r.type(0).starts_with("float32[loop"));
}
