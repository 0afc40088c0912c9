// Plans linked into shared objects, loaded and run.

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "gcomp/support/error.h"
#include "model.h"

namespace gcomp {
namespace {

using test::Folder;
using test::run_vector;
using test::scale_plan;
using test::write_so;

TEST_CASE("static and symbolic extents run through a temporary") {
  const Folder folder;
  for (const int64_t n : {int64_t{-1}, int64_t{3}}) {
    const PlanImage image = scale_plan(2.0, n).finish();
    CHECK(image.arena_bytes == (n < 0 ? 0u : 64u));
    const std::string path = folder / ("m" + std::to_string(n) + ".so");
    write_so(image, path);
    const Artifact artifact(path);
    Context context(artifact);
    CHECK(run_vector(context, {1, 2, -5}) == std::vector<double>{6, 12, -30});
    CHECK(run_vector(context, {0.5, 0, 1}) == std::vector<double>{3, 0, 6});
  }
}

TEST_CASE("one context, many extents, memory plans remembered") {
  const test::Model artifact(scale_plan(0.5).finish());
  Context context(artifact.descriptor());
  for (int round = 0; round < 3; ++round) {
    for (const size_t n : {0u, 1u, 7u, 1000u, 8u, 100000u, 3u}) {
      std::vector<double> x(n);
      std::iota(x.begin(), x.end(), 1.0);
      std::vector<double> expected = x;
      for (double& v : expected) v *= 1.5;
      CHECK(run_vector(context, x) == expected);
    }
  }
}

TEST_CASE(
    "the same tensors again: new data, outputs' extents written again, every change noticed") {
  const test::Model artifact(scale_plan(2.0).finish());
  Context context(artifact.descriptor());
  std::vector<double> x = {1, 2, 3, 4}, y(4, -1);
  std::vector<int64_t> in_shape = {3}, out_shape = {-1};
  const std::vector<gcomp_tensor> inputs = {tensor(x, in_shape)};
  std::vector<gcomp_tensor> outputs = {tensor(y, out_shape)};
  for (int round = 0; round < 3; ++round) {
    x[0] += 1;
    out_shape[0] = 77;
    context.run(inputs, outputs);
    CHECK(out_shape[0] == 3);
    CHECK(y == std::vector<double>{6 * x[0], 12, 18, -1});
  }
  in_shape[0] = 4;  // behind the same pointer
  context.run(inputs, outputs);
  CHECK(out_shape[0] == 4);
  CHECK(y[3] == 24);
  in_shape[0] = 5;
  CHECK(context.try_run(inputs, outputs) == GCOMP_ERROR_CAPACITY);
  in_shape[0] = 2;
  const int64_t backwards[] = {-8};
  std::vector<gcomp_tensor> strided = inputs;
  strided[0].data = &x[1];
  strided[0].strides = backwards;
  for (int round = 0; round < 2; ++round) {
    x[0] += 1;
    context.run(strided, outputs);
    CHECK(y[0] == 12);
    CHECK(y[1] == 6 * x[0]);
  }
  const int64_t wide[] = {16};
  outputs[0].strides = wide;
  for (int round = 0; round < 2; ++round) {
    y = {-1, -1, -1, -1};
    context.run(inputs, outputs);
    CHECK(y == std::vector<double>{6 * x[0], -1, 12, -1});
  }
  outputs[0].strides = nullptr;
  outputs[0].data = x.data();
  CHECK(context.try_run(inputs, outputs) == GCOMP_ERROR_ALIAS);
  outputs[0].data = nullptr;  // the context lends memory, again and again
  for (int round = 0; round < 3; ++round) {
    x[0] += 1;
    context.run(inputs, outputs);
    CHECK(static_cast<const double*>(outputs[0].data)[0] == 6 * x[0]);
    if (round == 1) outputs[0].data = nullptr;
  }
}

TEST_CASE("describe tells the signature without running") {
  const Folder folder;
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanValue n2 = b.add(b.mul(n, b.constant(2)), b.constant(1));
  const PlanBufferId x = b.input("x", DType::kFloat32, {{n, "n"}, {b.constant(4), "4"}});
  const PlanBufferId z = b.input("z", DType::kBool, {});
  const PlanBufferId y = b.output("y", DType::kInt64, {{n2, "2*n + 1"}});
  b.fill(y, b.mul(n2, b.constant(8)), 0);
  b.mention(x);
  b.mention(z);
  write_so(b.finish(), folder / "m.so", {.name = "other"});
  const Artifact artifact(folder / "m.so", "other");
  const gcomp_signature& s = artifact.signature();
  CHECK(std::string(s.name) == "other");
  REQUIRE(s.num_inputs == 2);
  REQUIRE(s.num_outputs == 1);
  CHECK(std::string(s.inputs[0].name) == "x");
  CHECK(s.inputs[0].rank == 2);
  CHECK(s.inputs[0].dtype.bits == 32);
  CHECK(s.inputs[0].extents[0] == -1);
  CHECK(s.inputs[0].extents[1] == 4);
  CHECK(std::string(s.inputs[0].dims[0]) == "n");
  CHECK(s.inputs[1].rank == 0);
  CHECK(s.inputs[1].dtype.code == GCOMP_BOOL);
  CHECK(std::string(s.outputs[0].dims[0]) == "2*n + 1");
  CHECK(artifact.json() == R"({"made":"by hand"})");
}

TEST_CASE("libm and compiler helpers are found") {
  PlanBuilder b;
  const PlanBufferId x = b.input("x", DType::kFloat64, {{b.constant(2), "2"}});
  const PlanBufferId h = b.input("h", DType::kFloat16, {{b.constant(1), "1"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{b.constant(2), "2"}});
  const PlanBufferId f = b.output("f", DType::kFloat32, {{b.constant(1), "1"}});
  b.call({.kernel = b.kernel("k_sin"), .buffers = {x, y}, .extent = 2});
  b.call({.kernel = b.kernel("k_from_half"), .buffers = {h, f}, .extent = 1});
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  std::vector<double> xs = {0.5, -2}, ys(2);
  uint16_t half = 0x3e00;  // 1.5
  float single = 0;
  std::vector<int64_t> two = {2}, one = {1}, two_out = {2}, one_out = {1};
  std::vector<gcomp_tensor> outputs = {tensor(ys, two_out),
                                       raw_tensor(&single, dtype_of<float>(), one_out, 4)};
  context.run({tensor(xs, two), raw_tensor(&half, {GCOMP_FLOAT, 16, 1}, one)}, outputs);
  CHECK(ys == std::vector<double>{std::sin(0.5), std::sin(-2.0)});
  CHECK(single == 1.5f);
}

TEST_CASE("strided inputs and outputs, negative strides, transposed") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), m = b.symbol("m");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}, {m, "m"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}, {m, "m"}});
  b.call(
      {.kernel = b.kernel("k_scale"), .buffers = {x, y}, .scalars = {10.0}, .extent = b.mul(n, m)});
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  std::vector<double> data = {0, 1, 2, 3, 4, 5}, result(12, -1);  // data[i][j] of 3 x 2
  std::vector<int64_t> shape = {2, 3}, out_shape = {0, 0};
  const int64_t transposed_backwards[] = {-8, 16};  // from data[.][1]
  const int64_t every_other[] = {48, 16};
  gcomp_tensor in = raw_tensor(&data[1], dtype_of<double>(), shape);
  in.strides = transposed_backwards;
  gcomp_tensor out = tensor(result, out_shape);
  out.strides = every_other;
  std::vector<gcomp_tensor> outputs = {out};
  context.run({in}, outputs);
  CHECK(result == std::vector<double>{10, -1, 30, -1, 50, -1, 0, -1, 20, -1, 40, -1});
  CHECK(out_shape == std::vector<int64_t>{2, 3});
}

