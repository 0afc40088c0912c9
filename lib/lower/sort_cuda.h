#pragma once
// Sorting of lines by blocks of threads, for GPUs.

#include <cstdint>
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
  // Lines that a block does better than a thread, as far as shared memory reaches.
  static bool takes(std::optional<int64_t> length);

  BlockSort(kernel::Builder& b, const SortedLines& lines, int64_t length);

  // The line that begins at `base`; its part of the results begins at `results`.
  void line(kernel::Value base, kernel::Value results);

 private:
  void compare(kernel::Value pair, kernel::Value size, kernel::Value distance);
  kernel::Value comes_after(kernel::Value key_u, kernel::Value place_u, kernel::Value key_v,
                            kernel::Value place_v);
  void for_each(int64_t count, const std::function<void(kernel::Value)>& body);

  kernel::Builder& b_;
  const SortedLines& lines_;
  const int64_t padded_;
  const int64_t threads_;
  kernel::Value thread_;
  kernel::Buffer keys_, places_;
};

}  // namespace gcomp::lower
