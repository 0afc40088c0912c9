// Graphs on two devices. That every graph of these tests computes the same there is `compare`'s business.

#include <doctest/doctest.h>

#include "gcomp/artifact/lowered_plan.h"
#include "gcomp/interp/evaluate.h"
#include "gcomp/lower/arrange.h"
#include "net.h"

namespace gcomp::test {
namespace {

using lower::Memory;
using lower::Step;

struct Placed : Net {
  // Lowered with what `on_gpu` computes on the GPU.
  lower::LoweredModule lower(const std::vector<ValueId>& on_gpu,
                             const std::vector<ValueId>& outputs) {
    for (ValueId v : outputs) b.output("y" + std::to_string(v.index), v);
    graph = b.finish();
    lower::LowerOptions options;
    options.cuda_blocks = false;  // iterations run on this CPU
    options.placement.assign(graph->num_nodes(), Device::kHost);
    for (ValueId v : on_gpu) options.placement[graph->producer(v).index] = Device::kCuda;
    for (const auto& [body, nodes] : in_bodies) {
      std::vector<Device>& devices = options.body_placement[body];
      devices.assign(body->num_nodes(), Device::kHost);
      for (ValueId v : nodes) devices[body->producer(v).index] = Device::kCuda;
    }
    return lower::lower(*graph, options);
  }
  // Runs it as well, and compares.
  lower::LoweredModule run(const std::vector<ValueId>& on_gpu,
                           const std::vector<ValueId>& outputs) {
    lower::LoweredModule module = lower(on_gpu, outputs);
    CHECK(device_faults(module).empty());
    const std::vector<interp::Tensor> inputs = random_inputs(*graph, 5, 1);
    std::string error;
    const auto got = ModuleRunner(module).run(inputs, 1, &error);
    const auto want = interp::evaluate(*graph, inputs);
    CHECK(error == "");
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i].bytes == want[i].bytes);
    return module;
  }
  // A nested graph whose values `nodes` are computed on the GPU where its cond or loop is on it.
  GraphId body(GraphBuilder& inner, const std::vector<ValueId>& nodes) {
    const GraphId id = context.add_graph(inner.finish());
    in_bodies.emplace_back(&context.graph(id), nodes);
    return id;
  }
  std::unique_ptr<Graph> graph;
  std::vector<std::pair<const Graph*, std::vector<ValueId>>> in_bodies;
};

// Steps that copy to `device`.
int copies_to(const lower::LoweredModule& m, Device device) {
  int count = 0;
  for (const Step& s : m.steps) {
    if (s.kind != Step::Kind::kCopy) continue;
    const Device to = m.memory[s.memory[0].index].device;
    count += to == device && m.memory[s.memory[1].index].device != to;
  }
  return count;
}

// Such copies between the begin and the end of a loop.
int copies_in_turns(const lower::LoweredModule& m, Device device) {
  lower::LoweredModule turns = m;
  turns.steps.clear();
  int open = 0;
  for (const Step& s : m.steps) {
    open += s.kind == Step::Kind::kBeginLoop;
    open -= s.kind == Step::Kind::kEndLoop;
    if (open > 0) turns.steps.push_back(s);
  }
  return copies_to(turns, device);
}

int mentions(const lower::LoweredModule& m, Memory::Kind kind, Device device) {
  int count = 0;
  for (const Step& s : m.steps) {
    for (const lower::MemoryId id : s.memory) {
      if (!id.valid()) continue;
      const Memory& memory = m.memory[id.index];
      count += memory.kind == kind && memory.device == device;
    }
  }
  return count;
}

TEST_CASE("a value is copied once for all who read it on the other device") {
  Placed p;
  const ValueId x = p.input(DType::kInt64, {p.dim(40)});
  const ValueId a = p.b.value(Op::neg, {x});
  const ValueId s = p.b.reduce(Op::reduce_sum, a, {0});
  const ValueId u = p.b.reduce(Op::reduce_max, a, {0});
  const auto module = p.run({a}, {s, u});
  CHECK(copies_to(module, Device::kHost) == 1);
  CHECK(copies_to(module, Device::kCuda) == 0);
  // The runtime uploads the input: no step does.
  CHECK(mentions(module, Memory::Kind::kInput, Device::kCuda) == 1);
  CHECK(mentions(module, Memory::Kind::kInput, Device::kHost) == 0);
}

