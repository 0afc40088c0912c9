// The page is page.html with data in it. Graphs are most of the data, so they are written compactly: what
// lines have in common but for numbers of values is a template, kept once; a node is the numbers of its
// template and its place, then what fills the template. Maps from nodes to nodes are written as differences
// from one more than the number before, since that is what they mostly are.

#include "page.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "gcomp/ir/text.h"

extern "C" {
extern const unsigned char gcomp_embedded_page[];
extern const size_t gcomp_embedded_page_size;
}

namespace gcomp::driver {
namespace {

using Json = nlohmann::ordered_json;
using pass::Lineage;

constexpr uint32_t kNone = Lineage::kNone;
constexpr char kHole = '\1';

// Strings by number, each once.
class Names {
 public:
  uint32_t operator()(std::string_view text) {
    const auto [it, added] = number_.try_emplace(std::string(text), number_.size());
    if (added) texts_.push_back(it->first);
    return static_cast<uint32_t>(it->second);
  }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::unordered_map<std::string, size_t> number_;
  std::vector<std::string> texts_;
};

class Numbers {
 public:
  void add(int64_t n) {
    if (!text_.empty()) text_ += ' ';
    text_ += std::to_string(n);
  }
  void add(uint32_t n) { add(n == kNone ? int64_t{-1} : int64_t{n}); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// "5 ~3 x -2": see steps() in page.html.
std::string steps(const std::vector<uint32_t>& numbers) {
  std::string text;
  int64_t last = -1;
  size_t run = 0;
  const auto put = [&](const std::string& token) { text += (text.empty() ? "" : " ") + token; };
  const auto end_run = [&] {
    if (run > 0) put("~" + std::to_string(run));
    run = 0;
  };
  for (const uint32_t n : numbers) {
    if (n == last + 1) {
      ++run;
    } else {
      end_run();
      put(n == kNone ? "x" : std::to_string(n - last - 1));
    }
    if (n != kNone) last = n;
  }
  end_run();
  return text;
}

// Takes the numbers of values out of a line; what is in quotes is left alone.
std::string template_of(const std::string& line, std::vector<uint32_t>* values) {
  std::string text;
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && (i == 0 || line[i - 1] != '\\')) quoted = !quoted;
    if (quoted || c != '%' || i + 1 == line.size() || line[i + 1] < '0' || line[i + 1] > '9') {
      text += c;
      continue;
    }
    uint32_t value = 0;
    while (i + 1 < line.size() && line[i + 1] >= '0' && line[i + 1] <= '9') {
      value = value * 10 + static_cast<uint32_t>(line[++i] - '0');
    }
    values->push_back(value);
    text += kHole;
  }
  return text;
}

class Writer {
 public:
  explicit Writer(const Lineage& lineage) : lineage_(lineage) { locs_(""); }

  Json data(const lower::LoweredModule* module) {
    Json all;
    all["stages"] = Json::array();
    for (const Lineage::Stage& s : lineage_.stages()) all["stages"].push_back(stage(s));
    all["steps"] = Json::array();
    for (const Lineage::Step& s : lineage_.steps()) all["steps"].push_back(step(s));
    all["idle"] = lineage_.idle();
    if (module != nullptr) all["fusion"] = fusion(*module);
    all["templates"] = templates_.texts();
    all["locs"] = locs_.texts();
    all["ops"] = ops_.texts();
    all["rules"] = Json::array();
    for (const rewrite::Rule* r : rules_) {
      all["rules"].push_back({{"name", r->name}, {"doc", r->doc}});
    }
    return all;
  }

 private:
  Json stage(const Lineage::Stage& s) {
    const NodePrinter printer(s.graph(), {.locations = false, .max_elements = 8, .elide = true});
    const LocTable& locs = s.graph().context().locs;
    Numbers nodes;
    std::vector<uint32_t> values;
    for (const Graph* g : s.graphs) {
      for (uint32_t i = 0; i < g->num_nodes(); ++i) {
        values.clear();
        nodes.add(templates_(template_of(printer.line(*g, NodeId(i)), &values)));
        nodes.add(locs_(locs[g->node(NodeId(i)).loc]));
        for (const uint32_t v : values) nodes.add(v);
      }
    }
    const std::string text = nodes.take();
    const bool unchanged = text == last_nodes_;
    last_nodes_ = text;
    return {{"name", s.name}, {"base", s.base}, {"unchanged", unchanged}, {"nodes", text}};
  }

