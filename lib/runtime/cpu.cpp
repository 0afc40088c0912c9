// Does this CPU (and the operating system, for wide registers) have what the code needs?

#include "gcomp/runtime/cpu.h"

#include <cpuid.h>

#include "context.h"

namespace gcomp::rt {
namespace {

struct Registers {
  uint32_t a, b, c, d;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
  if (leaf > __get_cpuid_max(leaf & 0x80000000u, nullptr)) return r;
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

uint64_t enabled_registers() {  // XCR0
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

enum class Needs { nothing, ymm, zmm };

struct Test {
  CpuFeature feature;
  uint32_t Registers::* reg;
  int bit;
  Needs needs;
};

uint64_t find(const Registers& r, const Test* tests, int n, bool ymm, bool zmm) {
  uint64_t found = 0;
  for (int i = 0; i < n; ++i) {
    const bool usable =
        tests[i].needs == Needs::nothing || (tests[i].needs == Needs::ymm ? ymm : zmm);
    if (usable && (r.*tests[i].reg >> tests[i].bit & 1) != 0) found |= cpu_bit(tests[i].feature);
  }
  return found;
}

using F = CpuFeature;
using R = Registers;

constexpr Test kLeaf1[] = {
    {F::sse3, &R::c, 0, Needs::nothing},    {F::pclmul, &R::c, 1, Needs::nothing},
    {F::ssse3, &R::c, 9, Needs::nothing},   {F::fma, &R::c, 12, Needs::ymm},
    {F::cx16, &R::c, 13, Needs::nothing},   {F::sse41, &R::c, 19, Needs::nothing},
    {F::sse42, &R::c, 20, Needs::nothing},  {F::movbe, &R::c, 22, Needs::nothing},
    {F::popcnt, &R::c, 23, Needs::nothing}, {F::aes, &R::c, 25, Needs::nothing},
    {F::avx, &R::c, 28, Needs::ymm},        {F::f16c, &R::c, 29, Needs::ymm}};
constexpr Test kLeaf7[] = {{F::bmi, &R::b, 3, Needs::nothing},
                           {F::avx2, &R::b, 5, Needs::ymm},
                           {F::bmi2, &R::b, 8, Needs::nothing},
                           {F::avx512f, &R::b, 16, Needs::zmm},
                           {F::avx512dq, &R::b, 17, Needs::zmm},
                           {F::adx, &R::b, 19, Needs::nothing},
                           {F::avx512ifma, &R::b, 21, Needs::zmm},
                           {F::avx512cd, &R::b, 28, Needs::zmm},
                           {F::sha, &R::b, 29, Needs::nothing},
                           {F::avx512bw, &R::b, 30, Needs::zmm},
                           {F::avx512vl, &R::b, 31, Needs::zmm},
                           {F::avx512vbmi, &R::c, 1, Needs::zmm},
                           {F::avx512vbmi2, &R::c, 6, Needs::zmm},
                           {F::gfni, &R::c, 8, Needs::nothing},
                           {F::vaes, &R::c, 9, Needs::ymm},
                           {F::vpclmulqdq, &R::c, 10, Needs::ymm},
                           {F::avx512vnni, &R::c, 11, Needs::zmm},
                           {F::avx512bitalg, &R::c, 12, Needs::zmm},
                           {F::avx512vpopcntdq, &R::c, 14, Needs::zmm},
                           {F::avx512fp16, &R::d, 23, Needs::zmm}};
constexpr Test kLeaf7Sub1[] = {{F::avxvnni, &R::a, 4, Needs::ymm},
                               {F::avx512bf16, &R::a, 5, Needs::zmm}};
constexpr Test kExtended1[] = {{F::sahf, &R::c, 0, Needs::nothing},
                               {F::lzcnt, &R::c, 5, Needs::nothing}};

template <int N>
uint64_t find(const Registers& r, const Test (&tests)[N], bool ymm, bool zmm) {
  return find(r, tests, N, ymm, zmm);
}

uint64_t cpu_features() {
  const Registers basic = cpuid(1, 0);
  const bool osxsave = (basic.c >> 27 & 1) != 0;
  const uint64_t enabled = osxsave ? enabled_registers() : 0;
  const bool ymm = (enabled & 0x6) == 0x6, zmm = (enabled & 0xe6) == 0xe6;
  return find(basic, kLeaf1, ymm, zmm) | find(cpuid(7, 0), kLeaf7, ymm, zmm) |
         find(cpuid(7, 1), kLeaf7Sub1, ymm, zmm) |
         find(cpuid(0x80000001u, 0), kExtended1, ymm, zmm);
}

}  // namespace

const char* missing_cpu_feature(uint64_t needed) {
#define GCOMP_CPU_NAME(id, text) text,
  static const char* const kNames[] = {GCOMP_CPU_FEATURES(GCOMP_CPU_NAME)};
#undef GCOMP_CPU_NAME
  const uint64_t missing = needed & ~cpu_features();
  if (missing == 0) return nullptr;
  const int bit = __builtin_ctzll(missing);
  return bit < static_cast<int>(CpuFeature::count) ? kNames[bit] : "a later extension";
}

}  // namespace gcomp::rt
