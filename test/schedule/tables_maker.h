#pragma once
// Schedules for tests: written by hand, node by node, or random.

#include <random>

#include "gcomp/schedule/inplace.h"

namespace gcomp::schedule::test {

// Tables made one node at a time. Values are of 8 bytes unless `bytes` says otherwise.
class Maker {
 public:
  Maker() { t.first_operand.push_back(0); }

  ValueId source(Protection p = Protection::kNone) { return add(kNoNode, {}, p); }
  ValueId node(const std::string& name, std::initializer_list<ValueId> operands) {
    return node(name, std::vector<ValueId>(operands));
  }
  ValueId node(const std::string& name, const std::vector<ValueId>& operands) {
    names.push_back(name);
    t.operands.insert(t.operands.end(), operands.begin(), operands.end());
    t.first_operand.push_back(static_cast<uint32_t>(t.operands.size()));
    return add(t.num_nodes() - 1, {}, Protection::kNone);
  }
  ValueId view(const std::string& name, ValueId of) {
    const ValueId v = node(name, {of});
    t.view_of[v.index] = of;
    return v;
  }
  ValueId result_too(ValueId first) {  // another result of the same node
    return add(t.producer[first.index], {}, Protection::kNone);
  }
  void output(ValueId v) { t.protection[v.index] = Protection::kOutput; }
  void may_overwrite(ValueId result, ValueId operand, bool same_index = false) {
    t.candidates.push_back({result, operand, same_index});
  }
  ScheduleTables finish() {
    t.name_of = [names = names](uint32_t n) { return n < names.size() ? names[n] : "copy"; };
    return t;
  }

  ScheduleTables t;
  std::vector<std::string> names;

 private:
  ValueId add(uint32_t producer, ValueId view_of, Protection p) {
    t.producer.push_back(producer);
    t.view_of.push_back(view_of);
    t.protection.push_back(p);
    t.bytes.push_back(8);
    return ValueId(t.producer.size() - 1);
  }
};

inline uint32_t pick(std::mt19937& random, size_t n) { return static_cast<uint32_t>(random() % n); }

struct RandomOptions {
  size_t nodes = 20;
  size_t near = 8;          // most operands are among so many last values
  size_t far_percent = 20;  // the others are any
  size_t view_percent = 15;
  size_t update_percent = 50;  // of states: the result that replaces them is written over them
};

// Views, views of views, nodes with two results, values read twice, donated and protected sources,
// states (the old value is read, a result is written over it, whoever makes it), other orderings.
inline ScheduleTables random_tables(std::mt19937& random, const RandomOptions& o = {}) {
  Maker m;
  std::vector<ValueId> values, states;
  const size_t sources = 2 + pick(random, 2 + o.nodes / 10);
  for (size_t i = 0; i < sources; ++i) {
    constexpr Protection kKinds[] = {Protection::kNone, Protection::kConstant, Protection::kInput};
    const Protection p = kKinds[pick(random, 3)];
    values.push_back(m.source(p));
    if (p == Protection::kNone) states.push_back(values.back());
  }
  const auto operand = [&] {
    const bool far = pick(random, 100) < o.far_percent || values.size() < o.near;
    return values[far ? pick(random, values.size()) : values.size() - 1 - pick(random, o.near)];
  };
  for (size_t i = 0; i < o.nodes; ++i) {
    const std::string name = "n" + std::to_string(i);
    if (pick(random, 100) < o.view_percent) {
      values.push_back(m.view(name, operand()));
      continue;
    }
    std::vector<ValueId> operands(1 + pick(random, 3));
    for (ValueId& v : operands) v = operand();
    std::vector<ValueId> results{m.node(name, operands)};
    if (pick(random, 8) == 0) results.push_back(m.result_too(results[0]));
    for (ValueId r : results) {
      m.t.bytes[r.index] = 8 << pick(random, 4);
      for (size_t k = 0; k < operands.size(); ++k) {
        const ValueId v = operands[k];
        const auto end = operands.begin() + static_cast<ptrdiff_t>(k);
        const bool again = std::find(operands.begin(), end, v) != end;
        if (!again && pick(random, 3) > 0) m.may_overwrite(r, v, pick(random, 2) == 0);
      }
      if (!states.empty() && pick(random, 20) == 0 && pick(random, 100) < o.update_percent) {
        const ValueId state = states[pick(random, states.size())];
        if (std::ranges::find(operands, state) == operands.end()) m.may_overwrite(r, state, true);
        m.output(r);
      }
      values.push_back(r);
    }
    if (pick(random, 20) == 0 && i > 0) {
      m.t.before.emplace_back(pick(random, i), static_cast<uint32_t>(i));
    }
  }
  for (size_t i = 0; i < 1 + o.nodes / 20; ++i) m.output(values[pick(random, values.size())]);
  return m.finish();
}

}  // namespace gcomp::schedule::test
