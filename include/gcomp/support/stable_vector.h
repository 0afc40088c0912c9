#pragma once
// A vector that only grows and never moves its elements: references stay valid. Pieces double in size, so that a table
// of millions lies in a few large pieces of memory, and an element is found by two shifts. Ids are 32 bits: one element
// too many is a UserError that names the table.

#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

#include "gcomp/support/id.h"

namespace gcomp {

template <class T>
class StableVector {
 public:
  explicit StableVector(const char* what = "elements") : what_(what) {}
  ~StableVector() {
    for (size_t i = size_; i-- > 0;) std::destroy_at(&(*this)[i]);
    for (int p = 0; p < kPieces && pieces_[p] != nullptr; ++p) {
      std::allocator<T>().deallocate(pieces_[p], kFirst << p);
    }
  }
  StableVector(const StableVector&) = delete;
  StableVector& operator=(const StableVector&) = delete;

  size_t size() const { return size_; }
  const T& operator[](size_t i) const { return *at(i); }
  T& operator[](size_t i) { return *at(i); }
  const T& back() const { return (*this)[size_ - 1]; }

  template <class... Args>
  T& emplace_back(Args&&... args) {
    check_room_for_ids(size_, 1, what_);
    const int p = piece(size_);
    if (pieces_[p] == nullptr) pieces_[p] = std::allocator<T>().allocate(kFirst << p);
    T* made = std::construct_at(at(size_), std::forward<Args>(args)...);
    ++size_;
    return *made;
  }
  void push_back(T value) { emplace_back(std::move(value)); }

 private:
  // Piece p holds kFirst << p elements, from (kFirst << p) - kFirst.
  static constexpr size_t kFirst = 16;
  static constexpr int kPieces = 29;  // 2^33 elements
  static int piece(size_t i) { return std::bit_width(i / kFirst + 1) - 1; }
  T* at(size_t i) const {
    const int p = piece(i);
    return pieces_[p] + (i - ((kFirst << p) - kFirst));
  }

  T* pieces_[kPieces] = {};
  size_t size_ = 0;
  const char* what_;
};

}  // namespace gcomp
