// What is written over what: how often, and that it never is where a later read needs the old value. `check`
// compares the bits with those of the module without overwriting.

#include "gcomp/lower/arrange.h"

#include <doctest/doctest.h>

#include "net.h"

namespace gcomp::test {
namespace {

constexpr DType kF32 = DType::kFloat32;

// A value with memory of its own: sorting has a kernel of its own, and overwrites nothing.
ValueId fresh(GraphBuilder& b, ValueId x) {
  return b.result(b.node(Op::sort, std::vector<ValueId>{x}, {{AttrKey::axis, int64_t{0}}}));
}
ValueId fresh(Net& n, ValueId x) { return fresh(n.b, x); }

ValueId scattered(Net& n, ValueId x, ValueId at, ValueId what) {
  return n.b.value(Op::scatter_nd, {x, at, what}, {{AttrKey::reduction, std::string("add")}});
}

TEST_CASE("a chain of updates copies once, whatever its length") {
  Net n;
  const ValueId x = n.input(kF32, {n.dim("N"), n.dim(3)});
  const ValueId u = n.input(kF32, {n.dim(1), n.dim(3)});
  ValueId y = x;
  for (int64_t i = 0; i < 10; ++i) {
    const std::vector<int64_t> row = {i};
    y = scattered(n, y, n.b.reshape(n.b.int64s(row), {n.dim(1), n.dim(1)}), u);
  }
  lower::Stats stats;
  CHECK(n.check({y}, &stats) == "");
  CHECK(stats.inplace.accepted() == 9);
  CHECK(stats.saved_copies == 9);  // of ten: the input is the caller's
}

TEST_CASE("an update of itself is not written over itself") {
  Net n;
  const ValueId x = fresh(n, n.input(kF32, {n.dim(4), n.dim(3)}));
  const std::vector<int64_t> rows = {3, 2, 1, 0};
  const ValueId at = n.b.reshape(n.b.int64s(rows), {n.dim(4), n.dim(1)});
  lower::Stats stats;
  CHECK(n.check({scattered(n, x, at, x)}, &stats) == "");
  CHECK(stats.inplace.accepted() == 0);
}

TEST_CASE(
    "elementwise groups take the memory of an operand, also under another dtype of that size") {
  Net n;
  const ValueId x = fresh(n, n.input(kF32, {n.dim("N"), n.dim(8)}));
  const ValueId y =
      n.b.value(Op::cast, {n.b.value(Op::neg, {x})}, {{AttrKey::dtype, DType::kInt32}});
  lower::Stats stats;
  CHECK(n.check({fresh(n, y)}, &stats) == "");
  CHECK(stats.inplace.accepted() == 1);
}

TEST_CASE("softmax and normalisation over their operand's rows") {
  for (const int64_t row : {5, 64, 3000}) {  // kept in registers, on the stack, in the output
    CAPTURE(row);
    Net n;
    const ValueId x = fresh(n, n.input(kF32, {n.dim("N"), n.dim(row)}));
    const std::vector<DimId> shape = n.b.type(x).dims;
    const auto wide = [&](ValueId v) { return n.b.broadcast(v, shape, {0}); };
    const ValueId shifted = n.b.value(Op::sub, {x, wide(n.b.reduce(Op::reduce_max, x, {1}))});
    const ValueId e = n.b.value(Op::exp, {shifted});
    const ValueId y = n.b.value(Op::div, {e, wide(n.b.reduce(Op::reduce_sum, e, {1}))});
    const ValueId centred = n.b.value(Op::sub, {x, wide(n.b.reduce(Op::reduce_sum, x, {1}))});
    lower::Stats stats;
    CHECK(n.check({y, centred}, &stats, 3) == "");
    CHECK(stats.inplace.accepted() == 1);
  }
}

TEST_CASE("a product's epilogue is written over what it adds, not over a factor") {
  const auto accepted = [](bool adds_factor) {
    Net n;
    const ValueId x = fresh(n, n.input(kF32, {n.dim(33), n.dim(33)}));
    const ValueId w = n.input(kF32, {n.dim(33), n.dim(33)});
    const ValueId c = adds_factor ? x : fresh(n, n.input(kF32, {n.dim(33), n.dim(33)}));
    const ValueId y = n.b.value(Op::add, {n.b.value(Op::matmul, {x, w}), c});
    lower::Stats stats;
    CHECK(n.check({y}, &stats) == "");
    return stats.inplace.accepted();
  };
  CHECK(accepted(false) == 1);
  CHECK(accepted(true) == 0);
}

TEST_CASE("transposed, shifted, repeated and outer reads keep their operand") {
  Net n;
  const ValueId x = fresh(n, n.input(kF32, {n.dim(16), n.dim(16)}));
  const std::vector<int64_t> axes = {0, 1}, swapped = {1, 0};
  const ValueId t = n.b.value(Op::add, {x, n.b.transpose(x, swapped)});
  const ValueId r = n.b.value(Op::mul, {t, n.b.value(Op::reverse, {t}, {{AttrKey::axes, axes}})});
  lower::Stats stats;
  CHECK(n.check({r}, &stats) == "");
  CHECK(stats.inplace.accepted() == 0);
}

TEST_CASE("a later reader of the operand is brought before the one that overwrites it") {
  Net n;
  const ValueId x = fresh(n, n.input(kF32, {n.dim("N"), n.dim(3)}));
  const std::vector<int64_t> zero = {0};
  const ValueId at = n.b.reshape(n.b.int64s(zero), {n.dim(1), n.dim(1)});
  const ValueId y = scattered(n, x, at, n.input(kF32, {n.dim(1), n.dim(3)}));
  const ValueId after = fresh(n, x);  // comes later in the graph
  lower::Stats stats;
  CHECK(n.check({y, after}, &stats) == "");
  CHECK(stats.inplace.by_edges == 1);
  CHECK(stats.saved_copies == 1);
}

// A state whose row `at` grows by u; with a second output after that, or one that may fail; or all rows in reverse.
enum class Then { kNothing, kReadsOld, kMayFail, kReversed };

std::pair<bool, size_t> updated_state(Then then, bool constant_row) {
  Net n;
  const Type rows{kF32, {n.dim(5), n.dim(3)}};
  const ValueId x = n.input(kF32, rows.dims), u = n.input(kF32, {n.dim(1), n.dim(3)});
  const std::vector<int64_t> two = {2};
  // Also what is not known is inside here: 2 or 3 of bools' sum.
  const ValueId known = n.b.int64s(two);
  const ValueId flag = n.input(DType::kBool, {n.dim(1)});
  const ValueId row =
      constant_row ? known : n.b.value(Op::add, {known, n.b.cast(flag, DType::kInt64)});
  const ValueId y = scattered(n, x, n.b.reshape(row, {n.dim(1), n.dim(1)}), u);
  if (then == Then::kReadsOld) n.b.output("old", n.b.value(Op::neg, {fresh(n, x)}));
  if (then == Then::kMayFail) {
    const ValueId at = n.b.reshape(n.b.cast(flag, DType::kInt64), {n.dim(1), n.dim(1)});
    n.b.output("picked", n.b.value(Op::gather_nd, {fresh(n, y), at}));
  }
  n.b.output("next", then != Then::kReversed
                         ? y
                         : n.b.value(Op::reverse, {fresh(n, y)},
                                     {{AttrKey::axes, std::vector<int64_t>{0}}}));
  const auto last = static_cast<uint32_t>(n.b.graph().outputs().size() - 1);
  n.b.state({.input = 0, .output = last, .initial = {}});
  const auto g = n.b.finish();
  const auto inputs = random_inputs(*g, 5, 1);
  const lower::LoweredModule off = lower::lower(*g, {});
  lower::LoweredModule on = off;
  lower::arrange(on, {.verify = true});
  const ModuleRunner runner(off);
  std::string error;
  const auto want = runner.run(inputs, 2, &error),
             got = ModuleRunner(on, runner).run(inputs, 2, &error);
  CHECK(error == "");
  for (size_t i = 0; i < want.size(); ++i) CHECK(want[i].bytes == got[i].bytes);
  return {on.overwritten_states[0], on.stats.saved_copies};
}

TEST_CASE(
    "a state's new value is written over the old one when nothing reads that or fails any more") {
  using Result = std::pair<bool, size_t>;
  CHECK(updated_state(Then::kNothing, true) == Result(true, 1));
  CHECK(updated_state(Then::kNothing, false) == Result(true, 1));  // indices are checked before
  CHECK(updated_state(Then::kReadsOld, true) == Result(true, 1));  // moved before
  CHECK(updated_state(Then::kMayFail, true) == Result(false, 0));
  // Elsewhere: then the old value stays what it was, as it may lie in constants.
  CHECK(updated_state(Then::kReversed, true) == Result(false, 0));
}

TEST_CASE("a donated input's memory is used, another's is not") {
  for (const bool donated : {false, true}) {
    Net n;
    const ValueId x = n.b.input("x", {kF32, {n.dim("N"), n.dim(3)}}, donated);
    const std::vector<int64_t> zero = {0};
    const ValueId at = n.b.reshape(n.b.int64s(zero), {n.dim(1), n.dim(1)});
    const ValueId y = scattered(n, x, at, n.input(kF32, {n.dim(1), n.dim(3)}));
    lower::Stats stats;
    CHECK(n.check({fresh(n, y)}, &stats) == "");
    CHECK(stats.saved_copies == (donated ? 1 : 0));
  }
}

TEST_CASE(
    "in a loop's body: temporaries of the turn, not what the next turn or the outside reads") {
  Net n;
  GraphBuilder body(n.context, GraphBuilder::Mode::kInterned);
  const Type row{kF32, {n.dim(6)}};
  body.input("turn", {DType::kInt64, {}});
  const ValueId state = body.input("state", row), outside = body.input("outside", row);
  const ValueId t = fresh(body, body.value(Op::mul, {state, body.full_like(state, 0.1)}));
  body.output("go_on", body.constant(make_splat(DType::kBool, {}, 1)));
  body.output("next", fresh(body, body.value(Op::add, {body.value(Op::tanh, {t}), outside})));
  const GraphId id = n.context.add_graph(body.finish());
  const std::vector<ValueId> operands = {
      n.b.constant(make_splat(DType::kInt64, {}, 5)), n.b.constant(make_splat(DType::kBool, {}, 1)),
      n.input(kF32, {n.dim(6)}), fresh(n, n.input(kF32, {n.dim(6)}))};
  const NodeId loop =
      n.b.node(Op::loop, operands,
               {{AttrKey::bodies, std::vector<GraphId>{id}}, {AttrKey::index, int64_t{1}}});
  lower::Stats stats;
  CHECK(n.check({n.b.result(loop)}, &stats) == "");
  CHECK(stats.inplace.accepted() == 1);  // of the body: tanh(t) + outside over t
}

// for turn in range(5): state[turn] += seen; with the old state read before, after or beside that.
enum class Reads { kNothing, kBefore, kAfter, kAsUpdate };

size_t copies_in_loop(Reads reads) {
  Net n;
  GraphBuilder body(n.context, GraphBuilder::Mode::kInterned);
  const Type rows{kF32, {n.dim(5), n.dim(3)}}, row{kF32, {n.dim(1), n.dim(3)}};
  const ValueId turn = body.input("turn", {DType::kInt64, {}});
  const ValueId state = body.input("state", rows), seen = body.input("seen", row);
  const ValueId at = body.reshape(turn, {n.dim(1), n.dim(1)});
  ValueId update = seen;
  if (reads == Reads::kBefore) {
    update = body.reshape(body.reduce(Op::reduce_sum, state, {0}), {n.dim(1), n.dim(3)});
  }
  ValueId index = at;
  if (reads == Reads::kAsUpdate) {
    update = state;
    const std::vector<int64_t> all = {4, 3, 2, 1, 0};
    index = body.reshape(body.int64s(all), {n.dim(5), n.dim(1)});
  }
  const ValueId next = body.value(Op::scatter_nd, {state, index, update},
                                  {{AttrKey::reduction, std::string("add")}});
  body.output("go_on", body.constant(make_splat(DType::kBool, {}, 1)));
  body.output("next", next);
  if (reads == Reads::kAfter) {
    body.output("late", body.value(Op::add, {body.reduce(Op::reduce_sum, next, {0}),
                                             body.reduce(Op::reduce_max, state, {0})}));
  }
  const GraphId id = n.context.add_graph(body.finish());
  const std::vector<ValueId> operands = {n.b.constant(make_splat(DType::kInt64, {}, 5)),
                                         n.b.constant(make_splat(DType::kBool, {}, 1)),
                                         n.input(kF32, rows.dims), n.input(kF32, row.dims)};
  std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{id}},
                             {AttrKey::index, int64_t{1}}};
  if (reads == Reads::kAfter) attrs.push_back({AttrKey::symbols, std::vector<DimId>{n.dim("T")}});
  const NodeId loop = n.b.node(Op::loop, operands, std::move(attrs));
  for (int r = 0; r < n.b.graph().node(loop).num_results; ++r) {
    n.b.output("y" + std::to_string(r), n.b.result(loop, r));
  }
  const auto g = n.b.finish();
  const auto inputs = random_inputs(*g, 5, 1);
  lower::LowerOptions options;
  options.update_carried = true;
  CHECK(compare(*g, inputs, options) == "");
  options.update_carried = false;
  CHECK(compare(*g, inputs, options) == "");
  options.update_carried = true;
  const lower::LoweredModule module = lower::lower(*g, options);
  size_t copies = 0, depth = 0;
  for (const lower::Step& s : module.steps) {
    depth += s.kind == lower::Step::Kind::kBeginLoop;
    depth -= s.kind == lower::Step::Kind::kEndLoop;
    copies += depth != 0 && s.kind == lower::Step::Kind::kCopy;
  }
  return copies;
}

TEST_CASE(
    "what a loop carries is updated in its place unless its old elements are read afterwards") {
  CHECK(copies_in_loop(Reads::kNothing) == 0);
  CHECK(copies_in_loop(Reads::kBefore) == 0);
  CHECK(copies_in_loop(Reads::kAfter) == 1);
  CHECK(copies_in_loop(Reads::kAsUpdate) == 1);
}

}  // namespace
}  // namespace gcomp::test
