// Semantics are the op table's. What C++ leaves undefined (overflow, x/0, long shifts, casts out of range) is
// defined here, with arithmetic that a host compiler understands too: tests run the same text.

#include "helpers.h"

#include <array>

namespace gcomp::codegen {
namespace {

constexpr std::string_view kPreamble = R"(typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
typedef u16 f16;   // bits
typedef u16 bf16;  // bits
template <int n>
struct gcomp_words {
  u64 w[n];
};
#ifndef GCOMP_KERNEL
#define GCOMP_SHARED(type, name, size) __shared__ __align__(16) type name[size]
#define GCOMP_BLOCK_KERNEL(name, n, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ gcomp_words<n> a)
#define GCOMP_KERNEL(name, n) GCOMP_BLOCK_KERNEL(name, n, 256)
#endif
)";

// A warp's product of matrices (Builder::warp_mma) of `format`, which is `shape` in PTX.
#define GCOMP_MMA(format, shape)                                                 \
  "__device__ void mma_" format                                                  \
  "(f32& d0, f32& d1, f32& d2, f32& d3, u32 a0, u32 a1, u32 a2, u32 a3,\n"       \
  "                         u32 b0, u32 b1, f32 c0, f32 c1, f32 c2, f32 c3) {\n" \
  "#ifdef __CUDA_ARCH__\n"                                                       \
  "  asm volatile(\n"                                                            \
  "      \"mma.sync.aligned." shape                                              \
  " {%0, %1, %2, %3}, \"\n"                                                      \
  "      \"{%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};\"\n"                \
  "      : \"=f\"(d0), \"=f\"(d1), \"=f\"(d2), \"=f\"(d3)\n"                     \
  "      : \"r\"(a0), \"r\"(a1), \"r\"(a2), \"r\"(a3), \"r\"(b0), \"r\"(b1),\n"  \
  "        \"f\"(c0), \"f\"(c1), \"f\"(c2), \"f\"(c3));\n"                       \
  "#else\n"                                                                      \
  "  gcomp_emulator::mma_" format                                                \
  "(d0, d1, d2, d3, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3});\n"            \
  "#endif\n"                                                                     \
  "}\n"

// By Helper. Integers are computed in 64 unsigned bits and cut, which wraps.
constexpr std::array<std::string_view, static_cast<size_t>(Helper::kCount)> kTexts = {
    R"(template <class T>
__device__ bool is_nan(T a) {
  return a != a;
}
)",
    R"(template <class T>
__device__ bool is_inf(T a) {
  return a == a && a - a != a - a;
}
)",
    R"(template <class T>
__device__ T min_of(T a, T b) {  // NaN if either is
  return a < b || a != a ? a : b;
}
)",
    R"(template <class T>
__device__ T max_of(T a, T b) {  // NaN if either is
  return a > b || a != a ? a : b;
}
)",
    R"(template <class T>
__device__ T sign_of(T a) {
  return a > T(0) ? T(1) : a < T(0) ? T(-1) : a;
}
)",
    R"(template <class T>
__device__ T wrap_add(T a, T b) {
  return (T)((u64)a + (u64)b);
}
)",
    R"(template <class T>
__device__ T wrap_sub(T a, T b) {
  return (T)((u64)a - (u64)b);
}
)",
    R"(template <class T>
__device__ T wrap_mul(T a, T b) {
  return (T)((u64)a * (u64)b);
}
)",
    R"(template <class T>
__device__ T wrap_neg(T a) {
  return (T)(0 - (u64)a);
}
)",
    R"(template <class T>
__device__ T wrap_abs(T a) {
  return a < 0 ? (T)(0 - (u64)a) : a;
}
)",
    R"(template <class T>
__device__ T int_div(T a, T b) {  // toward zero; x / 0 is 0
  if (b == 0) return 0;
  if (b == (T)-1 && (T)-1 < 0) return (T)(0 - (u64)a);
  return (T)(a / b);
}
)",
    R"(template <class T>
__device__ T int_rem(T a, T b) {  // of the dividend's sign; x rem 0 is 0
  if (b == 0 || (b == (T)-1 && (T)-1 < 0)) return 0;
  return (T)(a % b);
}
)",
    R"(template <class T>
__device__ T int_floor_div(T a, T b) {  // x / 0 is 0
  if (b == 0) return 0;
  if (b == (T)-1 && (T)-1 < 0) return (T)(0 - (u64)a);
  const T r = (T)(a % b);
  return (T)(a / b - (r != 0 && (r < 0) != (b < 0)));
}
)",
    R"(template <class T>
__device__ T int_mod(T a, T b) {  // of the divisor's sign; x mod 0 is 0
  if (b == 0 || (b == (T)-1 && (T)-1 < 0)) return 0;
  const T r = (T)(a % b);
  return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;
}
)",
    R"(template <class T>
__device__ T shift_left(T a, T b) {  // a count that is negative or too large gives 0
  return (u64)b < sizeof(T) * 8 ? (T)((u64)a << (u64)b) : (T)0;
}
)",
    R"(template <class T>
__device__ T shift_right(T a, T b) {  // a count that is negative or too large leaves the sign
  if ((u64)b < sizeof(T) * 8) return (T)(a >> b);
  return a < 0 ? (T)-1 : (T)0;
}
)",
    R"(template <class T, class F>
