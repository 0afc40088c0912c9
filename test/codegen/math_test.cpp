// The vector math of compiled kernels against 113-bit truth: over the whole domain, its edges and
// random bit patterns. GCOMP_MATH_POINTS sets the number of points an interval, GCOMP_MATH_REPORT prints
// the worst error of each function and where it is (lib/kernel/README.md has the table).

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "kernels.h"
#include "math_truth.h"

using namespace gcomp;
using namespace gcomp::test;

namespace {

struct Row {
  Op op;
  const char* name;
  double bound32, bound64;                           // ULP
  std::vector<std::pair<double, double>> intervals;  // sampled densely, besides all bit patterns
  int arity = 1;
};

const std::vector<Row> kRows = {
    {Op::exp, "exp", 1.3, 1.1, {{-1, 1}, {-90, 89}, {-750, 710}, {-104, -87}}},
    {Op::exp2, "exp2", 1.5, 1.7, {{-1, 1}, {-150, 128}, {-1080, 1025}}},
    {Op::expm1, "expm1", 1.9, 2, {{-1, 1}, {-40, 89}, {-1e-5, 1e-5}, {80, 710}}},
    {Op::log, "log", 1.1, 1.1, {{0.5, 2}, {0.99, 1.01}, {0, 100}}},
    {Op::log2, "log2", 1.1, 1.1, {{0.5, 2}, {0.99, 1.01}, {0, 100}}},
    {Op::log10, "log10", 1.1, 1.6, {{0.5, 2}, {0.99, 1.01}, {0, 1e5}}},
    {Op::log1p, "log1p", 1.6, 1.6, {{-1, 1}, {-0.01, 0.01}, {0, 100}, {0.3, 0.5}}},
    {Op::sin, "sin", 2, 1.1, {{-4, 4}, {-1000, 1000}, {-1e6, 1e6}, {-1e9, 1e9}}},
    {Op::cos, "cos", 2, 1.1, {{-4, 4}, {-1000, 1000}, {-1e6, 1e6}, {-1e9, 1e9}}},
    {Op::tan, "tan", 4, 2.6, {{-4, 4}, {-1000, 1000}, {-1e6, 1e6}, {-1e9, 1e9}}},
    {Op::asin, "asin", 3, 3, {{-1, 1}, {0.45, 0.55}, {0.99, 1}}},
    {Op::acos, "acos", 3, 3, {{-1, 1}, {0.45, 0.55}, {0.99, 1}}},
    {Op::atan, "atan", 3, 3, {{-1, 1}, {-10, 10}}},
    {Op::atan2, "atan2", 3, 3, {{-1, 1}, {-10, 10}}, 2},
    {Op::sinh, "sinh", 3, 3, {{-1.5, 1.5}, {-90, 90}, {-711, 711}}},
    {Op::cosh, "cosh", 3, 3, {{-1.5, 1.5}, {-90, 90}, {-711, 711}}},
    {Op::tanh, "tanh", 3, 3, {{-1, 1}, {-10, 10}, {-20, 20}}},
    {Op::asinh, "asinh", 1, 4, {{-1, 1}, {-100, 100}}},
    {Op::acosh, "acosh", 1, 4, {{1, 2}, {1, 1.001}, {1, 1000}}},
    {Op::atanh, "atanh", 1, 4, {{-1, 1}, {-0.1, 0.1}}},
    {Op::sigmoid, "sigmoid", 3, 3, {{-10, 10}, {-104, 30}, {-746, 40}}},
    {Op::softplus, "softplus", 3, 3, {{-5, 5}, {-104, 30}, {-746, 40}}},
    {Op::log1mexp, "log1mexp", 4, 4, {{-1, 0}, {-20, 0}, {-100, 0}, {-0.001, 0}}},
    {Op::erf, "erf", 3, 3, {{-1, 1}, {-4, 4}, {0.9, 1.1}, {-6.5, 6.5}}},
    {Op::erfc, "erfc", 1, 4, {{-1, 1}, {-6, 12}, {0, 27.3}}},
    {Op::erfcx, "erfcx", 1, 4, {{-1, 1}, {-26.7, 5}, {0, 100}}},
    {Op::erfinv, "erfinv", 1, 4, {{-1, 1}, {0.45, 0.55}, {0.9999, 1}}},
    {Op::lgamma,
     "lgamma",
     1,
     8,
     {{0, 3}, {0.9, 1.1}, {1.9, 2.1}, {2, 12}, {0, 1000}, {-5, 0}, {-50, 0}}},
    {Op::digamma,
     "digamma",
     1,
     12,
     {{0, 2}, {1.46, 1.4633}, {1, 12}, {0, 1000}, {-5, 0}, {-50, 0}}},
    {Op::trigamma, "trigamma", 1, 12, {{0, 2}, {1, 12}, {0, 1000}, {-5, 0}, {-50, 0}}},
    {Op::pow, "pow", 1, 1.1, {{0, 2}, {0, 50}, {-20, 20}}, 2},
};

int points_per_interval() {
  const char* text = std::getenv("GCOMP_MATH_POINTS");
  return text ? std::atoi(text) : 700;
}

template <class T>
std::vector<T> edges() {
  using L = std::numeric_limits<T>;
  std::vector<T> v;
  for (T m : {T(0),
              L::denorm_min(),
              L::min(),
              L::min() / 2,
              L::max(),
              L::infinity(),
              T(1),
              T(0.5),
              T(2),
              T(3),
              T(8),
              T(10),
              T(1.5),
              T(2.5),
              T(0.25),
              T(1e-20),
              T(1e-30),
              T(1e10),
              T(1e30),
              T(7),
              T(100),
              T(170),
              T(1e5),
              T(12345.678),
              L::epsilon(),
              T(3.14159265358979323846),
              T(1.57079632679489661923),
              T(0.78539816339744830962),
              T(0.41421356237309503),
              T(88.72284),
              T(709.782712893384),
              T(0.34657359),
              T(0.69314718055994531)}) {
    for (T w : {m, std::nextafter(m, T(0)), std::nextafter(m, L::infinity())}) {
      v.push_back(w), v.push_back(-w);
    }
  }
  v.push_back(L::quiet_NaN());
  return v;
}

template <class T>
std::vector<T> random_bits(int n, std::mt19937_64& random) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  std::vector<T> v;
  for (int i = 0; i < n; ++i) v.push_back(std::bit_cast<T>(static_cast<Bits>(random())));
  return v;
}

