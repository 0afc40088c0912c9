// Products and convolutions that a plan lets a library do, on the fake driver with a fake cuBLASLt and a fake cuDNN.

#include "gpu.h"

namespace gcomp {
namespace {

using test::DeviceModel;
using test::Gpu;
using test::Setting;
using test::There;
using Values = std::vector<double>;

constexpr int64_t kDepth = 5, kColumns = 4;
using Choices = std::vector<rt::PlanProductChoice>;
const Choices kAlways = {{0, ~0u}};

// The same as a convolution of n images of one pixel, channels last, with a window of 1 x 1.
PlanProductCall as_convolution(PlanProductCall call) {
  const PlanScalar images = call.rows;
  call.product.flags = rt::kConvolution | rt::kChannelsLast;
  call.convolution = {images, kDepth, 1, 1, kColumns, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1};
  return call;
}

// y = 2 (a b + bias), a [n, 5], b [5, 4], bias [4]: a product and what uses it.
PlanImage product_plan(bool there, const Choices& choices, const PlanImage* shared = nullptr,
                       bool convolution = false) {
  PlanBuilder p;
  const PlanValue n = p.symbol("n"), depth = p.constant(kDepth), columns = p.constant(kColumns);
  PlanBufferId a = p.input("a", DType::kFloat64, {{n, "n"}, {depth, "5"}});
  PlanBufferId b = p.input("b", DType::kFloat64, {{depth, "5"}, {columns, "4"}});
  PlanBufferId bias = p.input("bias", DType::kFloat64, {{columns, "4"}});
  PlanBufferId y = p.output("y", DType::kFloat64, {{n, "n"}, {columns, "4"}});
  const PlanValue elements = p.mul(n, columns);
  if (!there) {  // never run
    p.call({.kernel = p.kernel("k_scale"), .buffers = {a, y}, .scalars = {2.0}, .extent = n});
    return p.finish();
  }
  for (PlanBufferId* const port : {&a, &b, &bias, &y}) *port = p.on_device(*port);
  const PlanBufferId t = p.temporary(p.mul(elements, p.constant(8)), Device::kCuda);
  const rt::PlanProduct product = {
      .b = 1, .result = 3, .bias = 2, .dtype = rt::PlanDType::kFloat64};
  const PlanProductCall call{product, 1, n, kColumns, kDepth, {}, choices};
  p.launch({.kernel = p.device_kernel("d_multiply"),
            .buffers = {a, b, bias, t},
            .scalars = {kColumns, kDepth},
            .extent = elements,
            .product = convolution ? as_convolution(call) : call});
  p.launch({.kernel = p.device_kernel("d_scale"),
            .buffers = {t, y},
            .scalars = {2.0},
            .extent = elements});
  return p.finish({.shared = shared});
}

DeviceModel product_model(const Choices& choices = kAlways) {
  const PlanImage host = product_plan(false, choices);
  return {host, product_plan(true, choices, &host)};
}

DeviceModel convolution_model(const Choices& choices = kAlways) {
  const PlanImage host = product_plan(false, choices);
  return {host, product_plan(true, choices, &host, true)};
}

// One call, with memory of its own that stays where it is.
struct Call {
  explicit Call(int64_t n) : a(static_cast<size_t>(n * kDepth)), a_shape{n, kDepth} {
    for (Values* const v : {&a, &b, &bias}) {
      for (double& x : *v) x = static_cast<double>(++made % 7) - 3;
    }
    y.resize(static_cast<size_t>(n * kColumns));
  }
  gcomp_status run(Context& context) {
    std::vector<gcomp_tensor> outputs = {tensor(y, y_shape)};
    std::vector<int64_t> b_shape = {kDepth, kColumns}, bias_shape = {kColumns};
    return context.try_run({tensor(a, a_shape), tensor(b, b_shape), tensor(bias, bias_shape)},
                           outputs);
  }
  Values expected() const {
    Values z(y.size());
    for (size_t i = 0; i < z.size(); ++i) {
      double sum = bias[i % kColumns];
      for (size_t k = 0; k < kDepth; ++k) {
        sum += a[i / kColumns * kDepth + k] * b[k * kColumns + i % kColumns];
      }
      z[i] = 2 * sum;
    }
    return z;
  }
  void check(Context& context) {
    CHECK(run(context) == GCOMP_OK);
    CHECK(y == expected());  // small integers: exact in any order
  }

