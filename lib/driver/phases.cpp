#include "phases.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "gcomp/support/files.h"

namespace gcomp::driver {
namespace {

using Json = nlohmann::ordered_json;
using codegen::ModuleTime;

constexpr int kVersion = 1;      // of the JSON: grows when a field changes or goes
constexpr size_t kSlowest = 10;  // functions that the table names
constexpr std::string_view kEfforts[] = {"fast", "default", "full"};

double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

template <class... Args>
std::string line(const char* format, Args... args) {
  char text[256];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

// ---- Lowering

using Causes = std::array<size_t, schedule::kNumUnfused>;

Causes count_causes(const lower::Stats& stats) {
  Causes causes = {};
  for (const lower::GraphTrace& trace : stats.traces) {
    for (const schedule::UnfusedEdge& e : trace.unfused) ++causes[static_cast<size_t>(e.why)];
  }
  return causes;
}

size_t count_grouped(const lower::Stats& stats) {
  size_t nodes = 0;
  for (const lower::GroupStats& g : stats.groups) nodes += g.num_nodes;
  return nodes;
}

std::string lowering_table(const lower::Stats& s) {
  std::string text =
      line("fusion %.3f ms: %zu nodes in %zu groups, %zu kernels, called %zu times\n",
           s.fusion_seconds * 1e3, count_grouped(s), s.groups.size(), s.distinct_kernels,
           s.kernel_calls);
  const Causes causes = count_causes(s);
  for (size_t i = 0; i < causes.size(); ++i) {
    if (causes[i] == 0) continue;
    text += line("%9zu operands not fused: ", causes[i]);
    text += schedule::reason(static_cast<schedule::Unfused>(i));
    text += "\n";
  }
  return text + "\n";
}

std::string inplace_table(const lower::Stats& s) {
  const schedule::InplaceStats& i = s.inplace;
  std::string text =
      line("inplace %.3f ms: %zu of %zu candidates (%zu by order, %zu by ordering edges)\n",
           i.seconds * 1e3, i.accepted(), i.candidates, i.by_labels, i.by_edges);
  text += line(
      "        %.1f KiB not allocated (symbols as 64), %zu copies saved, %zu attempts, %zu "
      "nodes visited by searches\n",
      static_cast<double>(i.bytes_saved) / 1024, s.saved_copies, i.attempts, i.visits);
  text += line(
      "        %zu pieces of memory and %zu workspaces, at most %.1f KiB alive (%.1f in the order "
      "of the groups)\n",
      s.pieces.values, s.pieces.workspaces, static_cast<double>(s.peak.after) / 1024,
      static_cast<double>(s.peak.before) / 1024);
  for (size_t c = 0; c < i.refused.size(); ++c) {
    if (i.refused[c] == 0) continue;
    text += line("%9zu refused: ", i.refused[c]);
    text += schedule::reason(static_cast<schedule::Refusal>(c));
    text += "\n";
  }
  return text + "\n";
}

Json inplace_json(const lower::Stats& s) {
  const schedule::InplaceStats& i = s.inplace;
  Json refused = Json::object();
  for (size_t c = 1; c < i.refused.size(); ++c) {
    refused[std::string(schedule::name(static_cast<schedule::Refusal>(c)))] = i.refused[c];
  }
  return {{"seconds", i.seconds},
          {"candidates", i.candidates},
          {"attempts", i.attempts},
          {"by_order", i.by_labels},
          {"by_edges", i.by_edges},
          {"bytes_saved", i.bytes_saved},
          {"copies_saved", s.saved_copies},
          {"visits", i.visits},
          {"refused", refused}};
}

Json lowering_json(const lower::Stats& s) {
  Json unfused = Json::object();
  const Causes causes = count_causes(s);
  for (size_t i = 0; i < causes.size(); ++i) {
    unfused[std::string(schedule::name(static_cast<schedule::Unfused>(i)))] = causes[i];
  }
  return {{"fusion_seconds", s.fusion_seconds},
          {"groups", s.groups.size()},
          {"grouped_nodes", count_grouped(s)},
          {"kernels", s.distinct_kernels},
          {"kernel_calls", s.kernel_calls},
          {"unfused", unfused},
          {"inplace", inplace_json(s)},
          {"pieces", s.pieces.values},
          {"workspaces", s.pieces.workspaces},
          {"peak_bytes", s.peak.after},
          {"peak_bytes_in_group_order", s.peak.before}};
}

// ---- The cache

std::string cache_line(const CacheReport& c) {
  std::string text = "cache: " + c.result + (c.why.empty() ? "" : ", because of " + c.why) + "\n";
  if (c.code_hits + c.code_misses > 0) {
    text +=
        line("       %zu of %zu modules of machine code were in it\n",
             static_cast<size_t>(c.code_hits), static_cast<size_t>(c.code_hits + c.code_misses));
  }
  return text + "\n";
}

Json cache_json(const CacheReport& c) {
  return {{"result", c.result},
          {"why", c.why},
          {"key", c.key},
          {"code_hits", c.code_hits},
          {"code_misses", c.code_misses}};
}

// ---- Code generation

std::string modules_table(const std::vector<ModuleTime>& modules) {
  if (modules.empty()) return "";
  std::vector<std::pair<double, std::string>> functions;
  double seconds = 0;
  size_t bytes = 0;
  for (const ModuleTime& m : modules) {
    seconds += m.seconds;
    bytes += m.bytes;
    for (size_t i = 0; i < m.functions.size(); ++i) {
      functions.emplace_back(m.function_seconds[i], m.functions[i]);
    }
  }
  std::ranges::sort(functions, std::greater<>());
  std::string text = line("%zu functions in %zu modules: %.2f ms of all threads, %zu bytes\n",
                          functions.size(), modules.size(), seconds * 1e3, bytes);
  text += "       ms  slowest to compile\n";
  for (size_t i = 0; i < std::min(kSlowest, functions.size()); ++i) {
    text += line("%9.3f  ", functions[i].first * 1e3) + functions[i].second + "\n";
  }
  return text + "\n";
}

Json module_json(const ModuleTime& m) {
  Json functions = Json::array();
  for (size_t i = 0; i < m.functions.size(); ++i) {
    functions.push_back({{"name", m.functions[i]}, {"seconds", m.function_seconds[i]}});
  }
  return {{"begin", m.begin},
          {"seconds", m.seconds},
          {"bytes", m.bytes},
          {"effort", kEfforts[static_cast<size_t>(m.effort)]},
          {"functions", functions}};
}

}  // namespace

void Phases::begin(const std::string& name) {
  end();
  progress_.stage(name);
  begin_ = Clock::now();
  phases_.push_back({name, std::chrono::duration<double>(begin_ - start_).count()});
  open_ = true;
}

void Phases::end() {
  if (!open_) return;
  phases_.back().seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  phases_.back().memory = memory_use();
  open_ = false;
}

void Phases::report(const std::string& where) const {
  if (where.empty()) return;
  if (where == "-") {
    std::cerr << table();
  } else {
    write_file(where, json().dump(2) + "\n");
  }
}

std::string Phases::table() const {
  std::string text = "phase                ms  resident MiB  peak MiB\n";
  double total = 0;
  for (const Phase& phase : phases_) {
    text += line("%-14s %8.2f %13.1f %9.1f\n", phase.name.c_str(), phase.seconds * 1e3,
                 mib(phase.memory.resident), mib(phase.memory.peak));
    total += phase.seconds;
  }
  text += line("%-14s %8.2f\n\n", "all", total * 1e3);
  if (cache) text += cache_line(*cache);
  if (!cache || cache->result != "hit") text += pass::to_table(passes) + "\n";
  if (lowering) text += lowering_table(*lowering) + inplace_table(*lowering);
  if (placement) text += to_table(*placement);
  if (memory) text += to_table(*memory);
  return text + modules_table(modules);
}

Json Phases::json() const {
  Json all;
  all["version"] = kVersion;
  all["phases"] = Json::array();
  for (const Phase& phase : phases_) {
    all["phases"].push_back({{"name", phase.name},
                             {"begin", phase.begin},
                             {"seconds", phase.seconds},
                             {"resident_bytes", phase.memory.resident},
                             {"peak_bytes", phase.memory.peak}});
  }
  if (cache) all["cache"] = cache_json(*cache);
  all["passes"] = Json::parse(pass::to_json(passes));
  if (lowering) all["lowering"] = lowering_json(*lowering);
  if (placement) all["placement"] = to_json(*placement);
  if (memory) all["memory"] = to_json(*memory);
  all["modules"] = Json::array();
  for (const ModuleTime& m : modules) all["modules"].push_back(module_json(m));
  return all;
}

}  // namespace gcomp::driver