PlanBuilder nonzero_plan() {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), k = b.symbol("k"), eight = b.constant(8);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kInt64, {{k, "k"}});
  const PlanBufferId count = b.temporary(eight);
  b.call({.kernel = b.kernel("k_count"), .buffers = {x, count}, .scalars = {n}});
  b.bind(count, {{k}});
  const PlanBufferId t = b.temporary(b.mul(k, eight));
  b.call({.kernel = b.kernel("k_nonzero"), .buffers = {x, t}, .scalars = {n}});
  b.copy(y, t, b.mul(k, eight));
  return b;
}

TEST_CASE("data-dependent extents") {
  const test::Model artifact(nonzero_plan().finish());
  Context context(artifact.descriptor());
  for (int round = 0; round < 2; ++round) {
    CHECK(run_vector<int64_t>(context, {0, 3, 0, 5, 7}) == std::vector<int64_t>{1, 3, 4});
    CHECK(run_vector<int64_t>(context, {0, 0}).empty());
    CHECK(run_vector<int64_t>(context, std::vector<double>(5000, 1.0)).size() == 5000);
  }
  std::vector<double> x = {1, 0, 2};
  std::vector<int64_t> shape = {3}, out_shape = {0}, small(1);
  std::vector<gcomp_tensor> outputs = {tensor(small, out_shape)};
  CHECK(context.try_run({tensor(x, shape)}, outputs) == GCOMP_ERROR_CAPACITY);
  CHECK(context.last_error() == "output \"y\" (number 0): 16 bytes are needed, capacity is 8");
  outputs = {raw_tensor(x.data(), dtype_of<int64_t>(), out_shape, 24)};
  CHECK(context.try_run({tensor(x, shape)}, outputs) == GCOMP_ERROR_ALIAS);
}

