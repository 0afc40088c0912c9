// What goes wrong on a device, and what is left of a context afterwards.

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
const std::vector<std::string> kMessages = {"a negative number", "not a number"};
const std::vector<std::string> kLater = {"negative later", "not a number later"};

// y = sqrt(x), z = sqrt(x + w): two nodes that may fail, and a state that a run adds x to.
PlanImage checked_plan(bool there, bool overwrite, const PlanImage* shared = nullptr) {
  static const Values zeros(3);
  PlanBuilder b;
  const PlanValue n = b.constant(3), bytes = b.constant(24);
  const std::vector<PlanExtent> extents = {{n, "3"}};
  PlanBufferId x = b.input("x", DType::kFloat64, extents),
               w = b.input("w", DType::kFloat64, extents);
  PlanBufferId total = b.state(0, "total", DType::kFloat64, extents);
  PlanBufferId y = b.output("y", DType::kFloat64, extents),
               z = b.output("z", DType::kFloat64, extents);
  PlanBufferId next = overwrite ? total : b.next_state(0);
  if (there) {
    for (PlanBufferId* p : {&x, &w, &total, &y, &z}) *p = b.on_device(*p);
    next = overwrite ? total : b.on_device(next);
  }
  const PlanBufferId t = b.temporary(bytes, there ? kThere : Device::kHost);
  const auto call = [&](const char* name, std::vector<PlanBufferId> buffers,
                        std::vector<std::string> messages = {}) {
    PlanCall c{.buffers = std::move(buffers), .extent = n, .messages = std::move(messages)};
    if (!c.messages.empty()) c.buffers.push_back(there ? PlanBufferId() : b.status());
    const std::string symbol = (there ? "d_" : "k_") + std::string(name);
    c.kernel = there ? b.device_kernel(symbol) : b.kernel(symbol);
    there ? b.launch(c) : b.call(c);
  };
  call("checked_sqrt", {x, y}, kMessages);
  call("add", {x, w, t});
  call("checked_sqrt", {t, z}, kLater);
  if (there && overwrite) b.verify_launches();
  call("add", {total, x, next});
  if (overwrite) {
    b.overwrite_state(0, there ? kThere : Device::kHost);
  } else {
    b.swap_states(0, 1);
  }
  b.initial_state(0, b.constant(std::as_bytes(std::span(zeros))), std::vector<int64_t>{3});
  return b.finish({.shared = shared});
}

DeviceModel checked_model(bool overwrite = false) {
  const PlanImage host = checked_plan(false, overwrite);
  return {host, checked_plan(true, overwrite, &host)};
}

struct Call {
  Values x, w, y = Values(3), z = Values(3);
  std::vector<int64_t> shape = {3}, a = {-1}, c = {-1};
  gcomp_status run(Context& context) {
    std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(z, c)};
    return context.try_run({tensor(x, shape), tensor(w, shape)}, outputs);
  }
};

Values state(Context& context) {
  std::vector<int64_t> shape = {-1};
  gcomp_tensor t = lent_tensor(shape);
  context.get_state(0, t);
  const auto* const data = static_cast<const double*>(t.data);
  return {data, data + shape[0]};
}

TEST_CASE("the first node that fails is named, and states stay as they were") {
  const Gpu gpu;
  for (const bool overwrite : {false, true}) {
    const DeviceModel model = checked_model(overwrite);
    Context context(model.descriptor());
    Call good{{1, 4, 9}, {0, 0, 7}}, first{{1, -4, 9}, {-5, 0, 0}}, second{{1, 4, 9}, {-5, 0, 0}},
        other{{1, 4, NAN}, {0, 0, 0}};
    CHECK(good.run(context) == GCOMP_OK);
    CHECK(good.y == Values{1, 2, 3});
    CHECK(good.z == Values{1, 2, 4});
    for (int turn = 0; turn < 3; ++turn) {
      CHECK(first.run(context) == GCOMP_ERROR_CHECK);
      CHECK(context.last_error() == "a negative number");
      CHECK(second.run(context) == GCOMP_ERROR_CHECK);
      CHECK(context.last_error() == "negative later");
      CHECK(other.run(context) == GCOMP_ERROR_CHECK);
      CHECK(context.last_error() == "not a number");
      CHECK(state(context) == Values{1. + turn, 4. + 4 * turn, 9. + 9 * turn});
      CHECK(good.run(context) == GCOMP_OK);
      CHECK(context.last_error().empty());
    }
    CHECK(state(context) == Values{4, 16, 36});
  }
}

