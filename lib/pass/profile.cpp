#include "gcomp/pass/profile.h"

#include <algorithm>
#include <cstdio>

namespace gcomp::pass {
namespace {

using rewrite::RuleStats;
using rewrite::SweepStats;

template <class... Args>
std::string line(const char* format, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

std::string sweep_table(const SweepStats& s) {
  std::string out = line(
      "  sweep %.6f s: visited %zu, applied %zu, folded %zu, interned %zu, nested graphs %zu\n",
      s.seconds, s.visited, s.applied, s.folded, s.intern_hits, s.bodies);
  std::vector<const RuleStats*> fired;
  size_t unused = 0, unused_tries = 0;
  double unused_seconds = 0;
  for (const RuleStats& r : s.rules) {
    if (r.applied > 0) {
      fired.push_back(&r);
      continue;
    }
    ++unused;
    unused_tries += r.tried;
    unused_seconds += r.seconds;
  }
  std::stable_sort(fired.begin(), fired.end(),
                   [](const RuleStats* a, const RuleStats* b) { return a->applied > b->applied; });
  if (!fired.empty()) out += "    applied   matched     tried     nodes   seconds  rule\n";
  for (const RuleStats* r : fired) {
    out += line("  %9zu %9zu %9zu %9zu %9.6f  %s\n", r->applied, r->matched, r->tried,
                r->nodes_created, r->seconds, r->name.c_str());
  }
  out += line("    %zu rules never fired: tried %zu times, %.6f s\n", unused, unused_tries,
              unused_seconds);
  for (const std::string& chase : s.chases) out += "    chase: " + chase + "\n";
  return out;
}

// JSON text, value by value: names are ours or rule texts, numbers finite.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}
std::string text_of(double v) { return line("%.9g", v); }
std::string text_of(size_t v) { return line("%zu", v); }
std::string text_of(const std::string& json) { return json; }

// {"a": 1, ...} of alternating names and values.
template <class V, class... Rest>
void add_members(std::string* out, const char* name, const V& value, const Rest&... rest) {
  if (!out->empty()) *out += ", ";
  *out += quoted(name) + ": " + text_of(value);
  if constexpr (sizeof...(rest) > 0) add_members(out, rest...);
}
template <class... Members>
std::string object(const Members&... members) {
  std::string inner;
  add_members(&inner, members...);
  return "{" + inner + "}";
}

template <class T, class ToJson>
std::string array(const std::vector<T>& items, ToJson to_json) {
  std::string out;
  for (const T& item : items) {
    const std::string text = to_json(item);
    if (!text.empty()) out += (out.empty() ? "" : ",\n") + text;
  }
  return "[" + out + "]";
}

std::string rule_json(const RuleStats& r) {
  if (r.tried == 0) return "";
  return object("name", quoted(r.name), "tried", r.tried, "matched", r.matched, "applied",
                r.applied, "nodes_created", r.nodes_created, "seconds", r.seconds);
}

std::string sweep_json(const SweepStats& s) {
  return object("seconds", s.seconds, "nodes_before", s.nodes_before, "nodes_after", s.nodes_after,
                "visited", s.visited, "applied", s.applied, "folded", s.folded, "intern_hits",
                s.intern_hits, "nested_graphs", s.bodies, "chases", array(s.chases, quoted),
                "rules", array(s.rules, rule_json));
}

std::string pass_json(const PassProfile& p) {
  std::string counters;
  for (const auto& [what, value] : p.counters) {
    counters += (counters.empty() ? "" : ", ") + quoted(what) + ": " + text_of(value);
  }
  return object("name", quoted(p.name), "seconds", p.seconds, "verify_seconds", p.verify_seconds,
                "nodes_before", p.nodes_before, "nodes_after", p.nodes_after, "counters",
                "{" + counters + "}", "sweeps", array(p.sweeps, sweep_json));
}

}  // namespace

std::string to_table(const Profile& profile) {
  std::string out = "  seconds    verify    before     after  pass\n";
  for (const PassProfile& p : profile.passes) {
    out += line("%9.6f %9.6f %9zu %9zu  %s\n", p.seconds, p.verify_seconds, p.nodes_before,
                p.nodes_after, p.name.c_str());
    for (const auto& [what, value] : p.counters) out += line("  %s: %g\n", what.c_str(), value);
    for (const SweepStats& s : p.sweeps) out += sweep_table(s);
  }
  return out + line("%9.6f  graph phases in all\n", profile.seconds);
}

std::string to_json(const Profile& profile) {
  return object("seconds", profile.seconds, "passes", array(profile.passes, pass_json)) + "\n";
}

}  // namespace gcomp::pass
