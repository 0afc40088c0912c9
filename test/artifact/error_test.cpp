// Every status code a caller can provoke, with the message that names the tensor.

#include "gcomp/support/error.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>

#include "gcomp/runtime/artifact_data.h"
#include "model.h"

namespace gcomp {
namespace {

using test::Folder;
using test::run_vector;
using test::write_so;

// Inputs x[n], z[n, 3], w[2*n]; output y[n] = x.
PlanImage three_inputs() {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), eight = b.constant(8);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  b.input("z", DType::kFloat32, {{n, "n"}, {b.constant(3), "3"}});
  b.input("w", DType::kInt8, {{b.mul(n, b.constant(2)), "2*n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}});
  b.copy(y, x, b.mul(n, eight));
  return b.finish();
}

struct Call {
  std::vector<double> x = {1, 2};
  std::vector<float> z = std::vector<float>(6);
  std::vector<int8_t> w = std::vector<int8_t>(4);
  std::vector<double> y = {0, 0};
  std::vector<int64_t> x_shape = {2}, z_shape = {2, 3}, w_shape = {4}, y_shape = {0};
  std::vector<gcomp_tensor> inputs = {tensor(x, x_shape), tensor(z, z_shape), tensor(w, w_shape)};
  std::vector<gcomp_tensor> outputs = {tensor(y, y_shape)};
};

struct Case {
  gcomp_status status;
  const char* message;
  std::function<void(Call&)> spoil;
};

const int64_t kOddStrides[] = {5, 1};
const int64_t kHugeStrides[] = {INT64_MAX / 4 * 4, 4};
const int64_t kZeroStrides[] = {0};
const int64_t kNegativeStrides[] = {-8};
const int64_t kWideStrides[] = {16};

const Case kCases[] = {
    {GCOMP_ERROR_COUNT, "2 inputs given, the graph has 3", [](Call& c) { c.inputs.pop_back(); }},
    {GCOMP_ERROR_COUNT, "0 outputs given, the graph has 1", [](Call& c) { c.outputs.clear(); }},
    {GCOMP_ERROR_STRUCT, "struct_size of the first input is 8, at least 56 is needed",
     [](Call& c) { c.inputs[0].struct_size = 8; }},
    {GCOMP_ERROR_STRUCT, "input \"z\" (number 1): struct_size is 0, that of the first one is 56",
     [](Call& c) { c.inputs[1].struct_size = 0; }},
    {GCOMP_ERROR_DTYPE, "input \"z\" (number 1): dtype is float64, float32 was declared",
     [](Call& c) { c.inputs[1].dtype = dtype_of<double>(); }},
    {GCOMP_ERROR_DTYPE, "input \"w\" (number 2): dtype is bool, int8 was declared",
     [](Call& c) { c.inputs[2].dtype = dtype_of<bool>(); }},
    {GCOMP_ERROR_DTYPE, "output \"y\" (number 0): dtype is int64, float64 was declared",
     [](Call& c) { c.outputs[0].dtype = dtype_of<int64_t>(); }},
    {GCOMP_ERROR_DEVICE, "input \"x\" (number 0): device type is 2",
     [](Call& c) { c.inputs[0].device_type = 2; }},
    {GCOMP_ERROR_RANK, "input \"z\" (number 1): rank is 1, 2 was declared",
     [](Call& c) { c.inputs[1].rank = 1; }},
    {GCOMP_ERROR_RANK, "output \"y\" (number 0): rank is 0, 1 was declared",
     [](Call& c) { c.outputs[0].rank = 0; }},
    {GCOMP_ERROR_NULL, "input \"x\" (number 0): extents is null",
     [](Call& c) { c.inputs[0].extents = nullptr; }},
    {GCOMP_ERROR_NULL, "input \"x\" (number 0): data is null",
     [](Call& c) { c.inputs[0].data = nullptr; }},
    {GCOMP_ERROR_SHAPE, "input \"x\" (number 0): extent of axis 0 is -1",
     [](Call& c) { c.x_shape[0] = -1; }},
    {GCOMP_ERROR_SHAPE, "input \"z\" (number 1): extent of axis 1 is 4, 3 was declared",
     [](Call& c) { c.z_shape[1] = 4; }},
    {GCOMP_ERROR_SHAPE, "input \"x\" (number 0): the number of bytes overflows",
     [](Call& c) { c.x_shape[0] = INT64_MAX / 2; }},
    {GCOMP_ERROR_SYMBOL, "input \"z\" (number 1): extent of axis 0 is 1, but n is 2 by the other",
     [](Call& c) { c.z_shape[0] = 1; }},
    {GCOMP_ERROR_SYMBOL, "input \"w\" (number 2): extent of axis 0 is 3, but 2*n is 4 by the other",
     [](Call& c) { c.w_shape[0] = 3; }},
    {GCOMP_ERROR_STRIDES, "input \"z\" (number 1): stride 5 of axis 0 is no multiple of 4 bytes",
     [](Call& c) { c.inputs[1].strides = kOddStrides; }},
    {GCOMP_ERROR_STRIDES, "input \"z\" (number 1): strides overflow",
     [](Call& c) {
       c.z_shape[0] = 1 << 20;
       c.inputs[1].strides = kHugeStrides;
     }},
    {GCOMP_ERROR_STRIDES, "output \"y\" (number 0): the strides make elements share memory",
     [](Call& c) { c.outputs[0].strides = kZeroStrides; }},
    {GCOMP_ERROR_STRIDES, "output \"y\" (number 0): negative stride of axis 0",
     [](Call& c) { c.outputs[0].strides = kNegativeStrides; }},
    {GCOMP_ERROR_STRIDES, "output \"y\" (number 0): strides are given without data",
     [](Call& c) {
       c.outputs[0].strides = kWideStrides;
       c.outputs[0].data = nullptr;
     }},
    {GCOMP_ERROR_ALIGNMENT, "input \"x\" (number 0): data is not aligned to its 8-byte elements",
     [](Call& c) { c.inputs[0].data = reinterpret_cast<char*>(c.x.data()) + 4; }},
    {GCOMP_ERROR_ALIGNMENT, "output \"y\" (number 0): data is not aligned to its 8-byte elements",
     [](Call& c) { c.outputs[0].data = reinterpret_cast<char*>(c.y.data()) + 1; }},
    {GCOMP_ERROR_CAPACITY, "input \"x\" (number 0): 16 bytes are needed, capacity is 15",
     [](Call& c) { c.inputs[0].capacity = 15; }},
    {GCOMP_ERROR_CAPACITY, "output \"y\" (number 0): 16 bytes are needed, capacity is 8",
     [](Call& c) { c.outputs[0].capacity = 8; }},
    {GCOMP_ERROR_CAPACITY, "output \"y\" (number 0): 24 bytes are needed, capacity is 16",
     [](Call& c) { c.outputs[0].strides = kWideStrides; }},
    {GCOMP_ERROR_ALIAS, "output \"y\" (number 0) shares memory with input \"x\"",
     [](Call& c) { c.outputs[0].data = c.x.data(); }},
    {GCOMP_ERROR_ALIAS, "output \"y\" (number 0) shares memory with input \"z\"",
     [](Call& c) { c.outputs[0].data = c.z.data() + 2; }},
};

TEST_CASE("every wrong tensor gets its code and a message naming it") {
  const test::Model artifact(three_inputs());
  Context context(artifact.descriptor());
  for (const Case& wrong : kCases) {
    CAPTURE(wrong.message);
    Call bad;
    wrong.spoil(bad);
    CHECK(context.try_run(bad.inputs, bad.outputs) == wrong.status);
    CHECK(context.last_error().starts_with(wrong.message));
    Call good;  // the context stays usable
    CHECK(context.try_run(good.inputs, good.outputs) == GCOMP_OK);
    CHECK(context.last_error().empty());
    CHECK(good.y == good.x);
    CHECK(good.y_shape[0] == 2);
  }
}

TEST_CASE("null pointers and wrong structs outside tensors") {
  const test::Model artifact(three_inputs());
  const gcomp_functions& f = *artifact.descriptor().functions;
  Context context(artifact.descriptor());
  Call call;
  CHECK(f.run(context.get(), nullptr, 3, call.outputs.data(), 1) == GCOMP_ERROR_NULL);
  CHECK(f.run(nullptr, nullptr, 0, nullptr, 0) == GCOMP_ERROR_NULL);
  CHECK(f.create(&artifact.descriptor(), nullptr, nullptr) == GCOMP_ERROR_NULL);
  gcomp_context* made = nullptr;
  gcomp_options options = {};
  CHECK(f.create(&artifact.descriptor(), &options, &made) == GCOMP_ERROR_STRUCT);
  f.destroy(nullptr);
  CHECK(std::string(f.last_error(nullptr)) == "the context is null");
  CHECK(std::string(f.status_name(GCOMP_ERROR_ALIAS)) == "GCOMP_ERROR_ALIAS");
  options.allocate = [](void*, size_t, size_t) -> void* { return nullptr; };
  CHECK_THROWS_AS(Context(artifact.descriptor(), options), ArtifactError);
}

TEST_CASE("larger structs of a newer caller are understood") {
  const test::Model artifact(test::scale_plan(1.0).finish());
  Context context(artifact.descriptor());
  struct Newer {
    gcomp_tensor t;
    uint64_t more[3];
  };
  std::vector<double> x = {1, 2};
  std::vector<int64_t> shape = {2}, out_shape = {0};
  Newer in = {tensor(x, shape), {}}, out = {lent_tensor(out_shape), {}};
  in.t.struct_size = out.t.struct_size = sizeof(Newer);
  CHECK(artifact.descriptor().functions->run(context.get(), &in.t, 1, &out.t, 1) == GCOMP_OK);
  CHECK(static_cast<double*>(out.t.data)[1] == 6);
}

TEST_CASE("checks of the graph: a step over bools, and a kernel's codes") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}});
  const PlanBufferId bools = b.temporary(n);
  b.call({.kernel = b.kernel("k_checked_sqrt"),
          .buffers = {x, y, b.status()},
          .extent = n,
          .grain = 16,
          .messages = {"x must not be negative", "x must be a number"}});
  b.call({.kernel = b.kernel("k_positive"), .buffers = {x, bools}, .extent = n});
  b.check(bools, n, "x must be positive");
  const test::Model artifact(b.finish());
  gcomp_options options = {};
  options.threads = 2;
  Context context(artifact.descriptor(), options);
  const auto message = [&](const std::vector<double>& v) {
    try {
      run_vector(context, v);
    } catch (const ArtifactError& e) {
      CHECK(e.status() == GCOMP_ERROR_CHECK);
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(message({1, 4}) == "");
  CHECK(message({1, 0}) == "x must be positive");
  CHECK(message({1, -4}) == "x must not be negative");
  CHECK(message({std::nan(""), 4}) == "x must be a number");
  std::vector<double> both(1000, 1.0);
  both[3] = std::nan("");
  both[990] = -1;
  CHECK(message(both) == "x must not be negative");  // the least code, whoever comes first
  CHECK(message({}) == "");
}

TEST_CASE("a second run on a context in use is refused") {
  const test::Model artifact(test::scale_plan(1.0, -1, 1).finish());
  struct State {
    Context* context = nullptr;
    gcomp_status inner = GCOMP_OK;
  } state;
  gcomp_options options = {};
  options.threads = 2;
  options.pool_data = &state;
  options.parallel_for = [](void* data, int64_t n, void (*task)(void*, int64_t), void* task_data) {
    auto& s = *static_cast<State*>(data);
    std::vector<gcomp_tensor> none;
    s.inner = s.context->try_run(none, none);
    for (int64_t i = 0; i < n; ++i) task(task_data, i);
  };
  Context context(artifact.descriptor(), options);
  state.context = &context;
  CHECK(run_vector(context, {1, 2}) == std::vector<double>{3, 6});
  CHECK(state.inner == GCOMP_ERROR_BUSY);
}

TEST_CASE("outputs may lie on an input only where declared") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}}, 0);
  const PlanBufferId z = b.output("z", DType::kFloat64, {{n, "n"}});
  const PlanKernelId scale = b.kernel("k_scale");
  b.call({.kernel = scale, .buffers = {x, z}, .scalars = {3.0}, .extent = n});
  b.call({.kernel = scale, .buffers = {x, y}, .scalars = {2.0}, .extent = n});
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  std::vector<double> v = {1, 2, 3}, other(3);
  std::vector<int64_t> shape = {2}, y_shape = {0}, z_shape = {0};
  std::vector<gcomp_tensor> outputs = {tensor(v, y_shape), tensor(other, z_shape)};
  context.run({tensor(v, shape)}, outputs);
  CHECK(v == std::vector<double>{2, 4, 3});
  CHECK(other == std::vector<double>{3, 6, 0});
  outputs[1] = tensor(v, z_shape);
  CHECK(context.try_run({tensor(v, shape)}, outputs) == GCOMP_ERROR_ALIAS);
  outputs = {raw_tensor(v.data() + 1, dtype_of<double>(), y_shape, 16), tensor(other, z_shape)};
  CHECK(context.try_run({tensor(v, shape)}, outputs) == GCOMP_ERROR_ALIAS);
}