TEST_CASE("states stay on the device, and go where they are asked for") {
  const Gpu gpu;
  for (const bool overwrite : {false, true}) {
    const DeviceModel model = checked_model(overwrite);
    Context context(model.descriptor());
    Call call{{1, 4, 9}, {0, 0, 0}};
    CHECK(call.run(context) == GCOMP_OK);
    CHECK(call.run(context) == GCOMP_OK);
    gpu.reset();
    for (int i = 0; i < 4; ++i) CHECK(call.run(context) == GCOMP_OK);
    CHECK(gpu.count("uploads") == 4);                       // inputs
    CHECK(gpu.count("downloads") == (overwrite ? 12 : 8));  // outputs, and what failed
    CHECK(state(context) == Values{6, 24, 54});

    Values set = {10, 20, 30};
    std::vector<int64_t> shape = {3};
    context.set_state(0, tensor(set, shape));
    CHECK(state(context) == set);
    CHECK(call.run(context) == GCOMP_OK);
    CHECK(state(context) == Values{11, 24, 39});
    const There there(gpu, {5, 5, 5});
    context.set_state(0, there.tensor(shape));
    CHECK(call.run(context) == GCOMP_OK);
    gcomp_tensor t = there.tensor(shape);
    context.get_state(0, t);
    CHECK(there.read() == Values{6, 9, 14});
    context.reset_states();
    CHECK(state(context) == Values{0, 0, 0});
    CHECK(call.run(context) == GCOMP_OK);
    CHECK(state(context) == Values{1, 4, 9});
    Context other(model.descriptor());
    CHECK(state(other) == Values{0, 0, 0});
  }
}

TEST_CASE("out of memory at any point is an error, and the next run succeeds") {
  const Gpu gpu;
  const DeviceModel model = checked_model();
  uint64_t failed = 0;
  for (int at = 1; at < 12; ++at) {
    gpu.reset();
    const Setting no_memory("GCOMP_FAKE_CUDA_NO_MEMORY_AT", std::to_string(at).c_str());
    gcomp_options options = {};
    options.device_type = GCOMP_CUDA;
    try {
      Context context(model.descriptor(), options);
      Call call{{1, 4, 9}, {0, 0, 7}};
      gcomp_status status = call.run(context);
      if (status != GCOMP_OK) {
        ++failed;
        CHECK(status == GCOMP_ERROR_MEMORY);
        CHECK(context.last_error().find("of the GPU") != std::string::npos);
        status = call.run(context);
      }
      CHECK(status == GCOMP_OK);
      CHECK(call.z == Values{1, 2, 4});
      CHECK(state(context) == Values{1, 4, 9});
    } catch (const ArtifactError& e) {
      ++failed;
      CHECK(e.status() == GCOMP_ERROR_MEMORY);
    }
  }
  CHECK(failed > 4);
  gpu.reset();
}

TEST_CASE("a lost device is an error of that run and all later ones; new contexts use the CPU") {
  const Gpu gpu;
  const DeviceModel model = checked_model();
  Call call{{1, 4, 9}, {0, 0, 7}};
  {
    Context context(model.descriptor());
    CHECK(call.run(context) == GCOMP_OK);
    CHECK(call.run(context) == GCOMP_OK);
    gpu.reset();
    const Setting lost("GCOMP_FAKE_CUDA_LOST_AT", "3");
    CHECK(call.run(context) == GCOMP_ERROR_CUDA);
    CHECK(context.last_error().find("CUDA_ERROR_LAUNCH_FAILED") != std::string::npos);
    CHECK(call.run(context) == GCOMP_ERROR_CUDA);
    CHECK(context.last_error() ==
          "the GPU was lost by an earlier error; a new process may find it again");
    Context next(model.descriptor());
    CHECK(next.device().first == GCOMP_CPU);
    CHECK(next.note().find("CUDA_ERROR_LAUNCH_FAILED") != std::string::npos);
    CHECK(call.run(next) == GCOMP_OK);
    CHECK(call.z == Values{1, 2, 4});
  }
}

TEST_CASE("GCOMP_CUDA_SYNC names the kernel that fails") {
  const Gpu gpu;
  const Setting sync("GCOMP_CUDA_SYNC", "1");
  const DeviceModel model = checked_model();
  Context context(model.descriptor());
  gpu.reset();
  const Setting lost("GCOMP_FAKE_CUDA_LOST_AT", "2");
  Call call{{1, 4, 9}, {0, 0, 7}};
  CHECK(call.run(context) == GCOMP_ERROR_CUDA);
  CHECK(context.last_error() ==
        "the GPU failed: CUDA_ERROR_LAUNCH_FAILED in cuStreamSynchronize, d_add (nodes of d_add)");
}

