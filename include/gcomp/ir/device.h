#pragma once
// Where a node is computed and where memory lies.

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gcomp/support/id.h"

namespace gcomp {

class Graph;
struct Node;
using NodeId = Id<struct NodeTag>;
using ValueId = Id<struct ValueTag>;

enum class Device : uint8_t { kHost, kCuda };

// Why a node cannot be computed by a kernel on a GPU; "" if it can. Sources, which are computed nowhere, can.
// So can cond and loop: the host decides what runs, their bodies' nodes are where BodyDevices has them.
std::string_view cuda_obstacle(const Graph& graph, NodeId node);

// Per node of each nested graph, where it is computed. A graph that is not there is on the host, and so are the
// bodies of a cond or loop that is on the host itself.
using BodyDevices = std::unordered_map<const Graph*, std::vector<Device>>;

// Where values lie: where they are made. A result of cond or loop lies where its bodies make it, or where that lies
// which they hand on. Linear in each graph.
class Homes {
 public:
  // Per node of `graph`, its device. Graphs nested in it come first, but for those that are all on the host.
  void add(const Graph& graph, std::span<const Device> devices);
  // The same for a graph and all that are nested in it.
  void add_all(const Graph& graph, std::span<const Device> devices, const BodyDevices& bodies);
  // Per value of a graph that was added, where its inputs lie on these devices. Constants: on the host.
  std::vector<Device> of(const Graph& graph, std::span<const Device> inputs) const;

 private:
  struct Home {
    enum class Kind : uint8_t { kConstant, kInput, kMade };
    Kind kind = Kind::kMade;
    Device device = Device::kHost;  // kMade
    uint32_t input = 0;             // kInput
  };
  void add_cond(const Graph& graph, const Node& n, std::vector<Home>& homes) const;
  void add_loop(const Graph& graph, const Node& n, std::vector<Home>& homes) const;
  std::vector<Home> outputs_of(const Graph& body) const;

  std::unordered_map<const Graph*, std::vector<Home>> homes_;  // per value
};

}  // namespace gcomp
