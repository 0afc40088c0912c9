#include "min_cut.h"

#include <algorithm>

namespace gcomp::passes {
namespace {
constexpr uint32_t kNone = 0xffffffffu;
constexpr uint32_t kSource = 0, kSink = 1;
}  // namespace

void MinCut::clear() {
  arcs_.clear();
  first_.assign(2, kNone);
}

uint32_t MinCut::add_node() {
  first_.push_back(kNone);
  return static_cast<uint32_t>(first_.size() - 1);
}

void MinCut::add_arc(uint32_t from, uint32_t to, int64_t capacity) {
  if (capacity <= 0) return;
  arcs_.push_back({to, first_[from], capacity});
  first_[from] = static_cast<uint32_t>(arcs_.size() - 1);
  arcs_.push_back({from, first_[to], 0});
  first_[to] = static_cast<uint32_t>(arcs_.size() - 1);
}

bool MinCut::find_levels() {
  level_.assign(first_.size(), -1);
  level_[kSource] = 0;
  queue_.assign(1, kSource);
  for (size_t i = 0; i < queue_.size(); ++i) {
    const uint32_t n = queue_[i];
    for (uint32_t a = first_[n]; a != kNone; a = arcs_[a].next) {
      if (arcs_[a].capacity == 0 || level_[arcs_[a].to] >= 0) continue;
      level_[arcs_[a].to] = level_[n] + 1;
      queue_.push_back(arcs_[a].to);
    }
  }
  return level_[kSink] >= 0;
}

// One path from source to sink along rising levels; 0 if there is none.
int64_t MinCut::push_along(int64_t limit) {
  path_.clear();
  uint32_t n = kSource;
  while (n != kSink) {
    uint32_t& a = current_[n];
    while (a != kNone && (arcs_[a].capacity == 0 || level_[arcs_[a].to] != level_[n] + 1)) {
      a = arcs_[a].next;
    }
    if (a != kNone) {
      path_.push_back(a);
      n = arcs_[a].to;
      continue;
    }
    if (n == kSource) return 0;
    n = arcs_[path_.back() ^ 1].to;  // a dead end
    current_[n] = arcs_[path_.back()].next;
    path_.pop_back();
  }
  for (uint32_t a : path_) limit = std::min(limit, arcs_[a].capacity);
  for (uint32_t a : path_) {
    arcs_[a].capacity -= limit;
    arcs_[a ^ 1].capacity += limit;
  }
  return limit;
}

void MinCut::solve() {
  while (find_levels()) {
    current_ = first_;
    while (push_along(kInfinite) != 0) {
    }
  }
}

}  // namespace gcomp::passes
