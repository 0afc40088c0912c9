#pragma once
// Sorting of lines by blocks of threads, for GPUs.

#include <cstdint>
#include <functional>
#include <optional>

#include "gcomp/kernel/builder.h"

namespace gcomp::lower {

// What a kernel that sorts lines reads and writes.
struct SortedLines {
  kernel::Buffer x, values, places;
  DType dtype;
  bool descending;
  // Of a line: its elements, how many of them are in the results, how far they are apart.
  kernel::Value length, shown, stride;
};

// Whether u comes strictly before v; NaN counts as larger than all else.
kernel::Value comes_before(kernel::Builder& b, const SortedLines& lines, kernel::Value u,
                           kernel::Value v);

// Batcher's bitonic network (1968) on elements and their positions in shared memory, padded to a power of two.
// Positions decide between equal elements, so the order is the stable one, whatever the network does.
class BlockSort {
 public:
  static constexpr int64_t kLongest = 2048;  // elements: 12 bytes each of 48 KiB, in the worst case

  // For up to `longest` elements.
  BlockSort(kernel::Builder& b, const SortedLines& lines, int64_t longest);

  // Elements [begin, begin + length) of the line at `base`.
  void sort(kernel::Value base, kernel::Value begin, kernel::Value length);
  // What was sorted, in order: element `i`, and its position counted from `begin`, an int32.
  void for_each(
      const std::function<void(kernel::Value i, kernel::Value key, kernel::Value place)>& body);

  kernel::Value thread() const { return thread_; }
  int64_t threads() const { return threads_; }

 private:
  void share(int64_t count, const std::function<void(kernel::Value)>& body);
  void compare(kernel::Value pair, kernel::Value size, kernel::Value distance);
  kernel::Value comes_after(kernel::Value key_u, kernel::Value place_u, kernel::Value key_v,
                            kernel::Value place_v);

  kernel::Builder& b_;
  const SortedLines& lines_;
  const int64_t padded_;
  const int64_t threads_;
  kernel::Value thread_, length_;
  kernel::Buffer keys_, places_;
};

// Lines of any length, a block each: runs sorted by a BlockSort are merged by pairs, from one half of the workspace
// into the other. Each thread makes a few neighbours of a merged run, and finds by bisection where in both runs they
// begin ("merge path": Odeh, Green, Mwassi, Shmueli, Birk, 2012).
class LongSort {
 public:
  struct Runs {
    kernel::Buffer keys, places;  // as many as the lines have elements; places are int64
  };
  LongSort(kernel::Builder& b, const SortedLines& lines, Runs runs, Runs other);

  // The line at `base`, its part of the workspace at `at`, of the results at `results`.
  void line(kernel::Value base, kernel::Value at, kernel::Value results);

 private:
  void sort_runs(kernel::Value base, kernel::Value at);
  void merge(const Runs& from, const Runs& to, kernel::Value at, kernel::Value width);

  kernel::Builder& b_;
  const SortedLines& lines_;
  const Runs runs_, other_;
  BlockSort block_;
};

// Whether blocks sort so many lines of that length better than threads. Many lines of unknown length may be short, and
// each would take a block the time of 2048 elements.
bool is_worth_block_sort(std::optional<int64_t> length, std::optional<int64_t> lines);

}  // namespace gcomp::lower
