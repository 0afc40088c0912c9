#pragma once
// What --profile, --explain and --html tell of a placement.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "gcomp/passes/placement.h"

namespace gcomp::driver {

struct PlacementReport {
  struct Copy {
    std::string value;  // "%7 = add(%3, %5) : float32[n]"
    Device to;
    uint64_t bytes;
    std::string cause, why;  // "no kernel"; in a sentence
    bool in_body;            // in each turn of a loop, or in a branch
  };
  size_t nodes = 0;  // on the GPU, nested graphs' too
  double seconds = 0, host_seconds = 0;
  size_t num_copies = 0;
  struct Products {
    size_t number = 0, by_library = 0;
  };
  Products products, convolutions;  // on the GPU; that a library may do
  std::vector<Copy> copies;         // the largest, largest first
};

PlacementReport report_placement(const Graph& graph, const passes::Placement& placement);
std::string to_table(const PlacementReport& report);
nlohmann::ordered_json to_json(const PlacementReport& report);

// "the GPU"; "the host, where it costs least (3 us there, 5 us on the GPU)".
std::string device_of(const Graph& graph, const passes::GraphPlacement& placement, NodeId node);
// "to the host, 4,096 bytes: the caller takes it", for each way the node's results are copied.
std::vector<std::string> copies_of(const Graph& graph, const passes::GraphPlacement& placement,
                                   NodeId node);

}  // namespace gcomp::driver
