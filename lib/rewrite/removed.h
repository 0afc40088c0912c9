#pragma once
// How many nodes each rule removed. Internal to the engine.

#include <unordered_map>
#include <vector>

#include "gcomp/rewrite/observer.h"
#include "gcomp/rewrite/rule.h"

namespace gcomp::rewrite {

// A node that is dropped is the work of the rule that replaced it, else of the rule that removed its last
// reader.
class RemovedNodes : public Observer {
 public:
  explicit RemovedNodes(std::span<const Rule* const> rules);

  const std::vector<size_t>& counts() const { return counts_; }  // one a rule

  void begin_graph(const Graph& old) override;
  void applied(const Rewrite& rewrite) override;
  void end_graph(const Swept& swept) override;

 private:
  std::unordered_map<const Rule*, uint32_t> number_;
  std::vector<size_t> counts_;
  std::vector<std::pair<uint32_t, uint32_t>> replaced_;  // (node built, rule)
};

}  // namespace gcomp::rewrite
