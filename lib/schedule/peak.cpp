#include "gcomp/schedule/peak.h"

#include <algorithm>
#include <queue>

#include "gcomp/support/error.h"

namespace gcomp::schedule {
namespace {

constexpr uint32_t kNone = 0xffffffffu;

// Lists of uint32 by owner, in one array.
class Lists {
 public:
  Lists(size_t owners, const std::vector<std::pair<uint32_t, uint32_t>>& pairs)
      : first_(owners + 1, 0), items_(pairs.size()) {
    for (const auto& [owner, item] : pairs) ++first_[owner + 1];
    for (size_t i = 0; i < owners; ++i) first_[i + 1] += first_[i];
    std::vector<uint32_t> next(first_.begin(), first_.end() - 1);
    for (const auto& [owner, item] : pairs) items_[next[owner]++] = item;
  }
  std::span<const uint32_t> of(uint32_t owner) const {
    return {items_.data() + first_[owner], items_.data() + first_[owner + 1]};
  }

 private:
  std::vector<uint32_t> first_, items_;
};

// A piece of memory: a value, its views, and all that is written over them.
struct Piece {
  uint64_t bytes = 0;
  uint32_t users = 0;      // nodes still to run that read or write it
  uint32_t user_bits = 0;  // their numbers, xor: the last one's when one is left
  bool alive = false;
};

// Where following `next` from each value ends; an invalid value ends it.
template <class Next>
std::vector<uint32_t> follow(size_t values, Next next) {
  std::vector<uint32_t> ends(values, kNone), path;
  for (uint32_t v = 0; v < values; ++v) {
    uint32_t at = v;
    for (; ends[at] == kNone && next(at).valid(); at = next(at).index) path.push_back(at);
    if (ends[at] == kNone) ends[at] = at;
    for (; !path.empty(); path.pop_back()) ends[path.back()] = ends[at];
  }
  return ends;
}

using Pairs = std::vector<std::pair<uint32_t, uint32_t>>;

class Scheduler {
 public:
  Scheduler(const ScheduleTables& tables, std::span<const uint64_t> bytes, const InplacePlan& plan)
      : t_(tables),
        plan_(plan),
        piece_of_(follow(tables.num_values(), [&](uint32_t v) { return below(v); })),
        pieces_(tables.num_values()),
        pieces_of_(t_.num_nodes(), uses()),
        position_(t_.num_nodes()) {
    for (uint32_t i = 0; i < plan.order.size(); ++i) position_[plan.order[i]] = i;
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      Piece& p = pieces_[piece_of_[v]];
      p.bytes = std::max(p.bytes, bytes[v]);
    }
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      if (t_.producer[v] == kNoNode) pieces_[piece_of_[v]].bytes = 0;  // there all the time
    }
  }

  // The most bytes alive in an order.
  uint64_t peak_of(const std::vector<uint32_t>& order) {
    count_users();
    uint64_t live = 0, most = 0;
    for (const uint32_t n : order) {
      live += taken(n);
      most = std::max(most, live);
      for (const uint32_t p : pieces_of_.of(n)) {
        if (use(p, n) == 0) live -= pieces_[p].bytes;
      }
    }
    return most;
  }