TEST_CASE("outputs lie where they are computed") {
  Placed p;
  const ValueId x = p.input(DType::kFloat32, {p.dim("n")});
  const ValueId a = p.b.value(Op::neg, {x}), c = p.b.value(Op::abs, {x});
  const auto module = p.run({a}, {a, c});
  CHECK(mentions(module, Memory::Kind::kOutput, Device::kCuda) == 1);
  CHECK(mentions(module, Memory::Kind::kOutput, Device::kHost) == 1);
  CHECK(copies_to(module, Device::kHost) + copies_to(module, Device::kCuda) == 0);
}

TEST_CASE("no kernel spans two devices") {
  Placed p;
  const ValueId x = p.input(DType::kFloat32, {p.dim(8)});
  const ValueId a = p.b.value(Op::neg, {x}), c = p.b.value(Op::abs, {a}),
                d = p.b.value(Op::neg, {c});
  const auto module = p.run({a, d}, {d});
  CHECK(module.stats.kernel_calls == 3);
  CHECK(copies_to(module, Device::kHost) == 1);
  CHECK(copies_to(module, Device::kCuda) == 1);
  // The first and the last are one kernel, not the host's.
  CHECK(module.kernel_devices == std::vector{Device::kCuda, Device::kHost});
}

TEST_CASE("what a slice leaves is copied, not what it is a slice of") {
  Placed p;
  const ValueId x = p.input(DType::kInt64, {p.dim(1000)});
  const ValueId a = p.b.value(Op::neg, {x});
  const std::vector<DimId> start = {p.dim(10)}, length = {p.dim(3)};
  const std::vector<int64_t> stride = {2};
  const ValueId s = p.b.slice(a, start, length, stride);
  const ValueId y = p.b.value(Op::abs, {s});
  const auto module = p.run({a, s}, {y});
  REQUIRE(copies_to(module, Device::kHost) == 1);
  for (const Step& step : module.steps) {
    if (step.kind == Step::Kind::kCopy) CHECK(p.context.dims.is_constant(step.extent, 24));
  }
}

TEST_CASE("the host's control reads copies, made before it begins") {
  Placed p;
  const ValueId x = p.input(DType::kInt64, {p.dim(6)});
  const ValueId a = p.b.value(Op::neg, {x});
  const ValueId sum = p.b.reduce(Op::reduce_sum, a, {0});
  const ValueId zero = p.b.scalar(DType::kInt64, 0);
  const ValueId positive = p.b.value(Op::gt, {sum, zero});
  const auto body = [&](Op op) {
    GraphBuilder inner(p.context, GraphBuilder::Mode::kInterned);
    const ValueId v = inner.input("v", {DType::kInt64, {p.dim(6)}});
    inner.output("r", inner.value(op, {v}));
    return p.context.add_graph(inner.finish());
  };
  const ValueId y =
      p.b.value(Op::cond, {positive, a},
                {{AttrKey::bodies, std::vector<GraphId>{body(Op::abs), body(Op::bit_not)}}});
  const auto module = p.run({a, sum, positive}, {y, p.b.value(Op::neg, {y})});
  size_t jump = 0, last_copy = 0;
  for (size_t i = 0; i < module.steps.size(); ++i) {
    if (module.steps[i].kind == Step::Kind::kJumpUnless) jump = i;
    if (module.steps[i].kind == Step::Kind::kCopy && copies_to(module, Device::kHost) == 2) {
      last_copy = i;
    }
  }
  CHECK(copies_to(module, Device::kHost) == 2);
  CHECK(last_copy < jump);
}

