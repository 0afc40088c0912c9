#pragma once
// --rewrite-limit: the first N changes of a graph and no more. Changes are applications of rules, folded
// nodes, and what a pass does otherwise (as one); they are counted over the whole pipeline, in an order
// that never changes, so the graphs for N and N + 1 differ by one change. Merging equal nodes and dropping
// dead ones goes on beyond the limit.

#include <cstdint>
#include <string>

#include "gcomp/pass/pass.h"

namespace gcomp::pass {

struct Change {
  size_t number = 0;                    // from 1
  const rewrite::Rule* rule = nullptr;  // null: constants were folded, or the pass did it itself
  std::string pass;
  std::string place;  // location of the node that was replaced; empty: the pass did it itself
};

// "rule log1p at mu_log__ (pass stabilize)", "constant folding at nodes[3] (pass canonicalize)", "pass layout"
std::string to_string(const Change& change);

class RewriteLimit : public Observer {
 public:
  explicit RewriteLimit(size_t most = SIZE_MAX) : most_(most) {}

  void begin_pass(const Pass& pass, const Graph& graph) override;
  bool allows(const rewrite::Rewrite& rewrite) override;
  bool allows_rebuilding(const Graph& old) override;

  size_t made() const { return last_.number; }
  const Change& last() const { return last_; }  // number 0: none was made

 private:
  size_t most_;
  std::string pass_;
  Change last_;
};

}  // namespace gcomp::pass
