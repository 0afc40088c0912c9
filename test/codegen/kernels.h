#pragma once
// Small kernels built for tests, and the loops that run them on arrays.

#include <cstring>
#include <vector>

#include "gcomp/ir/op.h"
#include "gcomp/kernel/builder.h"
#include "jit.h"

namespace gcomp::test {

using codegen::CpuLevel;
using codegen::Effort;
using kernel::Buffer;
using kernel::Builder;
using kernel::Kernel;
using kernel::Role;
using kernel::Value;
using kernel::Values;

// y[i] = f(x0[i], x1[i], ...) over the range, vectors and tail.
template <class F>
Kernel map_kernel(const std::vector<DType>& inputs, DType output, int lanes, F f) {
  Builder b;
  std::vector<Buffer> x;
  for (DType t : inputs) x.push_back(b.parameter(t, Role::kIn));
  Buffer y = b.parameter(output, Role::kOut);
  b.vector_loop(b.range_begin(), b.range_end(), lanes, [&](Value i, int n) {
    Values loaded;
    for (Buffer buffer : x) loaded.push_back(b.load(buffer, i, n));
    b.store(y, i, f(b, loaded));
  });
  return b.finish();
}

inline Kernel op_kernel(Op op, DType in, DType out, int arity, int lanes) {
  return map_kernel(std::vector<DType>(static_cast<size_t>(arity), in), out, lanes,
                    [&](Builder& b, const Values& v) { return b.op(op, v); });
}

template <class T>
DType dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return DType::kBool;
  if constexpr (std::is_same_v<T, int8_t>) return DType::kInt8;
  if constexpr (std::is_same_v<T, int16_t>) return DType::kInt16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kInt32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kInt64;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kUInt8;
  if constexpr (std::is_same_v<T, uint16_t>) return DType::kUInt16;
  if constexpr (std::is_same_v<T, uint32_t>) return DType::kUInt32;
  if constexpr (std::is_same_v<T, uint64_t>) return DType::kUInt64;
  if constexpr (std::is_same_v<T, float>) return DType::kFloat32;
  return DType::kFloat64;
}

// The CPU levels this machine can run.
inline std::vector<CpuLevel> runnable_levels() {
  std::vector<CpuLevel> levels = {CpuLevel::kV2};
  if (host_has(CpuLevel::kV3)) levels.push_back(CpuLevel::kV3);
  if (host_has(CpuLevel::kV4)) levels.push_back(CpuLevel::kV4);
  return levels;
}

}  // namespace gcomp::test
