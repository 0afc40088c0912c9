#pragma once
// Placement as a sum to minimise: what each node costs on its device, and each value that is read on another than
// it is made on, once for all who read it there. Times are whole picoseconds, so that sums are exact.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "gcomp/passes/placement.h"

namespace gcomp::passes {

inline constexpr uint32_t kNoVariable = 0xffffffffu;

// A value in memory and who reads it.
struct Net {
  ValueId value;                    // through reshapes and checks, which rename it
  NodeId maker;                     // of a state: of its new value
  uint32_t producer = kNoVariable;  // variable; none: made on the host
  uint32_t first_reader = 0;        // in `readers`
  uint32_t num_readers = 0;
  bool host_reads = false;   // something that is always on the host reads it
  NodeId host_reader = {};   // that; invalid: an output of the graph
  int64_t up = 0, down = 0;  // to copy it to the GPU, to the host
};

// What a nested graph costs as it was placed, a turn of it or a branch, and where it has what it shares with the graph
// around it.
struct BodyCost {
  int64_t host = 0, placed = 0;  // all of it on the host; as placed
  bool uses_cuda = false;
  std::vector<bool> reads_there,
      reads_here;                // per input: somebody on the GPU, on the host reads it
  std::vector<bool> made_there;  // per output
};
using BodyCosts = std::unordered_map<const Graph*, BodyCost>;

// How a graph is run: the module once, a branch with what it is given, a loop's body with what it carries from turn to
// turn.
struct GraphUse {
  enum class Kind : uint8_t { kModule, kBranch, kTurn };
  Kind kind = Kind::kModule;
  uint32_t carried = 0;  // kTurn: values
};

// Sizes with every symbol as it is assumed, for all graphs of a context.
class AssumedSizes {
 public:
  AssumedSizes(const Context& context, int64_t extent)
      : context_(context), symbols_(context.dims.num_symbols(), extent) {}

  int64_t extent(DimId d) const { return context_.dims.evaluate(d, symbols_); }
  double elements(TypeId type);  // computed once a type
  double bytes(TypeId type);

 private:
  const Context& context_;
  std::vector<int64_t> symbols_;
  std::vector<double> elements_;  // per type; -1: not yet
};

struct PlacementProblem {
  // `bodies`: of all graphs nested in it.
  PlacementProblem(const Graph& graph, const PlacementCosts& costs, AssumedSizes& sizes,
                   const GraphUse& use, const BodyCosts& bodies);

  // Variables: the nodes that may be on either device, in the graph's order. A cond or loop on the GPU has its bodies
  // as they were placed, one on the host all of them there.
  std::vector<NodeId> nodes;
  std::vector<uint32_t> variable_of;  // per node
  std::vector<uint32_t> root_of;      // per value: the one whose memory it is, under another name
  std::vector<uint32_t>
      maker_of;  // per value: the variable that makes it, on its own device; none: on the host
  std::vector<int64_t> host, device;  // per variable: its cost on either
  int64_t fixed = 0;                  // of all other nodes
  int64_t run = 0;                    // if any node is on the GPU
  std::vector<Net> nets;
  std::vector<uint32_t> readers;
  // Nets that a variable makes or reads: nets_of[first_net[v] ...].
  std::vector<uint32_t> first_net, nets_of;

  int64_t total(const std::vector<uint8_t>& on_device) const;  // per variable
  BodyCost cost(const Graph& graph, const std::vector<uint8_t>& on_device) const;
};

}  // namespace gcomp::passes