// y = x; `turns` times: y = -y + c, and each y a row; c is computed on the host, or on the GPU.
struct Scan : Placed {
  ValueId x = input(DType::kInt64, {dim(6)});
  ValueId c = b.value(Op::abs, {x});
  ValueId turns = b.scalar(DType::kInt64, 4);
  GraphBuilder inner{context, GraphBuilder::Mode::kInterned};
  ValueId counter = inner.input("k", {DType::kInt64, {}});
  ValueId y = inner.input("y", {DType::kInt64, {dim(6)}});
  ValueId capture = inner.input("c", {DType::kInt64, {dim(6)}});
  ValueId turned = inner.value(Op::neg, {y});
  ValueId next = inner.value(Op::add, {turned, capture});

  NodeId loop(ValueId go_on, const std::vector<ValueId>& on_gpu) {
    inner.output("go_on", go_on);
    inner.output("y", next);
    inner.output("row", next);
    const std::vector<GraphId> bodies = {body(inner, on_gpu)};
    const ValueId begins = b.constant(make_splat(DType::kBool, {}, 1));
    const std::vector<DimId> names = {context.dims.fresh_symbol("turns")};
    return b.node(
        Op::loop, std::vector{turns, begins, x, c},
        {{AttrKey::bodies, bodies}, {AttrKey::index, int64_t{1}}, {AttrKey::symbols, names}});
  }
  ValueId always() { return inner.constant(make_splat(DType::kBool, {}, 1)); }
};

TEST_CASE(
    "a loop on the GPU: what it carries, stacks and captures lies there, turns copy nothing") {
  for (const bool captured_there : {false, true}) {
    Scan s;
    const NodeId loop = s.loop(s.always(), {s.turned, s.next});
    const ValueId y = s.b.result(loop, 0), rows = s.b.result(loop, 1);
    const ValueId after = s.b.reduce(Op::reduce_sum, s.b.value(Op::neg, {rows}), {0});
    std::vector<ValueId> on_gpu = {y, after, s.b.graph().operands(s.b.graph().producer(after))[0]};
    if (captured_there) on_gpu.push_back(s.c);
    const auto module = s.run(on_gpu, {y, after});
    CHECK(copies_in_turns(module, Device::kHost) + copies_in_turns(module, Device::kCuda) == 0);
    CHECK(copies_to(module, Device::kCuda) == (captured_there ? 0 : 1));
    CHECK(copies_to(module, Device::kHost) == 0);
    CHECK(mentions(module, Memory::Kind::kOutput, Device::kHost) == 0);
    CHECK(std::ranges::count(module.kernel_devices, Device::kCuda) >= 2);
  }
}

TEST_CASE("a loop on the host has its bodies there, wherever these are for others") {
  Scan s;
  const NodeId loop = s.loop(s.always(), {s.turned, s.next});
  const auto module = s.run({}, {s.b.result(loop, 0)});
  CHECK(std::ranges::count(module.kernel_devices, Device::kCuda) == 0);
}

TEST_CASE("a turn copies what the host decides by, and what the other device reads") {
  Scan s;
  const ValueId sum = s.inner.reduce(Op::reduce_sum, s.next, {0});
  const ValueId go_on = s.inner.value(Op::lt, {sum, s.inner.scalar(DType::kInt64, 1000000)});
  const NodeId loop = s.loop(go_on, {s.next, sum, go_on});  // the negation is the host's
  const auto module = s.run({s.c, s.b.result(loop)}, {s.b.result(loop, 0)});
  CHECK(copies_in_turns(module, Device::kHost) == 2);  // the condition, and y for the negation
  CHECK(copies_in_turns(module, Device::kCuda) == 1);  // the negation
  for (const Step& step : module.steps) {
    if (step.kind != Step::Kind::kTurn) continue;
    for (const lower::MemoryId m : step.memory) {
      CHECK(module.memory[m.index].device == Device::kHost);
    }
  }
}