__device__ T saturate(F x, F least, F most, T low, T high) {  // toward zero; NaN is 0
  if (x != x) return 0;
  return x <= least ? low : x >= most ? high : (T)x;
}
)",
    R"(__device__ f32 half_to_float(f16 h) {
#ifdef __CUDA_ARCH__
  f32 result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(h));
  return result;
#else
  const u32 sign = (u32)(h & 0x8000u) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  const f32 magnitude = __uint_as_float(rest << 13) * 0x1p112f;
  return __uint_as_float(sign | __float_as_uint(magnitude));
#endif
}
)",
    R"(__device__ f16 float_to_half(f32 x) {
#ifdef __CUDA_ARCH__
  f16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(x));
  return result;
#else
  const u32 bits = __float_as_uint(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return (f16)(sign | 0x7e00u);
  if (rest >= 0x47800000u) return (f16)(sign | 0x7c00u);
  if (rest >= 0x38800000u) {
    return (f16)(sign | (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13);
  }
  // Below 2^-14: the sum's last place is 2^-24, so adding rounds as wanted.
  return (f16)(sign | (__float_as_uint(__uint_as_float(rest) + 0.5f) - 0x3f000000u));
#endif
}
)",
    R"(__device__ f32 bfloat_to_float(bf16 b) {
  return __uint_as_float((u32)b << 16);
}
)",
    R"(__device__ bf16 float_to_bfloat(f32 x) {
  const u32 bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bf16)(bits >> 16 | 0x40u);
  return (bf16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
)",
    R"(__device__ f32 sigmoid(f32 x) {
  const f32 e = expf(-fabsf(x)), s = 1.0f / (1.0f + e);
  return x < 0.0f ? e * s : s;
}
__device__ f64 sigmoid(f64 x) {
  const f64 e = exp(-fabs(x)), s = 1.0 / (1.0 + e);
  return x < 0.0 ? e * s : s;
}
)",
    R"(__device__ f32 softplus(f32 x) {
  return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
}
__device__ f64 softplus(f64 x) {
  return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}
)",
    R"(__device__ f32 log1mexp(f32 x) {
  return x > -0.693147182f ? logf(-expm1f(x)) : log1pf(-expf(x));
}
__device__ f64 log1mexp(f64 x) {
  return x > -0.69314718055994531 ? log(-expm1(x)) : log1p(-exp(x));
}
)",
    R"(// Neighbours in memory: one access where their address allows it.
template <class T, int n>
struct alignas(sizeof(T) * n) Lanes {
  T lane[n];
};
template <int n, class T>
__device__ Lanes<T, n> load_lanes(const T* from) {
  if (((u64)from & (sizeof(T) * n - 1)) == 0) return *(const Lanes<T, n>*)from;
  Lanes<T, n> v;
  for (int i = 0; i < n; ++i) v.lane[i] = from[i];
  return v;
}
template <class T, class... Values>
__device__ void store_lanes(T* to, Values... values) {
  constexpr int n = sizeof...(values);
  const Lanes<T, n> v = {{(T)values...}};
  if (((u64)to & (sizeof(T) * n - 1)) == 0) {
    *(Lanes<T, n>*)to = v;
    return;
  }
  for (int i = 0; i < n; ++i) to[i] = v.lane[i];
}
)",
    GCOMP_MMA("f16", "m16n8k16.row.col.f32.f16.f16.f32"),
    GCOMP_MMA("bf16", "m16n8k16.row.col.f32.bf16.bf16.f32"),
    GCOMP_MMA("tf32", "m16n8k8.row.col.f32.tf32.tf32.f32"),
    R"(#ifdef __CUDA_ARCH__
template <class T>
__device__ void warp_load(u32& m0, u32& m1, u32& m2, u32& m3, const T* array, i32 at) {
  const u32 row = (u32)__cvta_generic_to_shared(array) + at * (i32)sizeof(T);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
               : "r"(row)
               : "memory");
}
template <class T>
__device__ void warp_load_transposed(u32& m0, u32& m1, u32& m2, u32& m3, const T* array, i32 at) {
  const u32 row = (u32)__cvta_generic_to_shared(array) + at * (i32)sizeof(T);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
               : "r"(row)
               : "memory");
}
#endif
)",
    // Asked anew each time, so that a loop is not written once for each answer: that is twice the code.
    R"(__device__ bool is_aligned(const void* p) {
  u32 rest = (u32)(u64)p & 15;
#ifdef __CUDA_ARCH__
  asm volatile("" : "+r"(rest));
#endif
  return rest == 0;
}
)",
    R"(#ifdef __CUDA_ARCH__
template <class T>
__device__ void copy_async(T* array, i32 at, const T* from, bool inside) {
  const u32 to = (u32)__cvta_generic_to_shared(array) + at * (i32)sizeof(T);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
}
__device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
#endif
)"};
#undef GCOMP_MMA

}  // namespace

std::string cuda_preamble() { return std::string(kPreamble); }

std::string cuda_helpers(uint64_t used) {
  std::string text;
  for (size_t i = 0; i < kTexts.size(); ++i) {
    if (used >> i & 1) text += kTexts[i];
  }
  return text;
}

}  // namespace gcomp::codegen
