// Memory is numbered. A value lies in the memory of the value it is a view of, or of the one it
// overwrites, or in its own. Each piece of memory holds one value's content at a time: that of the value
// last written there, under all its other names. So a schedule is right if, node by node, what is read
// is what the memory holds.

#include "gcomp/schedule/check.h"

#include "gcomp/support/error.h"

namespace gcomp::schedule {
namespace {

constexpr uint32_t kNobody = 0xffffffffu;

class Walk {
 public:
  Walk(const ScheduleTables& tables, const InplacePlan& plan)
      : t_(tables),
        plan_(plan),
        memory_(tables.num_values(), kNobody),
        content_(tables.num_values()),
        holds_(tables.num_values()),
        writer_(tables.num_values(), kNoNode),
        ran_(tables.num_nodes(), false) {}

  std::optional<std::string> run() {
    if (plan_.overwrites.size() != t_.num_values()) return "the plan is of another schedule";
    sort_results();
    if (!error_.empty()) return error_;
    for (uint32_t n : plan_.order) {
      if (n >= t_.num_nodes() || ran_[n]) return "node " + std::to_string(n) + " runs twice";
      if (!read(n) || !write(n)) return error_;
      ran_[n] = true;
    }
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) {
      if (!ran_[n]) return t_.name(n) + " does not run";
    }
    return end();
  }

 private:
  // Results by node, sources first of all.
  void sort_results() {
    first_.assign(t_.num_nodes() + 1, 0);
    for (uint32_t p : t_.producer) {
      if (p != kNoNode) ++first_[p + 1];
    }
    for (uint32_t n = 0; n < t_.num_nodes(); ++n) first_[n + 1] += first_[n];
    results_.resize(first_.back());
    std::vector<uint32_t> at(first_.begin(), first_.end() - 1);
    std::vector<ValueId> sources;
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      const uint32_t p = t_.producer[v];
      p == kNoNode ? sources.push_back(ValueId(v)) : void(results_[at[p]++] = ValueId(v));
    }
    for (const auto& [first, second] : t_.before) after_.emplace_back(second, first);
    std::sort(after_.begin(), after_.end());
    place(kNoNode, sources);
  }

  // Gives memory to results of `node` that lie in their own or are views; a view may come before the
  // result it is of.
  bool place(uint32_t node, std::span<const ValueId> values) {
    for (ValueId v : values) {
      chain_.clear();
      for (; v.valid() && memory_[v.index] == kNobody; v = t_.view_of[v.index]) {
        if (t_.producer[v.index] != node) return fail(show(v) + " is viewed before it is made");
        chain_.push_back(v);
      }
      for (; !chain_.empty(); chain_.pop_back()) {
        const ValueId placed = chain_.back(), of = t_.view_of[placed.index];
        memory_[placed.index] = of.valid() ? memory_[of.index] : placed.index;
        content_[placed.index] = of.valid() ? content_[of.index] : placed;
        if (!of.valid()) holds_[placed.index] = placed;
      }
    }
    return true;
  }

  bool fail(std::string what) {
    error_ = std::move(what);
    return false;
  }

  std::string show(ValueId v) const {
    const uint32_t p = t_.producer[v.index];
    const std::string value = "value " + std::to_string(v.index);
    return p == kNoNode ? value : value + " of " + t_.name(p);
  }

  bool is_intact(ValueId v) const { return holds_[memory_[v.index]] == content_[v.index]; }

  bool read(uint32_t n) {
    const auto begin = std::lower_bound(after_.begin(), after_.end(), std::pair(n, 0u));
    for (auto it = begin; it != after_.end() && it->first == n; ++it) {
      if (!ran_[it->second]) return fail(t_.name(n) + " runs before " + t_.name(it->second));
    }
    for (ValueId v : t_.operands_of(n)) {
      if (memory_[v.index] == kNobody)
        return fail(t_.name(n) + " reads " + show(v) + " before it is made");
      if (is_intact(v)) continue;
      const uint32_t by = writer_[memory_[v.index]];
      return fail(t_.name(n) + " reads " + show(v) + " after " + t_.name(by) + " overwrote it");
    }
    return true;
  }

