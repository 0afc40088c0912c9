#pragma once
// Where a node is computed and where memory lies.

#include <cstdint>

namespace gcomp {

enum class Device : uint8_t { kHost, kCuda };

}  // namespace gcomp
