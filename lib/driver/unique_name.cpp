#include "unique_name.h"

#include <sys/random.h>

#include <array>

#include "gcomp/support/error.h"

namespace gcomp::driver {

std::string unique_name() {
  std::array<unsigned char, 12> bytes{};
  GCOMP_CHECK(::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
              "no random bytes");
  constexpr char kDigits[] = "0123456789abcdef";
  std::string name;
  for (const unsigned char b : bytes) name += {kDigits[b >> 4], kDigits[b & 15]};
  return name;
}

}  // namespace gcomp::driver
