#include "gcomp/support/base64.h"

#include <array>
#include <cstdint>

namespace gcomp {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> make_inverse() {
  std::array<int8_t, 256> inverse{};
  for (auto& v : inverse) v = -1;
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    inverse[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return inverse;
}
constexpr std::array<int8_t, 256> kInverse = make_inverse();

}  // namespace

std::string base64_encode(std::span<const std::byte> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < n ? std::to_integer<uint32_t>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += k <= n ? kAlphabet[(group >> (18 - 6 * k)) & 63] : '=';
    }
  }
  return text;
}

std::optional<std::vector<std::byte>> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    size_t padding = 0;
    if (i + 4 == text.size()) {
      while (padding < 2 && text[i + 3 - padding] == '=') ++padding;
    }
    uint32_t group = 0;
    for (size_t k = 0; k < 4; ++k) {
      const int8_t v = kInverse[static_cast<unsigned char>(text[i + k])];
      if (k < 4 - padding && v < 0) return std::nullopt;
      group = group << 6 | (k < 4 - padding ? static_cast<uint32_t>(v) : 0);
    }
    for (size_t k = 0; k + padding < 3; ++k) {
      bytes.push_back(static_cast<std::byte>((group >> (16 - 8 * k)) & 255));
    }
  }
  return bytes;
}

}  // namespace gcomp