template <class T>
std::vector<T> unary_points(const Row& row, std::mt19937_64& random) {
  std::vector<T> x = edges<T>();
  int n = points_per_interval();
  for (auto [lo, hi] : row.intervals) {
    std::uniform_real_distribution<double> u(lo, hi);
    for (int i = 0; i < n; ++i) x.push_back(static_cast<T>(u(random)));
  }
  // Every order of magnitude.
  std::uniform_real_distribution<double> exponent(sizeof(T) == 4 ? -149 : -1074,
                                                  sizeof(T) == 4 ? 128 : 1024);
  for (int i = 0; i < n; ++i) {
    T v = static_cast<T>(std::exp2(exponent(random)));
    x.push_back(i % 2 ? v : -v);
  }
  return x;
}

template <class T>
void pairs(const Row& row, std::mt19937_64& random, std::vector<T>* x, std::vector<T>* y) {
  for (T a : edges<T>()) {
    for (T b : edges<T>()) x->push_back(a), y->push_back(b);
  }
  int n = points_per_interval();
  for (auto [lo, hi] : row.intervals) {
    std::uniform_real_distribution<double> u(lo, hi), v(-20, 20);
    for (int i = 0; i < n; ++i)
      x->push_back(static_cast<T>(u(random))), y->push_back(static_cast<T>(v(random)));
  }
  for (T a : random_bits<T>(n, random)) x->push_back(a);
  for (T a : random_bits<T>(n, random)) y->push_back(a);
  for (int i = 0; i < n; ++i) {  // results over the whole range, and integral exponents
    std::uniform_real_distribution<double> u(0.1, 10), v(-1, 1);
    double base = u(random), range = (sizeof(T) == 4 ? 104 : 745) / std::fabs(std::log(base));
    x->push_back(static_cast<T>(base)), y->push_back(static_cast<T>(v(random) * range));
    x->push_back(static_cast<T>(-base)), y->push_back(static_cast<T>(std::round(v(random) * 20)));
  }
}

