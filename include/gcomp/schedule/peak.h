#pragma once
// An order of the nodes with less memory alive at once. Greedy list scheduling, after the registers'
// (Goodman and Hsu 1988): of the nodes that can run, the one that frees most or takes least. Near linear.

#include <cstdint>
#include <span>

#include "gcomp/schedule/tables.h"

namespace gcomp::schedule {

struct Peak {
  uint64_t before = 0,
           after =
               0;  // most bytes alive at a node in the old and in the new order, at the first size
};

// `bytes`: for one or more sizes of what is not known, per value what it takes of the memory that counts (0: it
// lies elsewhere). Changes plan.order if that lowers the peak of the first and raises no other; what
// overwrites what stays as it is.
Peak lower_peak(const ScheduleTables& tables, std::span<const std::vector<uint64_t>> bytes,
                InplacePlan& plan);

}  // namespace gcomp::schedule
