#pragma once
// Placement as a sum to minimise: what each node costs on its device, and each value that is read on another than
// it is made on, once for all who read it there. Times are whole picoseconds, so that sums are exact.

#include <cstdint>
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
  bool is_state = false;     // made by the run before
  bool host_reads = false;   // something that is always on the host reads it
  int64_t up = 0, down = 0;  // to copy it to the GPU, to the host
};

struct PlacementProblem {
  PlacementProblem(const Graph& graph, const PlacementCosts& costs);

  // Variables: the nodes that may be on either device, in the graph's order.
  std::vector<NodeId> nodes;
  std::vector<uint32_t> variable_of;  // per node
  std::vector<uint32_t> root_of;      // per value: the one whose memory it is, under another name
  std::vector<int64_t> host, device;  // per variable: its cost on either
  int64_t fixed = 0;                  // of all other nodes
  int64_t run = 0;                    // if any node is on the GPU
  std::vector<Net> nets;
  std::vector<uint32_t> readers;
  // Nets that a variable makes or reads: nets_of[first_net[v] ...].
  std::vector<uint32_t> first_net, nets_of;
  std::vector<double> bytes_of_type;  // per type, where a value has it

  uint64_t bytes(const Graph& graph, ValueId v) const {
    return static_cast<uint64_t>(bytes_of_type[graph.type_id(v).index]);
  }
  int64_t total(const std::vector<uint8_t>& on_device) const;  // per variable
};

}  // namespace gcomp::passes