  bool write(uint32_t n) {
    const std::span<const ValueId> results(results_.data() + first_[n], first_[n + 1] - first_[n]);
    for (ValueId r : results) {
      const ValueId o = plan_.overwrites[r.index];
      if (o.valid() && !overwrite(n, r, o)) return false;
    }
    return place(n, results);
  }

  bool overwrite(uint32_t n, ValueId r, ValueId o) {
    const std::string what = t_.name(n) + " writes " + show(r) + " over " + show(o);
    if (t_.view_of[r.index].valid()) return fail(what + ", and is a view");
    if (memory_[o.index] == kNobody) return fail(what + ", which is not made yet");
    const uint32_t m = memory_[o.index];
    if (!is_intact(o)) return fail(what + ", which " + t_.name(writer_[m]) + " overwrote before");
    bool can = false, same_index = true;
    for (const Candidate& c : candidates_of(r)) {
      if (c.operand == o) can = true, same_index = same_index && c.same_index;
    }
    if (!can) return fail(what + ", which it cannot");
    // Memory of a source: nobody may have given it away.
    const Protection p = t_.protection[m];
    if (p == Protection::kConstant || p == Protection::kInput) {
      return fail(what +
                  ", which is in the memory of a constant or of an input that is not donated");
    }
    size_t through_o = 0, through_others = 0;
    for (ValueId v : t_.operands_of(n)) {
      if (memory_[v.index] == m) ++(v == o ? through_o : through_others);
    }
    if (!same_index && (through_o > 1 || through_others > 0)) {
      return fail(what + ", which it reads elsewhere too");
    }
    memory_[r.index] = m;
    content_[r.index] = holds_[m] = r;
    writer_[m] = n;
    return true;
  }

  // Candidates are few for a result and in no order that this may rely on: sorted once, here.
  std::span<const Candidate> candidates_of(ValueId r) {
    if (sorted_.size() != t_.candidates.size()) {
      sorted_ = t_.candidates;
      std::stable_sort(sorted_.begin(), sorted_.end(),
                       [](const Candidate& a, const Candidate& b) { return a.result < b.result; });
    }
    const auto [begin, end] = std::equal_range(
        sorted_.begin(), sorted_.end(), Candidate{r, ValueId()},
        [](const Candidate& a, const Candidate& b) { return a.result < b.result; });
    return {begin, end};
  }

  std::optional<std::string> end() {
    for (uint32_t v = 0; v < t_.num_values(); ++v) {
      if (t_.protection[v] == Protection::kNone || memory_[v] == kNobody) continue;
      if (is_intact(ValueId(v))) continue;
      return t_.name(writer_[memory_[v]]) + " overwrites " + show(ValueId(v)) +
             ", which is needed at the end";
    }
    return std::nullopt;
  }

  const ScheduleTables& t_;
  const InplacePlan& plan_;
  std::vector<uint32_t> memory_;  // per value: the value whose own memory it lies in
  std::vector<ValueId> content_;  // per value: the value it is another name of, or itself
  std::vector<ValueId> holds_;    // per memory: the value written there last
  std::vector<uint32_t> writer_;  // per memory: the node that overwrote it last
  std::vector<bool> ran_;
  std::vector<uint32_t> first_;
  std::vector<ValueId> results_;
  std::vector<std::pair<uint32_t, uint32_t>> after_;  // (second, first) of `before`
  std::vector<Candidate> sorted_;
  std::vector<ValueId> chain_;
  std::string error_;
};

}  // namespace

std::optional<std::string> find_interference(const ScheduleTables& tables,
                                             const InplacePlan& plan) {
  return Walk(tables, plan).run();
}

void check_plan(const ScheduleTables& tables, const InplacePlan& plan) {
  const std::optional<std::string> wrong = find_interference(tables, plan);
  GCOMP_CHECK(!wrong, "the schedule is wrong: " + *wrong);
}

}  // namespace gcomp::schedule
