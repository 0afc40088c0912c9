// Graphs on two devices. That every graph of these tests computes the same there is `compare`'s business.

#include <doctest/doctest.h>

#include "gcomp/interp/evaluate.h"
#include "net.h"

namespace gcomp::test {
namespace {

using lower::Memory;
using lower::Step;

struct Placed : Net {
  // Lowered with what `on_gpu` computes on the GPU; runs it and compares.
  lower::LoweredModule run(const std::vector<ValueId>& on_gpu,
                           const std::vector<ValueId>& outputs) {
    for (ValueId v : outputs) b.output("y" + std::to_string(v.index), v);
    graph = b.finish();
    lower::LowerOptions options;
    options.placement.assign(graph->num_nodes(), Device::kHost);
    for (ValueId v : on_gpu) options.placement[graph->producer(v).index] = Device::kCuda;
    lower::LoweredModule module = lower::lower(*graph, options);
    CHECK(device_faults(module).empty());
    const std::vector<interp::Tensor> inputs = random_inputs(*graph, 5, 1);
    std::string error;
    const auto got = ModuleRunner(module).run(inputs, 1, &error);
    const auto want = interp::evaluate(*graph, inputs);
    CHECK(error == "");
    for (size_t i = 0; i < got.size(); ++i) CHECK(got[i].bytes == want[i].bytes);
    return module;
  }
  std::unique_ptr<Graph> graph;
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

}  // namespace
}  // namespace gcomp::test
