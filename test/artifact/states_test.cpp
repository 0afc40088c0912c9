// States of hand-made plans: what a run reads and replaces, and the functions that get, set and reset them.

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <thread>

#include "model.h"

namespace gcomp {
namespace {

using Values = std::vector<double>;

PlanBufferId add_state(PlanBuilder& b, uint32_t number, const std::string& name, PlanValue n,
                       const std::string& text) {
  return b.state(number, name, DType::kFloat64, {{n, text}});
}

void set_initial(PlanBuilder& b, uint32_t number, const Values& value) {
  const std::vector<int64_t> extents = {static_cast<int64_t>(value.size())};
  b.initial_state(number, b.constant(std::as_bytes(std::span(value))), extents);
}

// total := total + x, y = sqrt(total + x), which fails where it is negative. Static n, or any.
PlanImage sum_plan(int64_t n, const Values* initial) {
  PlanBuilder b;
  const PlanValue extent = n < 0 ? b.symbol("n") : b.constant(n);
  const std::string text = n < 0 ? "n" : std::to_string(n);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{extent, text}});
  const PlanBufferId total = add_state(b, 0, "total", extent, text);
  const PlanBufferId y = b.output("y", DType::kFloat64, {{extent, text}});
  const PlanBufferId next = b.next_state(0);
  b.call({.kernel = b.kernel("k_add"), .buffers = {total, x, next}, .extent = extent});
  b.call({.kernel = b.kernel("k_checked_sqrt"),
          .buffers = {next, y, b.status()},
          .extent = extent,
          .messages = {"negative", "not a number"}});
  b.swap_states(0, 1);
  if (initial != nullptr) set_initial(b, 0, *initial);
  return b.finish();
}

Values get(Context& context, uint32_t state) {
  std::vector<int64_t> shape = {-1};
  gcomp_tensor t = lent_tensor(shape);
  context.get_state(state, t);
  const auto* const data = static_cast<const double*>(t.data);
  CHECK(t.capacity == static_cast<uint64_t>(shape[0]) * sizeof(double));
  CHECK(t.dtype.code == GCOMP_FLOAT);
  return {data, data + shape[0]};
}

void set(Context& context, uint32_t state, Values value) {
  std::vector<int64_t> shape = {static_cast<int64_t>(value.size())};
  context.set_state(state, tensor(value, shape));
}

gcomp_status status_of(const auto& call) {
  try {
    call();
  } catch (const ArtifactError& e) {
    return e.status();
  }
  return GCOMP_OK;
}

TEST_CASE("a state is replaced by runs that succeed, read, set and reset") {
  const Values initial = {1, 2, 3};
  for (const int64_t n : {int64_t{3}, int64_t{-1}}) {
    const test::Model model(sum_plan(n, &initial));
    Context context(model.descriptor());
    CHECK(get(context, 0) == initial);
    CHECK(test::run_vector(context, {0, 2, 1}) == Values{1, 2, 2});
    CHECK(get(context, 0) == Values{1, 4, 4});
    CHECK(test::run_vector(context, {8, 5, 12}) == Values{3, 3, 4});
    // A failed run leaves it, and the next one goes on from there.
    CHECK(status_of([&] { test::run_vector(context, {0, -100, 0}); }) == GCOMP_ERROR_CHECK);
    CHECK(get(context, 0) == Values{9, 9, 16});
    CHECK(test::run_vector(context, {0, 0, 0}) == Values{3, 3, 4});
    set(context, 0, {4, 9, 16});
    CHECK(test::run_vector(context, {0, 0, 0}) == Values{2, 3, 4});
    context.reset_states();
    CHECK(get(context, 0) == initial);
    CHECK(test::run_vector(context, {0, 2, 1}) == Values{1, 2, 2});
  }
}

TEST_CASE("the same tensors again and again: every run takes the newest value") {
  const Values initial = {0, 0};
  const test::Model model(sum_plan(2, &initial));
  Context context(model.descriptor());
  Values x = {1, 2}, y(2);
  std::vector<int64_t> shape = {2}, out_shape = {-1};
  const std::vector<gcomp_tensor> inputs = {tensor(x, shape)};
  std::vector<gcomp_tensor> outputs = {tensor(y, out_shape)};
  for (int i = 1; i <= 5; ++i) {
    context.run(inputs, outputs);
    CHECK(y == Values{std::sqrt(1.0 * i), std::sqrt(2.0 * i)});
  }
  x[0] = -100;
  CHECK(context.try_run(inputs, outputs) == GCOMP_ERROR_CHECK);
  CHECK(get(context, 0) == Values{5, 10});
  x[0] = 4;
  context.run(inputs, outputs);
  CHECK(get(context, 0) == Values{9, 12});
}

