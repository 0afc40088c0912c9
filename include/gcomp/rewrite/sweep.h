#pragma once
// The sweep: one pass over a graph in topological order that rebuilds it in an interning builder,
// folds constants and applies rules until none fires. Work is linear in nodes plus applications; no
// recursion. lib/rewrite/README.md has the order of work and why one sweep is enough.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/graph.h"
#include "gcomp/rewrite/observer.h"
#include "gcomp/rewrite/rule.h"

namespace gcomp::rewrite {

// Limits. When one is hit the sweep goes on without the offending application and notes it.
inline constexpr int kMaxApplicationsPerNode = 64;  // rule applications caused by one old node
inline constexpr double kMaxGrowthPerRule = 4;     // nodes a rule may make, per old node so far ...
inline constexpr size_t kGrowthAllowance = 10000;  // ... plus this many
inline constexpr size_t kMaxFoldedBytes = 64 << 20;  // of one folded node's results
inline constexpr double kMaxFoldGrowth = 1.0;        // result bytes per operand byte ...
inline constexpr size_t kFoldAllowance = 4096;       // ... or results up to this size
inline constexpr double kMaxFoldWork = 3e7;          // multiply-adds, comparisons, copies

// Computes the results of a node whose operands are the given constants; nullopt: cannot.
using Folder = std::function<std::optional<std::vector<Constant>>(
    Context& context, const Graph& graph, NodeId node, std::span<const Constant* const> operands)>;
Folder reference_folder();  // by the reference evaluator

struct SweepOptions {
  bool fold = true;
  bool fast_math = false;  // allow rules that assume finite values
  Folder folder;           // default: reference_folder()
  bool profile = false;    // fill in times of rules and nodes removed
  std::vector<Observer*> observers = {};
};

// Why a rule whose pattern matched was not applied.
enum class Refusal : uint8_t {
  kCondition,  // of its row
  kFunction,   // its function gave nothing, or the root itself
  kType,       // the result had another type: a fault of the rule
  kChase,      // rules led back to the root
  kLimit,      // too many applications for one node, or too many nodes made
  kObserver,   // forbidden from outside (--rewrite-limit)
};
inline constexpr size_t kNumRefusals = 6;
std::string_view name(Refusal r);

struct RuleStats {
  std::string name;
  size_t tried = 0;    // patterns compared, after the index
  size_t matched = 0;  // patterns that held: those applied and those refused
  size_t applied = 0;
  std::array<size_t, kNumRefusals> refused = {};
  bool looks_at_uses = false;  // so a second sweep, with other counts, may find more
  size_t nodes_created = 0;
  // With SweepOptions::profile:
  size_t nodes_removed = 0;  // the roots replaced, and what nobody but them read
  double seconds = 0;        // comparing patterns, conditions, making results
  uint64_t ticks = 0;        // the same in units of a fast counter
};

struct SweepStats {
  size_t nodes_before = 0;  // with those of nested graphs
  size_t nodes_after = 0;
  size_t nodes_built = 0;  // in between, with those that were replaced
  size_t visited = 0;      // nodes offered to rules
  size_t folded = 0;
  size_t intern_hits = 0;
  size_t bodies = 0;
  size_t applied = 0;
  size_t refused = 0;  // replacements of another type: faults of a rule
  double seconds = 0;
  // With SweepOptions::profile; what is left of `seconds` is building and interning.
  double rule_seconds = 0;
  double fold_seconds = 0;
  uint64_t fold_ticks = 0;
  std::vector<RuleStats> rules;  // one per rule of the set, in its order
  std::vector<std::string>
      chases;  // "a -> b -> a": rules that undid each other, limits that were hit
};

// The nested graphs `g` uses, directly or not, each once, innermost first.
std::vector<GraphId> nested_graphs(const Context& context, const Graph& g);

// Nested graphs are swept too (innermost first) and added to the context.
std::unique_ptr<Graph> sweep(const Graph& graph, const RuleSet& rules,
                             const SweepOptions& options = {}, SweepStats* stats = nullptr);

}  // namespace gcomp::rewrite
