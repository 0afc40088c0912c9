#include "gcomp/pass/profile.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

namespace gcomp::pass {
namespace {

using Json = nlohmann::ordered_json;
using rewrite::kNumRefusals;
using rewrite::Refusal;
using rewrite::RuleStats;
using rewrite::SweepStats;

constexpr size_t kCostliest = 3;  // of the rules that never fired are named

template <class... Args>
std::string line(const char* format, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

double ms(double seconds) { return seconds * 1e3; }
double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

std::string refusal_name(size_t i) { return std::string(rewrite::name(static_cast<Refusal>(i))); }

size_t refusals(const RuleStats& r) {
  return std::accumulate(r.refused.begin(), r.refused.end(), size_t{0});
}

std::array<size_t, kNumRefusals> refusals_by_cause(const SweepStats& s) {
  std::array<size_t, kNumRefusals> all = {};
  for (const RuleStats& r : s.rules) {
    for (size_t i = 0; i < all.size(); ++i) all[i] += r.refused[i];
  }
  return all;
}

// ---- Text

std::string rules_that_fired(const SweepStats& s) {
  std::vector<const RuleStats*> fired;
  for (const RuleStats& r : s.rules) {
    if (r.applied > 0) fired.push_back(&r);
  }
  std::ranges::sort(fired, [](const RuleStats* a, const RuleStats* b) {
    return a->applied != b->applied ? a->applied > b->applied : a->name < b->name;
  });
  if (fired.empty()) return "";
  std::string out = "    applied     tried   refused   created   removed        ms  rule\n";
  for (const RuleStats* r : fired) {
    out += line("  %9zu %9zu %9zu %9zu %9zu %9.3f  %s\n", r->applied, r->tried, refusals(*r),
                r->nodes_created, r->nodes_removed, ms(r->seconds), r->name.c_str());
  }
  return out;
}

std::string rules_that_never_fired(const SweepStats& s) {
  std::vector<const RuleStats*> unused;
  size_t tries = 0;
  double seconds = 0;
  for (const RuleStats& r : s.rules) {
    if (r.applied > 0) continue;
    unused.push_back(&r);
    tries += r.tried;
    seconds += r.seconds;
  }
  std::string out = line("    %zu rules never fired: tried %zu times, %.3f ms", unused.size(),
                         tries, ms(seconds));
  std::ranges::sort(unused, [](const RuleStats* a, const RuleStats* b) {
    return a->seconds != b->seconds ? a->seconds > b->seconds : a->name < b->name;
  });
  for (size_t i = 0; i < std::min(kCostliest, unused.size()) && unused[i]->seconds > 0; ++i) {
    out += line("%s%s %.3f", i == 0 ? "; the costliest: " : ", ", unused[i]->name.c_str(),
                ms(unused[i]->seconds));
  }
  return out + "\n";
}

std::string refusals_text(const SweepStats& s) {
  std::string causes;
  const auto all = refusals_by_cause(s);
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == 0) continue;
    causes += line("%s%s %zu", causes.empty() ? "" : ", ", refusal_name(i).c_str(), all[i]);
  }
  return causes.empty() ? "" : "    refused though the pattern matched: " + causes + "\n";
}

std::string sweep_table(const SweepStats& s) {
  const double per_node =
      s.nodes_before == 0 ? 0
                          : static_cast<double>(s.visited) / static_cast<double>(s.nodes_before);
  std::string out = line("    sweep %.3f ms: rules %.3f, folding %.3f, building and merging %.3f\n",
                         ms(s.seconds), ms(s.rule_seconds), ms(s.fold_seconds),
                         ms(s.seconds - s.rule_seconds - s.fold_seconds));
  out += line("    nodes %zu, then %zu, then %zu, with %zu nested graphs\n", s.nodes_before,
              s.nodes_built, s.nodes_after, s.bodies);
  out += line("    visited %zu (%.2f a node), applied %zu, folded %zu, merged %zu\n", s.visited,
              per_node, s.applied, s.folded, s.intern_hits);
  out += rules_that_fired(s) + refusals_text(s) + rules_that_never_fired(s);
  for (const std::string& chase : s.chases) out += "    chase: " + chase + "\n";
  return out;
}

// ---- JSON

Json rule_json(const RuleStats& r) {
  Json refused = Json::object();
  for (size_t i = 0; i < kNumRefusals; ++i) {
    if (r.refused[i] > 0) refused[refusal_name(i)] = r.refused[i];
  }
  return {{"name", r.name},
          {"tried", r.tried},
          {"matched", r.matched},
          {"applied", r.applied},
          {"refused", refused},
          {"nodes_created", r.nodes_created},
          {"nodes_removed", r.nodes_removed},
          {"seconds", r.seconds}};
}

Json sweep_json(const SweepStats& s) {
  Json rules = Json::array();
  for (const RuleStats& r : s.rules) rules.push_back(rule_json(r));
  return {{"seconds", s.seconds},
          {"rule_seconds", s.rule_seconds},
          {"fold_seconds", s.fold_seconds},
          {"nodes_before", s.nodes_before},
          {"nodes_built", s.nodes_built},
          {"nodes_after", s.nodes_after},
          {"visited", s.visited},
          {"applied", s.applied},
          {"folded", s.folded},
          {"intern_hits", s.intern_hits},
          {"nested_graphs", s.bodies},
          {"chases", s.chases},
          {"rules", rules}};
}

Json pass_json(const PassProfile& p) {
  Json counters = Json::object();
  for (const auto& [what, value] : p.counters) counters[what] = value;
  Json sweeps = Json::array();
  for (const SweepStats& s : p.sweeps) sweeps.push_back(sweep_json(s));
  return {{"name", p.name},
          {"begin", p.begin},
          {"seconds", p.seconds},
          {"verify_seconds", p.verify_seconds},
          {"nodes_before", p.nodes_before},
          {"nodes_after", p.nodes_after},
          {"graph_bytes", p.graph_bytes},
          {"peak_bytes", p.peak_bytes},
          {"counters", counters},
          {"sweeps", sweeps}};
}

}  // namespace

std::string to_table(const Profile& profile) {
  std::string out = "       ms    verify    before     after  peak MiB  pass\n";
  for (const PassProfile& p : profile.passes) {
    out += line("%9.3f %9.3f %9zu %9zu %9.1f  %s\n", ms(p.seconds), ms(p.verify_seconds),
                p.nodes_before, p.nodes_after, mib(p.peak_bytes), p.name.c_str());
    for (const auto& [what, value] : p.counters) out += line("    %s: %g\n", what.c_str(), value);
    for (const SweepStats& s : p.sweeps) out += sweep_table(s);
  }
  return out + line("%9.3f %9.3f  all passes\n", ms(profile.seconds), ms(profile.verify_seconds));
}

std::string to_json(const Profile& profile) {
  Json passes = Json::array();
  for (const PassProfile& p : profile.passes) passes.push_back(pass_json(p));
  const Json all = {
      {"seconds", profile.seconds}, {"verify_seconds", profile.verify_seconds}, {"passes", passes}};
  return all.dump() + "\n";
}

}  // namespace gcomp::pass