TEST_CASE("extents that are symbols: set decides, a run checks") {
  const Values initial = {1, 2, 3};
  const test::Model model(sum_plan(-1, &initial));
  Context context(model.descriptor());
  CHECK(status_of([&] { test::run_vector(context, {1, 1}); }) == GCOMP_ERROR_SYMBOL);
  CHECK(context.last_error() ==
        "state \"total\" (number 0): extent of axis 0 is 3, but n is 2 by the other inputs");
  CHECK(test::run_vector(context, {0, 2, 1}) == Values{1, 2, 2});
  set(context, 0, {});
  CHECK(test::run_vector(context, {}).empty());
  CHECK(get(context, 0).empty());
  set(context, 0, Values(1000, 4.0));
  CHECK(test::run_vector(context, Values(1000, 5.0)) == Values(1000, 3.0));
  set(context, 0, {9});
  CHECK(test::run_vector(context, {7}) == Values{4});
  context.reset_states();
  CHECK(test::run_vector(context, {0, 2, 1}) == Values{1, 2, 2});
}

TEST_CASE("without an initial value a state must be set first") {
  const test::Model model(sum_plan(2, nullptr));
  Context context(model.descriptor());
  CHECK(status_of([&] { test::run_vector(context, {1, 1}); }) == GCOMP_ERROR_STATE);
  CHECK(context.last_error().find("state \"total\" (number 0) has no value") == 0);
  CHECK(status_of([&] { get(context, 0); }) == GCOMP_ERROR_STATE);
  set(context, 0, {3, 8});
  CHECK(test::run_vector(context, {1, 1}) == Values{2, 3});
  context.reset_states();
  CHECK(status_of([&] { get(context, 0); }) == GCOMP_ERROR_STATE);
}

TEST_CASE("what is wrong with a value is said, and changes nothing") {
  const Values initial = {1, 2, 3};
  const test::Model model(sum_plan(3, &initial));
  Context context(model.descriptor());
  Values value = {7, 7, 7, 7, 7, 7};
  std::vector<int64_t> shape = {3};
  const auto with = [&](const auto& change) {
    gcomp_tensor t = tensor(value, shape);
    change(t);
    const gcomp_status status = status_of([&] { context.set_state(0, t); });
    CHECK(get(context, 0) == initial);
    return status;
  };
  int64_t four[] = {4}, negative[] = {-1};
  const int64_t odd[] = {12};
  CHECK(with([&](gcomp_tensor& t) { t.extents = four; }) == GCOMP_ERROR_SHAPE);
  CHECK(with([&](gcomp_tensor& t) { t.extents = negative; }) == GCOMP_ERROR_SHAPE);
  CHECK(with([](gcomp_tensor& t) { t.rank = 2; }) == GCOMP_ERROR_RANK);
  CHECK(with([](gcomp_tensor& t) { t.dtype.bits = 32; }) == GCOMP_ERROR_DTYPE);
  CHECK(with([](gcomp_tensor& t) { t.device_type = 2; }) == GCOMP_ERROR_DEVICE);
  CHECK(with([](gcomp_tensor& t) { t.struct_size = 8; }) == GCOMP_ERROR_STRUCT);
  CHECK(with([](gcomp_tensor& t) { t.data = nullptr; }) == GCOMP_ERROR_NULL);
  CHECK(with([](gcomp_tensor& t) { t.capacity = 16; }) == GCOMP_ERROR_CAPACITY);
  CHECK(with([&](gcomp_tensor& t) { t.strides = odd; }) == GCOMP_ERROR_STRIDES);
  CHECK(with([](gcomp_tensor& t) { t.data = static_cast<char*>(t.data) + 4; }) ==
        GCOMP_ERROR_ALIGNMENT);
  CHECK(status_of([&] { set(context, 1, {1, 2, 3}); }) == GCOMP_ERROR_COUNT);
  CHECK(context.last_error() == "there is no state number 1, the graph has 1");
  const gcomp_functions& f = *model.descriptor().functions;
  CHECK(f.set_state(context.get(), 0, nullptr) == GCOMP_ERROR_NULL);
  CHECK(f.get_state(context.get(), 0, nullptr) == GCOMP_ERROR_NULL);
  CHECK(f.get_state(nullptr, 0, nullptr) == GCOMP_ERROR_NULL);
  CHECK(f.reset_states(nullptr) == GCOMP_ERROR_NULL);
  gcomp_tensor small = raw_tensor(value.data(), dtype_of<double>(), shape, 16);
  CHECK(f.get_state(context.get(), 0, &small) == GCOMP_ERROR_CAPACITY);
}

