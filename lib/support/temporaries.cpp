#include "gcomp/support/temporaries.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <utility>

namespace gcomp {
namespace {

constexpr int kSlots = 16;
constexpr size_t kPathBytes = 4096;

// Global, since a signal handler has no other way to know; fixed, since it must not allocate.
struct Slot {
  enum State : int { kFree, kBeingWritten, kUsed };
  std::atomic<int> state = kFree;
  char path[kPathBytes];
};
Slot slots[kSlots];  // NOLINT(readability-identifier-naming)

}  // namespace

Temporary::Temporary(const std::filesystem::path& path) {
  if (path.native().size() >= kPathBytes) return;
  for (int i = 0; i < kSlots && slot_ < 0; ++i) {
    int expected = Slot::kFree;
    if (slots[i].state.compare_exchange_strong(expected, Slot::kBeingWritten)) slot_ = i;
  }
  if (slot_ < 0) return;
  std::memcpy(slots[slot_].path, path.c_str(), path.native().size() + 1);
  slots[slot_].state = Slot::kUsed;
}

Temporary::~Temporary() {
  if (slot_ >= 0) slots[slot_].state = Slot::kFree;
}

Temporary::Temporary(Temporary&& other) noexcept : slot_(std::exchange(other.slot_, -1)) {}

Temporary& Temporary::operator=(Temporary&& other) noexcept {
  std::swap(slot_, other.slot_);
  return *this;
}

void remove_temporaries() noexcept {
  for (int i = kSlots; i-- > 0;) {
    if (slots[i].state != Slot::kUsed) continue;
    if (::unlink(slots[i].path) != 0) ::rmdir(slots[i].path);
  }
}

}  // namespace gcomp
