#pragma once
// What the fake libraries share: their settings, elements of tensors and how they are rounded.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace gcomp::test {

inline int setting(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? 0 : std::atoi(text);
}

inline float from_bfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

enum class Element { kFloat32, kFloat64, kFloat16, kBFloat16 };

inline double load(Element type, const void* memory, int64_t i) {
  switch (type) {
    case Element::kFloat64: return static_cast<const double*>(memory)[i];
    case Element::kFloat16: return static_cast<double>(static_cast<const _Float16*>(memory)[i]);
    case Element::kBFloat16: return from_bfloat16(static_cast<const uint16_t*>(memory)[i]);
    default: return static_cast<const float*>(memory)[i];
  }
}
inline void store(Element type, void* memory, int64_t i, double value) {
  switch (type) {
    case Element::kFloat64: static_cast<double*>(memory)[i] = value; break;
    case Element::kFloat16: static_cast<_Float16*>(memory)[i] = static_cast<_Float16>(value); break;
    case Element::kBFloat16:
      static_cast<uint16_t*>(memory)[i] = to_bfloat16(static_cast<float>(value));
      break;
    default: static_cast<float*>(memory)[i] = static_cast<float>(value);
  }
}
inline size_t element_bytes(Element type) {
  return type == Element::kFloat64 ? 8 : type == Element::kFloat32 ? 4 : 2;
}

inline double tf32(double value) {  // to 11 bits
  int exponent;
  const double mantissa = std::frexp(value, &exponent);
  return std::isfinite(value) ? std::ldexp(std::nearbyint(std::ldexp(mantissa, 11)), exponent - 11)
                              : value;
}

}  // namespace gcomp::test
