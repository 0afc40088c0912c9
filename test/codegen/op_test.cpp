// Integer arithmetic, comparisons, casts and half formats of compiled kernels, against the op table's
// words written as plain C++.

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "gcomp/ir/constant.h"
#include "kernels.h"

using namespace gcomp;
using namespace gcomp::test;

namespace {

using Wide = __int128;

template <class T>
T wrap(Wide v) {
  return static_cast<T>(static_cast<unsigned __int128>(v));
}

template <class T>
T reference(Op op, T a, T b) {
  constexpr int kBits = std::numeric_limits<T>::digits + std::is_signed_v<T>;
  Wide x = a, y = b;
  Wide q = y == 0 ? 0 : x / y;
  Wide r = y == 0 ? 0 : x % y;
  bool moved = r != 0 && (r < 0) != (y < 0);
  bool long_shift = y < 0 || y >= kBits;
  switch (op) {
    case Op::add: return wrap<T>(x + y);
    case Op::sub: return wrap<T>(x - y);
    case Op::mul: return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    case Op::div: return wrap<T>(q);
    case Op::floor_div: return wrap<T>(q - moved);
    case Op::mod: return wrap<T>(moved ? r + y : r);
    case Op::rem: return wrap<T>(r);
    case Op::min: return a < b ? a : b;
    case Op::max: return a < b ? b : a;
    case Op::bit_and: return static_cast<T>(a & b);
    case Op::bit_or: return static_cast<T>(a | b);
    case Op::bit_xor: return static_cast<T>(a ^ b);
    case Op::shl:
      return long_shift ? T{0} : wrap<T>(static_cast<Wide>(static_cast<unsigned __int128>(x) << y));
    case Op::shr: return long_shift ? static_cast<T>(a < 0 ? -1 : 0) : static_cast<T>(x >> y);
    default: break;
  }
  REQUIRE(op == Op::pow);
  if (b < 0) return static_cast<T>(a == 1 ? 1 : a == static_cast<T>(-1) ? (b % 2 ? -1 : 1) : 0);
  uint64_t p = 1, base = static_cast<uint64_t>(a);
  for (auto n = static_cast<uint64_t>(b); n; n >>= 1, base *= base) {
    if (n & 1) p *= base;
  }
  return static_cast<T>(p);
}

template <class T>
std::vector<T> interesting() {
  std::vector<T> v;
  using L = std::numeric_limits<T>;
  for (int i = -5; i <= 70; ++i) v.push_back(static_cast<T>(i));
  for (int i = 0; i < 4; ++i) {
    v.push_back(static_cast<T>(L::min() + i));
    v.push_back(static_cast<T>(L::max() - i));
  }
  std::mt19937_64 random(7);
  for (int i = 0; i < 40; ++i) v.push_back(static_cast<T>(random() >> (random() % 64)));
  return v;
}

template <class T>
void pairs(std::vector<T>* x, std::vector<T>* y) {
  for (T a : interesting<T>()) {
    for (T b : interesting<T>()) x->push_back(a), y->push_back(b);
  }
}

constexpr Op kIntegerOps[] = {Op::add,    Op::sub,     Op::mul, Op::div, Op::floor_div,
                              Op::mod,    Op::rem,     Op::min, Op::max, Op::bit_and,
                              Op::bit_or, Op::bit_xor, Op::shl, Op::shr, Op::pow};

template <class T>
void check_integer_ops(const codegen::CompileOptions& options) {
  std::vector<T> x, y;
  pairs(&x, &y);
  std::vector<T> z(x.size());
  for (Op op : kIntegerOps) {
    Jit jit(op_kernel(op, dtype_of<T>(), dtype_of<T>(), 2, 8), options);
    jit.run({x.data(), y.data(), z.data()}, {}, 0, static_cast<int64_t>(x.size()));
    int wrong = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (z[i] == reference<T>(op, x[i], y[i])) continue;
      if (++wrong <= 3)
        MESSAGE("op " << static_cast<int>(op) << ": " << +x[i] << ", " << +y[i] << " -> " << +z[i]);
    }
    CHECK(wrong == 0);
  }
}

template <class From, class To>
To cast_reference(From v) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    using L = std::numeric_limits<To>;
    if (std::isnan(v)) return 0;
    if (v <= static_cast<From>(L::min())) return L::min();
    if (v >= std::ldexp(From{1}, L::digits)) return L::max();
  }
  return static_cast<To>(v);
}

