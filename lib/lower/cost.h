#pragma once
// What a kernel costs to run, from its instructions alone: the one place that decides what is worth a
// task of its own. Lowerings may know better and ask for larger tasks, never for smaller ones.

#include <cstdint>
#include <span>

#include "gcomp/ir/dim.h"
#include "gcomp/kernel/kernel.h"
#include "gcomp/lower/lower.h"

namespace gcomp::lower {

// Waking a thread takes 2 to 50 us, so a task must be worth about 15: register-sized operations of 0.25
// ns each.
inline constexpr double kTaskWork = 60000;

// Operations of the first iteration of the parallel range. Extents not known stand for 64.
double iteration_work(const kernel::Kernel& kernel, std::span<const ScalarArg> scalars,
                      const DimTable& dims, int vector_bytes);

// The least iterations worth a task.
uint32_t grain_of_work(double iteration_work);

}  // namespace gcomp::lower
