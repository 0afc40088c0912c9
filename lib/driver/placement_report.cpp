#include "placement_report.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <ranges>

#include "gcomp/ir/text.h"

namespace gcomp::driver {
namespace {

using passes::Boundary;
using passes::GraphPlacement;
using passes::Placement;

constexpr size_t kMostCopies = 20;

const char* name_of(Device d) { return d == Device::kCuda ? "the GPU" : "the host"; }

std::string microseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g us", seconds * 1e6);
  return text;
}

}  // namespace

PlacementReport report_placement(const Graph& graph, const Placement& placement) {
  PlacementReport r;
  r.seconds = placement.seconds;
  r.host_seconds = placement.host_seconds;
  NodePrinter printer(graph, PrintOptions{.max_elements = 8, .elide = true});
  struct At {
    const Graph* graph;
    const GraphPlacement* placement;
    const Boundary* boundary;
  };
  std::vector<At> largest;  // of outer graphs first
  for (const Graph* g : printer.graphs() | std::views::reverse) {
    const GraphPlacement& placed = g == &graph ? placement : placement.bodies.at(g);
    for (uint32_t i = 0; i < g->num_nodes(); ++i) {
      r.nodes += placed.devices[i] == Device::kCuda && !has_trait(g->node(NodeId(i)).op, kHasBody);
    }
    r.num_copies += placed.boundaries.size();
    for (const Boundary& b : placed.boundaries) largest.push_back({g, &placed, &b});
  }
  std::ranges::stable_sort(largest, std::greater(), [](const At& a) { return a.boundary->bytes; });
  if (largest.size() > kMostCopies) largest.resize(kMostCopies);
  for (const auto& [g, placed, b] : largest) {
    r.copies.push_back({.value = printer.line(*g, g->producer(b->value)),
                        .to = b->to,
                        .bytes = b->bytes,
                        .cause = std::string(passes::name(b->cause)),
                        .why = passes::describe(*g, *placed, *b),
                        .in_body = g != &graph});
  }
  return r;
}

std::string to_table(const PlacementReport& r) {
  std::string text = "placement: " + std::to_string(r.nodes) + " nodes on the GPU, " +
                     std::to_string(r.num_copies) + " copies; about " + microseconds(r.seconds) +
                     " a run, " + microseconds(r.host_seconds) + " on the host alone\n";
  const auto line = [&](const PlacementReport::Products& p, const char* what) {
    if (p.number == 0) return;
    text += "  " + std::to_string(p.by_library) + " of " + std::to_string(p.number) + what;
  };
  line(r.products, " products of matrices may be done by cuBLASLt\n");
  line(r.convolutions, " convolutions may be done by cuDNN\n");
  for (const PlacementReport::Copy& c : r.copies) {
    text += "  " + std::to_string(c.bytes) + " bytes to " + name_of(c.to) +
            (c.in_body ? " each time a body runs, " : ", ") + c.why + ": " + c.value + "\n";
  }
  return text + "\n";
}

nlohmann::ordered_json to_json(const PlacementReport& r) {
  auto copies = nlohmann::ordered_json::array();
  for (const PlacementReport::Copy& c : r.copies) {
    copies.push_back({{"value", c.value},
                      {"to", c.to == Device::kCuda ? "cuda" : "cpu"},
                      {"bytes", c.bytes},
                      {"cause", c.cause},
                      {"why", c.why},
                      {"in_body", c.in_body}});
  }
  return {{"cuda_nodes", r.nodes},
          {"seconds", r.seconds},
          {"host_seconds", r.host_seconds},
          {"products", r.products.number},
          {"library_products", r.products.by_library},
          {"convolutions", r.convolutions.number},
          {"library_convolutions", r.convolutions.by_library},
          {"copies", r.num_copies},
          {"largest_copies", copies}};
}

std::string device_of(const Graph& graph, const GraphPlacement& placement, NodeId node) {
  const bool controls = has_trait(graph.node(node).op, kHasBody);
  if (placement.devices[node.index] == Device::kCuda) {
    return controls ? "the host, and the GPU for what is placed there in its bodies"
                    : name_of(Device::kCuda);
  }
  const std::string_view obstacle = cuda_obstacle(graph, node);
  if (!obstacle.empty()) return "the host: it has no kernel on the GPU, " + std::string(obstacle);
  const passes::NodeSeconds& s = placement.nodes[node.index];
  if (s.host == 0 && s.device == 0) {
    return controls ? "the host: its bodies gain nothing on the GPU"
                    : "both: computed where it is read";
  }
  return "the host, where it and its neighbourhood cost least (it " +
         microseconds(static_cast<double>(s.host)) + " there, " +
         microseconds(static_cast<double>(s.device)) + " on the GPU)";
}

std::vector<std::string> copies_of(const Graph& graph, const GraphPlacement& placement,
                                   NodeId node) {
  std::vector<std::string> lines;
  for (const Boundary& b : placement.boundaries) {
    if (graph.producer(b.value) != node) continue;
    lines.push_back("to " + std::string(name_of(b.to)) + ", " + std::to_string(b.bytes) +
                    " bytes: " + passes::describe(graph, placement, b));
  }
  return lines;
}

}  // namespace gcomp::driver
