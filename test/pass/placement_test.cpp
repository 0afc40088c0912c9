// Placement needs no GPU: it is a choice under a cost model, which small graphs allow to be found by trying all.

#include "gcomp/passes/placement.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "../sanitized.h"
#include "gcomp/ir/builder.h"

namespace gcomp::passes {
namespace {

struct Net {
  Context context;
  GraphBuilder b{context, GraphBuilder::Mode::kInterned};
  DimId dim(int64_t n) { return context.dims.constant(n); }
  ValueId input(std::vector<DimId> shape) {
    return b.input("x" + std::to_string(b.graph().inputs().size()),
                   {DType::kFloat32, std::move(shape)});
  }
  void output(ValueId v) { b.output("y" + std::to_string(b.graph().outputs().size()), v); }
};

// Nodes of one tensor each, of sizes from a number to some megabytes, some of which only the host can do.
class RandomNet {
 public:
  explicit RandomNet(uint32_t seed) : rng_(seed) {}

  std::unique_ptr<Graph> run(size_t nodes) {
    const size_t inputs = 1 + pick(2);
    for (size_t i = 0; i < inputs; ++i) {
      values_.push_back(n_.input({extent(), extent()}));
    }
    while (n_.b.graph().num_nodes() < nodes) grow();
    n_.output(values_.back());
    if (pick(2) == 0) n_.output(values_[pick(values_.size())]);
    return n_.b.finish();
  }

  // Of a machine where copies, launches and memory weigh this way or that.
  PlacementCosts costs() {
    PlacementCosts c;
    const auto less = [&](double v) { return v * std::pow(10, -static_cast<int>(pick(4))); };
    c.launch = less(c.launch);
    c.transfer = less(less(c.transfer));
    c.transfer_bytes /= less(1);
    c.device_bytes = less(c.device_bytes);
    c.host_bytes = less(c.host_bytes);
    c.host_ops = less(c.host_ops);
    c.run = pick(2) ? 0 : c.run;
    return c;
  }

 private:
  size_t pick(size_t n) { return rng_() % n; }
  DimId extent() {
    static constexpr int64_t kExtents[] = {1, 16, 300, 1024, 4000};
    return n_.dim(kExtents[pick(5)]);
  }
  ValueId any() { return values_[pick(3) != 0 ? values_.size() - 1 : pick(values_.size())]; }

  void grow() {
    const ValueId v = any();
    const Type& type = n_.b.type(v);
    switch (pick(8)) {
      case 0:
      case 1: return add(n_.b.value(pick(2) ? Op::lgamma : Op::neg, {v}));
      case 2:
      case 3: {
        for (ValueId u : values_) {
          if (u != v && n_.b.type(u) == type) return add(n_.b.value(Op::add, {u, v}));
        }
        return add(n_.b.value(Op::exp, {v}));
      }
      case 4:
        if (type.rank() != 2) return;
        return add(n_.b.transpose(v, std::vector<int64_t>{1, 0}));
      case 5:
        if (type.rank() == 0) return;
        return add(n_.b.reduce(Op::reduce_sum, v, {static_cast<int64_t>(type.rank()) - 1}));
      case 6: {
        if (type.rank() == 0) return;
        // Only the host counts.
        const DimId count = n_.context.dims.fresh_symbol("count");
        const ValueId places =
            n_.b.value(Op::nonzero, {v}, {{AttrKey::symbols, std::vector<DimId>{count}}});
        return add(n_.b.value(Op::cast, {places}, {{AttrKey::dtype, DType::kFloat32}}));
      }
      default: {
        if (type.rank() == 0) return;
        std::vector<DimId> shape = type.dims;
        shape[0] = n_.dim(1);
        const std::vector<DimId> starts(shape.size(), n_.dim(0));
        return add(n_.b.slice(v, starts, shape, std::vector<int64_t>(shape.size(), 1)));
      }
    }
  }
  void add(ValueId v) { values_.push_back(v); }

