#pragma once
// Base64 (RFC 4648, with padding), for tensors inside text formats.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gcomp {

std::string base64_encode(std::span<const std::byte> bytes);
std::optional<std::vector<std::byte>> base64_decode(std::string_view text);  // nullopt: malformed

}  // namespace gcomp