TEST_CASE("a loop with a counter, a growing owned buffer and an early end") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), i = b.symbol("i"), eight = b.constant(8);
  b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}});
  const PlanBufferId grown = b.owned();
  const PlanLabel top = b.label(), done = b.label();
  b.reserve(grown, 0, false);
  const PlanValue counter[] = {i};
  const PlanScalar start[] = {0}, next[] = {b.add(i, b.constant(1))};
  b.bind_values(counter, start);
  b.begin_loop();
  b.place(top);
  b.jump_unless_less(i, n, done);
  b.reserve(grown, b.mul(b.add(i, b.constant(1)), eight), true);
  b.call({.kernel = b.kernel("k_square_at"), .buffers = {grown}, .scalars = {i}});
  b.bind_values(counter, next);
  b.jump(top);
  b.end_loop();
  b.place(done);
  b.copy(y, grown, b.mul(n, eight));
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  CHECK(run_vector(context, std::vector<double>(5)) == std::vector<double>{0, 1, 4, 9, 16});
  CHECK(run_vector(context, {}).empty());
  const std::vector<double> many = run_vector(context, std::vector<double>(1000));
  CHECK(many[999] == 999.0 * 999.0);
  CHECK(run_vector(context, std::vector<double>(2)) == std::vector<double>{0, 1});
}