template <class From>
std::vector<From> cast_inputs() {
  if constexpr (std::is_integral_v<From>) {
    return interesting<From>();
  } else {
    std::vector<From> v = {0,    -0.0f, 0.5f,     -0.5f,     0.999f, -0.999f, 1.5f,
                           2.5f, NAN,   INFINITY, -INFINITY, 1e30f,  -1e30f};
    for (int e : {7, 8, 15, 16, 31, 32, 63, 64}) {
      From p = std::ldexp(From{1}, e);
      for (From w : {p, std::nextafter(p, From{0}), p + 1, p - 1, p / 2 + From{0.5}}) {
        v.push_back(w), v.push_back(-w);
      }
    }
    return v;
  }
}

template <class From, class To>
void check_cast(const codegen::CompileOptions& options) {
  std::vector<From> x = cast_inputs<From>();
  std::vector<To> y(x.size());
  Jit jit(map_kernel({dtype_of<From>()}, dtype_of<To>(), 8,
                     [](Builder& b, const Values& v) { return b.cast(v[0], dtype_of<To>()); }),
          options);
  jit.run({x.data(), y.data()}, {}, 0, static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    To want = cast_reference<From, To>(x[i]);
    CAPTURE(x[i]);
    if (want != want) {
      CHECK(y[i] != y[i]);
    } else {
      CHECK(y[i] == want);
    }
  }
}

template <class From>
void check_casts_from(const codegen::CompileOptions& options) {
  check_cast<From, int8_t>(options);
  check_cast<From, int16_t>(options);
  check_cast<From, int32_t>(options);
  check_cast<From, int64_t>(options);
  check_cast<From, uint8_t>(options);
  check_cast<From, uint16_t>(options);
  check_cast<From, uint32_t>(options);
  check_cast<From, uint64_t>(options);
  check_cast<From, float>(options);
  check_cast<From, double>(options);
}

bool same_half(DType t, uint16_t a, uint16_t b) {
  uint16_t infinity = t == DType::kFloat16 ? 0x7c00 : 0x7f80;
  if ((a & 0x7fff) > infinity && (b & 0x7fff) > infinity) return true;  // both NaN
  return a == b;
}

}  // namespace

TEST_CASE_TEMPLATE("integer arithmetic", T, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t,
                   uint32_t, uint64_t) {
  for (CpuLevel level : runnable_levels()) check_integer_ops<T>(options_for(level));
  check_integer_ops<T>(options_for(CpuLevel::kV2, Effort::kFast));
}

TEST_CASE_TEMPLATE("casts: wrap, saturate, round once", T, int8_t, int16_t, int32_t, int64_t,
                   uint8_t, uint16_t, uint32_t, uint64_t, float, double) {
  for (CpuLevel level : runnable_levels()) check_casts_from<T>(options_for(level));
}

