#pragma once
// Element types of tensors. Names as NumPy writes them; bool is one byte, 0 or 1.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gcomp {

enum class DType : uint8_t {
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64,
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
};
inline constexpr int kNumDTypes = 13;

size_t byte_size(DType t);
std::string_view name(DType t);                        // "float32"
std::optional<DType> parse_dtype(std::string_view s);  // inverse of name

constexpr bool is_float(DType t) { return t >= DType::kFloat16; }
constexpr bool is_signed_int(DType t) { return t >= DType::kInt8 && t <= DType::kInt64; }
constexpr bool is_unsigned_int(DType t) { return t >= DType::kUInt8 && t <= DType::kUInt64; }
constexpr bool is_int(DType t) { return is_signed_int(t) || is_unsigned_int(t); }

}  // namespace gcomp
