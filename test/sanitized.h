#pragma once
// Whether this is the checked build: everything takes ten times as long there, so tests of size are smaller.

namespace gcomp::test {

#if defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace gcomp::test