TEST_CASE("two contexts at once") {
  const Gpu gpu;
  const DeviceModel model = checked_model();
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Context context(model.descriptor());
      Call call{{1. + t, 4, 9}, {0, 0, 7}};
      for (int i = 0; i < 20; ++i) {
        if (call.run(context) != GCOMP_OK || call.y[0] != std::sqrt(1. + t)) return;
      }
      good[t] = state(context) == Values{20. * (1 + t), 80, 180} ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == std::vector<int>(4, 1));
}

TEST_CASE("profilers see every kernel, by itself") {
  const Gpu gpu;
  const DeviceModel model = checked_model();
  gcomp_options options = {};
  std::vector<uint32_t> seen;
  options.trace_data = &seen;
  options.trace = [](void* data, uint32_t kernel) {
    if (kernel != GCOMP_NO_KERNEL) static_cast<std::vector<uint32_t>*>(data)->push_back(kernel);
  };
  Context context(model.descriptor(), options);
  Call call{{1, 4, 9}, {0, 0, 7}};
  for (int i = 0; i < 3; ++i) CHECK(call.run(context) == GCOMP_OK);
  CHECK(seen == std::vector<uint32_t>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1});
  CHECK(gpu.count("graphs") == 0);
}

// A loop on the host whose carried value lies on the device: x becomes 2^count x, rows of all turns are kept.
PlanImage loop_plan(bool there, const PlanImage* shared = nullptr) {
  const Device device = there ? kThere : Device::kHost;
  PlanBuilder b;
  const PlanValue n = b.constant(3), bytes = b.constant(24), rows = b.constant(5);
  PlanBufferId x = b.input("x", DType::kFloat64, {{n, "3"}});
  PlanBufferId y = b.output("y", DType::kFloat64, {{n, "3"}});
  PlanBufferId all = b.output("all", DType::kFloat64, {{rows, "5"}, {n, "3"}});
  if (there) x = b.on_device(x), y = b.on_device(y), all = b.on_device(all);
  const PlanBufferId counter = b.temporary(b.constant(8)), limit = b.temporary(b.constant(8));
  const PlanBufferId now = b.owned(device), next = b.owned(device), stack = b.owned(device),
                     row = b.owned(device);
  const std::vector<PlanScalar> zero = {0}, five = {5};
  b.store(counter, zero);
  b.store(limit, five);
  b.reserve(now, 24, false);
  b.reserve(next, 24, false);
  b.copy(now, x, 24);
  const PlanLabel again = b.label();
  b.begin_loop();
  b.place(again);
  const PlanCall call{.kernel = there ? b.device_kernel("d_scale") : b.kernel("k_scale"),
                      .buffers = {now, next},
                      .scalars = {2.0},
                      .extent = n};
  there ? b.launch(call) : b.call(call);
  b.row(row, stack, counter, PlanScalar(bytes), true);
  b.copy(row, next, PlanScalar(bytes));
  b.swap(now, next);
  b.turn(counter, limit, PlanBufferId(), again);
  b.end_loop();
  b.copy(y, now, 24);
  b.copy(all, stack, 120);
  return b.finish({.shared = shared});
}

TEST_CASE("loops on the host carry values of the device") {
  const Gpu gpu;
  const PlanImage host = loop_plan(false);
  const DeviceModel model(host, loop_plan(true, &host));
  for (const int32_t type : {GCOMP_CPU, GCOMP_CUDA}) {
    gcomp_options options = {};
    options.device_type = type;
    Context context(model.descriptor(), options);
    for (int turn = 1; turn < 4; ++turn) {
      Values x = {1. * turn, 2, 3}, y(3), all(15);
      std::vector<int64_t> shape = {3}, a = {-1}, c = {-1, -1};
      std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(all, c)};
      context.run({tensor(x, shape)}, outputs);
      CHECK(y == Values{32. * turn, 64, 96});
      for (size_t i = 0; i < 15; ++i) {
        CHECK(all[i] == x[i % 3] * std::pow(2., 1 + static_cast<double>(i / 3)));
      }
    }
  }
}