TEST_CASE("launches that may fail are verified before a turn whose condition is computed") {
  const auto steps_of_turn = [](bool may_fail, bool computes) {
    Scan s;
    const std::vector<Attr> axis = {{AttrKey::axis, int64_t{0}}};
    const ValueId picked = may_fail ? s.inner.value(Op::gather_elements, {s.next, s.capture}, axis)
                                    : s.inner.value(Op::abs, {s.next});
    s.next = picked;
    const ValueId sum = s.inner.reduce(Op::reduce_sum, picked, {0});
    const ValueId less = s.inner.value(Op::lt, {sum, s.inner.scalar(DType::kInt64, 1000)});
    const NodeId loop = s.loop(computes ? less : s.always(), {picked});
    const ValueId y = s.b.result(loop, 0);
    const lower::LoweredModule module = s.lower({y}, {y});
    artifact::PlanOrigin origin;
    artifact::build_plan(module, "", {}, &origin);
    return std::ranges::count_if(
        origin.step, [&](uint32_t step) { return module.steps[step].kind == Step::Kind::kTurn; });
  };
  CHECK(steps_of_turn(true, true) == 2);
  CHECK(steps_of_turn(false, true) == 1);
  CHECK(steps_of_turn(true, false) == 1);
}

// A state takes its new value, on the host, from a cond, one branch of which may fail on the GPU: the plan's steps for
// the module's step that writes over the old value.
int64_t steps_to_overwrite(bool may_fail) {
  Placed p;
  const Type six = {DType::kInt64, {p.dim(6)}};
  const ValueId old = p.input(six.dtype, six.dims), v = p.input(six.dtype, six.dims);
  std::vector<GraphId> bodies;
  for (const bool first : {true, false}) {
    GraphBuilder inner(p.context, GraphBuilder::Mode::kInterned);
    const ValueId in = inner.input("v", six);
    const std::vector<Attr> axis = {{AttrKey::axis, int64_t{0}}};
    const ValueId made = first && may_fail ? inner.value(Op::gather_elements, {in, in}, axis)
                                           : inner.value(first ? Op::abs : Op::neg, {in});
    inner.output("r", made);
    bodies.push_back(p.body(inner, {made}));
  }
  const ValueId chosen =
      p.b.value(Op::cond, {p.input(DType::kBool, {}), v}, {{AttrKey::bodies, bodies}});
  p.b.state({.input = 0, .output = 0, .initial = {}});
  lower::LoweredModule module = p.lower({chosen}, {p.b.value(Op::add, {old, chosen})});
  lower::arrange(module, {});
  CHECK(module.overwritten_states[0]);
  const auto writes_over = [&](uint32_t step) {
    const Step& s = module.steps[step];
    return s.kind == Step::Kind::kCall && module.kernel_devices[s.kernel] == Device::kHost;
  };
  artifact::PlanOrigin origin;
  artifact::build_plan(module, "", {}, &origin);
  return std::ranges::count_if(origin.step, writes_over);
}

TEST_CASE("launches that may fail, in a branch too, are verified before a state is overwritten") {
  CHECK(steps_to_overwrite(true) == steps_to_overwrite(false) + 1);
}

TEST_CASE("a branch makes its result where it is computed, the other's is copied there") {
  Placed p;
  const ValueId x = p.input(DType::kInt64, {p.dim(6)});
  const ValueId zero = p.b.scalar(DType::kInt64, 0);
  const ValueId positive = p.b.value(Op::gt, {p.b.reduce(Op::reduce_sum, x, {0}), zero});
  std::vector<GraphId> bodies;
  for (const Op op : {Op::abs, Op::bit_not}) {
    GraphBuilder inner(p.context, GraphBuilder::Mode::kInterned);
    const ValueId r = inner.value(op, {inner.input("v", {DType::kInt64, {p.dim(6)}})});
    inner.output("r", r);
    bodies.push_back(p.body(inner, op == Op::abs ? std::vector{r} : std::vector<ValueId>()));
  }
  const ValueId y = p.b.value(Op::cond, {positive, x}, {{AttrKey::bodies, bodies}});
  const ValueId z = p.b.value(Op::neg, {y});
  const auto module = p.run({y, z}, {y, z});
  CHECK(copies_to(module, Device::kCuda) == 1);
  CHECK(copies_to(module, Device::kHost) == 0);
}

}  // namespace
}  // namespace gcomp::test
