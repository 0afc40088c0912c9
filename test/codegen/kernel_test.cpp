// Memory, loops, reductions, lanes and effects of compiled kernels against plain C++ loops.

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "gcomp/ir/constant.h"
#include "kernels.h"

using namespace gcomp;
using namespace gcomp::test;

namespace {

std::vector<codegen::CompileOptions> all_options() {
  std::vector<codegen::CompileOptions> all;
  for (CpuLevel level : runnable_levels()) {
    for (Effort e : {Effort::kFast, Effort::kDefault, Effort::kFull}) {
      all.push_back(options_for(level, e));
    }
  }
  all.push_back(options_for(CpuLevel::kNative));
  return all;
}

std::vector<float> ramp(size_t n, float first = 1) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), first);
  return v;
}

}  // namespace

TEST_CASE("vector loop: every length 0..40 and every start, nothing written beyond") {
  Kernel k = map_kernel({DType::kFloat32, DType::kFloat32}, DType::kFloat32, 8,
                        [](Builder& b, const Values& v) { return b.add(v[0], v[1]); });
  for (const auto& options : all_options()) {
    Jit jit(k, options);
    for (int64_t n = 0; n <= 40; ++n) {
      for (int64_t begin : {int64_t{0}, std::min<int64_t>(n, 3)}) {
        std::vector<float> x = ramp(41), y = ramp(41, 100), z(41, -1);
        jit.run({x.data(), y.data(), z.data()}, {}, begin, n);
        for (int64_t i = 0; i < 41; ++i) {
          auto u = static_cast<size_t>(i);
          CHECK(z[u] == (i >= begin && i < n ? x[u] + y[u] : -1));
        }
      }
    }
  }
}

TEST_CASE("an empty and a reversed range do nothing") {
  Kernel k = op_kernel(Op::neg, DType::kFloat32, DType::kFloat32, 1, 8);
  Jit jit(k, options_for(CpuLevel::kV2));
  std::vector<float> x = ramp(8), y(8, 5);
  jit.run({x.data(), y.data()}, {}, 4, 4);
  jit.run({x.data(), y.data()}, {}, 7, 2);
  CHECK(y == std::vector<float>(8, 5));
}

TEST_CASE("scalar parameters of every width arrive by their bits") {
  Builder b;
  Value i64 = b.scalar(DType::kInt64), f = b.scalar(DType::kFloat32);
  Value d = b.scalar(DType::kFloat64), i8 = b.scalar(DType::kInt8), t = b.scalar(DType::kBool);
  Buffer y = b.parameter(DType::kFloat64, Role::kOut);
  Values all = {b.cast(i64, DType::kFloat64), b.cast(f, DType::kFloat64), d,
                b.cast(i8, DType::kFloat64), b.cast(t, DType::kFloat64)};
  for (size_t i = 0; i < all.size(); ++i) b.store(y, b.index(static_cast<int64_t>(i)), all[i]);
  Kernel k = b.finish();
  for (const auto& options : all_options()) {
    double out[5] = {};
    int64_t junk = int64_t{0x55} << 40;
    Jit(k, options)
        .run({out},
             {-7, junk | std::bit_cast<int32_t>(2.5f), std::bit_cast<int64_t>(-0.125), junk | 0x80,
              junk | 1},
             0, 0);
    CHECK(out[0] == -7);
    CHECK(out[1] == 2.5);
    CHECK(out[2] == -0.125);
    CHECK(out[3] == -128);
    CHECK(out[4] == 1);
  }
}

TEST_CASE("horizontal sums add in halving order, maxima propagate NaN") {
  Builder b;
  Buffer x = b.parameter(DType::kFloat32, Role::kIn), y = b.parameter(DType::kFloat32, Role::kOut);
  Value v = b.load(x, b.index(0), 8);
  b.store(y, b.index(0), b.reduce(Op::add, v));
  b.store(y, b.index(1), b.reduce(Op::max, v));
  b.store(y, b.index(2), b.reduce(Op::min, v));
  b.store(y, b.index(3), b.reduce(Op::mul, v));
  Kernel k = b.finish();
  std::mt19937 random(1);
  for (const auto& options : all_options()) {
    Jit jit(k, options);
    for (int turn = 0; turn < 20; ++turn) {
      float a[8], r[4];
      for (float& e : a) e = std::uniform_real_distribution<float>(-1e3f, 1e3f)(random);
      jit.run({a, r}, {}, 0, 0);
      float s[4], p[4];
      for (int i = 0; i < 4; ++i) s[i] = a[i] + a[i + 4], p[i] = a[i] * a[i + 4];
      CHECK(r[0] == (s[0] + s[2]) + (s[1] + s[3]));
      CHECK(r[3] == (p[0] * p[2]) * (p[1] * p[3]));
      CHECK(r[1] == *std::max_element(a, a + 8));
      CHECK(r[2] == *std::min_element(a, a + 8));
      a[turn % 8] = NAN;
      jit.run({a, r}, {}, 0, 0);
      CHECK(std::isnan(r[1]));
      CHECK(std::isnan(r[2]));
    }
  }
}

