#pragma once
// Which nodes run on the GPU: a side table beside the final graph, never an attribute of an op. Chosen under a
// cost model; lib/passes/README.md has the method.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gcomp/ir/device.h"
#include "gcomp/ir/graph.h"

namespace gcomp::passes {

// The machine that is assumed: an A100 behind PCI Express 4, a host of eight AVX2 cores. Sources: NVIDIA's data
// sheet of the A100 (memory 1,555 GB/s, float32 19.5 TFLOP/s), reference figures of gcomp's own kernels for the
// host (lib/codegen's README), the usual measured 2 to 3 us a launch in a CUDA graph and 20 to 25 GB/s from
// pinned memory over PCI Express 4 x16, of which staging leaves half.
struct PlacementCosts {
  // Seconds.
  double launch = 2.5e-6;     // of a kernel on the GPU
  double call = 3e-8;         // of one on the host
  double run = 2e-5;          // more for a run that uses the GPU at all: start it, wait for it
  double transfer = 1e-5;     // of a copy between the two, whatever its size
  double device_step = 1e-8;  // of what one thread of the GPU does after another, in its registers
  double device_op = 3e-9, host_op = 1e-9;  // an operation that waits for the one before
  double device_visit = 4e-7;               // the same through memory
  // A second.
  double transfer_bytes = 1.2e10;
  double device_bytes = 1.3e12, host_bytes = 4e10;  // of memory
  double device_ops = 1e13, host_ops = 1e11;  // simple ones on float32; half as many on float64
  double device_products = 2e12, host_products = 4e11;  // multiply-adds of matmul and conv
  double kernel_ops = 512;                              // that fusion puts into one kernel at most
  int64_t extent = 64;                                  // of every symbol
  int64_t turns = 16;                                   // of a loop that data end
};

// A value that is copied from one device to the other.
struct Boundary {
  enum class Cause : uint8_t {
    kInput,     // the caller gives it
    kOutput,    // the caller takes it
    kNoKernel,  // `node`, at one end of it, has no kernel on the GPU
    kControl,   // `node` is a cond or loop that the host runs by it; invalid: the loop around is
    kCost,      // both ends gain more than the copy costs
  };
  ValueId value;
  Device to = Device::kHost;
  uint64_t bytes = 0;  // with symbols as assumed
  Cause cause = Cause::kCost;
  NodeId node = {};  // kNoKernel, kControl, kCost: that asks for it
};

struct NodeSeconds {
  float host = 0, device = 0;
};

// Of one graph.
struct GraphPlacement {
  std::vector<Device> devices;  // per node; cond and loop: see BodyDevices
  std::vector<Boundary> boundaries;
  std::vector<NodeSeconds> nodes;  // per node
  // Under the costs, copies and all: of a run; of a nested graph's turn, or way through it.
  double seconds = 0, host_seconds = 0;  // as placed; all on the host
  bool uses_cuda = false;                // any node on the GPU
};

struct Placement : GraphPlacement {
  // Of all nested graphs, as they are placed for the conds and loops that are on the GPU.
  std::unordered_map<const Graph*, GraphPlacement> bodies;
};
BodyDevices body_devices(const Placement& placement);

// Linear in the graphs. Nothing is on the GPU unless a run gains by it; in a body, unless a turn does.
Placement place(const Graph& graph, const PlacementCosts& costs = {});

// Everything that has a kernel there, whatever it costs.
Placement place_everything(const Graph& graph, const PlacementCosts& costs = {});

// What a run costs with nodes on these devices (those of nodes that are computed where they are read do not count) and
// bodies as place() has them.
double placed_seconds(const Graph& graph, const std::vector<Device>& devices,
                      const PlacementCosts& costs = {});

// "the caller takes it", "nonzero has no kernel on the GPU: the host learns extents from it", ...
std::string describe(const Graph& graph, const GraphPlacement& placement, const Boundary& boundary);
std::string_view name(Boundary::Cause cause);  // "output", for tables

}  // namespace gcomp::passes
