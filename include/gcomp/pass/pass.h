#pragma once
// Passes as rows of a table, and the runner that gives each of them skip, time, verify, dump and
// statistics alike. A pass is a function from graph to graph, or a stage: a choice of lowering and code
// generation that is selected like a pass and obeyed by the driver.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/graph.h"
#include "gcomp/pass/profile.h"
#include "gcomp/rewrite/rule.h"
#include "gcomp/rewrite/sweep.h"

namespace gcomp::pass {

struct Pass;

// Watches a pipeline: each pass, and the sweeps in it.
class Observer : public rewrite::Observer {
 public:
  virtual void begin_pass(const Pass&, const Graph& /*graph*/) {}
  // `before` is what the pass was given; null: it is `after`, nothing was changed.
  virtual void end_pass(const Pass&, const Graph& /*after*/,
                        std::shared_ptr<const Graph> /*before*/) {}
};

// What a pass is given beside the graph.
struct PassContext {
  std::vector<const rewrite::Rule*> rules;  // those this pass is to apply
  bool fast_math = false;
  PassProfile* profile = nullptr;  // never null
  bool timed = false;              // sweeps fill in times of rules
  std::vector<rewrite::Observer*> observers = {};

  // For passes that build a graph themselves: what each old value became.
  void rebuilt(const Graph& old, const Graph& result, std::span<const ValueId> became) const {
    for (rewrite::Observer* o : observers) o->rebuilt(old, result, became);
  }
};

// The new graph, or null: nothing to change.
using PassFunction = std::function<std::unique_ptr<Graph>(const Graph&, PassContext&)>;

struct Pass {
  std::string name;
  PassFunction run;               // null: a stage
  bool required = false;          // cannot be excluded
  std::vector<std::string> tags;  // levels among them
  std::string doc;
  std::string rule_tag;  // for sweeps: applies the rules of this tag and the basic ones
};

// A level is a selection by tags and names, as the user's own words are.
struct Level {
  std::string_view name;
  std::string_view also;  // another name, or empty
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  std::string_view doc;
};

// A statement about the table, checked at start-up; it does not reorder anything.
struct OrderPair {
  std::string before;
  std::string after;
  std::string because;
};

struct Pipeline {
  std::vector<Pass> passes;  // in the order in which they run
  std::vector<OrderPair> order;
  std::span<const rewrite::Rule> rules;
};

struct Options {
  std::string level = "fast_run";                            // of levels(), by either name
  std::vector<std::string> including, excluding, requiring;  // tags, pass or rule names
  std::vector<std::string> passes;      // run exactly these, in this order (empty: by level)
  std::vector<std::string> dump_after;  // pass names, or "all"
  bool verify_each = false;
  bool fast_math = false;
  // Where dumps go; called after a pass named in dump_after.
  std::function<void(const std::string& pass, const Graph& graph)> dump;
  // Called before the first pass and after each one under verify_each; throws.
  std::function<void(const Graph& graph)> verify;
  std::vector<Observer*> observers = {};
};

// In the order in which they compile, the quickest first.
std::span<const Level> levels();
// The level of that name; UserError (kUsage) with a suggestion if there is none.
const Level& find_level(std::string_view name);

// Duplicate names, an order pair about unknown passes or out of order: InternalError.
void check_pipeline(const Pipeline& pipeline);

// The passes and stages that would run, in order. Unknown words give a UserError with a suggestion.
std::vector<const Pass*> select(const Pipeline& pipeline, const Options& options);
// Whether the stage of that name is chosen.
bool selects(const Pipeline& pipeline, const Options& options, std::string_view stage);
// The rules a pass would apply. Including a pass by name includes its rules; those that assume finite
// values are left out without fast_math.
std::vector<const rewrite::Rule*> select_rules(const Pipeline& pipeline, const Pass& pass,
                                               const Options& options);
// All tags of passes and rules, sorted.
std::vector<std::string> all_tags(const Pipeline& pipeline);

std::unique_ptr<Graph> run(std::unique_ptr<Graph> graph, const Pipeline& pipeline,
                           const Options& options, Profile* profile = nullptr);

// "a,b:c" -> a, b, c
std::vector<std::string> split_list(std::string_view text);

}  // namespace gcomp::pass
