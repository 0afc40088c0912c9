#include "sort_cuda.h"

#include <algorithm>
#include <bit>

namespace gcomp::lower {

using kernel::Builder;
using kernel::Value;

namespace {

constexpr int64_t kShortest = 33,
                  kLongest = 2048;  // elements: 12 bytes each of 48 KiB, in the worst case
constexpr int64_t kMostThreads = 512;

int64_t padded(int64_t length) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(length)));
}

}  // namespace

Value comes_before(Builder& b, const SortedLines& lines, Value u, Value v) {
  const Value less = lines.descending ? b.gt(u, v) : b.lt(u, v);
  if (!is_float(lines.dtype)) return less;
  const Value nan_u = b.ne(u, u), nan_v = b.ne(v, v);
  const Value first = lines.descending ? nan_u : nan_v, second = lines.descending ? nan_v : nan_u;
  return b.bit_or(less, b.bit_and(first, b.bit_not(second)));
}

bool BlockSort::takes(std::optional<int64_t> length) {
  return length && *length >= kShortest && *length <= kLongest;
}

BlockSort::BlockSort(Builder& b, const SortedLines& lines, int64_t length)
    : b_(b), lines_(lines), padded_(padded(length)), threads_(std::min(padded_ / 2, kMostThreads)) {
  b_.set_block(static_cast<uint32_t>(threads_));
  thread_ = b_.thread();
  keys_ = b_.shared(lines.dtype, static_cast<uint32_t>(padded_));
  places_ = b_.shared(DType::kInt32, static_cast<uint32_t>(padded_));
}

void BlockSort::line(Value base, Value results) {
  b_.barrier();  // the last line has been read
  for_each(padded_, [&](Value i) {
    const Value inside = b_.min(i, b_.sub(lines_.length, b_.index(1)));
    const Value v = b_.load(lines_.x, b_.add(base, b_.mul(inside, lines_.stride)));
    b_.store(keys_, i, v);
    b_.store(places_, i, b_.cast(i, DType::kInt32));
  });
  b_.barrier();
  // Sorted runs, up and down in turn, are merged into runs of `size`.
  const Value one = b_.index(1);
  const int64_t steps = std::countr_zero(static_cast<uint64_t>(padded_));
  b_.for_loop(one, b_.index(steps + 1), one, [&](Value step) {
    const Value size = b_.shl(one, step);
    b_.for_loop(one, b_.add(step, one), one, [&](Value part) {
      const Value distance = b_.shr(size, part);
      for_each(padded_ / 2, [&](Value pair) { compare(pair, size, distance); });
      b_.barrier();
    });
  });
  for_each(padded_, [&](Value i) {
    b_.if_then(b_.lt(i, lines_.shown), [&] {
      const Value to = b_.add(results, b_.mul(i, lines_.stride));
      b_.store(lines_.values, to, b_.load(keys_, i));
      b_.store(lines_.places, to, b_.cast(b_.load(places_, i), DType::kInt64));
    });
  });
}

void BlockSort::compare(Value pair, Value size, Value distance) {
  const Value low = b_.bit_and(pair, b_.sub(distance, b_.index(1)));
  const Value first = b_.sub(b_.mul(pair, b_.index(2)), low), second = b_.add(first, distance);
  const Value key_u = b_.load(keys_, first), key_v = b_.load(keys_, second);
  const Value place_u = b_.load(places_, first), place_v = b_.load(places_, second);
  const Value upward = b_.eq(b_.bit_and(first, size), b_.index(0));
  const Value after = comes_after(key_u, place_u, key_v, place_v);
  b_.if_then(b_.eq(after, upward), [&] {
    b_.store(keys_, first, key_v);
    b_.store(keys_, second, key_u);
    b_.store(places_, first, place_v);
    b_.store(places_, second, place_u);
  });
}

// What pads a line comes behind all of it.
Value BlockSort::comes_after(Value key_u, Value place_u, Value key_v, Value place_v) {
  const Value length = b_.cast(lines_.length, DType::kInt32);
  const Value pads = b_.ge(b_.max(place_u, place_v), length);
  const Value later = b_.gt(place_u, place_v);
  const Value v_first = comes_before(b_, lines_, key_v, key_u);
  const Value u_first = comes_before(b_, lines_, key_u, key_v);
  const Value by_key = b_.bit_or(v_first, b_.bit_and(b_.bit_not(u_first), later));
  return b_.where(pads, later, by_key);
}

// `body` for 0 <= i < count, which is a multiple of the threads or less, shared out among them.
void BlockSort::for_each(int64_t count, const std::function<void(Value)>& body) {
  for (int64_t begin = 0; begin < count; begin += threads_) {
    body(b_.add(thread_, b_.index(begin)));
  }
}

}  // namespace gcomp::lower
