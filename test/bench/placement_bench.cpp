// Seconds of the processor that placement takes on a graph, and what it chose: under the usual costs, and on a machine where
// launches and copies cost next to nothing, so that there is a choice at every node.
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "gcomp/formats/formats.h"
#include "gcomp/passes/placement.h"

using namespace gcomp;

namespace {

void measure(const char* costs_name, const Graph& graph, const passes::PlacementCosts& costs) {
  double best = 1e300;
  passes::Placement placed;
  for (int k = 0; k < 3; ++k) {
    const std::clock_t begin = std::clock();
    placed = passes::place(graph, costs);
    const double taken = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    best = std::min(best, taken);
  }
  const auto on_gpu = std::ranges::count(placed.devices, Device::kCuda);
  std::printf(
      "%-8s %9zu nodes  %.3f s  %9zu on the GPU  %8zu copies  a run %.4g s, host alone %.4g s\n",
      costs_name, graph.num_nodes(), best, static_cast<size_t>(on_gpu), placed.boundaries.size(),
      placed.seconds, placed.host_seconds);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    Context context;
    const auto graph = formats::read_graph(context, argv[i]);
    measure("usual", *graph, {});
    passes::PlacementCosts cheap;
    cheap.launch = 2e-8;
    cheap.transfer = 5e-8;
    cheap.run = 0;
    cheap.device_step = cheap.device_op = cheap.device_visit = 1e-9;
    measure("cheap", *graph, cheap);
  }
}