TEST_CASE("extents that overflow or turn negative on the way are errors") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanValue less = b.add(n, b.constant(-2));
  const PlanBufferId y = b.output("y", DType::kFloat64, {{less, "n - 2"}});
  const PlanValue huge = b.mul(b.mul(n, b.constant(INT64_MAX / 64)), b.constant(8));
  b.fill(y, b.floor_div(b.mul(less, b.constant(8)), b.max(b.constant(1), b.min(n, huge))), 0);
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  CHECK(run_vector(context, std::vector<double>(4)).size() == 2);
  CHECK_THROWS_WITH(run_vector(context, {1}),
                    "output \"y\" (number 0): extent of axis 0 (n - 2) would be -1");
  CHECK_THROWS_WITH(run_vector(context, std::vector<double>(9)),
                    "an extent computed from the inputs' extents overflows");
  CHECK(run_vector(context, std::vector<double>(4)).size() == 2);
}

TEST_CASE("threads: the environment, the option, and nonsense") {
  const test::Model artifact(test::scale_plan(1.0).finish());
  setenv("GCOMP_NUM_THREADS", "many", 1);
  CHECK_THROWS_WITH_AS(Context{artifact.descriptor()},
                       "GCOMP_NUM_THREADS=many is not a number from 1 to 1024", ArtifactError);
  setenv("GCOMP_NUM_THREADS", "2", 1);
  Context context(artifact.descriptor());
  unsetenv("GCOMP_NUM_THREADS");
  gcomp_options options = {};
  options.threads = 5000;
  Context many(artifact.descriptor(), options);
}

