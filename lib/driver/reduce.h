#pragma once
// Cutting a graph down to the part that shows a difference.

#include <functional>

#include "gcomp/driver/bisect.h"

namespace gcomp::driver {

// Whether a graph on these inputs still shows what is looked for. May throw for graphs that it cannot
// take, which counts as no.
using Shows = std::function<bool(const Graph& graph, std::span<const interp::Tensor> inputs)>;

// A part of `graph` that shows it, as small as bisection and removing single nodes make it; what the part
// reads becomes inputs with their recorded values. `output` is where the difference is seen. A null graph
// if not even the whole shows it.
Case reduce(const Graph& graph, std::span<const interp::Tensor> inputs, size_t output,
            const Shows& shows);

}  // namespace gcomp::driver