TEST_CASE("half formats: every value widens right; narrowing rounds once, from every width") {
  for (DType half : {DType::kFloat16, DType::kBFloat16}) {
    auto widen = half == DType::kFloat16 ? half_to_float : bfloat16_to_float;
    auto narrow = half == DType::kFloat16 ? double_to_half : double_to_bfloat16;
    Kernel up = map_kernel({half}, DType::kFloat32, 8, [](Builder& b, const Values& v) {
      return b.cast(v[0], DType::kFloat32);
    });
    Kernel down = map_kernel({DType::kFloat64}, half, 8,
                             [&](Builder& b, const Values& v) { return b.cast(v[0], half); });
    Kernel down32 = map_kernel({DType::kFloat32}, half, 8,
                               [&](Builder& b, const Values& v) { return b.cast(v[0], half); });
    Kernel sum = op_kernel(Op::add, half, half, 2, 8);
    for (CpuLevel level : runnable_levels()) {
      std::vector<uint16_t> all(65536);
      std::vector<float> wide(65536);
      for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
      Jit(up, options_for(level)).run({all.data(), wide.data()}, {}, 0, 65536);
      int wrong = 0;
      for (size_t i = 0; i < all.size(); ++i) {
        float want = widen(all[i]);
        wrong += std::isnan(want)
                     ? !std::isnan(wide[i])
                     : std::bit_cast<uint32_t>(want) != std::bit_cast<uint32_t>(wide[i]);
      }
      CHECK(wrong == 0);
      // Values, the midpoints between neighbours, and just beside the midpoints.
      std::vector<double> points;
      for (size_t i = 0; i < all.size(); ++i) {
        double a = static_cast<double>(widen(all[i])),
               b = static_cast<double>(widen(static_cast<uint16_t>(i + 1)));
        double middle = a + (b - a) / 2;
        for (double p : {a, middle, std::nextafter(middle, 1e300), std::nextafter(middle, -1e300)})
          points.push_back(p);
      }
      points.insert(points.end(), {65519.99, 65520, 1e300, -1e300, 1e-300, INFINITY, NAN});
      std::vector<uint16_t> got(points.size());
      Jit(down, options_for(level))
          .run({points.data(), got.data()}, {}, 0, static_cast<int64_t>(points.size()));
      std::vector<float> floats(points.begin(), points.end());
      std::vector<uint16_t> got32(points.size());
      Jit(down32, options_for(level))
          .run({floats.data(), got32.data()}, {}, 0, static_cast<int64_t>(points.size()));
      for (size_t i = 0; i < points.size(); ++i) {
        wrong += !same_half(half, got[i], narrow(points[i]));
        wrong += !same_half(half, got32[i], narrow(static_cast<double>(floats[i])));
      }
      CHECK(wrong == 0);
      // Arithmetic: widened, done, rounded once.
      std::vector<uint16_t> x(1000), y(1000), z(1000);
      std::mt19937 random(3);
      for (size_t i = 0; i < 1000; ++i)
        x[i] = static_cast<uint16_t>(random()), y[i] = static_cast<uint16_t>(random());
      Jit(sum, options_for(level)).run({x.data(), y.data(), z.data()}, {}, 0, 1000);
      for (size_t i = 0; i < 1000; ++i) {
        float s = widen(x[i]) + widen(y[i]);
        wrong += !same_half(half, z[i], narrow(static_cast<double>(s)));
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("min, max, comparisons and signs of floats, NaN in every place") {
  const float special[] = {0, -0.0f, 1, -1, NAN, INFINITY, -INFINITY, 1e-40f};
  std::vector<float> x, y;
  for (float a : special) {
    for (float b : special) x.push_back(a), y.push_back(b);
  }
  auto n = static_cast<int64_t>(x.size());
  for (CpuLevel level : runnable_levels()) {
    auto options = options_for(level);
    for (Op op : {Op::min, Op::max}) {
      std::vector<float> z(x.size());
      Jit(op_kernel(op, DType::kFloat32, DType::kFloat32, 2, 8), options)
          .run({x.data(), y.data(), z.data()}, {}, 0, n);
      for (size_t i = 0; i < x.size(); ++i) {
        if (std::isnan(x[i]) || std::isnan(y[i])) {
          CHECK(std::isnan(z[i]));
        } else {
          CHECK(z[i] == (op == Op::min ? std::min(x[i], y[i]) : std::max(x[i], y[i])));
        }
      }
    }
    for (Op op : {Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge}) {
      std::vector<uint8_t> z(x.size());
      Jit(op_kernel(op, DType::kFloat32, DType::kBool, 2, 8), options)
          .run({x.data(), y.data(), z.data()}, {}, 0, n);
      for (size_t i = 0; i < x.size(); ++i) {
        bool want = op == Op::eq   ? x[i] == y[i]
                    : op == Op::ne ? x[i] != y[i]
                    : op == Op::lt ? x[i] < y[i]
                    : op == Op::le ? x[i] <= y[i]
                    : op == Op::gt ? x[i] > y[i]
                                   : x[i] >= y[i];
        CHECK(z[i] == want);
      }
    }
    std::vector<float> s(x.size());
    Jit(op_kernel(Op::sign, DType::kFloat32, DType::kFloat32, 1, 8), options)
        .run({x.data(), s.data()}, {}, 0, n);
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        CHECK(std::isnan(s[i]));
      } else {
        CHECK(s[i] == static_cast<float>((x[i] > 0) - (x[i] < 0)));
      }
    }
  }
}

TEST_CASE("float remainders as fmod and as NumPy") {
  std::vector<double> x, y;
  const double some[] = {0,     -0.0,  1,      -1,     0.3, -0.3,     2.5,       7, -7, 1e18,
                         -1e18, 1e300, 5e-324, 1e-310, NAN, INFINITY, -INFINITY, 3, -3, 0.1};
  for (double a : some) {
    for (double b : some) x.push_back(a), y.push_back(b);
  }
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> u(-100, 100);
  for (int i = 0; i < 2000; ++i)
    x.push_back(u(random)), y.push_back(u(random) * (i % 3 ? 1 : 0.01));
  for (int i = -50; i < 50; ++i) x.push_back(0.1 * i), y.push_back(0.1);
  auto n = static_cast<int64_t>(x.size());
  auto same = [](double a, double b) {
    return (std::isnan(a) && std::isnan(b)) ||
           std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
  };
  auto check_f64 = [&](Op op, auto want) {
    std::vector<double> z(x.size());
    for (CpuLevel level : runnable_levels()) {
      Jit(op_kernel(op, DType::kFloat64, DType::kFloat64, 2, 4), options_for(level))
          .run({x.data(), y.data(), z.data()}, {}, 0, n);
      for (size_t i = 0; i < x.size(); ++i) {
        INFO(x[i], " ", y[i], " -> ", z[i], " want ", want(x[i], y[i]));
        CHECK(same(z[i], want(x[i], y[i])));
      }
    }
  };
  auto mod = [](double a, double b) {
    double r = std::fmod(a, b);
    if (r == 0) return std::copysign(0.0, b);
    return (b < 0) != (r < 0) ? r + b : r;
  };
  auto floor_div = [](double a, double b) {  // numpy/core/src/npymath: npy_divmod, in our words
    if (b == 0) return a / b;
    double r = std::fmod(a, b);
    double q = (a - r) / b;
    if (r != 0 && (b < 0) != (r < 0)) q -= 1;
    if (q == 0) return std::copysign(0.0, a / b);
    double f = std::floor(q);
    return q - f > 0.5 ? f + 1 : f;
  };
  check_f64(Op::rem, [](double a, double b) { return std::fmod(a, b); });
  check_f64(Op::mod, mod);
  check_f64(Op::floor_div, floor_div);
  std::vector<float> xf(x.begin(), x.end()), yf(y.begin(), y.end()), zf(x.size());
  for (CpuLevel level : runnable_levels()) {
    Jit(op_kernel(Op::rem, DType::kFloat32, DType::kFloat32, 2, 8), options_for(level))
        .run({xf.data(), yf.data(), zf.data()}, {}, 0, n);
    for (size_t i = 0; i < x.size(); ++i) {
      CHECK(same(static_cast<double>(zf[i]), static_cast<double>(std::fmod(xf[i], yf[i]))));
    }
  }
}

TEST_CASE("objects of every op, dtype and CPU level need libc and libm only") {
  const std::vector<std::string> allowed = {"sin",  "cos",  "tan",   "fmod", "fma",    "sinf",
                                            "cosf", "tanf", "fmodf", "fmaf", "memset", "memcpy"};
  auto arity = [](Op op) {
    if (op >= Op::cast && op <= Op::is_inf) return op == Op::cast ? 0 : 1;
    return op >= Op::add && op <= Op::shr ? 2 : 0;
  };
  auto defined_on = [](Op op, DType t) {
    bool bits = op == Op::bit_not || (op >= Op::bit_and && op <= Op::shr);
    if (t == DType::kBool) return op >= Op::bit_and && op <= Op::bit_xor;
    if (is_float(t)) return !bits;
    return bits || op == Op::neg || op == Op::abs || op == Op::sign ||
           (op >= Op::add && op <= Op::max) || (op >= Op::eq && op <= Op::ge);
  };
  auto gives_bool = [](Op op) {
    return (op >= Op::eq && op <= Op::ge) || op == Op::is_nan || op == Op::is_inf;
  };
  std::vector<Kernel> kernels;
  for (int o = 0; o < kNumOps; ++o) {
    for (int t = 0; t < kNumDTypes; ++t) {
      auto op = static_cast<Op>(o);
      auto dtype = static_cast<DType>(t);
      if (arity(op) == 0 || !defined_on(op, dtype)) continue;
      DType out = gives_bool(op) ? DType::kBool : dtype;
      kernels.push_back(op_kernel(op, dtype, out, arity(op), 8));
    }
  }
  for (int from = 0; from < kNumDTypes; ++from) {
    for (int to = 0; to < kNumDTypes; ++to) {
      auto cast = [&](Builder& b, const Values& v) { return b.cast(v[0], static_cast<DType>(to)); };
      kernels.push_back(map_kernel({static_cast<DType>(from)}, static_cast<DType>(to), 8, cast));
    }
  }
  std::vector<const Kernel*> pointers;
  std::vector<std::string> names;
  for (const Kernel& k : kernels) {
    CHECK(kernel::verify(k).empty());
    names.push_back("k" + std::to_string(pointers.size()));
    pointers.push_back(&k);
  }
  CHECK(kernels.size() > 500);
  for (CpuLevel level : {CpuLevel::kV2, CpuLevel::kV3, CpuLevel::kV4}) {
    auto options = options_for(level, Effort::kFast);
    options.verify = true;
    for (const std::string& object : codegen::compile_kernels(pointers, names, options)) {
      for (const std::string& symbol : undefined_symbols(object)) {
        if (symbol.starts_with("math.")) continue;  // in another of the objects
        INFO(symbol);
        CHECK(std::ranges::count(allowed, symbol) == 1);
      }
    }
  }
}
