// The op table and type inference, op by op: what is accepted, and what the errors say.

#include "gcomp/ir/infer.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/op_document.h"
#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

using namespace gcomp;

TEST_CASE("the op table is complete and in enumeration order") {
  REQUIRE(all_ops().size() == kNumOps);
  for (int i = 0; i < kNumOps; ++i) {
    const OpInfo& row = all_ops()[i];
    CAPTURE(row.name);
    CHECK(static_cast<int>(row.op) == i);
    CHECK(row.name == name(row.op));
    CHECK((row.infer != nullptr));
    CHECK(row.doc.size() > 2);
    CHECK(row.doc.back() == '.');
    CHECK(row.signature.find("->") != std::string_view::npos);
    Op parsed;
    REQUIRE(parse_op(row.name, &parsed));
    CHECK(parsed == row.op);
    for (size_t a = 1; a < row.attrs.size(); ++a) {
      CHECK(row.attrs[a - 1].key != row.attrs[a].key);
    }
  }
  Op parsed;
  CHECK_FALSE(parse_op("no_such_op", &parsed));
}

TEST_CASE("OPS.md is the op table's document") {
  const std::string path = GCOMP_SOURCE_DIR "/lib/ir/OPS.md";
  if (std::getenv("GCOMP_WRITE_OPS_MD") != nullptr) std::ofstream(path) << op_document();
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK_MESSAGE(text.str() == op_document(), "run GCOMP_WRITE_OPS_MD=1 build/test_ir");
}

// ---- Control flow: what the types of bodies mean outside. The other ops: test/interp/*.py ----

namespace {

struct Body {
  GraphBuilder b;
  explicit Body(Context& context) : b(context, GraphBuilder::Mode::kRaw) {}
  ValueId in(DType t, std::vector<std::string> dims) {
    return b.input("x" + std::to_string(b.graph().inputs().size()), type(t, dims));
  }
  void out(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
  Type type(DType t, const std::vector<std::string>& dims) {
    Type type{t, {}};
    for (const std::string& d : dims) type.dims.push_back(b.dims().parse(d));
    return type;
  }
  std::vector<DimId> dims(const std::vector<std::string>& texts) {
    return type(DType::kBool, texts).dims;
  }
  GraphId done() {
    Context& context = b.context();
    return context.add_graph(b.finish());
  }
};

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

bool mentions(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// A body that gives its one input with `shape` extents, by reshape.
GraphId reshaping_body(Context& context, std::vector<std::string> in,
                       std::vector<std::string> out) {
  Body body(context);
  const ValueId x = body.in(DType::kFloat32, in);
  body.out(body.b.reshape(x, body.dims(out)));
  return body.done();
}

}  // namespace

TEST_CASE("cond: extents of the bodies in the symbols outside") {
  Context context;
  Body g(context);
  const ValueId pred = g.in(DType::kBool, {}), x = g.in(DType::kFloat32, {"N", "4"});
  const auto cond = [&](GraphId a, GraphId b, std::vector<std::string> symbols) {
    std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{a, b}}};
    if (!symbols.empty()) attrs.push_back({AttrKey::symbols, g.dims(symbols)});
    return g.b.value(Op::cond, {pred, x}, attrs);
  };
  const GraphId flat = reshaping_body(context, {"a", "b"}, {"a*b"});
  const GraphId other = reshaping_body(context, {"c", "4"}, {"4*c"});
  const GraphId rows = reshaping_body(context, {"c", "4"}, {"c*2", "2"});

  CHECK(g.b.type(cond(flat, other, {})) == g.type(DType::kFloat32, {"4*N"}));
  CHECK(g.b.type(cond(flat, other, {"u"})) == g.type(DType::kFloat32, {"u"}));
  CHECK(g.b.type(cond(rows, rows, {"-1", "v"})) == g.type(DType::kFloat32, {"2*N", "v"}));
  CHECK(verify(g.b.graph()).empty());

