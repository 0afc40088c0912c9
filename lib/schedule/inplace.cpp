// Phase A walks the candidates in the order of their nodes and accepts where every other reader already
// comes before the result: no search. Phase B tries those that were refused for that reason again, the
// largest first, with ordering edges: the search decides whether the readers can come first, and moves
// nodes if so.

#include "gcomp/schedule/inplace.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "full_check.h"
#include "gcomp/support/error.h"

namespace gcomp::schedule {
namespace {

class Decider {
 public:
  Decider(Schedule& schedule, const InplaceOptions& options, InplaceStats* stats)
      : schedule_(schedule), options_(options), stats_(*stats) {
    if (options_.mode != CycleDetection::kFull && !options_.audit) return;
    tables_ = schedule.tables();
    full_ = std::make_unique<FullCheck>(tables_);
    overwrites_ = schedule.plan().overwrites;
  }

  void run() {
    stats_.candidates = schedule_.candidates().size();
    schedule_.for_each_candidate([&](uint32_t i) {
      const Refusal why = timed([&] { return by_labels(schedule_.candidates()[i]); });
      if (why == Refusal::kReadLater) {
        queue_.push_back(i);
      } else {
        count(i, why, &stats_.by_labels);
      }
    });
    if (options_.mode == CycleDetection::kOff) {
      stats_.refused[static_cast<size_t>(Refusal::kReadLater)] = queue_.size();
      return;
    }
    std::stable_sort(queue_.begin(), queue_.end(),
                     [&](uint32_t a, uint32_t b) { return bytes(a) > bytes(b); });
    for (uint32_t i : queue_) {
      const Refusal why = timed([&] { return by_edges(schedule_.candidates()[i]); });
      count(i, why, &stats_.by_edges);
    }
  }

 private:
  template <class F>
  Refusal timed(F attempt) {
    if (!options_.attempt_seconds) return attempt();
    const auto begin = std::chrono::steady_clock::now();
    const Refusal why = attempt();
    const std::chrono::duration<float> took = std::chrono::steady_clock::now() - begin;
    options_.attempt_seconds->push_back(took.count());
    return why;
  }

  uint64_t bytes(uint32_t i) const { return schedule_.bytes(schedule_.candidates()[i].result); }

  void count(uint32_t i, Refusal why, size_t* accepted) {
    if (why != Refusal::kNone) {
      ++stats_.refused[static_cast<size_t>(why)];
      return;
    }
    ++*accepted;
    stats_.bytes_saved += bytes(i);
    const Candidate& c = schedule_.candidates()[i];
    if (full_) overwrites_[c.result.index] = c.operand;
  }

  Refusal by_labels(const Candidate& c) {
    ++stats_.attempts;
    const Refusal why = schedule_.try_inplace(c.result, c.operand, nullptr);
    if (full_ && why == Refusal::kNone) {
      GCOMP_CHECK(plain_check(c), "labels accept what the plain check refuses");
    }
    return why;
  }

  Refusal by_edges(const Candidate& c) {
    ++stats_.attempts;
    if (options_.mode == CycleDetection::kFull) return by_full_check(c);
    uint32_t visits = options_.visits;
    const Refusal why = schedule_.try_inplace(c.result, c.operand, &visits);
    if (visits != IncrementalOrder::kUnlimited) stats_.visits += options_.visits - visits;
    if (options_.audit) audit(c, why);
    return why;
  }

  Refusal by_full_check(const Candidate& c) {
    const Refusal why = schedule_.try_inplace(c.result, c.operand, nullptr);
    if (why != Refusal::kNone && why != Refusal::kReadLater) return why;  // whatever the order
    const bool ok = plain_check(c);
    GCOMP_CHECK(ok || why != Refusal::kNone, "labels accept what the plain check refuses");
    if (why == Refusal::kNone || !ok) return ok ? why : Refusal::kCycle;
    uint32_t visits = IncrementalOrder::kUnlimited;
    const Refusal edges = schedule_.try_inplace(c.result, c.operand, &visits);
    GCOMP_CHECK(edges == Refusal::kNone, "edges refuse what the plain check accepts");
    return edges;
  }

  bool plain_check(const Candidate& c) {
    overwrites_[c.result.index] = c.operand;
    const bool ok = full_->has_order(overwrites_);
    overwrites_[c.result.index] = ValueId();
    return ok;
  }

  void audit(const Candidate& c, Refusal why) {
    if (why != Refusal::kNone && why != Refusal::kCycle && why != Refusal::kBudget) return;
    const bool ok = plain_check(c);
    if (why == Refusal::kBudget) {
      stats_.lost += ok;
    } else {
      stats_.disagreements += ok != (why == Refusal::kNone);
    }
  }

  Schedule& schedule_;
  const InplaceOptions& options_;
  InplaceStats& stats_;
  std::vector<uint32_t> queue_;  // candidates to try again
  ScheduleTables tables_;        // for full_
  std::unique_ptr<FullCheck> full_;
  std::vector<ValueId> overwrites_;  // what the schedule has, for full_
};

}  // namespace

InplacePlan decide_inplace(Schedule& schedule, const InplaceOptions& options, InplaceStats* stats) {
  InplaceStats own;
  InplaceStats& s = stats ? *stats : own;
  s = InplaceStats();
  const auto begin = std::chrono::steady_clock::now();
  Decider(schedule, options, &s).run();
  s.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return schedule.plan();
}

}  // namespace gcomp::schedule
