#include "gcomp/rewrite/rule.h"

#include <algorithm>

#include "gcomp/support/error.h"
#include "matcher.h"

namespace gcomp::rewrite {
namespace {

constexpr size_t kMaxPatternNodes = 32;
constexpr size_t kMaxVariants = 64;  // operand orders of one pattern

bool is_leaf_constant(const Pattern& p) {
  return p.kind != Pattern::Kind::kOp && p.kind != Pattern::Kind::kVariable;
}

bool commutes(const Pattern& p) {
  return p.kind == Pattern::Kind::kOp && p.operands.size() == 2 && !p.ops.empty() &&
         std::all_of(p.ops.begin(), p.ops.end(), [](Op o) { return has_trait(o, kCommutative); });
}

}  // namespace

// The engine keeps constants in the second place of commutative
// nodes, so an order with a constant first (and none second) cannot occur. Depth is a pattern's.
// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
std::vector<Pattern> operand_orders(const Pattern& p) {
  std::vector<Pattern> orders;
  if (p.kind != Pattern::Kind::kOp) return {p};
  std::vector<std::vector<Pattern>> choices;
  for (const Pattern& child : p.operands) choices.push_back(operand_orders(child));
  std::vector<Pattern> partial{p};
  for (size_t i = 0; i < choices.size(); ++i) {
    std::vector<Pattern> longer;
    for (const Pattern& base : partial) {
      for (const Pattern& child : choices[i]) {
        longer.push_back(base);
        longer.back().operands[i] = child;
      }
    }
    partial = std::move(longer);
  }
  const bool swaps = commutes(p) && to_string(p.operands[0]) != to_string(p.operands[1]);
  for (Pattern& order : partial) {
    if (swaps && is_leaf_constant(order.operands[0]) != is_leaf_constant(order.operands[1])) {
      if (is_leaf_constant(order.operands[0])) std::swap(order.operands[0], order.operands[1]);
      orders.push_back(std::move(order));
      continue;
    }
    if (swaps) {
      orders.push_back(order);
      std::swap(orders.back().operands[0], orders.back().operands[1]);
    }
    orders.push_back(std::move(order));
  }
  return orders;
}

namespace {

int16_t slot_of(const std::string& name, std::vector<std::string>* names) {
  if (name.empty()) return -1;
  const auto found = std::find(names->begin(), names->end(), name);
  if (found == names->end()) names->push_back(name);
  return static_cast<int16_t>(std::find(names->begin(), names->end(), name) - names->begin());
}

CompiledPattern flatten(const Pattern& root, std::vector<std::string>* names) {
  CompiledPattern flat;
  std::vector<const Pattern*> queue{&root};
  for (size_t i = 0; i < queue.size(); ++i) {
    const Pattern& p = *queue[i];
    CompiledPattern::Node n;
    n.kind = p.kind;
    n.slot = slot_of(p.name, names);
    n.num_operands = static_cast<uint16_t>(p.operands.size());
    n.first_operand = static_cast<uint16_t>(queue.size());
    n.dtypes = p.dtypes;
    n.output = p.output;
    n.value = p.value;
    for (Op o : p.ops) n.ops.set(static_cast<size_t>(o));
    n.open = p.open || std::any_of(p.ops.begin(), p.ops.end(),
                                   [](Op o) { return !has_trait(o, kElementwise); });
    for (const Pattern& child : p.operands) queue.push_back(&child);
    flat.nodes.push_back(std::move(n));
  }
  GCOMP_CHECK(flat.nodes.size() <= kMaxPatternNodes, "pattern too large: " + to_string(root));
  return flat;
}

}  // namespace

std::string_view name(Contract c) {
  switch (c) {
    case Contract::kExact: return "exact";
    case Contract::kReassociates: return "reassociates";
    case Contract::kAssumesFinite: return "assumes-finite";
    case Contract::kExtendsDomain: return "extends-domain";
  }
  return "";
}

Rule Rule::when(Condition c) && {
  condition = std::move(c);
  return std::move(*this);
}

Rule Rule::tag(std::string t) && {
  tags.push_back(std::move(t));
  return std::move(*this);
}

Rule Rule::cases(Generator g) && {
  generate = std::move(g);
  return std::move(*this);
}

Rule rule(std::string name, Pattern pattern, Pattern result) {
  Rule r;
  r.name = std::move(name);
  r.doc = to_string(pattern) + " -> " + to_string(result);
  r.pattern = std::move(pattern);
  r.result = std::move(result);
  return r;
}

Rule rule(std::string name, std::string doc, Pattern pattern, ResultFunction result) {
  Rule r;
  r.name = std::move(name);
  r.doc = std::move(doc);
  r.pattern = std::move(pattern);
  r.result = std::move(result);
  return r;
}

std::vector<Rule> tagged(std::vector<std::string> extra, std::vector<Rule> rules) {
  for (Rule& r : rules) {
    for (const std::string& t : extra) {
      if (std::find(r.tags.begin(), r.tags.end(), t) == r.tags.end()) r.tags.push_back(t);
    }
  }
  return rules;
}

bool TagQuery::accepts(std::string_view name, std::span<const std::string> tags) const {
  const auto has = [&](const std::string& wanted) {
    return wanted == name || std::find(tags.begin(), tags.end(), wanted) != tags.end();
  };
  if (!include.empty() && std::none_of(include.begin(), include.end(), has)) return false;
  return std::none_of(exclude.begin(), exclude.end(), has) &&
         std::all_of(require.begin(), require.end(), has);
}

std::vector<const Rule*> select(std::span<const Rule> rules, const TagQuery& query) {
  std::vector<const Rule*> chosen;
  for (const Rule& r : rules) {
    if (query.accepts(r.name, r.tags)) chosen.push_back(&r);
  }
  return chosen;
}

RuleSet::RuleSet(std::vector<const Rule*> rules)
    : rules_(std::move(rules)), names_(rules_.size()), by_root_(kNumOps) {
  for (uint32_t r = 0; r < rules_.size(); ++r) {
    const std::vector<Pattern> orders = operand_orders(rules_[r]->pattern);
    GCOMP_CHECK(orders.size() <= kMaxVariants, "too many operand orders: " + rules_[r]->name);
    for (const Pattern& order : orders) {
      CompiledPattern flat = flatten(order, &names_[r]);
      flat.rule = r;
      const auto id = static_cast<uint32_t>(patterns_.size());
      for (Op o : order.ops) by_root_[static_cast<size_t>(o)].patterns.push_back(id);
      patterns_.push_back(std::move(flat));
    }
  }
  for (RootIndex& index : by_root_) {
    index.words = (index.patterns.size() + 63) / 64;
    for (int operand : {0, 1}) index_operand(&index, operand);
  }
}

void RuleSet::index_operand(RootIndex* index, int operand) const {
  OperandNeeds& needs = index->needs[operand];
  needs.any.resize(index->words);
  needs.constant.resize(index->words);
  needs.by_op.resize(index->words * kNumOps);
  for (size_t i = 0; i < index->patterns.size(); ++i) {
    const CompiledPattern& p = patterns_[index->patterns[i]];
    const size_t word = i / 64;
    const uint64_t bit = uint64_t{1} << (i % 64);
    if (operand >= p.nodes[0].num_operands) {
      needs.any[word] |= bit;
      continue;
    }
    const CompiledPattern::Node& n =
        p.nodes[static_cast<size_t>(p.nodes[0].first_operand + operand)];
    switch (n.kind) {
      case Pattern::Kind::kVariable: needs.any[word] |= bit; break;
      case Pattern::Kind::kOp:
        for (size_t o = 0; o < kNumOps; ++o) {
          if (n.ops.test(o)) needs.by_op[o * index->words + word] |= bit;
        }
        break;
      default: needs.constant[word] |= bit; break;
    }
  }
}

}  // namespace gcomp::rewrite
