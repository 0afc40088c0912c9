// The choices of lowering and code generation, as rows beside the graph passes: levels and tags select
// them alike, `gcomp list passes` shows them, the driver obeys. Their tags follow the table of
// lib/pass/README.md, which scripts/measure_levels.py writes.

#include "gcomp/passes/passes.h"

namespace gcomp::passes {
namespace {

pass::Pass stage(std::string name, std::vector<std::string> tags, std::string doc) {
  return {.name = std::move(name),
          .run = {},
          .required = false,
          .tags = std::move(tags),
          .doc = std::move(doc),
          .rule_tag = ""};
}

}  // namespace

std::vector<pass::Pass> stages() {
  return {
      stage(kFusion, {"fusion", "fast_run"},
            "neighbouring nodes become one kernel (else each op has one, shared by all its nodes)"),
      stage(kStaticExtents, {"fast_run"},
            "kernels for the extents that are known (else extents are parameters, kernels shared)"),
      stage(kInplace, {"inplace", "fast_run"},
            "results are written over what they are computed from (--cycle-detection)"),
      stage(kLowerPeak, {"fast_run"}, "kernels run in an order that needs less memory at once"),
      stage(kStraightLine, {"fast_run"}, "a tiny graph becomes one function (--code=auto)"),
      stage(kOptimizeCode, {"fast_run"},
            "LLVM's passes and register allocator (else FastISel: a fifth of the time)"),
      stage(kOptimizeColdCode, {"fast_run", "slow"},
            "the same for kernels that take little of a run (needs optimize_code)"),
  };
}

}  // namespace gcomp::passes
