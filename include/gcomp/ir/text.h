#pragma once
// The text form of a graph, for people, dumps and tests; parse(print(g)) prints the same text again.
//
//   graph {
//     %0 = input "x" : float32[N, 3]
//     %1 = constant : float32[] {2.0}
//     %2 = broadcast(%1) {axes=[], shape=[N, 3]} : float32[N, 3]
//     %3 = mul(%0, %2) : float32[N, 3]  @"Mul_7"
//     return "y" = %3
//   }
// An input that may be overwritten is `input "x" donate`. A state (input 1 becomes output 0; "-> 0" and the
// initial value may be missing) comes after the outputs: state 1 -> 0 = float32[2] {0.5, 1.5}
// Nested graphs come first, as `body #0 { ... }`, and are named in attributes: bodies=[#0, #1].

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp {

struct PrintOptions {
  bool locations = true;
  // Constants of more elements are written as base64 of their bytes...
  int64_t max_elements = 32;
  // ...or, for reading by people only, left out; such text cannot be parsed back.
  bool elide = false;
};

std::string print(const Graph& graph, const PrintOptions& options = {});

// The graph and all that are nested in it, in the order in which they are printed: inner ones first, each
// once, `graph` last. "body #i" is number i.
std::vector<const Graph*> inner_first(const Graph& graph);

// Single lines of that text.
class NodePrinter {
 public:
  explicit NodePrinter(const Graph& graph, const PrintOptions& options = {});

  const std::vector<const Graph*>& graphs() const { return graphs_; }  // inner_first
  std::string line(const Graph& g, NodeId n) const;                    // "%3 = mul(%0, %2) : ..."

 private:
  std::string attribute(const AttrValue& value) const;

  const Context& c_;
  PrintOptions options_;
  std::vector<const Graph*> graphs_;
  std::unordered_map<const Graph*, size_t> number_;
};

// UserError (kGraph) naming line and cause on a mistake.
std::unique_ptr<Graph> parse_graph(Context& context, std::string_view text);

}  // namespace gcomp