TEST_CASE("turns: a carried value between two buffers, rows of a growing stack") {
  // Times 3 for each turn, all stacked; then y = that + x.
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), t = b.symbol("t"), eight = b.constant(8);
  const PlanValue bytes = b.mul(n, eight);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId limit = b.input("limit", DType::kInt64, {});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}});
  const PlanBufferId all = b.output("all", DType::kFloat64, {{t, "t"}, {n, "n"}});
  const PlanBufferId counter = b.temporary(eight), live = b.temporary(bytes);
  const PlanBufferId current = b.owned(), next = b.owned(), spare = b.owned();
  const PlanBufferId stack = b.owned(), row = b.owned();
  const PlanKernelId scale = b.kernel("k_scale"), add = b.kernel("k_add");
  const PlanLabel top = b.label(), enter = b.label(), done = b.label();
  b.call({.kernel = scale, .buffers = {x, live}, .scalars = {1.0}, .extent = n});
  b.alias(next, b.temporary(bytes));
  b.alias(spare, b.temporary(bytes));
  b.alias(current, x);
  b.reserve(stack, 0, false);
  const PlanScalar start[] = {-1};
  b.store(counter, start);
  b.turn(counter, limit, PlanBufferId(), enter);
  b.jump(done);
  b.place(enter);
  b.begin_loop();
  b.place(top);
  b.row(row, stack, counter, bytes, true);
  const PlanBufferId twice = b.temporary(bytes);  // dead at once: must not take the place of others
  b.call({.kernel = scale, .buffers = {current, twice}, .scalars = {2.0}, .extent = n});
  b.call({.kernel = add, .buffers = {current, twice, next}, .extent = n});
  b.copy(row, next, bytes);
  b.swap(next, spare);
  b.alias(current, spare);
  b.turn(counter, limit, PlanBufferId(), top);
  b.end_loop();
  b.place(done);
  const PlanValue symbols[] = {t};
  b.bind(counter, symbols);
  b.call({.kernel = add, .buffers = {current, live, y}, .extent = n});
  b.copy(all, stack, b.mul(t, bytes));
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  std::vector<double> in = {1, -2};
  for (int64_t turns : {3, 0, 4, -7, 1}) {
    std::vector<int64_t> shape = {2}, none, y_shape = {0}, all_shape = {0, 0};
    std::vector<int64_t> count = {turns};
    std::vector<gcomp_tensor> outputs = {raw_tensor(nullptr, dtype_of<double>(), y_shape, 0),
                                         raw_tensor(nullptr, dtype_of<double>(), all_shape, 0)};
    context.run({tensor(in, shape), tensor(count, none)}, outputs);
    const double power = std::pow(3.0, static_cast<double>(std::max<int64_t>(turns, 0)));
    const auto* result = static_cast<const double*>(outputs[0].data);
    CHECK(result[0] == power + 1);
    CHECK(result[1] == -2 * power - 2);
    REQUIRE(all_shape == std::vector<int64_t>{std::max<int64_t>(turns, 0), 2});
    const auto* stacked = static_cast<const double*>(outputs[1].data);
    double want = 1;
    for (int64_t i = 0; i < turns; ++i) {
      want *= 3;
      CHECK(stacked[2 * i] == want);
      CHECK(stacked[2 * i + 1] == -2 * want);
    }
  }
}

TEST_CASE("a branch, views, stored extents, aliases and swaps") {
  PlanBuilder b;
  const PlanValue n = b.symbol("n"), eight = b.constant(8);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{b.mul(n, b.constant(2)), "2*n"}});
  const PlanBufferId extents = b.output("extents", DType::kInt64, {{b.constant(2), "2"}});
  const PlanBufferId half = b.view(y, b.mul(n, eight));
  const PlanBufferId flag = b.temporary(b.constant(1));
  const PlanBufferId p = b.owned(), q = b.owned(), chosen = b.owned();
  const PlanKernelId scale = b.kernel("k_scale");
  b.call({.kernel = b.kernel("k_positive"), .buffers = {x, flag}, .extent = 1});
  b.reserve(p, b.mul(n, eight), false);
  b.reserve(q, b.mul(n, eight), false);
  b.call({.kernel = scale, .buffers = {x, p}, .scalars = {2.0}, .extent = n});
  b.call({.kernel = scale, .buffers = {x, q}, .scalars = {-1.0}, .extent = n});
  b.swap(p, q);
  const PlanLabel otherwise = b.label(), join = b.label();
  b.jump_unless(flag, otherwise);
  b.alias(chosen, p);
  b.jump(join);
  b.place(otherwise);
  b.alias(chosen, q);
  b.place(join);
  b.copy(y, chosen, b.mul(n, eight));
  b.copy(half, x, b.mul(n, eight));
  b.store(extents, {{n, 7}});
  const test::Model artifact(b.finish());
  Context context(artifact.descriptor());
  std::vector<int64_t> shape = {2}, out_shape = {0}, extents_shape = {0}, stored(2);
  std::vector<double> result(4);
  for (int round = 0; round < 3; ++round) {
    for (const double sign : {1.0, -1.0}) {
      std::vector<double> xs = {sign, 5};
      std::vector<gcomp_tensor> outputs = {tensor(result, out_shape),
                                           tensor(stored, extents_shape)};
      context.run({tensor(xs, shape)}, outputs);
      const double f = sign > 0 ? -1 : 2;  // p and q were swapped
      CHECK(result == std::vector<double>{f * sign, f * 5, sign, 5});
      CHECK(stored == std::vector<int64_t>{2, 7});
    }
  }
}

