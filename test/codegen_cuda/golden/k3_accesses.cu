typedef signed char i8;
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
__device__ f32 half_to_float(f16 h) {
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
// Neighbours in memory: one access where their address allows it.
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

// add_4
GCOMP_KERNEL(k3_accesses, 4) {
  const f32* const b0 = (const f32*)a.w[0];
  const f16* const b1 = (const f16*)a.w[1];
  f32* const b2 = (f32*)a.w[2];
  const i64 iterations = (i64)a.w[3];
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < iterations; i += (i64)gridDim.x * blockDim.x) {
    const i32 begin = (i32)i;
    const i32 v5 = begin * 8;
    const Lanes<f32, 4> v6_0 = load_lanes<4>(&b0[v5]);
    const Lanes<f32, 4> v6_4 = load_lanes<4>(&b0[v5 + 4]);
    const Lanes<f16, 8> v7_0 = load_lanes<8>(&b1[v5]);
    store_lanes(&b2[v5], v6_0.lane[0] + half_to_float(v7_0.lane[0]), v6_0.lane[1] + half_to_float(v7_0.lane[1]), v6_0.lane[2] + half_to_float(v7_0.lane[2]), v6_0.lane[3] + half_to_float(v7_0.lane[3]));
    store_lanes(&b2[v5 + 4], v6_4.lane[0] + half_to_float(v7_0.lane[4]), v6_4.lane[1] + half_to_float(v7_0.lane[5]), v6_4.lane[2] + half_to_float(v7_0.lane[6]), v6_4.lane[3] + half_to_float(v7_0.lane[7]));
  }
}
