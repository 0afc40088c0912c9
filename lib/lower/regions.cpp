#include "regions.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp::lower {
namespace {

bool has_label(Step::Kind kind) {
  switch (kind) {
    case Step::Kind::kLabel:
    case Step::Kind::kJump:
    case Step::Kind::kJumpUnless:
    case Step::Kind::kJumpUnlessLess:
    case Step::Kind::kTurn: return true;
    default: return false;
  }
}

// Steps that belong together: of each loop, and of each label.
std::vector<Region> find_intervals(const LoweredModule& module) {
  std::vector<Region> all;
  std::vector<uint32_t> loops;     // open ones
  std::vector<uint32_t> of_label;  // by label: its interval and 1, or 0
  for (uint32_t i = 0; i < module.steps.size(); ++i) {
    const Step& s = module.steps[i];
    if (s.kind == Step::Kind::kBeginLoop) {
      loops.push_back(static_cast<uint32_t>(all.size()));
      all.push_back({i, i + 1});
    }
    if (s.kind == Step::Kind::kEndLoop) {
      all[loops.back()].end = i + 1;
      loops.pop_back();
    }
    if (!has_label(s.kind)) continue;
    if (s.kernel >= of_label.size()) of_label.resize(s.kernel + 1, 0);
    uint32_t& interval = of_label[s.kernel];
    if (interval == 0) {
      all.push_back({i, i + 1});
      interval = static_cast<uint32_t>(all.size());
    }
    all[interval - 1].end = i + 1;
  }
  GCOMP_CHECK(loops.empty(), "a loop of steps without an end");
  return all;  // by their begins
}

}  // namespace

bool is_control(const Step& s) {
  return has_label(s.kind) || s.kind == Step::Kind::kBeginLoop || s.kind == Step::Kind::kEndLoop;
}

std::vector<Region> find_regions(const LoweredModule& module) {
  std::vector<Region> regions = {{0, static_cast<uint32_t>(module.steps.size())}};
  std::vector<uint32_t> open = {0};
  for (const Region& next : find_intervals(module)) {
    while (open.size() > 1 && regions[open.back()].end <= next.begin) open.pop_back();
    if (open.size() > 1 && next.end > regions[open.back()].end) {
      // They overlap: one region, and so with all around it that end too early.
      for (size_t k = open.size(); k-- > 1 && regions[open[k]].end < next.end;) {
        regions[open[k]].end = next.end;
      }
      continue;
    }
    const auto depth = static_cast<uint32_t>(open.size());
    regions.push_back({next.begin, next.end, open.back(), depth});
    open.push_back(static_cast<uint32_t>(regions.size() - 1));
  }
  return regions;
}

}  // namespace gcomp::lower
