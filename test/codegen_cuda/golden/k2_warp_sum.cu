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

// sum_3
GCOMP_BLOCK_KERNEL(k2_warp_sum, 3, 64) {
  const f32* const b0 = (const f32*)a.w[0];
  f32* const b1 = (f32*)a.w[1];
  const i64 iterations = (i64)a.w[2];
  for (i64 i = blockIdx.x; i < iterations; i += gridDim.x) {
    const i64 begin = i;
    const i32 v4 = (i32)threadIdx.x;
    const i64 v7 = (begin * 64) + (i64)v4;
    const f32 v8 = b0[v7];
    const f32 v9 = __shfl_xor_sync(0xffffffffu, v8, 16);
    const f32 v10 = v8 + v9;
    const f32 v11 = __shfl_xor_sync(0xffffffffu, v10, 8);
    const f32 v12 = v10 + v11;
    const f32 v13 = __shfl_xor_sync(0xffffffffu, v12, 4);
    const f32 v14 = v12 + v13;
    const f32 v15 = __shfl_xor_sync(0xffffffffu, v14, 2);
    const f32 v16 = v14 + v15;
    const f32 v17 = __shfl_xor_sync(0xffffffffu, v16, 1);
    b1[v7] = v16 + v17;
  }
}