  std::mt19937 rng_;
  Net n_;
  std::vector<ValueId> values_;
};

// The least that a run can cost, by trying every placement.
double brute_force(const Graph& graph, const PlacementCosts& costs) {
  std::vector<uint32_t> free;
  for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
    const Op op = graph.node(NodeId(i)).op;
    if (op != Op::input && op != Op::constant && cuda_obstacle(graph, NodeId(i)).empty()) {
      free.push_back(i);
    }
  }
  double best = 1e300;
  for (uint32_t chosen = 0; chosen < 1u << free.size(); ++chosen) {
    std::vector<Device> devices(graph.num_nodes(), Device::kHost);
    for (size_t k = 0; k < free.size(); ++k) {
      if ((chosen >> k & 1) != 0) devices[free[k]] = Device::kCuda;
    }
    best = std::min(best, placed_seconds(graph, devices, costs));
  }
  return best;
}

TEST_CASE("small random graphs: as good as the best of all placements") {
  const uint32_t count = test::kSanitized ? 20 : 200;
  int mixed = 0;
  for (uint32_t seed = 1; seed <= count; ++seed) {
    CAPTURE(seed);
    RandomNet net(seed);
    const auto graph = net.run(3 + seed % 9);
    const PlacementCosts costs = net.costs();
    const Placement placed = place(*graph, costs);
    const double best = brute_force(*graph, costs);
    CHECK(placed.seconds <= best * 1.1);
    CHECK(placed.seconds == doctest::Approx(placed_seconds(*graph, placed.devices, costs)));
    const auto on_gpu = std::ranges::count(placed.devices, Device::kCuda);
    CHECK(placed.uses_cuda == (on_gpu > 0));
    mixed += on_gpu > 0 && placed.boundaries.size() > 2;
  }
  CHECK(mixed > static_cast<int>(count) / 20);  // there was something to choose
}

TEST_CASE("large random graphs: no stretch of nodes is better on the other device") {
  for (uint32_t seed = 1; seed <= (test::kSanitized ? 1 : 4); ++seed) {
    CAPTURE(seed);
    RandomNet net(seed);
    const auto graph = net.run(test::kSanitized ? 300 : 1500);
    const PlacementCosts costs = net.costs();
    const Placement placed = place(*graph, costs);
    std::mt19937 rng(seed);
    for (int k = 0; k < 100; ++k) {
      std::vector<Device> other = placed.devices;
      const size_t begin = rng() % other.size(), length = 1 + rng() % 200;
      for (size_t i = begin; i < std::min(other.size(), begin + length); ++i) {
        if (!cuda_obstacle(*graph, NodeId(i)).empty()) continue;
        other[i] = k % 2 == 0 ? Device::kCuda : Device::kHost;
      }
      CHECK(placed_seconds(*graph, other, costs) >= placed.seconds * 0.9999999);
    }
  }
}

// Products of matrices, each a kernel.
ValueId chain(Net& n, ValueId x, int length) {
  for (int i = 0; i < length; ++i) x = n.b.value(Op::matmul, {x, x});
  return x;
}

bool is_on_gpu(const Graph& graph, const Placement& p, ValueId v) {
  return p.devices[graph.producer(v).index] == Device::kCuda;
}

TEST_CASE("large tensors go to the GPU, small ones do not") {
  for (const int64_t size : {int64_t{8}, int64_t{2048}}) {
    Net n;
    const ValueId x = n.input({n.dim(size), n.dim(size)});
    const ValueId y = chain(n, x, 10);
    n.output(y);
    const auto graph = n.b.finish();
    const Placement p = place(*graph);
    CHECK(is_on_gpu(*graph, p, y) == (size == 2048));
    CHECK(p.uses_cuda == (size == 2048));
    if (size != 2048) {
      CHECK(p.boundaries.empty());
      continue;
    }
    REQUIRE(p.boundaries.size() == 2);
    CHECK(p.boundaries[0].cause == Boundary::Cause::kInput);
    CHECK(p.boundaries[1].cause == Boundary::Cause::kOutput);
    CHECK(p.boundaries[0].bytes == 4 * 2048 * 2048);
    CHECK(p.seconds < p.host_seconds);
  }
}

// Many threads share out what ends in one number, and each line.
TEST_CASE("long sums, scans and sorts follow their operand to the GPU") {
  const int64_t rows = 4096, columns = 8192, size = rows * columns;
  for (const Op op : {Op::reduce_sum, Op::cumsum, Op::sort, Op::matmul}) {
    Net n;
    const ValueId x = n.input({n.dim(rows), n.dim(columns)});
    ValueId y = x;
    for (int i = 0; i < 300; ++i) y = n.b.value(Op::erf, {y});
    switch (op) {
      case Op::reduce_sum: y = n.b.reduce(op, y, {0, 1}); break;
      case Op::matmul:
        y = n.b.value(
            op, {n.b.reshape(y, {n.dim(1), n.dim(size)}), n.b.reshape(y, {n.dim(size), n.dim(1)})});
        break;
      default:
        y = n.b.result(n.b.node(op, std::vector<ValueId>{y}, {{AttrKey::axis, int64_t{1}}}), 0);
    }
    n.output(y);
    const auto graph = n.b.finish();
    const Placement p = place(*graph);
    CAPTURE(name(op));
    CHECK(p.uses_cuda);
    CHECK(is_on_gpu(*graph, p, y));
  }
}

TEST_CASE("costs of absurd sizes do not overflow") {
  Net n;
  ValueId x = n.input({n.dim(int64_t{1} << 30), n.dim(int64_t{1} << 30)});
  for (int i = 0; i < 2000; ++i) x = n.b.value(Op::tanh, {n.b.value(Op::matmul, {x, x})});
  n.output(x);
  const auto graph = n.b.finish();
  const Placement p = place(*graph);
  CHECK(p.seconds > 0);
  CHECK(p.seconds <= p.host_seconds);
}

TEST_CASE("what has no kernel on the GPU stays, and its neighbourhood if that costs less") {
  Net n;
  const ValueId x = n.input({n.dim(2048), n.dim(2048)});
  const ValueId y = chain(n, x, 10);
  const ValueId row = n.b.reduce(Op::reduce_sum, y, {0});
  const DimId count = n.context.dims.fresh_symbol("count");
  const ValueId places =
      n.b.value(Op::nonzero, {row}, {{AttrKey::symbols, std::vector<DimId>{count}}});
  const ValueId after = n.b.value(Op::neg, {places});  // of 64 numbers: where its operand is
  n.output(after);
  const auto graph = n.b.finish();
  const Placement p = place(*graph);
  CHECK(is_on_gpu(*graph, p, y));
  CHECK(is_on_gpu(*graph, p, row));
  CHECK_FALSE(is_on_gpu(*graph, p, places));
  CHECK_FALSE(is_on_gpu(*graph, p, after));
  const auto b = std::ranges::find(p.boundaries, row, &Boundary::value);
  REQUIRE(b != p.boundaries.end());
  CHECK(b->to == Device::kHost);
  CHECK(b->cause == Boundary::Cause::kNoKernel);
  CHECK(describe(*graph, p, *b) ==
        "nonzero has no kernel on the GPU: the host learns extents from it");
}

TEST_CASE("states stay on the GPU: no copies are counted for them") {
  for (const bool is_state : {false, true}) {
    Net n;
    const ValueId x = n.input({n.dim(256), n.dim(256)});
    const ValueId y = chain(n, x, 1);
    n.output(y);
    if (is_state) n.b.state({.input = 0, .output = 0});
    const auto graph = n.b.finish();
    const Placement p = place(*graph);
    CHECK(is_on_gpu(*graph, p, y) == is_state);
    CHECK(p.boundaries.empty());
  }
}

TEST_CASE("a state is where its new value is made") {
  for (const bool on_host : {false, true}) {
    Net n;
    const ValueId x = n.input({n.dim(512), n.dim(512)});
    const ValueId y = chain(n, x, 1);
    // A thread of the GPU would walk over all rows.
    const ValueId next = on_host ? n.b.value(Op::cumsum, {y}, {{AttrKey::axis, int64_t{1}}}) : y;
    n.output(next);
    n.b.state({.input = 0, .output = 0});
    const auto graph = n.b.finish();
    PlacementCosts costs;
    if (on_host) costs.device_step = 1;
    const Placement p = place(*graph, costs);
    CHECK(is_on_gpu(*graph, p, next) != on_host);
    CHECK(p.boundaries.empty());
  }
}

// state = state * weights, products of matrices, `turns` times or while the sum is small.
struct Recurrence : Net {
  Recurrence(int64_t size, int64_t turns, bool by_condition, bool with_host_work) {
    const std::vector<DimId> shape = {dim(size), dim(size)};
    GraphBuilder inner(context, GraphBuilder::Mode::kInterned);
    inner.input("k", {DType::kInt64, {}});
    state = inner.input("state", {DType::kFloat32, shape});
    const ValueId weights = inner.input("weights", {DType::kFloat32, shape});
    next = inner.value(Op::matmul, {state, weights});
    if (with_host_work) {
      const DimId count = context.dims.fresh_symbol("count");
      const ValueId places =
          inner.value(Op::nonzero, {next}, {{AttrKey::symbols, std::vector<DimId>{count}}});
      const ValueId least = inner.reduce(Op::reduce_min, places, {0, 1});
      next = inner.value(
          Op::add, {next, inner.broadcast(inner.cast(least, DType::kFloat32), shape, {}, {})});
    }
    if (by_condition) {
      const ValueId sum =
          inner.reduce(Op::reduce_sum, inner.reduce(Op::reduce_sum, next, {1}), {0});
      go_on = inner.value(Op::lt, {sum, inner.scalar(DType::kFloat32, 1e30)});
    } else {
      go_on = inner.constant(make_splat(DType::kBool, {}, 1));
    }
    inner.output("go_on", go_on);
    inner.output("state", next);
    inner.output("row", next);
    const GraphId id = context.add_graph(inner.finish());
    body = &context.graph(id);
    const ValueId x = input(shape), w = input(shape);
    const std::vector<ValueId> operands = {b.scalar(DType::kInt64, static_cast<double>(turns)),
                                           b.constant(make_splat(DType::kBool, {}, 1)), x, w};
    loop = b.node(Op::loop, operands,
                  {{AttrKey::bodies, std::vector<GraphId>{id}},
                   {AttrKey::index, int64_t{1}},
                   {AttrKey::symbols, std::vector<DimId>{context.dims.symbol("rows")}}});
    output(b.reduce(Op::reduce_sum, b.result(loop, 1), {0}));
    graph = b.finish();
  }
  const Graph* body;
  ValueId state, next, go_on;
  NodeId loop;
  std::unique_ptr<Graph> graph;
};

TEST_CASE("a loop goes to the GPU if its turns are worth it") {
  for (const int64_t size : {int64_t{16}, int64_t{1024}}) {
    for (const bool by_condition : {false, true}) {
      CAPTURE(size);
      CAPTURE(by_condition);
      Recurrence r(size, 50, by_condition, false);
      const Placement p = place(*r.graph);
      const GraphPlacement& body = p.bodies.at(r.body);
      const bool there = size == 1024;
      CHECK((p.devices[r.loop.index] == Device::kCuda) == there);
      CHECK((body.devices[r.body->producer(r.next).index] == Device::kCuda) == there);
      CHECK(body.uses_cuda == there);
      CHECK(p.uses_cuda == there);
      // In a turn only what the condition needs is copied, outside the inputs and the output.
      REQUIRE(body.boundaries.size() == (there && by_condition ? 1u : 0u));
      if (!there) continue;
      CHECK(p.boundaries.size() == 3);
      if (!by_condition) continue;
      CHECK(body.boundaries[0].to == Device::kHost);
      CHECK(body.boundaries[0].bytes <= 4 * 1024);  // it, or the sums of rows
    }
  }
}

TEST_CASE("copies of each turn weigh as often as there are turns") {
  Recurrence without(600, 1000, false, false), with(600, 1000, false, true);
  PlacementCosts costs;
  costs.transfer = 1e-2;  // more than a turn on the host
  CHECK(place(*without.graph, costs).bodies.at(without.body).uses_cuda);
  const Placement p = place(*with.graph, costs);
  CHECK_FALSE(p.bodies.at(with.body).uses_cuda);
  CHECK(p.devices[with.loop.index] == Device::kHost);
}

TEST_CASE("a loop as a whole: its copies may cost more than its turns gain") {
  for (const int64_t turns : {1, 2000}) {
    CAPTURE(turns);
    Recurrence r(300, turns, false, false);
    PlacementCosts costs;
    costs.transfer = 2e-3;
    const Placement p = place(*r.graph, costs);
    CHECK((p.devices[r.loop.index] == Device::kCuda) == (turns != 1));
    // What is on the host for all who run it is told as such.
    CHECK(p.bodies.at(r.body).uses_cuda == (turns != 1));
  }
}

TEST_CASE("a turn's seconds are counted as often as it is run") {
  Recurrence one(64, 1, false, false), many(64, 100, false, false);
  PlacementCosts costs;
  const Placement a = place(*one.graph, costs), b = place(*many.graph, costs);
  const double turn = a.bodies.at(one.body).host_seconds;
  CHECK(turn > 0);
  CHECK(b.host_seconds >= 100 * turn);
  CHECK(b.host_seconds < 100 * turn + a.host_seconds * 100);
  CHECK(a.host_seconds > turn);
}

TEST_CASE("what the host decides by is told as such") {
  Recurrence r(8, 4, true, false);
  const Placement p = place_everything(*r.graph);
  const GraphPlacement& body = p.bodies.at(r.body);
  const auto b = std::ranges::find(body.boundaries, r.go_on, &Boundary::value);
  REQUIRE(b != body.boundaries.end());
  CHECK(body.boundaries.size() == 1);
  CHECK(b->to == Device::kHost);
  CHECK(b->cause == Boundary::Cause::kControl);
  CHECK(describe(*r.body, body, *b) == "the host decides by it if there is another turn");
}

TEST_CASE(
    "a condition that is computed on the GPU is copied for the host, a branch's result is not") {
  Net n;
  const std::vector<DimId> shape = {n.dim(16)};
  const ValueId x = n.input(shape);
  std::vector<GraphId> bodies;
  for (const Op op : {Op::exp, Op::neg}) {
    GraphBuilder inner(n.context, GraphBuilder::Mode::kInterned);
    inner.output("r", inner.value(op, {inner.input("v", {DType::kFloat32, shape})}));
    bodies.push_back(n.context.add_graph(inner.finish()));
  }
  const ValueId sum = n.b.reduce(Op::reduce_sum, x, {0});
  const ValueId positive = n.b.value(Op::gt, {sum, n.b.scalar(DType::kFloat32, 0)});
  const ValueId y = n.b.value(Op::cond, {positive, x}, {{AttrKey::bodies, bodies}});
  n.output(n.b.value(Op::abs, {y}));
  const auto graph = n.b.finish();
  const Placement p = place_everything(*graph);
  CHECK(is_on_gpu(*graph, p, y));
  REQUIRE(p.boundaries.size() == 3);  // the input, the condition, the output
  const auto b = std::ranges::find(p.boundaries, positive, &Boundary::value);
  REQUIRE(b != p.boundaries.end());
  CHECK(b->cause == Boundary::Cause::kControl);
  CHECK(describe(*graph, p, *b) == "the host runs cond by it, or what is in it reads it there");
  for (const auto& [body, placed] : p.bodies) CHECK(placed.boundaries.empty());
}

}  // namespace
}  // namespace gcomp::passes