TEST_CASE("carried values: a dot product with a vector accumulator and a scalar tail") {
  Builder b;
  Buffer x = b.parameter(DType::kFloat64, Role::kIn), y = b.parameter(DType::kFloat64, Role::kOut);
  Value zero = b.constant({DType::kFloat64, 4}, 0);
  Value sum = b.vector_loop(b.range_begin(), b.range_end(), 4, {zero, b.f64(0)},
                            [&](Value i, int lanes, std::span<const Value> c) -> Values {
                              Value v = b.load(x, i, lanes);
                              if (lanes == 4) return {b.fma(v, v, c[0]), c[1]};
                              return {c[0], b.fma(v, v, c[1])};
                            })[0];
  b.store(y, b.index(0), b.reduce(Op::add, sum));
  Kernel k = b.finish();
  for (const auto& options : all_options()) {
    double a[12], r = 0;
    for (int i = 0; i < 12; ++i) a[i] = i;
    Jit(k, options).run({a, &r}, {}, 0, 12);
    CHECK(r == 506);
  }
}

TEST_CASE("nested loops, if with results, while") {
  Builder b;
  Buffer y = b.parameter(DType::kInt64, Role::kOut);
  // y[i] = number of Collatz steps of i + 1, negated for odd i
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    Value n = b.add(i, b.index(1));
    Values r = b.while_loop(
        {n, b.index(0)}, [&](std::span<const Value> c) { return b.gt(c[0], b.index(1)); },
        [&](std::span<const Value> c) -> Values {
          Value odd = b.eq(b.bit_and(c[0], b.index(1)), b.index(1));
          Value next = b.if_else(
              odd, [&] { return Values{b.add(b.mul(c[0], b.index(3)), b.index(1))}; },
              [&] { return Values{b.shr(c[0], b.index(1))}; })[0];
          return {next, b.add(c[1], b.index(1))};
        });
    Value odd = b.eq(b.index_rem(i, b.index(2)), b.index(1));
    b.store(y, i, b.where(odd, b.neg(r[1]), r[1]));
  });
  Kernel k = b.finish();
  for (const auto& options : all_options()) {
    int64_t out[30];
    Jit(k, options).run({out}, {}, 0, 30);
    for (int64_t i = 0; i < 30; ++i) {
      int64_t steps = 0;
      for (int64_t n = i + 1; n > 1; n = n % 2 ? 3 * n + 1 : n / 2) ++steps;
      CHECK(out[i] == (i % 2 ? -steps : steps));
    }
  }
}

TEST_CASE("a local matrix is transposed in registers and a table gathered") {
  for (int n : {2, 4, 8}) {
    Builder b;
    Buffer x = b.parameter(DType::kFloat32, Role::kIn);
    Buffer y = b.parameter(DType::kFloat32, Role::kOut);
    Buffer local = b.local(DType::kFloat32, static_cast<uint32_t>(n * n));
    b.for_loop(b.index(0), b.index(n), b.index(1), [&](Value i) {
      b.store(local, b.mul(i, b.index(n)), b.load(x, b.mul(i, b.index(n)), n));
    });
    Values rows;
    for (int i = 0; i < n; ++i) rows.push_back(b.load(local, b.index(i * n), n));
    rows = b.transpose(rows);
    for (int i = 0; i < n; ++i) b.store(y, b.index(i * n), rows[static_cast<size_t>(i)]);
    Kernel k = b.finish();
    for (const auto& options : all_options()) {
      std::vector<float> in = ramp(static_cast<size_t>(n * n)), out(in.size());
      Jit(k, options).run({in.data(), out.data()}, {}, 0, 0);
      for (int i = 0; i < n * n; ++i) {
        CHECK(out[static_cast<size_t>(i)] == in[static_cast<size_t>(i % n * n + i / n)]);
      }
    }
  }
}

