#include "memory_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "gcomp/artifact/lowered_plan.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

constexpr int64_t kUnknownExtent = 64;

// Values that only rename memory, and the bytes they have.
void count_views(const Graph& graph, MemoryReport* report) {
  const schedule::Groups groups = schedule::fuse(graph, {});
  const DimTable& dims = graph.context().dims;
  const std::vector<int64_t> sizes(dims.num_symbols(), kUnknownExtent);
  for (size_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.node(NodeId(i));
    if (groups.group_of[i] != schedule::kNoGroup || n.num_results == 0) continue;
    if (groups.storage[n.first_result.index] == n.first_result) continue;
    const Type& t = graph.type(n.first_result);
    double bytes = static_cast<double>(byte_size(t.dtype));
    for (DimId d : t.dims)
      bytes *= static_cast<double>(std::max<int64_t>(dims.evaluate(d, sizes), 0));
    ++report->views;
    report->view_bytes += static_cast<uint64_t>(std::min(bytes, 1e18));
  }
}

// What first mentions each buffer, and its dtype.
void name_buffers(const lower::LoweredModule& module, const artifact::PlanOrigin& origin,
                  const rt::Plan& plan, MemoryReport* report) {
  const auto* const rows = rt::table<rt::PlanBuffer>(plan, plan.buffers);
  report->dtypes.resize(plan.buffers.count, DType::kUInt8);
  report->makers.resize(plan.buffers.count);
  for (uint64_t b = 0; b < plan.buffers.count; ++b) {
    if (rows[b].kind != rt::BufferKind::kArena) continue;
    if (b < origin.memory.size() && origin.memory[b] != rt::kNone) {
      report->dtypes[b] = module.memory[origin.memory[b]].dtype;
    }
    if (rows[b].first >= origin.step.size()) continue;
    const uint32_t group = module.steps[origin.step[rows[b].first]].group;
    if (group < module.stats.groups.size()) report->makers[b] = module.stats.groups[group].nodes;
  }
}

std::string line(const char* format, auto... args) {
  char text[256];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

double kib(uint64_t bytes) { return static_cast<double>(bytes) / 1024; }

std::string assumed(const MemoryReport& r) {
  std::string text;
  for (const std::string& s : r.symbols) text += (text.empty() ? "" : ", ") + s;
  return text;
}

}  // namespace

double MemoryReport::ratio() const {
  if (plan.max_live_bytes == 0) return 1;
  return static_cast<double>(plan.arena_bytes) / static_cast<double>(plan.max_live_bytes);
}

uint64_t MemoryReport::reuse_bytes() const {
  return plan.buffer_bytes - std::min(plan.buffer_bytes, plan.arena_bytes);
}

MemoryReport report_memory(const lower::LoweredModule& module) {
  artifact::PlanOrigin origin;
  const PlanImage image = artifact::build_plan(module, "", {}, &origin);
  MemoryReport report;
  report.symbols = artifact::symbols(image.plan());
  auto plan = artifact::memory_plan(image.plan(), {}, kUnknownExtent);
  if (plan) report.plan = std::move(*plan);
  report.num_steps = image.plan().num_steps;
  count_views(*module.graph, &report);
  name_buffers(module, origin, image.plan(), &report);
  return report;
}

std::string to_table(const MemoryReport& r) {
  std::string text =
      line("memory  %.1f KiB planned for %zu buffers, at least %.1f live at once: %.3f of that\n",
           kib(r.plan.arena_bytes), r.plan.buffers.size(), kib(r.plan.max_live_bytes), r.ratio());
  text += line("        %.1f KiB saved by reuse, %.1f by %zu views\n", kib(r.reuse_bytes()),
               kib(r.view_bytes), r.views);
  if (r.plan.undecided != 0) {
    text += line("        %u buffers more, of sizes that the run decides\n", r.plan.undecided);
  }
  if (!r.symbols.empty()) {
    text += "        with 64 for each of " + assumed(r) + " (--dim gives other extents)\n";
  }
  return text + "\n";
}

nlohmann::ordered_json to_json(const MemoryReport& r) {
  return {{"planned_bytes", r.plan.arena_bytes},
          {"max_live_bytes", r.plan.max_live_bytes},
          {"ratio", r.ratio()},
          {"buffers", r.plan.buffers.size()},
          {"buffer_bytes", r.plan.buffer_bytes},
          {"saved",
           {{"reuse_bytes", r.reuse_bytes()}, {"views", r.views}, {"view_bytes", r.view_bytes}}},
          {"undecided_buffers", r.plan.undecided},
          {"input_bytes", r.plan.input_bytes},
          {"output_bytes", r.plan.output_bytes},
          {"symbols_as_64", r.symbols}};
}

}  // namespace gcomp::driver
