#pragma once
// Where every node came from and what became of it, through all passes: what --html and --explain show.
// An observer that keeps the graphs between passes and, per pass, arrays from nodes to nodes: memory is
// linear in nodes, applications and passes.

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "gcomp/pass/pass.h"

namespace gcomp::pass {

class Lineage : public Observer {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;

  // A graph with all that are nested in it, between passes. Nodes are numbered through: those of nested
  // graphs come first, in the order in which they are printed.
  struct Stage {
    std::string name;                  // of the pass that made it; "read" at first
    std::vector<const Graph*> graphs;  // inner ones first, the graph itself last
    std::vector<uint32_t> base;        // number of each graph's first node; last: nodes in all
    std::unordered_map<const Graph*, size_t> index = {};  // in `graphs`

    uint32_t num_nodes() const { return base.back(); }
    const Graph& graph() const { return *graphs.back(); }
    size_t graph_of(uint32_t node) const;
    const Node& node(uint32_t n) const;
    uint32_t number(const Graph* g, NodeId n) const;  // kNone: not in this stage
  };

  // A rule that replaced a node, or a node that was folded (no rule).
  struct Application {
    const rewrite::Rule* rule = nullptr;
    uint32_t before = kNone;  // node before the pass for whose sake it happened
    uint32_t after =
        kNone;            // node after the pass that is the result; kNone: itself replaced or gone
    std::string_view op;  // of the node replaced
  };

  enum class Fate : uint8_t {
    kKept,    // the node after the pass was made for it
    kMerged,  // an equal node, or one that was there already, stands for it
    kUnread,  // no output needed it when the pass began
    kGone,    // what read it no longer does
  };

  // What one pass did; stages[i] to stages[i + 1].
  struct Step {
    std::vector<uint32_t>
        became;              // per node before: the node of its first result that is left, or kNone
    std::vector<Fate> fate;  // per node before
    std::vector<uint32_t>
        origin;  // per node after: the node before for whose sake it was made, or kNone
    std::vector<uint32_t> maker;  // per node after: the application that made it, or kNone: rebuilt
    std::vector<Application> applications;  // in order
  };

  const std::vector<Stage>& stages() const { return stages_; }
  const std::vector<Step>& steps() const { return steps_; }
  // Passes that changed nothing have no stage; their names, each with the number of stages then.
  const std::vector<std::pair<std::string, size_t>>& idle() const { return idle_; }

  // `graph` is what is to be shown if there were no passes.
  void finish(const Graph& graph);

  void begin_pass(const Pass& pass, const Graph& graph) override;
  void end_pass(const Pass& pass, const Graph& after, std::shared_ptr<const Graph> before) override;
  void begin_graph(const Graph& old) override;
  void take(NodeId old_node, const Graph& built) override;
  void applied(const rewrite::Rewrite& rewrite) override;
  void end_graph(const rewrite::Swept& swept) override;
  void rebuilt(const Graph& old, const Graph& result, std::span<const ValueId> became) override;

 private:
  // As in Step, of one graph: nodes by their own numbers.
  struct Map {
    const Graph* old = nullptr;
    const Graph* result = nullptr;
    std::vector<uint32_t> became, origin, maker;
    std::vector<Fate> fate;
    std::vector<Application> applications;
  };
  struct Applied {
    const rewrite::Rule* rule;
    uint32_t old_node, root, result, first_made, end_made;
  };

  void add_stage(std::string name, const Graph& graph);
  void guess(const Graph& source, const Graph& old);
  Map map_to(const Graph& g) const;
  static Map composed(const Map& first, const Map& second);
  static Map identity(const Graph& g);

  std::vector<Stage> stages_;
  std::vector<Step> steps_;
  std::vector<std::pair<std::string, size_t>> idle_;
  std::vector<std::shared_ptr<const Graph>> kept_;
  // Of the pass that runs:
  std::vector<Map> maps_;
  std::unordered_map<const Graph*, size_t> map_of_;  // result -> the last of maps_ that made it
  // Of the graph that is swept:
  std::vector<std::pair<uint32_t, uint32_t>> taken_;  // (old node, nodes built before)
  std::vector<Applied> applied_;
};

}  // namespace gcomp::pass