TEST_CASE("tables, gather, scatter, masked access, shuffles") {
  Builder b;
  Buffer x = b.parameter(DType::kInt64, Role::kIn);
  Buffer y = b.parameter(DType::kInt32, Role::kOut);
  uint64_t words[] = {10, 20, 30, static_cast<uint32_t>(-40)};
  Buffer t = b.table(DType::kInt32, words);
  Value at = b.load(x, b.index(0), 4);
  Value v = b.gather(t, at);
  b.store(y, b.index(0), v);
  Value mask = b.gt(v, b.constant({DType::kInt32, 1}, 15));
  b.masked_store(y, b.index(4), mask, v);
  b.store(y, b.index(8), b.masked_load(t, b.index(0), mask, b.constant({DType::kInt32, 1}, 7)));
  b.scatter(y, b.add(at, b.index(12)), b.iota(DType::kInt32, 4));
  b.store(y, b.index(16), b.interleave_low(v, b.iota(DType::kInt32, 4)));
  b.store(y, b.index(20), b.interleave_high(v, b.iota(DType::kInt32, 4)));
  b.store(y, b.index(24), b.slice_lanes(b.concat(v, v), 2, 4));
  b.store(y, b.index(28), b.insert(v, 2, b.extract(v, 0)));
  b.store(y, b.index(32), b.load_splat(t, b.index(1), 4));
  Kernel k = b.finish();
  for (const auto& options : all_options()) {
    int64_t in[4] = {3, 0, 2, 0};
    std::vector<int32_t> out(36, -1);
    Jit(k, options).run({in, out.data()}, {}, 0, 0);
    CHECK(out == std::vector<int32_t>{-40, 10, 30,  10, -1,  -1, 30,  -1, 7,  7,  30, 7,
                                      3,   -1, 2,   0,  -40, 0,  10,  1,  30, 2,  10, 3,
                                      30,  10, -40, 10, -40, 10, -40, 10, 20, 20, 20, 20});
  }
}

TEST_CASE("bool tensors are bytes; any byte but 0 is true") {
  Kernel k =
      map_kernel({DType::kBool, DType::kBool}, DType::kBool, 16,
                 [](Builder& b, const Values& v) { return b.bit_and(v[0], b.bit_not(v[1])); });
  for (const auto& options : all_options()) {
    std::vector<uint8_t> x(37), y(37), z(37);
    for (size_t i = 0; i < 37; ++i) {
      x[i] = static_cast<uint8_t>(i % 3 * 85), y[i] = static_cast<uint8_t>(i % 2);
    }
    Jit(k, options).run({x.data(), y.data(), z.data()}, {}, 0, 37);
    for (size_t i = 0; i < 37; ++i) CHECK(z[i] == (x[i] != 0 && y[i] == 0 ? 1 : 0));
  }
}

TEST_CASE("set_error keeps the least code") {
  Builder b;
  Buffer x = b.parameter(DType::kFloat32, Role::kIn);
  Value code = b.scalar(DType::kInt64);
  b.for_loop(b.range_begin(), b.range_end(), b.index(1), [&](Value i) {
    b.if_then(b.lt(b.load(x, i), b.f32(0)), [&] { b.set_error(b.add(code, i)); });
  });
  Kernel k = b.finish();
  REQUIRE(k.num_parameters() == 2);
  for (const auto& options : all_options()) {
    float a[5] = {1, 2, -1, -2, 3};
    int64_t error = INT64_MAX;
    Jit jit(k, options);
    jit.run({a, &error}, {100}, 0, 2);
    CHECK(error == INT64_MAX);
    jit.run({a, &error}, {100}, 0, 5);
    CHECK(error == 102);
    jit.run({a, &error}, {200}, 0, 5);
    CHECK(error == 102);
  }
}

TEST_CASE("equal bytes for any number of threads; text forms exist") {
  std::vector<Kernel> kernels;
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) {
    kernels.push_back(map_kernel(
        {DType::kFloat32}, DType::kFloat32, 8,
        [&](Builder& b, const Values& v) { return b.add(v[0], b.f32(static_cast<float>(i))); }));
    names.push_back("k" + std::to_string(i));
  }
  std::vector<const Kernel*> pointers;
  for (const Kernel& k : kernels) pointers.push_back(&k);
  codegen::CompileOptions options = options_for(CpuLevel::kV3);
  options.kernels_per_module = 4;
  auto one = codegen::compile_kernels(pointers, names, options);
  options.threads = 4;
  CHECK(codegen::compile_kernels(pointers, names, options) == one);
  CHECK(one.size() == 5);
  options.emit = codegen::Emit::kAssembly;
  CHECK(codegen::compile_kernels(pointers, names, options)[0].find("vaddps") != std::string::npos);
  options.emit = codegen::Emit::kLlvmText;
  CHECK(codegen::compile_kernels(pointers, names, options)[0].find("fadd <8 x float>") !=
        std::string::npos);
}