TEST_CASE("strided values, and values that lie in the state itself") {
  const Values initial = {1, 2, 3};
  const test::Model model(sum_plan(3, &initial));
  Context context(model.descriptor());
  Values wide = {1, 0, 4, 0, 9, 0};
  std::vector<int64_t> shape = {3};
  const int64_t strides[] = {16};
  gcomp_tensor t = tensor(wide, shape);
  t.strides = strides;
  context.set_state(0, t);
  CHECK(get(context, 0) == Values{1, 4, 9});
  Values out(6, -1);
  t.data = out.data();
  context.get_state(0, t);
  CHECK(out == Values{1, -1, 4, -1, 9, -1});
  // Backwards onto itself: what get_state lent is read while the state is written.
  gcomp_tensor lent = lent_tensor(shape);
  context.get_state(0, lent);
  lent.data = static_cast<double*>(lent.data) + 2;
  const int64_t backwards[] = {-8};
  lent.strides = backwards;
  lent.capacity = 8;
  context.set_state(0, lent);
  CHECK(get(context, 0) == Values{9, 4, 1});
}

TEST_CASE("memory that the context lends is refused by the next run") {
  const Values initial = {1, 2, 3};
  const test::Model model(sum_plan(3, &initial));
  Context context(model.descriptor());
  Values x = {0, 2, 1};
  std::vector<int64_t> shape = {3}, out_shape = {-1}, other_shape = {-1};
  std::vector<gcomp_tensor> outputs = {lent_tensor(out_shape)};
  gcomp_tensor first = lent_tensor(other_shape), second = first;
  context.run({tensor(x, shape)}, outputs);
  context.get_state(0, first);
  context.run({tensor(x, shape)}, outputs);
  context.get_state(0, second);
  REQUIRE(first.data != second.data);
  const Values before = get(context, 0);
  for (gcomp_tensor lent : {first, second}) {  // the value, and where the next one is written
    lent.extents = shape.data();
    CHECK(context.try_run({lent}, outputs) == GCOMP_ERROR_ALIAS);
    CHECK(context.last_error() ==
          "input \"x\" (number 0) lies in memory of state \"total\"; what get_state lends must be "
          "copied first");
    std::vector<gcomp_tensor> there = {lent};
    CHECK(context.try_run({tensor(x, shape)}, there) == GCOMP_ERROR_ALIAS);
    CHECK(context.last_error().starts_with(
        "output \"y\" (number 0) lies in memory of state \"total\""));
  }
  gcomp_tensor output = outputs[0];
  CHECK(context.try_run({output}, outputs) == GCOMP_ERROR_ALIAS);
  CHECK(context.last_error() == "output \"y\" (number 0) shares memory with input \"x\"");
  CHECK(get(context, 0) == before);
}

// a := b, b := c, c := a + x: a chain that ends in what the run writes. d := e, e := d. f stays.
PlanImage chain_plan(const std::vector<Values>& initial) {
  PlanBuilder b;
  const PlanValue n = b.constant(2);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "2"}});
  std::vector<PlanBufferId> states;
  for (uint32_t s = 0; s < 6; ++s) states.push_back(add_state(b, s, {char('a' + s)}, n, "2"));
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "2"}});
  b.call({.kernel = b.kernel("k_add"), .buffers = {states[0], x, b.next_state(2)}, .extent = n});
  b.call({.kernel = b.kernel("k_add"), .buffers = {states[3], states[5], y}, .extent = n});
  for (const auto& [piece, other] : {std::pair(0, 2), {2, 4}, {4, 5}, {6, 8}}) {
    b.swap_states(static_cast<uint32_t>(piece), static_cast<uint32_t>(other));
  }
  for (uint32_t s = 0; s < 6; ++s) set_initial(b, s, initial[s]);
  return b.finish();
}

TEST_CASE("chains and cycles of states trade places; contexts are independent, also in threads") {
  const std::vector<Values> initial = {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 6}};
  const test::Model model(chain_plan(initial));
  const auto work = [&](double step, bool* right) {
    Context context(model.descriptor());
    std::vector<Values> now = initial;
    *right = true;
    for (int i = 0; i < 50; ++i) {
      const Values y = test::run_vector(context, {step, -step});
      *right = *right && y == Values{now[3][0] + now[5][0], now[3][1] + now[5][1]};
      now = {now[1], now[2], {now[0][0] + step, now[0][1] - step}, now[4], now[3], now[5]};
      for (uint32_t s = 0; s < 6; ++s) *right = *right && get(context, s) == now[s];
    }
  };
  std::vector<std::thread> threads;
  bool right[4] = {};
  for (int k = 0; k < 4; ++k) threads.emplace_back(work, k + 0.5, &right[k]);
  for (std::thread& t : threads) t.join();
  for (const bool r : right) CHECK(r);
}