// Over many grains: the same bits for any number of threads, own pool and host's.
TEST_CASE("threads do not change results") {
  const test::Model artifact(scale_plan(1.1, -1, 100).finish());
  std::vector<double> x(10007);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<double>(i));
  gcomp_options options = {};
  options.threads = 1;
  Context one(artifact.descriptor(), options);
  const std::vector<double> expected = run_vector(one, x);
  for (const uint32_t threads : {2u, 3u, 8u}) {
    options.threads = threads;
    Context context(artifact.descriptor(), options);
    for (int round = 0; round < 200; ++round) CHECK(run_vector(context, x) == expected);
  }
  int64_t tasks = 0;
  options.pool_data = &tasks;
  options.parallel_for = [](void* data, int64_t n, void (*task)(void*, int64_t), void* task_data) {
    *static_cast<int64_t*>(data) += n;
    for (int64_t i = n; i-- > 0;) task(task_data, i);
  };
  Context hosted(artifact.descriptor(), options);
  CHECK(run_vector(hosted, x) == expected);
  CHECK(tasks >= 2 * 8);
}

TEST_CASE("a trace sees every kernel begin and end; older hosts do not know it") {
  const test::Model artifact(scale_plan(1.0).finish());
  std::vector<uint32_t> marks;
  gcomp_options options = {};
  options.trace_data = &marks;
  options.trace = [](void* data, uint32_t kernel) {
    static_cast<std::vector<uint32_t>*>(data)->push_back(kernel);
  };
  Context traced(artifact.descriptor(), options);
  CHECK(run_vector(traced, {1}) == std::vector<double>{3});
  REQUIRE((!marks.empty() && marks.size() % 2 == 0));
  for (size_t i = 0; i < marks.size(); ++i) CHECK((marks[i] == GCOMP_NO_KERNEL) == (i % 2 == 1));

  options.struct_size = offsetof(gcomp_options, trace_data);
  gcomp_context* older = nullptr;
  const gcomp_functions& functions = *artifact.descriptor().functions;
  CHECK(functions.create(&artifact.descriptor(), &options, &older) == GCOMP_OK);
  functions.destroy(older);
}

TEST_CASE("many contexts on many threads") {
  const test::Model artifact(scale_plan(2.0, -1, 64).finish());
  std::vector<std::thread> hosts;
  std::vector<int> wrong(6);
  for (size_t h = 0; h < wrong.size(); ++h) {
    hosts.emplace_back([&, h] {
      gcomp_options options = {};
      options.threads = 2;
      for (int k = 0; k < 5; ++k) {
        Context context(artifact.descriptor(), options);
        for (size_t n = 1; n < 2000; n += 97 + h) {
          const std::vector<double> y = run_vector(context, std::vector<double>(n, 1.0));
          wrong[h] += y != std::vector<double>(n, 6.0);
        }
      }
    });
  }
  for (std::thread& host : hosts) host.join();
  CHECK(wrong == std::vector<int>(6));
}

