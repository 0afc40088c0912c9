#pragma once
// Strong 32-bit ids: an index into some arena, typed so that a NodeId cannot be passed as a
// ValueId.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

namespace gcomp {

template <class Tag>
struct Id {
  static constexpr uint32_t kInvalid = std::numeric_limits<uint32_t>::max();
  uint32_t index = kInvalid;

  constexpr Id() = default;
  constexpr explicit Id(size_t i) : index(static_cast<uint32_t>(i)) {}
  constexpr bool valid() const { return index != kInvalid; }
  friend constexpr bool operator==(Id, Id) = default;
  friend constexpr auto operator<=>(Id, Id) = default;
};

// Ids of one kind are below this.
inline constexpr size_t kMaxIds = std::numeric_limits<uint32_t>::max();

[[noreturn]] void too_many_for_ids(const char* what);

// UserError kGraph, naming `what` ("nodes"), when `used` things have ids and `more` cannot get any.
inline void check_room_for_ids(size_t used, size_t more, const char* what) {
  if (more > kMaxIds - used) too_many_for_ids(what);
}

}  // namespace gcomp

template <class Tag>
struct std::hash<gcomp::Id<Tag>> {
  size_t operator()(gcomp::Id<Tag> id) const noexcept { return id.index; }
};
