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

// tanh_1: cast mul add tanh
GCOMP_KERNEL(k0_cast_tanh, 5) {
  const f16* const b0 = (const f16*)a.w[0];
  const f32* const b1 = (const f32*)a.w[1];
  f32* const b2 = (f32*)a.w[2];
  const f32 s0 = __uint_as_float((u32)a.w[3]);
  const i64 iterations = (i64)a.w[4];
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < iterations; i += (i64)gridDim.x * blockDim.x) {
    const i32 begin = (i32)i;
    const f16 v5 = b0[begin];
    const f32 v9 = b1[(i32)((u32)begin % (u32)100)];
    b2[begin] = tanhf(fmaf(half_to_float(v5), v9, s0));
  }
}
