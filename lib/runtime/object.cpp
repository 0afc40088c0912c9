// Not part of the runtime: hands out its object code (written as an array by lib/embed.cmake).

#include "gcomp/runtime/object.h"

// NOLINTBEGIN(readability-identifier-naming)
extern "C" {
extern const unsigned char gcomp_embedded_runtime[];
extern const size_t gcomp_embedded_runtime_size;
extern const unsigned char gcomp_embedded_runtime_cuda[];
extern const size_t gcomp_embedded_runtime_cuda_size;
}
// NOLINTEND(readability-identifier-naming)

namespace gcomp::runtime {

std::span<const std::byte> code_object() {
  return std::as_bytes(std::span(gcomp_embedded_runtime, gcomp_embedded_runtime_size));
}

std::span<const std::byte> cuda_object() {
  return std::as_bytes(std::span(gcomp_embedded_runtime_cuda, gcomp_embedded_runtime_cuda_size));
}

}  // namespace gcomp::runtime
