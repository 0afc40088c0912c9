#include "sort_cuda.h"

#include <algorithm>
#include <bit>

namespace gcomp::lower {

using kernel::Builder;
using kernel::Value;
using kernel::Values;

namespace {

constexpr int64_t kShortest = 33;  // of a line that is worth a block
constexpr int64_t kFewLines = 32;  // of unknown length
constexpr int64_t kMostThreads = 512;
constexpr int64_t kShare = 8;  // neighbours of a merged run that a thread makes at a time

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

bool is_worth_block_sort(std::optional<int64_t> length, std::optional<int64_t> lines) {
  return length ? *length >= kShortest : lines && *lines <= kFewLines;
}

BlockSort::BlockSort(Builder& b, const SortedLines& lines, int64_t longest)
    : b_(b),
      lines_(lines),
      padded_(padded(longest)),
      threads_(std::min(padded_ / 2, kMostThreads)) {
  b_.set_block(static_cast<uint32_t>(threads_));
  thread_ = b_.thread();
  keys_ = b_.shared(lines.dtype, static_cast<uint32_t>(padded_));
  places_ = b_.shared(DType::kInt32, static_cast<uint32_t>(padded_));
}

void BlockSort::sort(Value base, Value begin, Value length) {
  length_ = length;
  b_.barrier();  // what was sorted last has been read
  share(padded_, [&](Value i) {
    const Value at = b_.add(begin, b_.min(i, b_.sub(length, b_.index(1))));
    b_.store(keys_, i, b_.load(lines_.x, b_.add(base, b_.mul(at, lines_.stride))));
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
      share(padded_ / 2, [&](Value pair) { compare(pair, size, distance); });
      b_.barrier();
    });
  });
}

void BlockSort::for_each(const std::function<void(Value i, Value key, Value place)>& body) {
  share(padded_, [&](Value i) {
    b_.if_then(b_.lt(i, length_), [&] { body(i, b_.load(keys_, i), b_.load(places_, i)); });
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
  const Value length = b_.cast(length_, DType::kInt32);
  const Value pads = b_.ge(b_.max(place_u, place_v), length);
  const Value later = b_.gt(place_u, place_v);
  const Value v_first = comes_before(b_, lines_, key_v, key_u);
  const Value u_first = comes_before(b_, lines_, key_u, key_v);
  const Value by_key = b_.bit_or(v_first, b_.bit_and(b_.bit_not(u_first), later));
  return b_.where(pads, later, by_key);
}

// `body` for 0 <= i < count, which is a multiple of the threads or less, shared out among them.
void BlockSort::share(int64_t count, const std::function<void(Value)>& body) {
  for (int64_t begin = 0; begin < count; begin += threads_) {
    body(b_.add(thread_, b_.index(begin)));
  }
}

LongSort::LongSort(Builder& b, const SortedLines& lines, Runs runs, Runs other)
    : b_(b), lines_(lines), runs_(runs), other_(other), block_(b, lines, BlockSort::kLongest) {}

void LongSort::line(Value base, Value at, Value results) {
  sort_runs(base, at);
  b_.while_loop(
      {b_.index(BlockSort::kLongest)},
      [&](std::span<const Value> c) { return b_.lt(c[0], lines_.length); },
      [&](std::span<const Value> c) -> Values {
        merge(runs_, other_, at, c[0]);
        merge(other_, runs_, at, b_.mul(c[0], b_.index(2)));
        return {b_.mul(c[0], b_.index(4))};
      });
  b_.barrier();
  b_.for_loop(block_.thread(), lines_.shown, b_.index(block_.threads()), [&](Value i) {
    const Value from = b_.add(at, i), to = b_.add(results, b_.mul(i, lines_.stride));
    b_.store(lines_.values, to, b_.load(runs_.keys, from));
    b_.store(lines_.places, to, b_.load(runs_.places, from));
  });
}

void LongSort::sort_runs(Value base, Value at) {
  const Value longest = b_.index(BlockSort::kLongest);
  b_.for_loop(b_.index(0), lines_.length, longest, [&](Value begin) {
    block_.sort(base, begin, b_.min(longest, b_.sub(lines_.length, begin)));
    block_.for_each([&](Value i, Value key, Value place) {
      const Value to = b_.add(at, b_.add(begin, i));
      b_.store(runs_.keys, to, key);
      b_.store(runs_.places, to, b_.add(begin, b_.cast(place, DType::kInt64)));
    });
  });
}

// Runs of `width`, a power of two, by pairs.
void LongSort::merge(const Runs& from, const Runs& to, Value at, Value width) {
  b_.barrier();  // `from` has been written
  const Value zero = b_.index(0), one = b_.index(1), two = b_.index(2), share = b_.index(kShare);
  const Value pair = b_.mul(width, two), length = lines_.length;
  const auto key = [&](Value i) { return b_.load(from.keys, b_.add(at, i)); };
  const Value step = b_.index(kShare * block_.threads());
  b_.for_loop(b_.mul(block_.thread(), share), length, step, [&](Value begin) {
    const Value behind = b_.bit_and(begin, b_.sub(pair, one));  // of the pair's before `begin`
    const Value left = b_.sub(begin, behind), right = b_.min(b_.add(left, width), length);
    const Value end = b_.min(b_.add(left, pair), length);
    // How many of `behind` are the left run's.
    const Values bounds = {b_.max(zero, b_.sub(behind, b_.sub(end, right))),
                           b_.min(behind, b_.sub(right, left))};
    const Values found = b_.while_loop(
        bounds, [&](std::span<const Value> c) { return b_.lt(c[0], c[1]); },
        [&](std::span<const Value> c) -> Values {
          const Value middle = b_.index_div(b_.add(c[0], c[1]), two);
          const Value opposite = b_.sub(b_.sub(behind, one), middle);
          const Value less =
              comes_before(b_, lines_, key(b_.add(right, opposite)), key(b_.add(left, middle)));
          return {b_.where(less, c[0], b_.add(middle, one)), b_.where(less, middle, c[1])};
        });
    const Values init = {b_.add(left, found[0]), b_.add(right, b_.sub(behind, found[0]))};
    b_.for_loop(begin, b_.min(b_.add(begin, share), end), one, init,
                [&](Value k, std::span<const Value> c) -> Values {
                  const Value i = c[0], j = c[1];
                  const Value u = key(b_.min(i, b_.sub(right, one)));
                  const Value v = key(b_.min(j, b_.sub(end, one)));
                  const Value v_first = comes_before(b_, lines_, v, u);
                  const Value take_v =
                      b_.bit_and(b_.lt(j, end), b_.bit_or(b_.ge(i, right), v_first));
                  const Value place = b_.load(from.places, b_.add(at, b_.where(take_v, j, i)));
                  b_.store(to.keys, b_.add(at, k), b_.where(take_v, v, u));
                  b_.store(to.places, b_.add(at, k), place);
                  return {b_.where(take_v, i, b_.add(i, one)), b_.where(take_v, b_.add(j, one), j)};
                });
  });
}

}  // namespace gcomp::lower
