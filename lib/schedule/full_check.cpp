#include "full_check.h"

namespace gcomp::schedule {

FullCheck::FullCheck(const ScheduleTables& tables) : t_(tables) {
  const uint32_t n = t_.num_nodes();
  const auto for_each_edge = [&](const auto& edge) {
    for (uint32_t reader = 0; reader < n; ++reader) {
      for (ValueId v : t_.operands_of(reader)) {
        if (t_.producer[v.index] != kNoNode) edge(t_.producer[v.index], reader);
      }
    }
    for (const auto& [first, second] : t_.before) edge(first, second);
  };
  first_reader_.assign(n + 1, 0);
  for_each_edge([&](uint32_t from, uint32_t) { ++first_reader_[from + 1]; });
  for (uint32_t i = 0; i < n; ++i) first_reader_[i + 1] += first_reader_[i];
  readers_.resize(first_reader_.back());
  std::vector<uint32_t> at(first_reader_.begin(), first_reader_.end() - 1);
  for_each_edge([&](uint32_t from, uint32_t to) { readers_[at[from]++] = to; });
  // Chains of views may be long: each is walked once.
  storage_.resize(t_.num_values());
  std::vector<ValueId> chain;
  for (size_t i = 0; i < t_.num_values(); ++i) {
    ValueId v(i);
    for (; t_.view_of[v.index].valid() && !storage_[v.index].valid(); v = t_.view_of[v.index]) {
      chain.push_back(v);
    }
    if (!storage_[v.index].valid()) storage_[v.index] = v;
    for (; !chain.empty(); chain.pop_back()) storage_[chain.back().index] = storage_[v.index];
  }
}

bool FullCheck::has_order(std::span<const ValueId> overwrites) {
  const uint32_t n = t_.num_nodes();
  destroyer_.assign(t_.num_values(), kNoNode);
  for (size_t r = 0; r < overwrites.size(); ++r) {
    if (overwrites[r].valid()) destroyer_[storage_[overwrites[r].index].index] = t_.producer[r];
  }
  const auto for_each_after = [&](uint32_t node, const auto& edge) {
    for (uint32_t k = first_reader_[node]; k < first_reader_[node + 1]; ++k) edge(readers_[k]);
    for (ValueId v : t_.operands_of(node)) {
      const uint32_t d = destroyer_[storage_[v.index].index];
      if (d != kNoNode && d != node) edge(d);
    }
  };
  waiting_.assign(n, 0);
  for (uint32_t i = 0; i < n; ++i) for_each_after(i, [&](uint32_t to) { ++waiting_[to]; });
  ready_.clear();
  for (uint32_t i = 0; i < n; ++i) {
    if (waiting_[i] == 0) ready_.push_back(i);
  }
  for (size_t done = 0; done < ready_.size(); ++done) {
    for_each_after(ready_[done], [&](uint32_t to) {
      if (--waiting_[to] == 0) ready_.push_back(to);
    });
  }
  return ready_.size() == n;
}

}  // namespace gcomp::schedule
