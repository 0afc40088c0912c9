// Which passes and rules run: levels and the user's words are tag queries.
#include <algorithm>
#include <set>

#include "gcomp/pass/pass.h"
#include "gcomp/support/error.h"

namespace gcomp::pass {
namespace {

// Theano's levels; lib/pass/README.md says where ours differ.
const std::vector<Level>& level_table() {
  static const std::vector<Level> kLevels = {
      {"none", "", {}, {}, "the graph as it is written, a kernel an op, quickly generated code"},
      {"merge", "", {"merge"}, {}, "none, with equal nodes as one"},
      {"fast_compile",
       "o1",
       {"fast_compile"},
       {},
       "canonical form; nothing that costs much to compile"},
      {"o2",
       "",
       {"fast_compile", "fusion", "static_extents", "optimize_code"},
       {},
       "fast_compile with neighbouring nodes in one kernel, and good code where a run spends its "
       "time"},
      {"stabilize",
       "",
       {"fast_compile", "canonicalize", "stabilize"},
       {},
       "fast_compile with accurate forms, and no further"},
      {"o3", "", {"fast_run"}, {"inplace"}, "fast_run without anything tagged inplace"},
      {"fast_run", "o4", {"fast_run"}, {}, "everything that keeps results: the default"},
      {"unsafe",
       "",
       {"fast_run", "unsafe"},
       {"inplace"},
       "o3 without the graph's own checks: wrong inputs give wrong results"},
  };
  return kLevels;
}

// The tag of rules that take part in every sweep.
constexpr const char* kBasic = "basic";
constexpr const char* kUnsafe = "unsafe";

[[noreturn]] void unknown(const std::string& message, const std::string& hint) {
  usage_error(Code::kUnknownName, message, "", hint);
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = suggest(word, candidates);
  return near.empty() ? "gcomp list passes|rules|tags shows what there is"
                      : "did you mean '" + near + "'?";
}

std::vector<std::string> all_words(const Pipeline& pipeline) {
  std::vector<std::string> words = all_tags(pipeline);
  for (const Level& level : levels()) {  // also those that no row carries now
    words.insert(words.end(), level.include.begin(), level.include.end());
    words.insert(words.end(), level.exclude.begin(), level.exclude.end());
  }
  for (const Pass& p : pipeline.passes) words.push_back(p.name);
  for (const rewrite::Rule& r : pipeline.rules) words.push_back(r.name);
  return words;
}

void check_words(const Pipeline& pipeline, const Options& options) {
  const std::vector<std::string> words = all_words(pipeline);
  const std::set<std::string> known(words.begin(), words.end());
  for (const auto* list : {&options.including, &options.excluding, &options.requiring}) {
    for (const std::string& word : *list) {
      if (known.contains(word)) continue;
      unknown("no tag, pass or rule is called '" + word + "'", did_you_mean(word, words));
    }
  }
}

// The level and the included words choose; the excluded and required ones narrow.
rewrite::TagQuery query_of(const Options& options) {
  const Level& level = find_level(options.level);
  rewrite::TagQuery query{options.including, options.excluding, options.requiring};
  query.include.insert(query.include.end(), level.include.begin(), level.include.end());
  query.exclude.insert(query.exclude.end(), level.exclude.begin(), level.exclude.end());
  if (query.include.empty()) query.include.emplace_back("none");  // an empty list would take all
  return query;
}

// Rules that trust the graph's user are included by their own names or tag only, not with their pass.
bool is_wanted_if_unsafe(const rewrite::Rule& r, const rewrite::TagQuery& query) {
  if (std::ranges::find(r.tags, kUnsafe) == r.tags.end()) return true;
  return std::ranges::any_of(query.include,
                             [&](const std::string& w) { return w == kUnsafe || w == r.name; });
}

const Pass& find_pass(const Pipeline& pipeline, const std::string& name) {
  std::vector<std::string> names;
  for (const Pass& p : pipeline.passes) {
    if (p.name == name) return p;
    names.push_back(p.name);
  }
  unknown("no pass is called '" + name + "'", did_you_mean(name, names));
}

bool takes_part(const Pipeline& pipeline, const Pass& pass, const Options& options,
                const rewrite::TagQuery& query) {
  if (query.accepts(pass.name, pass.tags)) return true;
  // A sweep also runs for the sake of a rule that is required by name or tag.
  rewrite::TagQuery loose = query;
  loose.require.clear();
  return !pass.rule_tag.empty() && !query.require.empty() && loose.accepts(pass.name, pass.tags) &&
         !select_rules(pipeline, pass, options).empty();
}

}  // namespace

std::span<const Level> levels() { return level_table(); }

const Level& find_level(std::string_view name) {
  std::vector<std::string> names;
  std::string all;
  for (const Level& level : levels()) {
    if (name == level.name || (name == level.also && !name.empty())) return level;
    for (const std::string_view n : {level.name, level.also}) {
      if (n.empty()) continue;
      names.emplace_back(n);
      all += (all.empty() ? "" : ", ") + names.back();
    }
  }
  const std::string near = suggest(name, names);
  unknown("no optimization level is called '" + std::string(name) + "'",
          near.empty() ? "levels: " + all : "did you mean '" + near + "'?");
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(",:"), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::vector<std::string> all_tags(const Pipeline& pipeline) {
  std::set<std::string> tags;
  for (const Pass& p : pipeline.passes) tags.insert(p.tags.begin(), p.tags.end());
  for (const rewrite::Rule& r : pipeline.rules) tags.insert(r.tags.begin(), r.tags.end());
  return {tags.begin(), tags.end()};
}

std::vector<const Pass*> select(const Pipeline& pipeline, const Options& options) {
  find_level(options.level);
  check_words(pipeline, options);
  for (const std::string& name : options.dump_after) {
    if (name != "all") find_pass(pipeline, name);
  }
  std::vector<const Pass*> chosen;
  if (!options.passes.empty()) {
    for (const std::string& name : options.passes) chosen.push_back(&find_pass(pipeline, name));
    return chosen;
  }
  const rewrite::TagQuery query = query_of(options);
  for (const Pass& p : pipeline.passes) {
    if (p.required || takes_part(pipeline, p, options, query)) chosen.push_back(&p);
  }
  return chosen;
}

bool selects(const Pipeline& pipeline, const Options& options, std::string_view stage) {
  return std::ranges::any_of(select(pipeline, options),
                             [&](const Pass* p) { return p->name == stage; });
}

std::vector<const rewrite::Rule*> select_rules(const Pipeline& pipeline, const Pass& pass,
                                               const Options& options) {
  std::vector<const rewrite::Rule*> chosen;
  if (pass.rule_tag.empty()) return chosen;
  const rewrite::TagQuery query = query_of(options);
  for (const rewrite::Rule* r :
       rewrite::select(pipeline.rules, {{pass.rule_tag, kBasic}, {}, {}})) {
    if (r->contract == rewrite::Contract::kAssumesFinite && !options.fast_math) continue;
    std::vector<std::string> tags = r->tags;
    if (!is_wanted_if_unsafe(*r, query)) continue;
    tags.push_back(pass.name);
    if (query.accepts(r->name, tags)) chosen.push_back(r);
  }
  return chosen;
}

}  // namespace gcomp::pass
