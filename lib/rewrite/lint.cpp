#include "gcomp/rewrite/lint.h"

#include <algorithm>
#include <map>
#include <set>

#include "gcomp/rewrite/generate.h"
#include "matcher.h"

namespace gcomp::rewrite {
namespace {

// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
void collect_names(const Pattern& p, std::set<std::string>* names) {
  if (!p.name.empty()) names->insert(p.name);
  for (const Pattern& child : p.operands) collect_names(child, names);
}

void check_result(const Rule& r, std::vector<std::string>* faults) {
  const auto* result = std::get_if<Pattern>(&r.result);
  if (result == nullptr) {
    if (!std::get<ResultFunction>(r.result)) faults->push_back(r.name + ": no result");
    return;
  }
  std::set<std::string> bound, used;
  collect_names(r.pattern, &bound);
  collect_names(*result, &used);
  for (const std::string& name : used) {
    if (!bound.contains(name)) faults->push_back(r.name + ": result uses unbound '" + name + "'");
  }
}

// Leaves of `general` match at least what those of `special` match, node by node.
// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
bool covers(const Pattern& general, const Pattern& special,
            std::map<std::string, std::string>* renamed) {
  using Kind = Pattern::Kind;
  const auto bind = [&] {
    if (general.name.empty()) return true;
    const std::string text = to_string(special);
    return renamed->try_emplace(general.name, text).first->second == text;
  };
  if (general.kind == Kind::kVariable) {
    // The dtypes of a node are not known here; a restricted variable covers only its like.
    if (special.kind == Kind::kOp && general.dtypes != kAllDTypes) return false;
    return (special.kind == Kind::kOp || (special.dtypes & ~general.dtypes) == 0) && bind();
  }
  if (general.kind != special.kind) return false;
  if (general.kind == Kind::kSplat) return to_string(general) == to_string(special);
  if (general.kind != Kind::kOp) return (special.dtypes & ~general.dtypes) == 0 && bind();
  if (general.operands.size() > special.operands.size() || !bind()) return false;
  for (Op o : special.ops) {
    if (std::find(general.ops.begin(), general.ops.end(), o) == general.ops.end()) return false;
  }
  for (size_t i = 0; i < general.operands.size(); ++i) {
    if (!covers(general.operands[i], special.operands[i], renamed)) return false;
  }
  return true;
}

// An unconditional template row takes every match from a later, more special row of the same sweep.
void check_shadowing(std::span<const Rule> rules, std::vector<std::string>* faults) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const Rule& first = rules[i];
    if (first.condition || !std::holds_alternative<Pattern>(first.result)) continue;
    for (size_t j = i + 1; j < rules.size(); ++j) {
      std::map<std::string, std::string> renamed;
      if (covers(first.pattern, rules[j].pattern, &renamed)) {
        faults->push_back(rules[j].name + ": shadowed by " + first.name);
      }
    }
  }
}

// Variables renamed in the order in which they occur, `names` kept from pattern to result.
// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
Pattern renamed(Pattern p, std::map<std::string, std::string>* names) {
  if (!p.name.empty()) {
    p.name = names->try_emplace(p.name, "v" + std::to_string(names->size())).first->second;
  }
  for (Pattern& child : p.operands) child = renamed(std::move(child), names);
  return p;
}

// What to_string leaves out: dtypes of leaves, alternatives of nodes.
// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
std::string details(const Pattern& p) {
  std::string text = std::to_string(static_cast<int>(p.kind)) + "." + std::to_string(p.dtypes) +
                     "." + std::to_string(p.output);
  for (Op o : p.ops) text += " " + std::string(name(o));
  for (const Pattern& child : p.operands) text += "(" + details(child) + ")";
  return text;
}

// What a row says whatever its variables are called; rows with computed results say it in their doc.
// The least text of all operand orders, so that a + b and b + a are the same.
std::string meaning(const Rule& r) {
  std::string least;
  const auto* result = std::get_if<Pattern>(&r.result);
  for (const Pattern& order : operand_orders(r.pattern)) {
    std::map<std::string, std::string> names;
    const Pattern pattern = renamed(order, &names);
    std::string text = to_string(pattern) + " " + details(pattern) + " -> ";
    text += result != nullptr ? to_string(renamed(*result, &names)) : r.doc;
    if (least.empty() || text < least) least = std::move(text);
  }
  return least;
}

void check_duplicates(std::span<const Rule> rules, std::vector<std::string>* faults) {
  std::map<std::string, std::string> seen;
  for (const Rule& r : rules) {
    const auto [first, fresh] = seen.try_emplace(meaning(r), r.name);
    if (!fresh) faults->push_back(r.name + ": says the same as " + first->second);
  }
}

}  // namespace

std::vector<std::string> lint(std::span<const Rule> rules,
                              std::span<const std::string> known_tags) {
  std::vector<std::string> faults;
  std::set<std::string> names;
  for (const Rule& r : rules) {
    if (!names.insert(r.name).second) faults.push_back(r.name + ": duplicate name");
    if (std::find(known_tags.begin(), known_tags.end(), r.name) != known_tags.end()) {
      faults.push_back(r.name + ": is also the name of a tag");
    }
    if (r.doc.empty()) faults.push_back(r.name + ": no doc");
    if (r.pattern.kind != Pattern::Kind::kOp) faults.push_back(r.name + ": the root is no node");
    if (r.tags.empty()) faults.push_back(r.name + ": no tags");
    for (const std::string& t : r.tags) {
      if (std::find(known_tags.begin(), known_tags.end(), t) == known_tags.end()) {
        faults.push_back(r.name + ": unknown tag '" + t + "'");
      }
    }
    if (!r.generate && !can_generate(r.pattern)) {
      faults.push_back(r.name + ": needs a generator of cases");
    }
    check_result(r, &faults);
  }
  check_duplicates(rules, &faults);
  check_shadowing(rules, &faults);
  return faults;
}

}  // namespace gcomp::rewrite