// |got - want| in units of the last place of want (or of scale).
template <class T>
double ulp_error(T got, Quad want, Quad scale) {
  using L = std::numeric_limits<T>;
  T rounded = static_cast<T>(want);
  if (std::isnan(rounded)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  if (got == rounded) {
    // Zeros agree in sign where the truth is a zero.
    if (got == 0 && want == 0) return std::signbit(got) == std::signbit(rounded) ? 0 : 0.25;
    if (std::isinf(got)) return 0;
  }
  Quad size = want < 0 ? -want : want;
  if (scale > size) size = scale;
  int e = 0;
  std::frexp(static_cast<T>(size > Quad(L::max()) ? Quad(L::max()) : size), &e);
  Quad ulp = std::ldexp(1.0, std::max(e - L::digits, L::min_exponent - L::digits));
  Quad value =
      std::isinf(got) ? (got > 0 ? 1 : -1) * Quad(L::max()) + (got > 0 ? ulp : -ulp) : Quad(got);
  Quad error = (value - want) / ulp;
  if (std::isinf(rounded) && !std::isinf(got) && error > -2 && error < 2) return 0;
  return std::fabs(static_cast<double>(error));
}

template <class T>
struct Worst {
  double error = 0;
  T x = 0, y = 0, got = 0;
  double want = 0;
};

template <class T>
Worst<T> measure(const Row& row, CpuLevel level, const std::vector<T>& x, const std::vector<T>& y,
                 const std::vector<Quad>& want) {
  Jit jit(op_kernel(row.op, dtype_of<T>(), dtype_of<T>(), row.arity, sizeof(T) == 4 ? 8 : 4),
          options_for(level));
  std::vector<T> r(x.size());
  std::vector<void*> buffers = {const_cast<T*>(x.data())};
  if (row.arity == 2) buffers.push_back(const_cast<T*>(y.data()));
  buffers.push_back(r.data());
  jit.run(buffers, {}, 0, static_cast<int64_t>(x.size()));
  Worst<T> worst;
  for (size_t i = 0; i < x.size(); ++i) {
    double e = ulp_error(r[i], want[i], error_scale(row.op, x[i]));
    if (e > worst.error) worst = {e, x[i], y[i], r[i], static_cast<double>(want[i])};
  }
  return worst;
}

template <class T>
void check_row(const Row& row, double bound) {
  std::mt19937_64 random(11);
  std::vector<T> x, y;
  if (row.arity == 1) {
    x = unary_points<T>(row, random);
    for (T v : random_bits<T>(points_per_interval(), random)) x.push_back(v);
    y.resize(x.size());
  } else {
    pairs(row, random, &x, &y);
  }
  std::vector<Quad> want;
  for (size_t i = 0; i < x.size(); ++i) want.push_back(truth(row.op, x[i], y[i]));
  for (CpuLevel level : runnable_levels()) {
    Worst<T> w = measure(row, level, x, y, want);
    if (std::getenv("GCOMP_MATH_REPORT")) {
      std::printf("%-9s f%d v%d  %6.3f ulp at %.17g, %.17g: %.17g, true %.17g\n", row.name,
                  static_cast<int>(sizeof(T) * 8), static_cast<int>(level) + 2, w.error,
                  static_cast<double>(w.x), static_cast<double>(w.y), static_cast<double>(w.got),
                  w.want);
    }
    INFO(row.name, " f", sizeof(T) * 8, " level ", static_cast<int>(level), ": ", w.error,
         " ulp at ", w.x, ", ", w.y, ": ", w.got, ", true ", w.want);
    CHECK(w.error <= bound);
  }
}

}  // namespace

TEST_CASE("float32 functions stay within their bounds") {
  for (const Row& row : kRows) check_row<float>(row, row.bound32);
}

TEST_CASE("float64 functions stay within their bounds") {
  for (const Row& row : kRows) check_row<double>(row, row.bound64);
}

TEST_CASE_TEMPLATE("vector lanes, tails and out-of-line calls give the same bits", T, float,
                   double) {
  std::mt19937_64 random(13);
  for (const Row& row : kRows) {
    std::vector<T> x = unary_points<T>(row, random), y = x;
    std::shuffle(y.begin(), y.end(), random);
    auto n = static_cast<int64_t>(x.size());
    std::vector<void*> buffers = {x.data()};
    if (row.arity == 2) buffers.push_back(y.data());
    std::vector<std::vector<T>> results;
    for (int lanes : {1, 4, 16}) {
      Kernel k = op_kernel(row.op, dtype_of<T>(), dtype_of<T>(), row.arity, lanes);
      for (Effort e : {Effort::kFast, Effort::kDefault}) {
        std::vector<void*> all = buffers;
        results.emplace_back(x.size());
        all.push_back(results.back().data());
        Jit(k, options_for(CpuLevel::kV2, e)).run(all, {}, 0, n);
      }
    }
    for (const std::vector<T>& r : results) {
      for (size_t i = 0; i < x.size(); ++i) {
        if (std::memcmp(&r[i], &results[0][i], sizeof(T)) == 0) continue;
        // Which NaN a NaN gives is unspecified.
        if (std::isnan(r[i]) && std::isnan(results[0][i])) continue;
        FAIL_CHECK(row.name, "(", x[i], ", ", y[i], ") is ", r[i], " or ", results[0][i]);
      }
    }
  }
}

TEST_CASE("speed of the functions, in ns an element" * doctest::skip()) {
  static constexpr int kCount = 1024;
  auto time_of = [](const Row& row, auto zero) {
    using T = decltype(zero);
    auto [lo, hi] = row.intervals[0];
    std::vector<T> x(kCount), y(kCount, T(2.7)), r(kCount);
    std::mt19937 random(1);
    for (T& v : x) v = static_cast<T>(std::uniform_real_distribution<double>(lo, hi)(random));
    Jit jit(op_kernel(row.op, dtype_of<T>(), dtype_of<T>(), row.arity, sizeof(T) == 4 ? 8 : 4),
            options_for(CpuLevel::kV3));
    std::vector<void*> buffers = {x.data()};
    if (row.arity == 2) buffers.push_back(y.data());
    buffers.push_back(r.data());
    double best = 1e30;
    for (int turn = 0; turn < 200; ++turn) {
      auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < 10; ++i) jit.run(buffers, {}, 0, kCount);
      std::chrono::duration<double, std::nano> d = std::chrono::steady_clock::now() - start;
      best = std::min(best, d.count() / (10 * kCount));
    }
    return best;
  };
  for (const Row& row : kRows)
    std::printf("%-9s f32 %6.2f  f64 %6.2f ns\n", row.name, time_of(row, 0.0f), time_of(row, 0.0));
}
