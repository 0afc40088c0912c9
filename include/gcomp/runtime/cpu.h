#pragma once
// CPU features an artifact may need, as bits of a uint64 that create() compares with the CPU. The
// names are LLVM's. Order is at-rest format: add at the end only.

#include <stdint.h>

namespace gcomp::rt {

#define GCOMP_CPU_FEATURES(X)           \
  X(sse3, "sse3")                       \
  X(ssse3, "ssse3")                     \
  X(sse41, "sse4.1")                    \
  X(sse42, "sse4.2")                    \
  X(popcnt, "popcnt")                   \
  X(cx16, "cx16")                       \
  X(sahf, "sahf")                       \
  X(movbe, "movbe")                     \
  X(lzcnt, "lzcnt")                     \
  X(bmi, "bmi")                         \
  X(bmi2, "bmi2")                       \
  X(f16c, "f16c")                       \
  X(avx, "avx")                         \
  X(fma, "fma")                         \
  X(avx2, "avx2")                       \
  X(avx512f, "avx512f")                 \
  X(avx512bw, "avx512bw")               \
  X(avx512cd, "avx512cd")               \
  X(avx512dq, "avx512dq")               \
  X(avx512vl, "avx512vl")               \
  X(avx512vnni, "avx512vnni")           \
  X(avx512vbmi, "avx512vbmi")           \
  X(avx512vbmi2, "avx512vbmi2")         \
  X(avx512ifma, "avx512ifma")           \
  X(avx512bitalg, "avx512bitalg")       \
  X(avx512vpopcntdq, "avx512vpopcntdq") \
  X(avx512bf16, "avx512bf16")           \
  X(avx512fp16, "avx512fp16")           \
  X(avxvnni, "avxvnni")                 \
  X(aes, "aes")                         \
  X(pclmul, "pclmul")                   \
  X(vaes, "vaes")                       \
  X(vpclmulqdq, "vpclmulqdq")           \
  X(gfni, "gfni")                       \
  X(adx, "adx")                         \
  X(sha, "sha")

enum class CpuFeature : uint32_t {
#define GCOMP_CPU_ENUMERATOR(id, text) id,
  GCOMP_CPU_FEATURES(GCOMP_CPU_ENUMERATOR)
#undef GCOMP_CPU_ENUMERATOR
      count
};

constexpr uint64_t cpu_bit(CpuFeature f) { return uint64_t{1} << static_cast<uint32_t>(f); }

}  // namespace gcomp::rt