TEST_CASE("a CPU without the features is refused when the context is created") {
  const Folder folder;
  const PlanImage image = test::scale_plan(1.0).finish();
  write_so(image, folder / "m.so", {.cpu_features = {"+sse2", "+sse3", "-avx512f"}});
  const Artifact plain(folder / "m.so");
  Context usable(plain);
  std::string bytes = test::read_bytes(folder / "m.so");
  const size_t info = bytes.find("GCPINF01");
  REQUIRE(info != std::string::npos);
  bytes[info + offsetof(rt::ArtifactInfo, cpu_features) + 7] = static_cast<char>(0x80);
  std::ofstream(folder / "n.so", std::ios::binary) << bytes;
  const Artifact artifact(folder / "n.so");  // needs bit 63, which no CPU has
  try {
    Context context(artifact);
    FAIL("no error");
  } catch (const ArtifactError& e) {
    CHECK(e.status() == GCOMP_ERROR_CPU);
    CHECK(std::string(e.what()).starts_with("this CPU lacks a later extension"));
  }
  CHECK_THROWS_AS(write_so(image, folder / "o.so", {.cpu_features = {"warp-drive"}}),
                  InternalError);
  CHECK_THROWS_AS(write_so(image, folder / "o.so", {.name = "no/identifier"}), UserError);
}

}  // namespace
}  // namespace gcomp