  std::vector<uint32_t> greedy_order() {
    count_users();
    const Lists successors(t_.num_nodes(), edges());
    std::vector<uint32_t> waits(t_.num_nodes(), 0), order;  // for so many nodes
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      for (const uint32_t s : successors.of(n)) ++waits[s];
    }
    gain_.assign(t_.num_nodes(), 0);
    state_.assign(t_.num_nodes(), State::kWaiting);
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      if (waits[n] == 0) make_ready(n);
    }
    while (!queue_.empty()) {
      const Entry next = queue_.top();
      queue_.pop();
      // One that gains more than it did is in the queue twice.
      if (state_[next.node] == State::kDone) continue;
      state_[next.node] = State::kDone;
      order.push_back(next.node);
      for (const uint32_t p : pieces_of_.of(next.node)) {
        if (use(p, next.node) == 1) gain_more(pieces_[p].user_bits, pieces_[p].bytes);
      }
      for (const uint32_t s : successors.of(next.node)) {
        if (--waits[s] == 0) make_ready(s);
      }
    }
    GCOMP_CHECK(order.size() == t_.num_nodes(), "a schedule with a cycle");
    return order;
  }

 private:
  enum class State : uint8_t { kWaiting, kReady, kDone };
  struct Entry {
    int64_t gain;
    uint32_t position, node;  // among equals the one that came first
    bool operator<(const Entry& o) const {
      return gain != o.gain ? gain < o.gain : position > o.position;
    }
  };

  // The value whose memory this one has.
  ValueId below(uint32_t v) const {
    return t_.view_of[v].valid() ? t_.view_of[v] : plan_.overwrites[v];
  }

  // Node and piece, each once.
  Pairs uses() const {
    Pairs all;
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      for (const ValueId v : t_.operands_of(n)) all.emplace_back(n, piece_of_[v.index]);
    }
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      if (t_.producer[v] != kNoNode) all.emplace_back(t_.producer[v], piece_of_[v]);
    }
    std::ranges::sort(all);
    all.erase(std::ranges::unique(all).begin(), all.end());
    return all;
  }

  // Who comes before whom: operands, what the tables say, and readers before who overwrites.
  Pairs edges() const {
    Pairs all = t_.before;
    const auto add = [&](uint32_t a, uint32_t b) {
      if (a != kNoNode && a != b) all.emplace_back(a, b);
    };
    const std::vector<uint32_t> storage =
        follow(t_.num_values(), [&](uint32_t v) { return t_.view_of[v]; });
    std::vector<uint32_t> destroyer(t_.num_values(), kNoNode);  // per storage
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      const ValueId x = plan_.overwrites[v];
      if (!x.valid()) continue;
      destroyer[storage[x.index]] = t_.producer[v];
      add(t_.producer[x.index], t_.producer[v]);
    }
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      for (const ValueId v : t_.operands_of(n)) {
        add(t_.producer[v.index], n);
        if (destroyer[storage[v.index]] != kNoNode) add(n, destroyer[storage[v.index]]);
      }
    }
    return all;
  }

  void count_users() {
    for (Piece& p : pieces_) p.users = p.user_bits = 0, p.alive = false;
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      for (const uint32_t p : pieces_of_.of(n)) {
        ++pieces_[p].users;
        pieces_[p].user_bits ^= n;
      }
    }
  }

  uint64_t taken(uint32_t n) const {
    uint64_t bytes = 0;
    for (const uint32_t p : pieces_of_.of(n)) bytes += pieces_[p].alive ? 0 : pieces_[p].bytes;
    return bytes;
  }

  // How many users are left.
  uint32_t use(uint32_t piece, uint32_t n) {
    Piece& p = pieces_[piece];
    p.alive = true;
    p.user_bits ^= n;
    return --p.users;
  }

  void make_ready(uint32_t n) {
    state_[n] = State::kReady;
    gain_[n] = -static_cast<int64_t>(taken(n));
    for (const uint32_t p : pieces_of_.of(n)) {
      if (pieces_[p].users == 1) gain_[n] += static_cast<int64_t>(pieces_[p].bytes);
    }
    queue_.push({gain_[n], position_[n], n});
  }

  void gain_more(uint32_t n, uint64_t bytes) {
    if (state_[n] != State::kReady || bytes == 0) return;
    gain_[n] += static_cast<int64_t>(bytes);
    queue_.push({gain_[n], position_[n], n});
  }

  const ScheduleTables& t_;
  const InplacePlan& plan_;
  std::vector<uint32_t> piece_of_;  // per value
  std::vector<Piece> pieces_;       // by the value they end at
  Lists pieces_of_;                 // per node
  std::vector<uint32_t> position_;  // per node: in the plan's order
  std::vector<int64_t> gain_;       // per node that is ready: bytes freed, less those taken
  std::vector<State> state_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

Peak lower_peak(const ScheduleTables& tables, std::span<const std::vector<uint64_t>> bytes,
                InplacePlan& plan) {
  Scheduler first(tables, bytes[0], plan);
  Peak peak;
  peak.before = peak.after = first.peak_of(plan.order);
  std::vector<uint32_t> order = first.greedy_order();
  const uint64_t after = first.peak_of(order);
  if (after >= peak.before) return peak;
  for (const std::vector<uint64_t>& other : bytes.subspan(1)) {
    Scheduler scheduler(tables, other, plan);
    if (scheduler.peak_of(order) > scheduler.peak_of(plan.order)) return peak;
  }
  peak.after = after;
  plan.order = std::move(order);
  return peak;
}

}  // namespace gcomp::schedule
