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
__device__ void mma_bf16(f32& d0, f32& d1, f32& d2, f32& d3, u32 a0, u32 a1, u32 a2, u32 a3,
                         u32 b0, u32 b1, f32 c0, f32 c1, f32 c2, f32 c3) {
#ifdef __CUDA_ARCH__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
      : "=f"(d0), "=f"(d1), "=f"(d2), "=f"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1),
        "f"(c0), "f"(c1), "f"(c2), "f"(c3));
#else
  gcomp_emulator::mma_bf16(d0, d1, d2, d3, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3});
#endif
}

// matmul_6
GCOMP_BLOCK_KERNEL(k5_mma_bf16, 5, 64) {
  const u32* const b0 = (const u32*)a.w[0];
  const u32* const b1 = (const u32*)a.w[1];
  const f32* const b2 = (const f32*)a.w[2];
  f32* const b3 = (f32*)a.w[3];
  const i64 iterations = (i64)a.w[4];
  for (i64 i = blockIdx.x; i < iterations; i += gridDim.x) {
    const i32 begin = (i32)i;
    const i32 v4 = (i32)threadIdx.x;
    const i32 v9 = (begin * 2) + ((i32)((u32)v4 / (u32)32));
    const i32 v10 = (i32)((u32)v4 % (u32)32);
    const i32 v12 = (i32)((u32)v10 / (u32)4);
    const i32 v13 = (i32)((u32)v10 % (u32)4);
    const i32 v15 = v12 + 8;
    const i32 v16 = v13 + 4;
    const i32 v17 = v13 * 2;
    const i32 v18 = v17 + 1;
    const u32 v24 = b0[(((v9 * 16) + v12) * 8) + v13];
    const u32 v30 = b0[(((v9 * 16) + v15) * 8) + v13];
    const u32 v36 = b0[(((v9 * 16) + v12) * 8) + v16];
    const u32 v42 = b0[(((v9 * 16) + v15) * 8) + v16];
    const u32 v48 = b1[(((v9 * 8) + v13) * 8) + v12];
    const u32 v54 = b1[(((v9 * 8) + v16) * 8) + v12];
    const f32 v60 = b2[(((v9 * 16) + v12) * 8) + v17];
    const f32 v66 = b2[(((v9 * 16) + v12) * 8) + v18];
    const f32 v72 = b2[(((v9 * 16) + v15) * 8) + v17];
    const f32 v78 = b2[(((v9 * 16) + v15) * 8) + v18];
    f32 v80_0, v80_1, v80_2, v80_3;
    mma_bf16(v80_0, v80_1, v80_2, v80_3, v24, v30, v36, v42, v48, v54, v60, v66, v72, v78);
    b3[(((v9 * 16) + v12) * 8) + v17] = v80_0;
    b3[(((v9 * 16) + v12) * 8) + v18] = v80_1;
    b3[(((v9 * 16) + v15) * 8) + v17] = v80_2;
    b3[(((v9 * 16) + v15) * 8) + v18] = v80_3;
  }
}
