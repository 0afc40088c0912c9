#include "gcomp/driver/pipeline.h"

#include <algorithm>

#include "gcomp/ir/op.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rules/rules.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

pass::Pipeline make_pipeline() {
  pass::Pipeline p{passes::table(), passes::order(), rules::all()};
  pass::check_pipeline(p);
  return p;
}

// Lines "name  text", the names in one column.
std::string columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  size_t width = 0;
  for (const auto& [name, text] : rows) width = std::max(width, name.size());
  std::string all;
  for (const auto& [name, text] : rows) {
    all += name;
    if (!text.empty()) all += std::string(width - name.size() + 2, ' ') + text;
    all += '\n';
  }
  return all;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string list_passes(const pass::Options& options) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const pass::Pass* p : pass::select(pipeline(), options)) {
    const char* kind = p->required ? " (required)" : p->run ? "" : " (stage)";
    rows.emplace_back(p->name, p->doc + kind + " [" + joined(p->tags) + "]");
  }
  return columns(rows);
}

std::string list_rules(const pass::Options& options) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const pass::Pass* p : pass::select(pipeline(), options)) {
    for (const rewrite::Rule* r : pass::select_rules(pipeline(), *p, options)) {
      const std::string contract(rewrite::name(r->contract));
      rows.emplace_back(r->name, r->doc + "  {" + contract + "} [" + joined(r->tags) + "]");
    }
  }
  std::vector<std::pair<std::string, std::string>> once;  // a rule may belong to two passes
  for (auto& row : rows) {
    if (std::ranges::find(once, row) == once.end()) once.push_back(std::move(row));
  }
  return columns(once);
}

std::string list_ops() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const OpInfo& op : all_ops()) {
    rows.emplace_back(op.name, std::string(op.signature) + "  " + std::string(op.doc));
  }
  return columns(rows);
}

std::string list_levels() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const pass::Level& level : pass::levels()) {
    const std::string also = level.also.empty() ? "" : " = " + std::string(level.also);
    rows.emplace_back(std::string(level.name) + also, level.doc);
  }
  return columns(rows);
}

std::string list_codes() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const CodeInfo& row : all_codes()) rows.emplace_back(to_string(row.code), row.means);
  return columns(rows);
}

std::string list_tags() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string& tag : pass::all_tags(pipeline())) rows.emplace_back(tag, "");
  return columns(rows);
}

}  // namespace

const pass::Pipeline& pipeline() {
  static const pass::Pipeline kPipeline = make_pipeline();
  return kPipeline;
}

std::string list(const std::string& what, const pass::Options& options) {
  if (what == "passes") return list_passes(options);
  if (what == "rules") return list_rules(options);
  if (what == "ops") return list_ops();
  if (what == "tags") return list_tags();
  if (what == "levels") return list_levels();
  if (what == "codes") return list_codes();
  const std::string near = suggest(what, {"passes", "rules", "ops", "tags", "levels", "codes"});
  usage_error(Code::kUnknownName, "there is no list of '" + what + "'", "gcomp list",
              near.empty() ? "levels, passes, rules, ops, tags and codes are listed"
                           : "did you mean '" + near + "'?");
}

}  // namespace gcomp::driver
