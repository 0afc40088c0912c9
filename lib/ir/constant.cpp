#include "gcomp/ir/constant.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {
namespace {

template <class T>
T load(const Constant& c, int64_t i) {
  T value;
  std::memcpy(&value, c.bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

// Like static_cast, but defined for all values: beyond an integer type's ends they saturate, NaN is 0, as the op
// `cast` does.
template <class To, class From>
To to(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr auto kLeast = static_cast<From>(std::numeric_limits<To>::min());
    constexpr From kEnd = static_cast<From>(std::numeric_limits<To>::max() / 2 + 1) * 2;  // exact
    if (std::isnan(value)) return 0;
    if (value < kLeast) return std::numeric_limits<To>::min();
    if (value >= kEnd) return std::numeric_limits<To>::max();
  }
  return static_cast<To>(value);
}

template <class To>
To convert(const Constant& c, int64_t i) {
  switch (c.dtype) {
    case DType::kBool: return static_cast<To>(load<uint8_t>(c, i) != 0);
    case DType::kInt8: return static_cast<To>(load<int8_t>(c, i));
    case DType::kInt16: return static_cast<To>(load<int16_t>(c, i));
    case DType::kInt32: return static_cast<To>(load<int32_t>(c, i));
    case DType::kInt64: return static_cast<To>(load<int64_t>(c, i));
    case DType::kUInt8: return static_cast<To>(load<uint8_t>(c, i));
    case DType::kUInt16: return static_cast<To>(load<uint16_t>(c, i));
    case DType::kUInt32: return static_cast<To>(load<uint32_t>(c, i));
    case DType::kUInt64: return static_cast<To>(load<uint64_t>(c, i));
    case DType::kFloat16: return to<To>(half_to_float(load<uint16_t>(c, i)));
    case DType::kBFloat16: return to<To>(bfloat16_to_float(load<uint16_t>(c, i)));
    case DType::kFloat32: return to<To>(load<float>(c, i));
    case DType::kFloat64: return to<To>(load<double>(c, i));
  }
  return To{};
}

template <class T>
void append(std::vector<std::byte>* bytes, T value) {
  const size_t at = bytes->size();
  bytes->resize(at + sizeof(T));
  std::memcpy(bytes->data() + at, &value, sizeof(T));
}

// Bytes of one element holding `value`; U is double or int64_t.
template <class U>
std::vector<std::byte> element_bytes(DType dtype, U value) {
  std::vector<std::byte> b;
  switch (dtype) {
    case DType::kBool: append(&b, static_cast<uint8_t>(value != 0)); break;
    case DType::kInt8: append(&b, to<int8_t>(value)); break;
    case DType::kInt16: append(&b, to<int16_t>(value)); break;
    case DType::kInt32: append(&b, to<int32_t>(value)); break;
    case DType::kInt64: append(&b, to<int64_t>(value)); break;
    case DType::kUInt8: append(&b, to<uint8_t>(value)); break;
    case DType::kUInt16: append(&b, to<uint16_t>(value)); break;
    case DType::kUInt32: append(&b, to<uint32_t>(value)); break;
    case DType::kUInt64: append(&b, to<uint64_t>(value)); break;
    case DType::kFloat16: append(&b, double_to_half(static_cast<double>(value))); break;
    case DType::kBFloat16: append(&b, double_to_bfloat16(static_cast<double>(value))); break;
    case DType::kFloat32: append(&b, static_cast<float>(value)); break;
    case DType::kFloat64: append(&b, static_cast<double>(value)); break;
  }
  return b;
}

// Rounds a double to a float so that rounding again to `kept` fraction bits is correct: round to
// odd.
float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  if (std::isnan(value) || std::isinf(nearest) || static_cast<double>(nearest) == value) {
    return nearest;
  }
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  // `nearest` may be beyond the value: step back towards zero, then set the sticky bit.
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(value)) --bits;
  return std::bit_cast<float>(bits | 1u);
}

}  // namespace

int64_t Constant::num_elements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

double Constant::as_double(int64_t i) const { return convert<double>(*this, i); }

int64_t Constant::as_int(int64_t i) const { return convert<int64_t>(*this, i); }

Constant make_constant(DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes) {
  Constant c;
  c.dtype = dtype;
  c.shape = std::move(shape);
  auto owner = std::make_shared<std::vector<std::byte>>(std::move(bytes));
  c.bytes = *owner;
  c.owner = std::move(owner);
  GCOMP_CHECK(c.bytes.size() == static_cast<size_t>(c.num_elements()) * byte_size(dtype),
              "constant's bytes do not match its shape");
  return c;
}

Constant make_splat(DType dtype, std::vector<int64_t> shape, double value) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  const std::vector<std::byte> one = element_bytes(dtype, value);
  std::vector<std::byte> bytes;
  bytes.reserve(one.size() * static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) bytes.insert(bytes.end(), one.begin(), one.end());
  return make_constant(dtype, std::move(shape), std::move(bytes));
}

Constant make_int64s(std::span<const int64_t> values) {
  std::vector<std::byte> bytes(values.size_bytes());
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return make_constant(DType::kInt64, {static_cast<int64_t>(values.size())}, std::move(bytes));
}

Constant make_scalar_int(DType dtype, int64_t value) {
  return make_constant(dtype, {}, element_bytes(dtype, value));
}

bool is_splat(const Constant& c) {
  const size_t width = byte_size(c.dtype);
  if (c.bytes.size() < width) return false;
  // Every element equals its successor.
  return std::memcmp(c.bytes.data(), c.bytes.data() + width, c.bytes.size() - width) == 0;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  const uint32_t e = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | (e << 23) | (fraction << 13));
}

uint16_t float_to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;   // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to infinity
  if (magnitude < 0x38800000u) {                        // subnormal half: units of 2^-24
    const float scaled = std::ldexp(std::bit_cast<float>(magnitude), 24);
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - (112u << 23)) >> 13);
}

float bfloat16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t float_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

uint16_t double_to_half(double value) { return float_to_half(round_to_odd(value)); }

uint16_t double_to_bfloat16(double value) { return float_to_bfloat16(round_to_odd(value)); }

ConstantId ConstantPool::intern(Constant c) {
  size_t h = hash_combine(static_cast<size_t>(c.dtype), c.shape.size());
  for (int64_t d : c.shape) h = hash_combine(h, static_cast<size_t>(d));
  h = hash_combine(h, hash_bytes(c.bytes));
  const auto found = interned_.find(h, [&](uint32_t id) {
    const Constant& other = constants_[id];
    return other.dtype == c.dtype && other.shape == c.shape &&
           (c.bytes.empty() ||
            std::memcmp(other.bytes.data(), c.bytes.data(), c.bytes.size()) == 0);
  });
  if (found) return ConstantId(*found);
  const ConstantId id(constants_.size());
  constants_.push_back(std::move(c));
  interned_.add(h, id.index);
  return id;
}

}  // namespace gcomp
