#pragma once
// A rewrite rule is a row of data; a RuleSet is a selection of rows, indexed for the sweep.

#include <bit>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gcomp/rewrite/match.h"
#include "gcomp/rewrite/pattern.h"

namespace gcomp::rewrite {

class CaseMaker;  // gcomp/rewrite/generate.h

// What a rule may change in the results.
enum class Contract : uint8_t {
  kExact,          // the same bits (any NaN for a NaN)
  kReassociates,   // another order of rounding
  kAssumesFinite,  // equal where no operand or intermediate result is infinite or NaN
  kExtendsDomain,  // more accurate, or defined where the original overflows
};
std::string_view name(Contract c);

// What a result function gives: one value per result of the root, or nothing (the rule does not apply).
struct Replacement {
  std::vector<ValueId> values;
  Replacement() = default;
  Replacement(std::nullopt_t) {}                                 // NOLINT: `return std::nullopt`
  Replacement(ValueId v) : values{v} {}                          // NOLINT
  Replacement(std::vector<ValueId> v) : values(std::move(v)) {}  // NOLINT
};

using Condition = std::function<bool(const Match&)>;
using ResultFunction = std::function<Replacement(const Match&, Emitter&)>;
// Builds a small random graph in which the rule should apply, and gives its result.
using Generator = std::function<ValueId(CaseMaker&)>;

struct Rule {
  std::string name;
  Pattern pattern;
  std::variant<Pattern, ResultFunction> result;
  std::string doc;  // "log(1 + x) -> log1p(x)"; made from pattern and template when empty
  Condition condition;
  std::vector<std::string> tags;
  Contract contract = Contract::kExact;
  Generator generate;  // needed where the pattern alone cannot make a graph

  // Fluent setters, so that a row stays a row.
  Rule when(Condition c) &&;
  Rule tag(std::string t) &&;
  Rule reassociates() && { return std::move(*this).with(Contract::kReassociates); }
  Rule assumes_finite() && { return std::move(*this).with(Contract::kAssumesFinite); }
  Rule extends_domain() && { return std::move(*this).with(Contract::kExtendsDomain); }
  Rule cases(Generator g) &&;

 private:
  Rule with(Contract c) && {
    contract = c;
    return std::move(*this);
  }
};

// A row whose result is a template, and one whose result is computed.
Rule rule(std::string name, Pattern pattern, Pattern result);
Rule rule(std::string name, std::string doc, Pattern pattern, ResultFunction result);

// `extra` added to every rule of `rules` that lacks it.
std::vector<Rule> tagged(std::vector<std::string> extra, std::vector<Rule> rules);

// A selection by tags or names: any of `include` (empty: all), none of `exclude`, all of `require`.
struct TagQuery {
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::vector<std::string> require;
  bool accepts(std::string_view name, std::span<const std::string> tags) const;
};

std::vector<const Rule*> select(std::span<const Rule> rules, const TagQuery& query);

// One operand order of one rule, flattened in preorder for matching without recursion.
struct CompiledPattern {
  struct Node {
    Pattern::Kind kind = Pattern::Kind::kVariable;
    int16_t slot = -1;  // binding
    uint16_t num_operands = 0;
    uint16_t first_operand = 0;  // position of operand 0; operands are consecutive
    bool open = false;           // the node may have more operands (carriers)
    DTypeMask dtypes = kAllDTypes;
    int output = 0;
    double value = 0;
    OpSet ops;
  };
  std::vector<Node> nodes;  // nodes[0] is the root; breadth first
  uint32_t rule = 0;        // index in the set
};

// What the index looks at of an operand. A missing operand is an `input`, which no pattern asks for.
struct OperandLook {
  Op op = Op::input;
  bool constant = false;  // or the broadcast of one
};

class RuleSet {
 public:
  RuleSet() = default;
  explicit RuleSet(std::vector<const Rule*> rules);

  std::span<const Rule* const> rules() const { return rules_; }
  const CompiledPattern& pattern(uint32_t i) const { return patterns_[i]; }
  std::span<const std::string> names(uint32_t rule) const { return names_[rule]; }

  // Calls `try_pattern` with the patterns worth comparing at a node of op `root` with such first operands,
  // in the order of the rules, until one gives true.
  template <class F>
  bool any_candidate(Op root, const OperandLook (&operands)[2], const F& try_pattern) const {
    if (by_root_.empty()) return false;
    const RootIndex& index = by_root_[static_cast<size_t>(root)];
    for (size_t word = 0; word < index.words; ++word) {
      uint64_t left = index.needs[0].allowed(operands[0], word, index.words) &
                      index.needs[1].allowed(operands[1], word, index.words);
      for (; left != 0; left &= left - 1) {
        const auto bit = static_cast<size_t>(std::countr_zero(left));
        if (try_pattern(index.patterns[word * 64 + bit])) return true;
      }
    }
    return false;
  }

 private:
  // Bit i stands for pattern i of a root: those that one operand of the root allows.
  struct OperandNeeds {
    std::vector<uint64_t> any, constant;  // any operand will do; it must be constant
    std::vector<uint64_t> by_op;          // per op, all words of one after those of another
    uint64_t allowed(const OperandLook& look, size_t word, size_t words) const {
      return any[word] | by_op[static_cast<size_t>(look.op) * words + word] |
             (look.constant ? constant[word] : 0);
    }
  };
  struct RootIndex {
    std::vector<uint32_t> patterns;  // in the order of the rules
    size_t words = 0;
    OperandNeeds needs[2];
  };
  void index_operand(RootIndex* index, int operand) const;

  std::vector<const Rule*> rules_;
  std::vector<std::vector<std::string>> names_;  // per rule: slot -> name
  std::vector<CompiledPattern> patterns_;
  std::vector<RootIndex> by_root_;  // per op
};

}  // namespace gcomp::rewrite
