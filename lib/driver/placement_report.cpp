#include "placement_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "gcomp/ir/text.h"

namespace gcomp::driver {
namespace {

using passes::Boundary;
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
  r.nodes = static_cast<size_t>(std::ranges::count(placement.devices, Device::kCuda));
  r.num_copies = placement.boundaries.size();
  std::vector<const Boundary*> largest;
  for (const Boundary& b : placement.boundaries) largest.push_back(&b);
  std::ranges::sort(largest, {}, [](const Boundary* b) {
    return std::pair(~b->bytes, b->value.index);  // the largest first
  });
  if (largest.size() > kMostCopies) largest.resize(kMostCopies);
  NodePrinter printer(graph, PrintOptions{.max_elements = 8, .elide = true});
  for (const Boundary* b : largest) {
    r.copies.push_back({.value = printer.line(graph, graph.producer(b->value)),
                        .to = b->to,
                        .bytes = b->bytes,
                        .cause = std::string(passes::name(b->cause)),
                        .why = passes::describe(graph, placement, *b)});
  }
  return r;
}

std::string to_table(const PlacementReport& r) {
  std::string text = "placement: " + std::to_string(r.nodes) + " nodes on the GPU, " +
                     std::to_string(r.num_copies) + " copies; about " + microseconds(r.seconds) +
                     " a run, " + microseconds(r.host_seconds) + " on the host alone\n";
  for (const PlacementReport::Copy& c : r.copies) {
    text += "  " + std::to_string(c.bytes) + " bytes to " + name_of(c.to) + ", " + c.why + ": " +
            c.value + "\n";
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
                      {"why", c.why}});
  }
  return {{"cuda_nodes", r.nodes},
          {"seconds", r.seconds},
          {"host_seconds", r.host_seconds},
          {"copies", r.num_copies},
          {"largest_copies", copies}};
}

std::string device_of(const Graph& graph, const Placement& placement, NodeId node) {
  if (placement.devices[node.index] == Device::kCuda) return name_of(Device::kCuda);
  const std::string_view obstacle = cuda_obstacle(graph, node);
  if (!obstacle.empty()) return "the host: it has no kernel on the GPU, " + std::string(obstacle);
  const passes::NodeSeconds& s = placement.nodes[node.index];
  if (s.host == 0 && s.device == 0) return "both: computed where it is read";
  return "the host, where it and its neighbourhood cost least (it " +
         microseconds(static_cast<double>(s.host)) + " there, " +
         microseconds(static_cast<double>(s.device)) + " on the GPU)";
}

std::vector<std::string> copies_of(const Graph& graph, const Placement& placement, NodeId node) {
  std::vector<std::string> lines;
  for (const Boundary& b : placement.boundaries) {
    if (graph.producer(b.value) != node) continue;
    lines.push_back("to " + std::string(name_of(b.to)) + ", " + std::to_string(b.bytes) +
                    " bytes: " + passes::describe(graph, placement, b));
  }
  return lines;
}

}  // namespace gcomp::driver
