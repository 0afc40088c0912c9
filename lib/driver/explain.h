#pragma once
// --explain=NODE: which passes and rules made, changed, merged or removed a node, in which kernel it ended,
// on which device, and why it was not fused with its neighbours.

#include <string>

#include "gcomp/lower/lower.h"
#include "gcomp/pass/lineage.h"
#include "gcomp/passes/placement.h"

namespace gcomp::driver {

// `subject`: a place ("Conv_12"), the name of an input or output, or a value of a dump: "%7" of the last
// one, "%7@canonicalize" of the one after a pass, "%7@read" of the graph as it was read, "#1%7" of body #1.
// `module`: null if nothing was lowered; needs its traces. `placement`: null if there is one device. UserError (kUsage) for an unknown subject.
std::string explain(const pass::Lineage& lineage, const lower::LoweredModule* module,
                    const passes::Placement* placement, const std::string& subject);

}  // namespace gcomp::driver