  CHECK(mentions(error_of([&] { cond(flat, rows, {}); }), "float32[a*b] in the then body"));
  CHECK(mentions(error_of([&] { cond(flat, other, {"u", "w"}); }), "one element for each extent"));
  CHECK(mentions(error_of([&] { cond(rows, rows, {"-1"}); }), "too few elements"));
  CHECK(mentions(error_of([&] { cond(flat, other, {"2*N"}); }), "plain symbols and -1"));
  const GraphId three = reshaping_body(context, {"c", "3"}, {"3*c"});
  CHECK(mentions(error_of([&] { cond(flat, three, {}); }),
                 "operand 1 is float32[N, 4], but input 0 of the body is float32[c, 3]"));
  const GraphId whole = reshaping_body(context, {"M", "K"}, {"M*K", "1"});
  CHECK(mentions(error_of([&] { cond(rows, whole, {}); }),
                 "axis 0 of result 0 differs between the bodies"));
  CHECK(mentions(error_of([&] {
                   g.b.node(Op::cond, {{pred, x}},
                            std::vector<Attr>{{AttrKey::bodies, std::vector<GraphId>{flat}}});
                 }),
                 "must have 2 elements, not 1"));
  CHECK(mentions(error_of([&] {
                   const ValueId operands[] = {x, x};
                   g.b.node(Op::cond, operands,
                            std::vector<Attr>{{AttrKey::bodies, std::vector<GraphId>{flat, flat}}});
                 }),
                 "must be the scalar type bool[]"));
}

TEST_CASE("cond: an extent that depends on data needs a name") {
  Context context;
  Body g(context);
  const ValueId pred = g.in(DType::kBool, {}), x = g.in(DType::kFloat32, {"N"});
  Body body(context);
  const ValueId inner = body.in(DType::kFloat32, {"N"});
  body.out(body.b.value(Op::nonzero, {inner}, {{AttrKey::symbols, body.dims({"s"})}}));
  const GraphId id = body.done();
  const std::vector<GraphId> both = {id, id};
  CHECK(mentions(error_of([&] { g.b.value(Op::cond, {pred, x}, {{AttrKey::bodies, both}}); }),
                 "axis 1 of result 0 differs between the bodies or depends on data: s and s"));
  const ValueId y = g.b.value(Op::cond, {pred, x},
                              {{AttrKey::bodies, both}, {AttrKey::symbols, g.dims({"-1", "t"})}});
  CHECK(g.b.type(y) == g.type(DType::kInt64, {"1", "t"}));
}

TEST_CASE("loop: carried, captured and stacked extents") {
  Context context;
  Body g(context);
  const ValueId trips = g.in(DType::kInt64, {}), go = g.in(DType::kBool, {});
  const ValueId x = g.in(DType::kFloat32, {"N"}), w = g.in(DType::kFloat32, {"N", "M"});
  // y = x + row sums of w; stacks w's row sums, [M] values of w and a growing concatenation.
  const auto make_body = [&](bool grows) {
    Body body(context);
    body.in(DType::kInt64, {});
    const ValueId c = body.in(DType::kFloat32, {"n"}), m = body.in(DType::kFloat32, {"k", "m"});
    const ValueId sums = body.b.reduce(Op::reduce_sum, m, {1});
    body.out(body.b.constant(make_splat(DType::kBool, {}, 1)));
    const ValueId parts[] = {c, sums};
    body.out(grows ? body.b.concat(parts, 0) : c);
    body.out(sums);
    return body.done();
  };
  const auto loop = [&](GraphId body, int64_t carried, std::vector<std::string> symbols) {
    std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{body}},
                               {AttrKey::index, carried}};
    if (!symbols.empty()) attrs.push_back({AttrKey::symbols, g.dims(symbols)});
    const ValueId operands[] = {trips, go, x, w};
    return g.b.node(Op::loop, operands, attrs);
  };
  const GraphId still = make_body(false), growing = make_body(true);
  const NodeId a = loop(still, 1, {"T"});
  REQUIRE(g.b.graph().node(a).num_results == 2);
  CHECK(g.b.type(g.b.result(a, 0)) == g.type(DType::kFloat32, {"N"}));
  CHECK(g.b.type(g.b.result(a, 1)) == g.type(DType::kFloat32, {"T", "N"}));
  const NodeId b = loop(growing, 1, {"T2", "F", "-1"});
  CHECK(g.b.type(g.b.result(b, 0)) == g.type(DType::kFloat32, {"F"}));
  CHECK(g.b.type(g.b.result(b, 1)) == g.type(DType::kFloat32, {"T2", "N"}));
  CHECK(verify(g.b.graph()).empty());

  CHECK(mentions(error_of([&] { loop(growing, 1, {"T"}); }),
                 "axis 0 of result 0 changes from one iteration to the next, from n to n + k"));
  CHECK(mentions(error_of([&] { loop(still, 1, {}); }), "must name the number of iterations"));
  CHECK(mentions(error_of([&] { loop(still, 3, {"T"}); }), "attribute 'index'"));
  CHECK(mentions(error_of([&] { loop(still, 1, {"T", "F"}); }), "too few elements"));
  CHECK(mentions(error_of([&] { loop(still, 1, {"2*T"}); }), "must begin with a plain symbol"));
  CHECK(mentions(error_of([&] { loop(still, 2, {"T"}); }), "carried value 1 is float32[k, m]"));
}