TEST_CASE("straight line: calls in order, through the stack, through memory and out of line") {
  Kernel twice = map_kernel({DType::kFloat64}, DType::kFloat64, 4,
                            [](Builder& b, const Values& v) { return b.add(v[0], v[0]); });
  Kernel product = map_kernel({DType::kFloat64, DType::kFloat64}, DType::kFloat64, 4,
                              [](Builder& b, const Values& v) { return b.mul(v[0], v[1]); });
  using Code = codegen::StraightLine;
  using Storage = Code::Storage;
  const std::vector<double> ones(9, 1.0);
  for (const auto& options : all_options()) {
    for (const std::string symbol : {"", "outer"}) {
      for (int64_t n : {1, 3, 4, 9}) {
        Code code;
        code.storages = {{.kind = Storage::Kind::kBuffer, .buffer = 0},
                         {.kind = Storage::Kind::kBuffer, .buffer = 1},
                         {.kind = Storage::Kind::kStack, .bytes = 128},
                         {.kind = Storage::Kind::kData, .data = std::as_bytes(std::span(ones))}};
        code.steps = {
            {.kernel = &twice, .places = {{0, 0}, {2, 8}}, .extent = n},
            {.kernel = &twice, .symbol = symbol, .places = {{2, 8}, {1, 8}}, .extent = n},
            {.kernel = &product, .places = {{0, 0}, {1, 8}, {1, 8}}, .extent = n},
            {.kernel = &product, .places = {{1, 8}, {3, 0}, {1, 8}}, .extent = n},
            {.kind = Code::Step::Kind::kStore, .places = {{1, 0}}, .scalars = {77}},
            {.kind = Code::Step::Kind::kCopy, .places = {{1, 80}, {1, 8}}, .extent = 8},
            {.kind = Code::Step::Kind::kFill, .places = {{1, 88}}, .scalars = {1}, .extent = 8}};
        const kernel::Kernel* kernels[] = {&twice};
        const std::string names[] = {"outer"};
        std::vector<std::string> objects = codegen::compile_kernels(kernels, names, options);
        objects.push_back(codegen::compile_straight_line(code, "run", options));
        Jit jit(objects);
        double x[9], y[12] = {};
        for (int i = 0; i < 9; ++i) x[i] = i + 1;
        void* buffers[] = {x, y};
        using Function = void (*)(void* const*, const int64_t*, int64_t, int64_t);
        reinterpret_cast<Function>(jit.find("run"))(buffers, nullptr, 0, 1);
        for (int i = 0; i < 9; ++i) CHECK(y[i + 1] == (i < n ? 4 * x[i] * x[i] : 0));
        CHECK(std::bit_cast<int64_t>(y[0]) == 77);
        CHECK(y[10] == 4);
        CHECK(std::bit_cast<int64_t>(y[11]) == 0x0101010101010101);
      }
    }
  }
}

TEST_CASE(
    "straight line: the first kernel that fails ends it, with the number of its own message") {
  Builder b;
  const auto limit = b.scalar(DType::kInt64);
  const auto x = b.parameter(DType::kInt64, kernel::Role::kIn);
  b.parameter(DType::kInt64, kernel::Role::kError);
  const auto out = b.parameter(DType::kInt64, kernel::Role::kOut);
  const auto v = b.load(x, b.index(0));
  b.if_then(b.gt(v, limit), [&] { b.set_error(b.index(1)); });
  b.store(out, b.index(0), v);
  Kernel k = b.finish();
  codegen::StraightLine code;
  for (uint32_t i = 0; i < 4; ++i) code.storages.push_back({.buffer = i});
  code.status = {1, 0};
  code.steps = {
      {.kernel = &k, .places = {{0, 0}, {1, 0}, {2, 0}}, .scalars = {10}, .extent = 1, .error = 0},
      {.kernel = &k, .places = {{0, 0}, {1, 0}, {3, 0}}, .scalars = {5}, .extent = 1, .error = 2},
      {.kind = codegen::StraightLine::Step::Kind::kStore, .places = {{2, 0}}, .scalars = {99}}};
  for (const auto& options : all_options()) {
    const std::string object = codegen::compile_straight_line(code, "run", options);
    Jit jit(std::span(&object, 1));
    using Function = void (*)(void* const*, const int64_t*, int64_t, int64_t);
    const auto run = reinterpret_cast<Function>(jit.find("run"));
    for (const int64_t given : {5, 6, 11}) {
      int64_t in = given, status = INT64_MAX, first = 0, second = 0;
      void* buffers[] = {&in, &status, &first, &second};
      run(buffers, nullptr, 0, 1);
      CHECK(status == (given == 5 ? INT64_MAX : given == 6 ? 3 : 1));
      CHECK(first == (given == 5 ? 99 : given));
      CHECK(second == (given == 11 ? 0 : given));
    }
  }
}