// total := total + x, over the old value or into memory of its own.
PlanImage in_place_plan(bool overwritten, const Values& initial) {
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}});
  const PlanBufferId total = add_state(b, 0, "total", n, "n");
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}});
  const PlanBufferId next = overwritten ? total : b.next_state(0);
  b.call({.kernel = b.kernel("k_scale"), .buffers = {total, y}, .scalars = {1.0}, .extent = n});
  b.call({.kernel = b.kernel("k_add"), .buffers = {total, x, next}, .extent = n});
  if (overwritten) {
    b.overwrite_state(0);
  } else {
    b.swap_states(0, 1);
  }
  set_initial(b, 0, initial);
  return b.finish();
}

TEST_CASE("whenever memory ends, states are what they were, and go on when there is some again") {
  const Values initial = {1, 2, 3}, ones = {1, 1, 1};
  for (const bool overwritten : {false, true}) {
    const test::Model model(in_place_plan(overwritten, initial));
    int64_t left = INT64_MAX;
    gcomp_options options{};
    options.allocator_data = &left;
    options.allocate = [](void* data, size_t bytes, size_t alignment) -> void* {
      auto* const n = static_cast<int64_t*>(data);
      if (*n == 0) return nullptr;
      --*n;
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    options.deallocate = [](void*, void* memory) { std::free(memory); };
    int failures = 0;
    for (int64_t allowed = 0; allowed < 10; ++allowed) {
      left = INT64_MAX;
      Context context(model.descriptor(), options);
      left = allowed;
      const gcomp_status first = status_of([&] { test::run_vector(context, ones); });
      failures += first != GCOMP_OK;
      CHECK((first == GCOMP_OK || first == GCOMP_ERROR_MEMORY));
      left = INT64_MAX;
      const Values now = first == GCOMP_OK ? Values{2, 3, 4} : initial;
      CHECK(get(context, 0) == now);
      left = 0;
      const Values large(5, 7.0);
      CHECK(status_of([&] { set(context, 0, large); }) == GCOMP_ERROR_MEMORY);
      CHECK(get(context, 0) == now);
      left = INT64_MAX;
      CHECK(test::run_vector(context, ones) == now);
      set(context, 0, large);
      CHECK(test::run_vector(context, Values(5, 1.0)) == large);
      CHECK(get(context, 0) == Values(5, 8.0));
      context.reset_states();
      CHECK(test::run_vector(context, ones) == initial);
      CHECK(get(context, 0) == Values{2, 3, 4});
    }
    CHECK(failures > 0);
    CHECK(failures < 10);
  }
}

TEST_CASE("a busy context refuses to show or change its states") {
  const Values initial = {1, 2, 3};
  const test::Model model(sum_plan(3, &initial));
  Context context(model.descriptor());
  struct Probe {
    gcomp_context* context;
    const gcomp_functions* functions;
    gcomp_status seen[3];
  } probe = {nullptr, model.descriptor().functions, {}};
  gcomp_options options{};
  options.trace_data = &probe;
  options.trace = [](void* data, uint32_t) {
    auto& p = *static_cast<Probe*>(data);
    p.seen[0] = p.functions->get_state(p.context, 0, nullptr);
    p.seen[1] = p.functions->set_state(p.context, 0, nullptr);
    p.seen[2] = p.functions->reset_states(p.context);
  };
  Context traced(model.descriptor(), options);
  probe.context = traced.get();
  CHECK(test::run_vector(traced, {0, 2, 1}) == Values{1, 2, 2});
  for (const gcomp_status s : probe.seen) CHECK(s == GCOMP_ERROR_BUSY);
  CHECK(get(traced, 0) == Values{1, 4, 4});
}

TEST_CASE("the prefixed functions of a linked artifact are those of the descriptor") {
  const test::Folder folder;
  const Values initial = {1, 2, 3};
  test::write_so(sum_plan(3, &initial), folder / "m.so", {.name = "sums"});
  void* const handle = dlopen((folder / "m.so").c_str(), RTLD_NOW);
  REQUIRE(handle != nullptr);
  const auto find = [&](const char* name) {
    void* const f = dlsym(handle, name);
    REQUIRE(f != nullptr);
    return f;
  };
  using Create = gcomp_status (*)(const gcomp_options*, gcomp_context**);
  using Get = gcomp_status (*)(gcomp_context*, uint32_t, gcomp_tensor*);
  using Set = gcomp_status (*)(gcomp_context*, uint32_t, const gcomp_tensor*);
  using Reset = gcomp_status (*)(gcomp_context*);
  gcomp_context* context = nullptr;
  CHECK(reinterpret_cast<Create>(find("sums_create"))(nullptr, &context) == GCOMP_OK);
  const auto get_state = reinterpret_cast<Get>(find("sums_get_state"));
  Values value = {5, 6, 7}, found(3);
  std::vector<int64_t> shape = {3};
  const gcomp_tensor given = tensor(value, shape);
  gcomp_tensor t = tensor(found, shape);
  CHECK(reinterpret_cast<Set>(find("sums_set_state"))(context, 0, &given) == GCOMP_OK);
  CHECK(get_state(context, 0, &t) == GCOMP_OK);
  CHECK(found == value);
  CHECK(reinterpret_cast<Reset>(find("sums_reset_states"))(context) == GCOMP_OK);
  CHECK(get_state(context, 0, &t) == GCOMP_OK);
  CHECK(found == initial);
  reinterpret_cast<void (*)(gcomp_context*)>(find("sums_destroy"))(context);
  dlclose(handle);
}

TEST_CASE("states and donated inputs are described") {
  const test::Folder folder;
  PlanBuilder b;
  const PlanValue n = b.symbol("n");
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "n"}}, /*donated=*/true);
  const PlanBufferId z = b.input("z", DType::kFloat64, {{n, "n"}});
  b.state(0, "w", DType::kInt32, {{b.constant(4), "4"}, {n, "n"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "n"}}, 0);
  b.copy(y, x, b.mul(n, b.constant(8)));
  b.mention(z);
  test::write_so(b.finish(), folder / "m.so");
  const Artifact artifact(folder / "m.so");
  const gcomp_signature& s = artifact.signature();
  CHECK(s.inputs[0].flags == GCOMP_DONATED);
  CHECK(s.inputs[1].flags == 0);
  REQUIRE(s.num_states == 1);
  CHECK(std::string(s.states[0].name) == "w");
  CHECK(s.states[0].dtype.bits == 32);
  CHECK(s.states[0].extents[0] == 4);
  CHECK(s.states[0].extents[1] == -1);
  CHECK(std::string(s.states[0].dims[1]) == "n");
}