TEST_CASE("two artifacts in one process, also under the same name") {
  const Folder folder;
  write_so(scale_plan(1.0).finish(), folder / "a.so", {.name = "first"});
  write_so(scale_plan(2.0).finish(), folder / "b.so", {.name = "second"});
  write_so(scale_plan(3.0).finish(), folder / "c.so", {.name = "second"});
  const Artifact a(folder / "a.so", "first"), b(folder / "b.so", "second"),
      c(folder / "c.so", "second");
  Context x(a), y(b), z(c);
  CHECK(run_vector(x, {1}) == std::vector<double>{3});
  CHECK(run_vector(y, {1}) == std::vector<double>{6});
  CHECK(run_vector(z, {1}) == std::vector<double>{9});
}

TEST_CASE("the host's allocator gets everything back") {
  const test::Model artifact(scale_plan(2.0, -1, 8).finish());
  struct Heap {
    int blocks = 0;
    int fail_at = -1;
    int calls = 0;
  } heap;
  gcomp_options options = {};
  options.threads = 2;
  options.allocator_data = &heap;
  options.allocate = [](void* data, size_t bytes, size_t alignment) -> void* {
    auto& h = *static_cast<Heap*>(data);
    if (h.calls++ == h.fail_at) return nullptr;
    ++h.blocks;
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  options.deallocate = [](void* data, void* memory) {
    --static_cast<Heap*>(data)->blocks;
    std::free(memory);
  };
  {
    Context context(artifact.descriptor(), options);
    run_vector(context, std::vector<double>(100, 1.0));
    run_vector(context, std::vector<double>(1000, 1.0));
    CHECK(heap.blocks > 0);
  }
  CHECK(heap.blocks == 0);
  const int calls = heap.calls;
  for (heap.fail_at = 0; heap.fail_at < calls; ++heap.fail_at) {  // each allocation may fail
    heap.calls = 0;
    try {
      Context context(artifact.descriptor(), options);
      run_vector(context, std::vector<double>(100, 1.0));
      run_vector(context, std::vector<double>(1000, 1.0));
    } catch (const ArtifactError& e) {
      CHECK(e.status() == GCOMP_ERROR_MEMORY);
    }
    CHECK(heap.blocks == 0);
  }
}

TEST_CASE("linking is deterministic, whatever was linked or opened before") {
  const PlanImage image = scale_plan(2.0).finish(), other = nonzero_plan().finish();
  const auto link = [](const PlanImage& plan) {
    std::vector<std::byte> bytes;
    test::with_input(plan, {}, [&](const auto& in) { bytes = artifact::link_shared_object(in); });
    return bytes;
  };
  const std::vector<std::byte> first = link(image);
  const int more[] = {memfd_create("a", 0), memfd_create("b", 0)};  // other descriptor numbers
  link(other);
  CHECK(link(image) == first);
  for (const int fd : more) close(fd);
}

TEST_CASE("bugs of the compiler are internal errors with lld's words") {
  PlanBuilder b;
  const PlanBufferId y = b.output("y", DType::kFloat64, {});
  b.call({.kernel = b.kernel("no_such_kernel"), .buffers = {y}});
  const PlanImage image = b.finish();
  test::with_input(image, {}, [](const auto& input) {
    CHECK_THROWS_WITH_AS(artifact::link_shared_object(input),
                         doctest::Contains("undefined symbol: no_such_kernel"), InternalError);
  });
  PlanBuilder unbound;
  unbound.output("y", DType::kFloat64, {{unbound.symbol("lost"), "lost"}});
  CHECK_THROWS_WITH_AS(unbound.finish(), doctest::Contains("lost"), InternalError);
}

}  // namespace
}  // namespace gcomp
