#pragma once
// The index of an interning table: finds what is there already by its content. The contents stay with the table that
// owns them; here is a flat, open-addressed array of 8 bytes a slot, half full at the most. A slot keeps 32 bits of the
// hash: contents are only looked at when those agree, and growing touches nothing else, in order.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace gcomp {

class InternTable {
 public:
  // The id of that hash for which `same(id)` holds. Of the hash (64 mixed bits, hash.h) the upper half counts.
  template <class Same>
  std::optional<uint32_t> find(size_t hash, Same&& same) const {
    if (slots_.empty()) return std::nullopt;
    const uint32_t tag = tag_of(hash);
    for (size_t i = tag >> shift_; slots_[i].id != kFree; i = next(i)) {
      if (slots_[i].tag == tag && same(slots_[i].id)) return slots_[i].id;
    }
    return std::nullopt;
  }

  // Adds an id that `find` did not find. Below 2^32 - 1.
  void add(size_t hash, uint32_t id) {
    if (2 * (used_ + 1) > slots_.size()) grow(std::max<size_t>(16, 2 * slots_.size()));
    place({id, tag_of(hash)});
    ++used_;
  }

  // Room for so many, so that a table that will be large does not grow step by step.
  void reserve(size_t ids) {
    if (2 * ids > slots_.size()) grow(std::bit_ceil(2 * ids));
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  struct Slot {
    uint32_t id = kFree;
    uint32_t tag = 0;
  };

  static uint32_t tag_of(size_t hash) { return static_cast<uint32_t>(hash >> 32); }
  size_t next(size_t i) const { return (i + 1) & (slots_.size() - 1); }

  void place(Slot slot) {
    size_t i = slot.tag >> shift_;  // the upper bits: growing keeps the order of the slots
    while (slots_[i].id != kFree) i = next(i);
    slots_[i] = slot;
  }

  void grow(size_t size) {
    std::vector<Slot> slots(size);
    slots.swap(slots_);
    shift_ = 32 - std::countr_zero(slots_.size());
    for (const Slot& slot : slots) {
      if (slot.id != kFree) place(slot);
    }
  }

  std::vector<Slot> slots_;  // size a power of two
  size_t used_ = 0;
  int shift_ = 0;  // of the tag, to an index
};

}  // namespace gcomp
