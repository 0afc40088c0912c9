// Which passes and rules run: levels and the user's words are tag queries.
#include <algorithm>
#include <set>

#include "gcomp/pass/pass.h"
#include "gcomp/support/error.h"

namespace gcomp::pass {
namespace {

// A level is the tag of the same name. `none` has no passes but the required ones. To add a level or an
// alias (o1 ... o4): a row here, and the tag on the passes and rules it takes.
constexpr std::string_view kLevels[] = {"none", "merge", "fast_compile", "fast_run"};

// The tag of rules that take part in every sweep.
constexpr const char* kBasic = "basic";

[[noreturn]] void usage_error(const std::string& message, const std::string& hint) {
  throw UserError(ExitCode::kUsage, Diagnostic{message, "", hint});
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = suggest(word, candidates);
  return near.empty() ? "gcomp list passes|rules|tags shows what there is"
                      : "did you mean '" + near + "'?";
}

std::vector<std::string> all_words(const Pipeline& pipeline) {
  std::vector<std::string> words = all_tags(pipeline);
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
      usage_error("no tag, pass or rule is called '" + word + "'", did_you_mean(word, words));
    }
  }
}

// The level and the included words choose; the excluded and required ones narrow.
rewrite::TagQuery query_of(const Options& options) {
  rewrite::TagQuery query{options.including, options.excluding, options.requiring};
  query.include.push_back(options.level);
  return query;
}

const Pass& find_pass(const Pipeline& pipeline, const std::string& name) {
  std::vector<std::string> names;
  for (const Pass& p : pipeline.passes) {
    if (p.name == name) return p;
    names.push_back(p.name);
  }
  usage_error("no pass is called '" + name + "'", did_you_mean(name, names));
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

std::span<const std::string_view> levels() { return kLevels; }

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
  if (std::find(std::begin(kLevels), std::end(kLevels), options.level) == std::end(kLevels)) {
    const std::vector<std::string> known(std::begin(kLevels), std::end(kLevels));
    const std::string near = suggest(options.level, known);
    usage_error("no optimization level is called '" + options.level + "'",
                near.empty() ? "levels: none, merge, fast_compile, fast_run"
                             : "did you mean '" + near + "'?");
  }
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

std::vector<const rewrite::Rule*> select_rules(const Pipeline& pipeline, const Pass& pass,
                                               const Options& options) {
  std::vector<const rewrite::Rule*> chosen;
  if (pass.rule_tag.empty()) return chosen;
  const rewrite::TagQuery query = query_of(options);
  for (const rewrite::Rule* r :
       rewrite::select(pipeline.rules, {{pass.rule_tag, kBasic}, {}, {}})) {
    if (r->contract == rewrite::Contract::kAssumesFinite && !options.fast_math) continue;
    std::vector<std::string> tags = r->tags;
    tags.push_back(pass.name);
    if (query.accepts(r->name, tags)) chosen.push_back(r);
  }
  return chosen;
}

}  // namespace gcomp::pass