TEST_CASE(
    "memory of a donated input may be that of the output that is declared, and of nothing else") {
  PlanBuilder b;
  const PlanValue n = b.constant(3);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{n, "3"}}, /*donated=*/true);
  const PlanBufferId z = b.input("z", DType::kFloat64, {{n, "3"}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{n, "3"}}, 0);
  b.call({.kernel = b.kernel("k_add"), .buffers = {x, z, y}, .extent = n});
  const test::Model model(b.finish());
  Context context(model.descriptor());
  Values xs = {1, 2, 3}, zs = {10, 20, 30}, both = {1, 2, 3, 4};
  std::vector<int64_t> shape = {3}, out_shape = {-1};
  std::vector<gcomp_tensor> outputs = {tensor(xs, out_shape)};
  context.run({tensor(xs, shape), tensor(zs, shape)}, outputs);
  CHECK(xs == Values{11, 22, 33});
  CHECK(context.try_run({tensor(xs, shape), tensor(xs, shape)}, outputs) == GCOMP_ERROR_ALIAS);
  Values ys(3);
  outputs = {tensor(ys, out_shape)};
  CHECK(context.try_run({tensor(zs, shape), tensor(zs, shape)}, outputs) == GCOMP_ERROR_ALIAS);
  CHECK(context.last_error() == "donated input \"x\" (number 0) shares memory with input \"z\"");
  const gcomp_tensor shifted = raw_tensor(&both[1], dtype_of<double>(), shape);
  CHECK(context.try_run({tensor(both, shape), shifted}, outputs) == GCOMP_ERROR_ALIAS);
  CHECK(context.try_run({shifted, tensor(both, shape)}, outputs) == GCOMP_ERROR_ALIAS);
  outputs = {tensor(zs, out_shape)};
  CHECK(context.try_run({tensor(xs, shape), tensor(zs, shape)}, outputs) == GCOMP_ERROR_ALIAS);
  CHECK(context.last_error() == "output \"y\" (number 0) shares memory with input \"z\"");
}

}  // namespace
}  // namespace gcomp
