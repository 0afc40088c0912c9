// Plans for two devices, on the fake driver.

#include <cmath>
#include <thread>

#include "gpu.h"

namespace gcomp {
namespace {

using test::DeviceModel;
using test::Gpu;
using test::Setting;
using test::There;
using Values = std::vector<double>;

constexpr auto kThere = Device::kCuda;

struct Extent {
  PlanValue value;
  std::vector<PlanExtent> list;
  PlanValue bytes;
};

Extent vector_extent(PlanBuilder& b, int64_t n) {
  const PlanValue value = n < 0 ? b.symbol("n") : b.constant(n);
  return {value, {{value, n < 0 ? "n" : std::to_string(n)}}, b.mul(value, b.constant(8))};
}

// y = 3 (2 x), on either device.
PlanImage scale_plan(bool there, int64_t n, const PlanImage* shared = nullptr) {
  PlanBuilder b;
  const Extent e = vector_extent(b, n);
  PlanBufferId x = b.input("x", DType::kFloat64, e.list);
  PlanBufferId y = b.output("y", DType::kFloat64, e.list);
  if (there) x = b.on_device(x), y = b.on_device(y);
  const PlanBufferId t = b.temporary(e.bytes, there ? kThere : Device::kHost);
  const PlanKernelId k = there ? b.device_kernel("d_scale") : b.kernel("k_scale");
  const auto call = [&](const PlanCall& c) { there ? b.launch(c) : b.call(c); };
  call({.kernel = k, .buffers = {x, t}, .scalars = {2.0}, .extent = e.value});
  call({.kernel = k, .buffers = {t, y}, .scalars = {3.0}, .extent = e.value});
  return b.finish({.shared = shared});
}

DeviceModel scale_model(int64_t n) {
  const PlanImage host = scale_plan(false, n);
  return {host, scale_plan(true, n, &host)};
}

Values ramp(size_t n, double first = 1) {
  Values v(n);
  for (size_t i = 0; i < n; ++i) v[i] = first + static_cast<double>(i);
  return v;
}

Values times(Values v, double factor) {
  for (double& x : v) x *= factor;
  return v;
}

gcomp_status status_of(const auto& call) {
  try {
    call();
  } catch (const ArtifactError& e) {
    return e.status();
  }
  return GCOMP_OK;
}

TEST_CASE("a graph runs on the device, small and large, static and not") {
  const Gpu gpu;
  for (const int64_t n : {int64_t{5}, int64_t{700000}}) {
    for (const bool fixed : {true, false}) {
      const DeviceModel model = scale_model(fixed ? n : -1);
      Context context(model.descriptor());
      CHECK(context.device() == std::pair<int32_t, int32_t>{GCOMP_CUDA, 0});
      CHECK(context.note().empty());
      gpu.reset();
      const Values x = ramp(static_cast<size_t>(n));
      CHECK(test::run_vector(context, x) == times(x, 6));
      CHECK(gpu.count("launches") == 2);
      CHECK(gpu.count("uploaded bytes") == static_cast<uint64_t>(n) * 8);
    }
  }
}

TEST_CASE("sizes may change between runs, and be nothing") {
  const Gpu gpu;
  const DeviceModel model = scale_model(-1);
  Context context(model.descriptor());
  for (const size_t n : {3, 3, 0, 100000, 3, 1, 300000, 0, 3}) {
    const Values x = ramp(n);
    CHECK(test::run_vector(context, x) == times(x, 6));
  }
}

TEST_CASE("who decides where it runs") {
  const Gpu gpu;
  const DeviceModel model = scale_model(3);
  const auto device = [&](int32_t type, int32_t id = 0) {
    gcomp_options options = {};
    options.device_type = type;
    options.device_id = id;
    Context context(model.descriptor(), options);
    CHECK(test::run_vector(context, {1, 2, 3}) == Values{6, 12, 18});
    return context.device();
  };
  const std::pair<int32_t, int32_t> cpu = {GCOMP_CPU, 0}, first = {GCOMP_CUDA, 0},
                                    second = {GCOMP_CUDA, 1};
  CHECK(device(0) == first);
  CHECK(device(GCOMP_CPU) == cpu);
  CHECK(device(GCOMP_CUDA) == first);
  CHECK(status_of([&] { device(GCOMP_CUDA, 1); }) == GCOMP_ERROR_DEVICE);
  CHECK(status_of([&] { device(7); }) == GCOMP_ERROR_DEVICE);
  {
    const Setting two("GCOMP_FAKE_CUDA_DEVICES", "2");
    const Setting which("GCOMP_DEVICE", "cuda:1");
    CHECK(device(0) == second);
    CHECK(device(GCOMP_CUDA, 0) == first);
  }
  {
    const Setting which("GCOMP_DEVICE", "cpu");
    CHECK(device(0) == cpu);
  }
  {
    const Setting which("GCOMP_DEVICE", "cuda");
    CHECK(device(0) == first);
  }
  for (const char* const wrong : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda1", "c"}) {
    const Setting which("GCOMP_DEVICE", wrong);
    CHECK(status_of([&] { device(0); }) == GCOMP_ERROR_STRUCT);
  }
}

TEST_CASE("without a GPU that can run it, it runs on the CPU and says why") {
  const Gpu gpu;
  const DeviceModel model = scale_model(3);
  const auto note = [&] {
    Context context(model.descriptor());
    CHECK(context.device().first == GCOMP_CPU);
    CHECK(test::run_vector(context, {1, 2, 3}) == Values{6, 12, 18});
    gcomp_options options = {};
    options.device_type = GCOMP_CUDA;
    CHECK(status_of([&] { Context(model.descriptor(), options); }) != GCOMP_OK);
    return context.note();
  };
  {
    const Setting none("GCOMP_FAKE_CUDA_DEVICES", "0");
    CHECK(note() == "there is no GPU");
  }
  {
    const Setting old("GCOMP_FAKE_CUDA_CAPABILITY", "75");
    CHECK(note() ==
          "\"gcomp_model\" has no code for a GPU of compute capability 7.5; compile it with "
          "--cuda-arch=sm_75");
  }
  {
    const Setting cubin("GCOMP_FAKE_CUDA_REFUSE_CUBIN", "1"),
        ptx("GCOMP_FAKE_CUDA_REFUSE_PTX", "1");
    CHECK(note() ==
          "the GPU's driver (CUDA 12.4) refuses the code of \"gcomp_model\": "
          "CUDA_ERROR_UNSUPPORTED_PTX_VERSION; a newer driver is needed");
  }
}

TEST_CASE("machine code where it fits, else PTX") {
  const Gpu gpu;
  const DeviceModel model = scale_model(3);
  const auto loads = [&] {
    gpu.reset();
    Context context(model.descriptor());
    CHECK(test::run_vector(context, {1, 2, 3}) == Values{6, 12, 18});
    CHECK(context.device().first == GCOMP_CUDA);
    return std::pair{gpu.count("cubins"), gpu.count("ptx")};
  };
  using Counts = std::pair<uint64_t, uint64_t>;
  CHECK(loads() == Counts{1, 0});
  for (const char* const capability :
       {"80", "89", "100", "120"}) {  // other families: no cubin of theirs
    const Setting device("GCOMP_FAKE_CUDA_CAPABILITY", capability);
    CHECK(loads() == Counts{0, 1});
  }
  const Setting refuse("GCOMP_FAKE_CUDA_REFUSE_CUBIN", "1");  // an old driver
  CHECK(loads() == Counts{0, 1});
}

TEST_CASE("the caller's memory of the device is used as it is") {
  const Gpu gpu;
  const DeviceModel model = scale_model(-1);
  Context context(model.descriptor());
  const Values x = ramp(50000);
  const There in(gpu, x), out(gpu, x.size() * 8);
  std::vector<int64_t> in_shape = {50000}, out_shape = {-1};
  std::vector<gcomp_tensor> outputs = {out.tensor(out_shape)};
  gpu.reset();
  context.run({in.tensor(in_shape)}, outputs);
  CHECK(gpu.count("uploads") + gpu.count("downloads") == 0);
  CHECK(out.read() == times(x, 6));
  CHECK(out_shape[0] == 50000);

  SUBCASE("lent by the context") {
    outputs[0].data = nullptr;
    context.run({in.tensor(in_shape)}, outputs);
    REQUIRE(outputs[0].data != nullptr);
    CHECK(There::read(outputs[0].data, x.size()) == times(x, 6));
    in.write(times(x, 2));
    context.run({in.tensor(in_shape)}, outputs);  // the lent pointer counts as none
    CHECK(There::read(outputs[0].data, x.size()) == times(x, 12));
    std::vector<gcomp_tensor> host = {lent_tensor(out_shape)};
    context.run({in.tensor(in_shape)}, host);
    CHECK(static_cast<const double*>(host[0].data)[1] == 24);
  }
  SUBCASE("one side each") {
    Values y(x.size());
    std::vector<gcomp_tensor> host = {tensor(y, out_shape)};
    context.run({in.tensor(in_shape)}, host);
    CHECK(y == times(x, 6));
    Values z = times(x, -1);
    context.run({tensor(z, in_shape)}, outputs);
    CHECK(out.read() == times(x, -6));
  }
  SUBCASE("what is not its memory is refused") {
    Values y(x.size());
    gcomp_tensor wrong = in.tensor(in_shape);
    wrong.data = y.data();
    CHECK(context.try_run({wrong}, outputs) == GCOMP_ERROR_DEVICE);
    wrong = in.tensor(in_shape);
    wrong.device_id = 1;
    CHECK(context.try_run({wrong}, outputs) == GCOMP_ERROR_DEVICE);
    wrong.device_type = 4;  // OpenCL
    CHECK(context.try_run({wrong}, outputs) == GCOMP_ERROR_DEVICE);
    outputs[0].capacity = 8;
    CHECK(context.try_run({in.tensor(in_shape)}, outputs) == GCOMP_ERROR_CAPACITY);
    outputs[0].capacity = 50000 * 8;
    outputs[0].data = in.data();
    CHECK(context.try_run({in.tensor(in_shape)}, outputs) == GCOMP_ERROR_ALIAS);
    outputs[0].data = out.data();
    context.run({in.tensor(in_shape)}, outputs);
    CHECK(out.read() == times(x, 6));
  }
}

TEST_CASE("a context on the CPU takes no memory of a device") {
  const Gpu gpu;
  const DeviceModel model = scale_model(-1);
  gcomp_options options = {};
  options.device_type = GCOMP_CPU;
  Context context(model.descriptor(), options);
  const There in(gpu, ramp(4));
  std::vector<int64_t> in_shape = {4}, out_shape = {-1};
  std::vector<gcomp_tensor> outputs = {lent_tensor(out_shape)};
  CHECK(context.try_run({in.tensor(in_shape)}, outputs) == GCOMP_ERROR_DEVICE);
}

TEST_CASE("strides on either side") {
  const Gpu gpu;
  const DeviceModel model = scale_model(-1);
  Context context(model.descriptor());
  const Values all = ramp(10), every_other = {1, 3, 5, 7, 9};
  std::vector<int64_t> in_shape = {5}, out_shape = {-1};
  const int64_t apart = 16;
  const There in(gpu, all), out(gpu, Values(10, -1));
  Values here = all, result(10, -1);
  for (const bool in_there : {false, true}) {
    for (const bool out_there : {false, true}) {
      gcomp_tensor x = in_there ? in.tensor(in_shape) : tensor(here, in_shape);
      gcomp_tensor y = out_there ? out.tensor(out_shape) : tensor(result, out_shape);
      x.strides = y.strides = &apart;
      std::vector<gcomp_tensor> outputs = {y};
      context.run({x}, outputs);
      const Values got = out_there ? out.read() : result;
      for (size_t i = 0; i < 10; ++i) CHECK(got[i] == (i % 2 == 0 ? 6 * all[i] : -1));
    }
  }
}

TEST_CASE("runs that repeat are launched as graphs, and follow what changes") {
  const Gpu gpu;
  const DeviceModel model = scale_model(-1);
  Context context(model.descriptor());
  Values x = ramp(100);
  std::vector<int64_t> in_shape = {100}, out_shape = {-1};
  std::vector<gcomp_tensor> outputs = {lent_tensor(out_shape)};
  const auto run = [&] {
    context.run({tensor(x, in_shape)}, outputs);
    const auto* const y = static_cast<const double*>(outputs[0].data);
    CHECK(Values(y, y + x.size()) == times(x, 6));
  };
  gpu.reset();
  run();
  CHECK(gpu.count("graphs") == 0);
  for (int i = 0; i < 5; ++i) {
    x[0] += 1;  // other contents, the same addresses
    run();
  }
  CHECK(gpu.count("graphs") == 1);
  CHECK(gpu.count("graph launches") == 5);
  CHECK(gpu.count("launches") == 4);  // two at first, two into the graph
  // One wait a run; inputs and outputs travel in one transfer each.
  CHECK(gpu.count("uploads") == 6);
  CHECK(gpu.count("downloads") == 6);
  // Other sizes: other graphs, and the old ones are kept.
  for (const size_t n : {5, 5, 100, 5, 7, 7, 7}) {
    x = ramp(n);
    in_shape = {static_cast<int64_t>(n)};
    run();
  }
  CHECK(gpu.count("graphs") == 3);
  CHECK(gpu.count("graph launches") == 5 + 1 + 1 + 1 + 2);
  for (size_t n = 10; n < 20; ++n) {  // more than are kept
    x = ramp(n);
    in_shape = {static_cast<int64_t>(n)};
    run(), run(), run();
  }
  CHECK(gpu.count("graphs") == 13);
  const Setting none("GCOMP_FAKE_CUDA_NO_GRAPHS", "1");
  x = ramp(77);
  in_shape = {77};
  run(), run(), run();
  CHECK(gpu.count("graphs") == 13);
}

TEST_CASE(
    "two inputs of many: each is uploaded when it is needed, constants once for all contexts") {
  const Gpu gpu;
  const Values weights = ramp(3000, 0.5);
  const auto plan = [&](bool there, const PlanImage* shared) {
    PlanBuilder b;
    const Extent e = vector_extent(b, 3000);
    PlanBufferId x = b.input("x", DType::kFloat64, e.list),
                 z = b.input("z", DType::kFloat64, e.list);
    PlanBufferId y = b.output("y", DType::kFloat64, e.list),
                 u = b.output("u", DType::kFloat64, e.list);
    PlanBufferId w = b.constant(std::as_bytes(std::span(weights)));
    for (PlanBufferId* buffer : {&x, &z, &y, &u, &w}) {
      if (there) *buffer = b.on_device(*buffer);
    }
    const PlanKernelId k = there ? b.device_kernel("d_add") : b.kernel("k_add");
    const auto call = [&](const PlanCall& c) { there ? b.launch(c) : b.call(c); };
    call({.kernel = k, .buffers = {x, w, y}, .extent = e.value});
    call({.kernel = k, .buffers = {y, z, u}, .extent = e.value});
    return b.finish({.shared = shared});
  };
  const PlanImage host = plan(false, nullptr), both = plan(true, &host);
  CHECK(both.constants.size() == 1);  // one copy in the file
  const DeviceModel model(host, both);
  gpu.reset();
  Context one(model.descriptor());
  CHECK(gpu.count("uploaded bytes") == 24000);
  Context two(model.descriptor());
  CHECK(gpu.count("uploaded bytes") == 24000);
  for (Context* context : {&one, &two}) {
    for (int turn = 0; turn < 4; ++turn) {
      Values x = ramp(3000), z = times(x, turn), y(3000), u(3000);
      std::vector<int64_t> shape = {3000}, a = {-1}, c = {-1};
      std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(u, c)};
      context->run({tensor(x, shape), tensor(z, shape)}, outputs);
      for (size_t i = 0; i < 3000; ++i) {
        REQUIRE(y[i] == x[i] + weights[i]);
        REQUIRE(u[i] == y[i] + z[i]);
      }
    }
  }
}

// Steps of both devices: y = sqrt(3 (2 x)) where the host multiplies by 3 and the device by 2 and takes roots;
// the host checks that x is positive, in memory that came from the device.
PlanImage mixed_plan(int64_t n, bool there, const PlanImage* shared) {
  PlanBuilder b;
  const Extent e = vector_extent(b, n);
  const PlanBufferId x = b.input("x", DType::kFloat64, e.list);
  const PlanBufferId y = b.output("y", DType::kFloat64, e.list);
  const PlanBufferId z = b.output("z", DType::kFloat64, e.list);
  const std::vector<std::string> messages = {"negative", "not a number"};
  if (!there) {
    const PlanBufferId t = b.temporary(e.bytes), u = b.temporary(e.bytes);
    b.call({.kernel = b.kernel("k_scale"), .buffers = {x, t}, .scalars = {2.0}, .extent = e.value});
    b.call({.kernel = b.kernel("k_scale"), .buffers = {t, u}, .scalars = {3.0}, .extent = e.value});
    b.call({.kernel = b.kernel("k_checked_sqrt"),
            .buffers = {u, y, b.status()},
            .extent = e.value,
            .messages = messages});
    b.copy(z, u, PlanScalar(e.bytes));
    return b.finish();
  }
  const PlanBufferId xd = b.on_device(x), yd = b.on_device(y);
  const PlanBufferId td = b.temporary(e.bytes, kThere), ud = b.temporary(e.bytes, kThere);
  const PlanBufferId t = b.temporary(e.bytes), flags = b.temporary(e.value);
  const PlanBufferId flags_there = b.temporary(e.value, kThere);
  b.launch({.kernel = b.device_kernel("d_scale"),
            .buffers = {xd, td},
            .scalars = {2.0},
            .extent = e.value});
  b.launch(
      {.kernel = b.device_kernel("d_positive"), .buffers = {xd, flags_there}, .extent = e.value});
  b.copy(flags, flags_there, PlanScalar(e.value));
  b.copy(t, td, PlanScalar(e.bytes));
  b.check(flags, PlanScalar(e.value), "x must be positive");
  b.call({.kernel = b.kernel("k_scale"), .buffers = {t, z}, .scalars = {3.0}, .extent = e.value});
  b.copy(ud, z, PlanScalar(e.bytes));
  b.launch({.kernel = b.device_kernel("d_checked_sqrt"),
            .buffers = {ud, yd, PlanBufferId()},
            .extent = e.value,
            .messages = messages});
  return b.finish({.shared = shared});
}

TEST_CASE("steps of both devices, transfers of all sizes, checks") {
  const Gpu gpu;
  const PlanImage host = mixed_plan(-1, false, nullptr);
  const DeviceModel model(host, mixed_plan(-1, true, &host));
  Context context(model.descriptor());
  for (const size_t n : {1, 4, 4, 4, 1000, 5000, 1000000, 4, 0}) {
    Values x = ramp(n), y(n), z(n);
    std::vector<int64_t> shape = {static_cast<int64_t>(n)}, a = {-1}, c = {-1};
    std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(z, c)};
    context.run({tensor(x, shape)}, outputs);
    for (size_t i = 0; i < n; ++i) {
      REQUIRE(z[i] == 6 * x[i]);
      REQUIRE(y[i] == std::sqrt(z[i]));
    }
  }
  Values x = {1, -1}, y(2), z(2);
  std::vector<int64_t> shape = {2}, a = {-1}, c = {-1};
  std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(z, c)};
  CHECK(context.try_run({tensor(x, shape)}, outputs) == GCOMP_ERROR_CHECK);
  CHECK(context.last_error() == "x must be positive");
  x = {1, 4};
  context.run({tensor(x, shape)}, outputs);
  CHECK(y[1] == std::sqrt(24));
}

// Outputs that the host writes, into memory of the device; an input of the device that the host reads.
TEST_CASE("what the host computes for a caller with memory of the device") {
  const Gpu gpu;
  const PlanImage host = scale_plan(false, -1);
  const DeviceModel model(host, scale_plan(false, -1, &host));  // a plan of host steps only
  Context context(model.descriptor());
  for (const size_t n : {3, 3, 100000}) {
    const There in(gpu, ramp(n)), out(gpu, n * 8);
    std::vector<int64_t> shape = {static_cast<int64_t>(n)}, a = {-1};
    for (int turn = 1; turn < 4; ++turn) {
      in.write(times(ramp(n), turn));
      std::vector<gcomp_tensor> outputs = {out.tensor(a)};
      context.run({in.tensor(shape)}, outputs);
      CHECK(out.read() == times(ramp(n), 6 * turn));
    }
  }
}

}  // namespace
}  // namespace gcomp
