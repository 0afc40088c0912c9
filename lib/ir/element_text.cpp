#include "gcomp/ir/element_text.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace gcomp {
namespace {

template <class T>
std::string number_text(T value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, end);
  // "-0" is read as an integer by JSON readers, which loses the sign.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

template <class T>
void append(std::vector<std::byte>* bytes, T value) {
  const auto* p = reinterpret_cast<const std::byte*>(&value);
  bytes->insert(bytes->end(), p, p + sizeof value);
}

template <class T>
bool append_integer(std::string_view text, std::vector<std::byte>* bytes) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  append(bytes, value);
  return true;
}

bool parse_double(std::string_view text, double* value) {
  if (text == "nan") {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() &&
         (!std::isnan(*value));  // no "nan(...)" forms
}

template <class T>
T load(const Constant& c, int64_t i) {
  T value;
  std::memcpy(&value, c.bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

bool is_odd_nan(const Constant& c, int64_t i) {
  switch (c.dtype) {
    case DType::kFloat16: {
      const auto bits = load<uint16_t>(c, i);
      return (bits & 0x7fffu) > 0x7c00u && bits != 0x7e00u;
    }
    case DType::kBFloat16: {
      const auto bits = load<uint16_t>(c, i);
      return (bits & 0x7fffu) > 0x7f80u && bits != 0x7fc0u;
    }
    case DType::kFloat32: {
      const auto bits = load<uint32_t>(c, i);
      return (bits & 0x7fffffffu) > 0x7f800000u && bits != 0x7fc00000u;
    }
    case DType::kFloat64: {
      const auto bits = load<uint64_t>(c, i);
      return (bits & ~(1ull << 63)) > 0x7ff0000000000000ull && bits != 0x7ff8000000000000ull;
    }
    default: return false;
  }
}

}  // namespace

std::string element_text(const Constant& c, int64_t i) {
  switch (c.dtype) {
    case DType::kFloat64: return number_text(load<double>(c, i));
    case DType::kFloat32:
    case DType::kFloat16:
    case DType::kBFloat16: return number_text(static_cast<float>(c.as_double(i)));
    case DType::kUInt64: return std::to_string(load<uint64_t>(c, i));
    default: return std::to_string(c.as_int(i));
  }
}

bool text_is_exact(const Constant& c) {
  if (!is_float(c.dtype)) return true;
  for (int64_t i = 0, n = c.num_elements(); i < n; ++i) {
    if (is_odd_nan(c, i)) return false;
  }
  return true;
}

bool append_element(DType dtype, std::string_view text, std::vector<std::byte>* bytes) {
  switch (dtype) {
    case DType::kBool:
      if (text != "0" && text != "1") return false;
      append(bytes, static_cast<uint8_t>(text == "1"));
      return true;
    case DType::kInt8: return append_integer<int8_t>(text, bytes);
    case DType::kInt16: return append_integer<int16_t>(text, bytes);
    case DType::kInt32: return append_integer<int32_t>(text, bytes);
    case DType::kInt64: return append_integer<int64_t>(text, bytes);
    case DType::kUInt8: return append_integer<uint8_t>(text, bytes);
    case DType::kUInt16: return append_integer<uint16_t>(text, bytes);
    case DType::kUInt32: return append_integer<uint32_t>(text, bytes);
    case DType::kUInt64: return append_integer<uint64_t>(text, bytes);
    default: break;
  }
  double value = 0;
  if (!parse_double(text, &value)) return false;
  switch (dtype) {
    case DType::kFloat16: append(bytes, double_to_half(value)); break;
    case DType::kBFloat16: append(bytes, double_to_bfloat16(value)); break;
    case DType::kFloat32: append(bytes, static_cast<float>(value)); break;
    default: append(bytes, value); break;
  }
  return true;
}

}  // namespace gcomp