  Json step(const Lineage::Step& s) {
    std::string fate;
    for (const Lineage::Fate f : s.fate) fate += "kmug"[static_cast<size_t>(f)];
    Numbers applications;
    for (const Lineage::Application& a : s.applications) {
      applications.add(rule_number(a.rule));
      applications.add(a.before);
      applications.add(a.after);
      applications.add(ops_(a.op));
    }
    return {{"became", steps(s.became)},
            {"fate", fate},
            {"origin", steps(s.origin)},
            {"maker", steps(s.maker)},
            {"applications", applications.take()}};
  }

  uint32_t rule_number(const rewrite::Rule* rule) {
    if (rule == nullptr) return kNone;
    const auto [it, added] = rule_numbers_.try_emplace(rule, rules_.size());
    if (added) rules_.push_back(rule);
    return static_cast<uint32_t>(it->second);
  }

  // Why a node has no kernel of its own: -1 - index in "alone".
  static int64_t alone(const Graph& g, NodeId n) {
    const Op op = g.node(n).op;
    return op == Op::input ? -1 : op == Op::constant ? -2 : -3;
  }

  Json fusion(const lower::LoweredModule& module) const {
    const Lineage::Stage& last = lineage_.stages().back();
    std::vector<std::vector<std::string>> kernels(module.stats.groups.size());
    for (const lower::Step& s : module.steps) {
      if (s.kind != lower::Step::Kind::kCall) continue;
      std::vector<std::string>& names = kernels[s.group];
      if (std::ranges::find(names, module.names[s.kernel]) == names.end()) {
        names.push_back(module.names[s.kernel]);
      }
    }
    Json groups = Json::array();
    for (size_t i = 0; i < kernels.size(); ++i) {
      std::string text = "group " + std::to_string(i);
      for (const std::string& k : kernels[i]) text += " " + k;
      groups.push_back(text + " (" + module.stats.groups[i].nodes + ")");
    }
    std::vector<int64_t> group(last.num_nodes(), -4);
    Numbers unfused;
    std::unordered_map<const Graph*, bool> seen;  // a body is shown as it is used first
    for (const lower::GraphTrace& t : module.stats.traces) {
      const uint32_t base = last.number(t.graph, NodeId(0));
      if (base == kNone || !seen.try_emplace(t.graph).second) continue;
      for (uint32_t i = 0; i < t.group_of.size(); ++i) {
        const bool grouped =
            t.group_of[i] != schedule::kNoGroup && t.stats_of[t.group_of[i]] != schedule::kNoGroup;
        group[base + i] = grouped ? int64_t{t.stats_of[t.group_of[i]]} : alone(*t.graph, NodeId(i));
      }
      for (const schedule::UnfusedEdge& e : t.unfused) {
        unfused.add(base + e.reader.index);
        unfused.add(base + e.producer.index);
        unfused.add(static_cast<int64_t>(e.why));
      }
    }
    Numbers group_text;
    for (const int64_t g : group) group_text.add(g);
    Json reasons = Json::array();
    for (size_t i = 0; i < schedule::kNumUnfused; ++i) {
      reasons.push_back(std::string(schedule::reason(static_cast<schedule::Unfused>(i))));
    }
    return {{"groups", groups},
            {"group", group_text.take()},
            {"unfused", unfused.take()},
            {"reasons", reasons},
            {"alone",
             {"inputs", "constants", "index maps in the kernels that read them",
              "bodies that nothing runs"}}};
  }

  const Lineage& lineage_;
  Names templates_, locs_, ops_;
  std::vector<const rewrite::Rule*> rules_;
  std::unordered_map<const rewrite::Rule*, size_t> rule_numbers_;
  std::string last_nodes_;
};

}  // namespace

std::string page(const std::string& title, const Lineage& lineage, const Json& profile,
                 const lower::LoweredModule* module) {
  Json data = Writer(lineage).data(module);
  data["title"] = title;
  data["profile"] = profile;
  // Names need not be UTF-8; "</script>" in one must not end the data.
  const std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string html(reinterpret_cast<const char*>(gcomp_embedded_page), gcomp_embedded_page_size);
  constexpr std::string_view kMark = "@DATA@";
  const size_t at = html.find(kMark);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) safe += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return html.substr(0, at) + safe + html.substr(at + kMark.size());
}

}  // namespace gcomp::driver