TEST_CASE("all turns of a loop are launched as one graph") {
  const Gpu gpu;
  const PlanImage host = loop_plan(false);
  const DeviceModel model(host, loop_plan(true, &host));
  Context context(model.descriptor());
  Values x = {1, 2, 3}, y(3), all(15);
  std::vector<int64_t> shape = {3}, a = {-1}, c = {-1, -1};
  std::vector<gcomp_tensor> outputs = {tensor(y, a), tensor(all, c)};
  for (int run = 0; run < 8; ++run) {
    // Its memory grows, and the two halves of the carried value change places five times a run: every other run
    // has the same addresses.
    if (run == 6) gpu.reset();
    x[0] += 1;
    context.run({tensor(x, shape)}, outputs);
    CHECK(y == Values{32 * x[0], 64, 96});
    CHECK(all == Values{2 * x[0], 4, 6, 4 * x[0], 8, 12, 8 * x[0], 16, 24, 16 * x[0], 32, 48,
                        32 * x[0], 64, 96});
  }
  CHECK(gpu.count("graph launches") == 2);
  CHECK(gpu.count("launches") == 0);
}

// y = the first count elements of x doubled, where count is computed on the device.
PlanImage bind_plan(bool there, const PlanImage* shared = nullptr) {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), m = b.symbol("m");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{m, "m"}});
  const PlanBufferId count = b.temporary(b.constant(8));
  if (there) {
    const PlanBufferId count_there = b.temporary(b.constant(8), kThere);
    b.launch({.kernel = b.device_kernel("d_count"),
              .buffers = {b.on_device(x), count_there},
              .extent = n});
    b.copy(count, count_there, 8);
  } else {
    b.call({.kernel = b.kernel("k_count"), .buffers = {x, count}, .scalars = {n}});
  }
  const std::vector<PlanValue> symbols = {m};
  b.bind(count, symbols);
  PlanCall call{.scalars = {2.0}, .extent = m};
  const PlanValue bytes = b.mul(m, b.constant(8));
  const PlanBufferId t = b.temporary(bytes, there ? kThere : Device::kHost);
  call.kernel = there ? b.device_kernel("d_scale") : b.kernel("k_scale");
  call.buffers = {there ? b.on_device(x) : x, t};
  there ? b.launch(call) : b.call(call);
  b.copy(there ? b.on_device(y) : y, t, PlanScalar(bytes));
  return b.finish({.shared = shared});
}

TEST_CASE("extents that the device computes") {
  const Gpu gpu;
  const PlanImage host = bind_plan(false);
  const DeviceModel model(host, bind_plan(true, &host));
  Context context(model.descriptor());
  for (const Values& x : {Values{1, 2, 3}, Values{1, 0, 3}, Values{0, 0}, Values{5, 6, 7, 8, 9, 0},
                          Values{1, 2, 3}}) {
    const auto count =
        static_cast<size_t>(std::ranges::count_if(x, [](double v) { return v != 0; }));
    Values expected(x.begin(), x.begin() + static_cast<int64_t>(count));
    for (double& v : expected) v *= 2;
    CHECK(test::run_vector(context, x) == expected);
  }
}

TEST_CASE("the host's own stream: a run returns when its work is in the queue") {
  const Gpu gpu;
  const PlanImage host = loop_plan(false);
  const DeviceModel model(host, loop_plan(true, &host));
  void* stream = nullptr;
  There::inside([&] { Gpu::function<int(void**, unsigned)>("cuStreamCreate")(&stream, 1); });
  {
    gcomp_options options = {};
    options.cuda_stream = stream;
    Context context(model.descriptor(), options);
    const There x(gpu, {1, 2, 3}), y(gpu, 24), all(gpu, 120);
    std::vector<int64_t> shape = {3}, a = {-1}, c = {-1, -1};
    std::vector<gcomp_tensor> outputs = {y.tensor(a), all.tensor(c)};
    context.run({x.tensor(shape)}, outputs);  // its memory grows, which takes waiting
    gpu.reset();
    context.run({x.tensor(shape)}, outputs);
    CHECK(gpu.count("waits") == 0);
    CHECK(gpu.count("kernels") == 0);  // not yet
    There::inside([&] { Gpu::function<int(void*)>("cuStreamSynchronize")(stream); });
    CHECK(gpu.count("kernels") == 5);
    CHECK(y.read() == Values{32, 64, 96});
  }
  There::inside([&] { Gpu::function<int(void*)>("cuStreamDestroy_v2")(stream); });
}

}  // namespace
}  // namespace gcomp
