#pragma once
// Minimum cuts of small graphs (Dinic's method), for placement.

#include <cstdint>
#include <vector>

namespace gcomp::passes {

class MinCut {
 public:
  static constexpr int64_t kInfinite = int64_t{1} << 60;

  // Nodes 0 (source) and 1 (sink), and those that are added.
  void clear();
  uint32_t add_node();
  // Costs `capacity` where `from` is on the source's side and `to` on the sink's.
  void add_arc(uint32_t from, uint32_t to, int64_t capacity);
  // After that `on_source_side` tells the cut with the fewest nodes there.
  void solve();
  bool on_source_side(uint32_t node) const { return level_[node] >= 0; }

 private:
  struct Arc {
    uint32_t to, next;  // kNone: the last of its node
    int64_t capacity;   // that is left; arc i ^ 1 is the other way
  };
  bool find_levels();
  int64_t push_along(int64_t limit);

  std::vector<Arc> arcs_;
  std::vector<uint32_t> first_;    // arc, per node
  std::vector<uint32_t> current_;  // arc that is tried, per node
  std::vector<int32_t> level_;     // distance from the source; -1: cut off
  std::vector<uint32_t> queue_, path_;
};

}  // namespace gcomp::passes