  int made = 0;
  Values a, b = Values(kDepth * kColumns), bias = Values(kColumns), y;
  std::vector<int64_t> a_shape, y_shape = {-1, -1};
};

struct Library {
  Setting path{"GCOMP_CUBLASLT", GCOMP_FAKE_CUBLASLT};
};
struct Cudnn {
  Setting path{"GCOMP_CUDNN", GCOMP_FAKE_CUDNN};
};

// Runs with all on the device, a by so many elements behind the begin of its memory.
void check_shifted(const Gpu& gpu, Context& context, std::initializer_list<size_t> shifts) {
  Call call(3);
  const There a(gpu, call.a.size() * 8 + 8), b(gpu, call.b), bias(gpu, call.bias),
      y(gpu, call.y.size() * 8);
  std::vector<int64_t> b_shape = {kDepth, kColumns}, bias_shape = {kColumns}, y_shape = {-1, -1};
  for (const size_t shift : shifts) {
    Values shifted(call.a.size() + 1);
    std::copy(call.a.begin(), call.a.end(), shifted.begin() + static_cast<ptrdiff_t>(shift));
    a.write(shifted);
    gcomp_tensor given = a.tensor(call.a_shape);
    given.data = static_cast<char*>(a.data()) + 8 * shift;
    std::vector<gcomp_tensor> outputs = {y.tensor(y_shape)};
    context.run({given, b.tensor(b_shape), bias.tensor(bias_shape)}, outputs);
    CHECK(y.read() == call.expected());
  }
}

TEST_CASE("a library does what the plan lets it do, as soon as it is there") {
  const Gpu gpu;
  const Library library;
  const DeviceModel model = product_model();
  Context context(model.descriptor());
  CHECK(context.device().first == GCOMP_CUDA);
  gpu.reset();
  Call call(3);
  call.check(context);
  CHECK(gpu.count("products") == 1);
  CHECK(gpu.count("heuristics") == 1);
  CHECK(gpu.count("kernels") == 1);  // what follows
  Context other(model.descriptor());
  call.check(other);
  CHECK(gpu.count("products") == 2);
}

TEST_CASE("its own kernel does it where no library can") {
  const Gpu gpu;
  const DeviceModel model = product_model();
  const auto is_by_kernel = [&] {
    Context context(model.descriptor());
    gpu.reset();
    Call call(3);
    call.check(context);
    call.check(context);
    CHECK(context.note() == "");
    return gpu.count("products") == 0 && gpu.count("kernels") == 4;
  };
  {
    const Setting none("GCOMP_CUBLASLT", "/nowhere/libcublasLt.so");
    CHECK(is_by_kernel());
  }
  {
    const Setting other("GCOMP_CUBLASLT", GCOMP_FAKE_CUDA);  // a library without its functions
    CHECK(is_by_kernel());
  }
  const Library library;
  {
    const Setting none("GCOMP_FAKE_CUBLASLT_NO_HANDLE", "1");
    CHECK(is_by_kernel());
  }
  {
    const Setting none("GCOMP_FAKE_CUBLASLT_NO_ALGORITHM", "1");
    CHECK(is_by_kernel());
    CHECK(gpu.count("heuristics") == 1);  // asked once
  }
  {
    const Setting little("GCOMP_FAKE_CUDA_MOST_MIB", "16");  // less than it works in
    CHECK(is_by_kernel());
  }
  CHECK(!is_by_kernel());
}

TEST_CASE("choices are of a compute capability and of classes of sizes") {
  const Gpu gpu;
  const Library library;
  const uint32_t few_small = rt::product_class(1, 3, kColumns, kDepth);
  CHECK(few_small == 0);
  const auto products = [&](const Choices& choices) {
    const DeviceModel model = product_model(choices);
    Context context(model.descriptor());
    gpu.reset();
    Call(3).check(context);
    return gpu.count("products");
  };
  CHECK(products({}) == 0);
  CHECK(products({{90, 1}}) == 1);
  CHECK(products({{80, 1}, {90, 0}, {90, 1}}) == 1);
  CHECK(products({{80, ~0u}, {100, ~0u}}) == 0);  // the fake GPU is a 9.0
  CHECK(products({{90, ~1u}}) == 0);
  CHECK(products({{0, 1}}) == 1);
}

TEST_CASE("classes of sizes") {
  CHECK(rt::product_class(1, 15, 4096, 1) == 0);
  CHECK(rt::product_class(1, 4096, 15, 4096) == 1);
  CHECK(rt::product_class(1 << 20, 15, 4096, 4096) == 2);
  CHECK(rt::product_class(1, 16, 16, 16) == 3);
  CHECK(rt::product_class(1, 127, 4096, 4096) == 5);
  CHECK(rt::product_class(1, 128, 128, 128) == 6);
  CHECK(rt::product_class(1, 1024, 1024, 1023) == 7);
  CHECK(rt::product_class(1, 1024, 1024, 1024) == 8);
  CHECK(rt::product_class(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX) == 8);
}

TEST_CASE("a failed call is an error that names the node, and the next run is good") {
  const Gpu gpu;
  const Library library;
  const DeviceModel model = product_model();
  Context context(model.descriptor());
  gpu.reset();
  Call call(3);
  {
    const Setting first("GCOMP_FAKE_CUBLASLT_FAIL_AT", "1");
    CHECK(call.run(context) == GCOMP_ERROR_CUDA);
  }
  CHECK(context.last_error() ==
        "the GPU failed: CUBLAS_STATUS_EXECUTION_FAILED in cublasLtMatmul, d_multiply (nodes of "
        "d_multiply)");
  call.check(context);
}

TEST_CASE("each shape is asked for once, also an empty one, and more than are kept") {
  const Gpu gpu;
  const Library library;
  const Setting none("GCOMP_FAKE_CUDA_NO_GRAPHS", "1");
  const DeviceModel model = product_model();
  Context context(model.descriptor());
  gpu.reset();
  for (const int64_t n : {3, 1, 3, 0, 7, 1, 0, 3}) Call(n).check(context);
  CHECK(gpu.count("products") == 6);
  // Memory of the caller is copied to places that are aligned alike.
  CHECK(gpu.count("heuristics") == 3);
  for (int64_t n = 10; n < 100; ++n) Call(n).check(context);
  CHECK(gpu.count("heuristics") == 93);
  Call(99).check(context);
  CHECK(gpu.count("heuristics") == 93);
  Call(10).check(context);
  CHECK(gpu.count("heuristics") == 94);
}

TEST_CASE("products are parts of graphs") {
  const Gpu gpu;
  const Library library;
  const DeviceModel model = product_model();
  Context context(model.descriptor());
  gpu.reset();
  Call call(6);
  for (int i = 0; i < 5; ++i) {
    call.a[0] += 1;
    call.bias[1] -= 1;
    call.check(context);
  }
  CHECK(gpu.count("graphs") == 1);
  CHECK(gpu.count("graph launches") == 4);
  CHECK(gpu.count("products") == 2);  // at first, and into the graph
  CHECK(gpu.count("heuristics") == 1);
}

TEST_CASE("algorithms are asked for as memory is aligned") {
  const Gpu gpu;
  const Library library;
  const DeviceModel model = product_model();
  Context context(model.descriptor());
  gpu.reset();
  check_shifted(gpu, context, {0, 1, 0, 1});
  CHECK(gpu.count("products") == 4);
  CHECK(gpu.count("heuristics") == 2);
}

TEST_CASE("convolutions by cuDNN are parts of graphs") {
  const Gpu gpu;
  const Cudnn library;
  const DeviceModel model = convolution_model();
  Context context(model.descriptor());
  gpu.reset();
  Call call(6);
  for (int i = 0; i < 5; ++i) {
    call.a[0] += 1;
    call.b[3] -= 1;
    call.bias[1] -= 1;
    call.check(context);
  }
  CHECK(gpu.count("convolutions") == 5);
  CHECK(gpu.count("kernels") == 5);  // what follows
  CHECK(gpu.count("graphs") == 1);
  CHECK(gpu.count("graph launches") == 4);
  CHECK(gpu.count("algorithms") == 1);
}

TEST_CASE("its own kernel does a convolution where cuDNN cannot") {
  const Gpu gpu;
  const Library other;  // products' alone
  const DeviceModel model = convolution_model();
  const auto is_by_kernel = [&] {
    Context context(model.descriptor());
    gpu.reset();
    Call call(3);
    call.check(context);
    call.check(context);
    CHECK(context.note() == "");
    return gpu.count("convolutions") == 0 && gpu.count("kernels") == 4;
  };
  {
    const Setting none("GCOMP_CUDNN", "/nowhere/libcudnn.so");
    CHECK(is_by_kernel());
  }
  {
    const Setting wrong("GCOMP_CUDNN", GCOMP_FAKE_CUBLASLT);
    CHECK(is_by_kernel());
  }
  const Cudnn library;
  {
    const Setting none("GCOMP_FAKE_CUDNN_NO_HANDLE", "1");
    CHECK(is_by_kernel());
  }
  {
    const Setting none("GCOMP_FAKE_CUDNN_NO_ALGORITHM", "1");
    CHECK(is_by_kernel());
    CHECK(gpu.count("algorithms") == 1);  // asked once
  }
  {
    const Setting refused("GCOMP_FAKE_CUDNN_FAIL_AT", "1");  // found out before the call is made
    CHECK(is_by_kernel());
    CHECK(gpu.count("convolution calls") == 1);
  }
  {
    const Setting little("GCOMP_FAKE_CUDA_MOST_MIB", "16");  // less than it works in
    CHECK(is_by_kernel());
  }
  CHECK(!is_by_kernel());
}

TEST_CASE("a convolution that fails is an error that names the node, and the next run is good") {
  const Gpu gpu;
  const Cudnn library;
  const DeviceModel model = convolution_model();
  Context context(model.descriptor());
  gpu.reset();
  Call call(3);
  {
    const Setting second("GCOMP_FAKE_CUDNN_FAIL_AT", "2");
    CHECK(call.run(context) == GCOMP_ERROR_CUDA);
  }
  CHECK(context.last_error() ==
        "the GPU failed: CUDNN_STATUS_EXECUTION_FAILED in cudnnConvolutionForward, d_multiply "
        "(nodes of d_multiply)");
  call.check(context);
}

TEST_CASE("each shape of a convolution is asked for once, also an empty one") {
  const Gpu gpu;
  const Cudnn library;
  const Setting none("GCOMP_FAKE_CUDA_NO_GRAPHS", "1");
  const DeviceModel model = convolution_model({{90, 1}});
  Context context(model.descriptor());
  gpu.reset();
  for (const int64_t n : {3, 1, 3, 0, 7, 1, 0, 3}) Call(n).check(context);
  CHECK(gpu.count("convolutions") == 6);
  CHECK(gpu.count("algorithms") == 3);
}

TEST_CASE("memory that is not aligned to 16 bytes is its own kernel's") {
  const Gpu gpu;
  const Cudnn library;
  const DeviceModel model = convolution_model();
  Context context(model.descriptor());
  gpu.reset();
  check_shifted(gpu, context, {0, 1, 0});
  CHECK(gpu.count("convolutions") == 2);
  CHECK(gpu.count("algorithms") == 1);
}

}  // namespace
}  // namespace gcomp
