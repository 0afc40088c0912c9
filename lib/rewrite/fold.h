#pragma once
// Constant folding in the sweep. Internal to the engine.

#include <optional>
#include <vector>

#include "gcomp/rewrite/sweep.h"

namespace gcomp::rewrite {

// The results of node `n` when its operands are constants and the limits of sweep.h allow.
std::optional<std::vector<Constant>> fold_node(const Folder& folder, const Facts& facts, NodeId n);

}  // namespace gcomp::rewrite
