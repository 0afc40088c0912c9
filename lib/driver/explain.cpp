#include "explain.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "gcomp/artifact/libraries.h"
#include "gcomp/ir/text.h"
#include "gcomp/support/error.h"
#include "placement_report.h"

namespace gcomp::driver {
namespace {

using pass::Lineage;
using Fate = Lineage::Fate;
using Stage = Lineage::Stage;
using Step = Lineage::Step;

constexpr uint32_t kNone = Lineage::kNone;
constexpr size_t kMaxNodes = 8;       // of one name that are explained
constexpr size_t kMaxNeighbours = 8;  // lines about each node's neighbours

struct Place {
  size_t stage = 0;
  uint32_t node = 0;
};

[[noreturn]] void unknown(const std::string& message, const std::string& hint) {
  usage_error(Code::kUnknownNode, message, "--explain", hint);
}

// ---- What is asked for

// "%7", "#1%7"; nullopt if it is nothing of the kind.
std::optional<std::pair<size_t, uint32_t>> parse_value(std::string_view text, size_t last_graph) {
  size_t graph = last_graph;
  const auto number = [&](auto* to) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *to);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return error == std::errc();
  };
  if (text.starts_with('#')) {
    text.remove_prefix(1);
    if (!number(&graph)) return std::nullopt;
  }
  if (!text.starts_with('%')) return std::nullopt;
  text.remove_prefix(1);
  uint32_t value = 0;
  if (!number(&value) || !text.empty()) return std::nullopt;
  return std::pair(graph, value);
}

size_t stage_named(const Lineage& lineage, const std::string& name) {
  std::vector<std::string> names;
  for (size_t i = 0; i < lineage.stages().size(); ++i) {
    names.push_back(lineage.stages()[i].name);
    if (names.back() == name) return i;
  }
  for (const auto& [pass, stages] : lineage.idle()) {
    names.push_back(pass);
    if (pass == name) return stages - 1;  // as the pass before left it
  }
  const std::string near = suggest(name, names);
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
  unknown("no pass called '" + name + "' ran",
          near.empty() ? "there are: " + all : "did you mean '" + near + "'?");
}

// A value of a dump.
std::optional<std::vector<Place>> find_value(const Lineage& lineage, const std::string& subject) {
  if (!subject.starts_with('%') && !subject.starts_with('#')) return std::nullopt;
  const size_t at = subject.find('@');
  const size_t s = at == std::string::npos ? lineage.stages().size() - 1
                                           : stage_named(lineage, subject.substr(at + 1));
  const Stage& stage = lineage.stages()[s];
  const auto value = parse_value(subject.substr(0, at), stage.graphs.size() - 1);
  if (!value) return std::nullopt;
  const auto [g, v] = *value;
  if (g >= stage.graphs.size()) {
    unknown("there is no body #" + std::to_string(g) + " after '" + stage.name + "'",
            std::to_string(stage.graphs.size() - 1) + " bodies are there");
  }
  if (v >= stage.graphs[g]->num_values()) {
    unknown("there is no value %" + std::to_string(v) + " after '" + stage.name + "'",
            "%0 to %" + std::to_string(stage.graphs[g]->num_values() - 1) +
                " are there; %N@PASS names one of another dump");
  }
  return std::vector<Place>{{s, stage.base[g] + stage.graphs[g]->producer(ValueId(v)).index}};
}

// All nodes of the graph as read that have a name, with it.
template <class Visit>
void for_each_name(const Stage& stage, const Visit& visit) {
  const LocTable& locs = stage.graph().context().locs;
  for (size_t g = 0; g < stage.graphs.size(); ++g) {
    const Graph& graph = *stage.graphs[g];
    const auto port = [&](const Port& p) {
      if (!p.name.empty()) visit(p.name, stage.base[g] + graph.producer(p.value).index);
    };
    for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
      const LocId loc = graph.node(NodeId(i)).loc;
      if (loc != LocTable::none()) visit(locs[loc], stage.base[g] + i);
    }
    for (const Port& p : graph.inputs()) port(p);
    for (const Port& p : graph.outputs()) port(p);
  }
}

std::vector<Place> find_subject(const Lineage& lineage, const std::string& subject) {
  if (auto places = find_value(lineage, subject)) return *places;
  const Stage& stage = lineage.stages().front();
  std::set<uint32_t> found;
  for_each_name(stage, [&](const std::string& name, uint32_t node) {
    if (name == subject) found.insert(node);
  });
  if (found.empty()) {
    std::set<std::string> names;
    for_each_name(stage, [&](const std::string& name, uint32_t) { names.insert(name); });
    const std::string near = suggest(subject, {names.begin(), names.end()});
    unknown("no node is called '" + subject + "'",
            near.empty() ? "a place, an input or output, or a value of a dump: %7, %7@canonicalize"
                         : "did you mean '" + near + "'?");
  }
  std::vector<Place> places;
  for (uint32_t n : found) places.push_back({0, n});
  return places;
}

// ---- The answer

class Explainer {
 public:
  Explainer(const Lineage& lineage, const lower::LoweredModule* module,
            const passes::Placement* placement)
      : lineage_(lineage), module_(module), placement_(placement) {
    for (const Stage& s : lineage.stages()) {
      printers_.emplace_back(s.graph(), PrintOptions{.max_elements = 8, .elide = true});
    }
  }

  std::string explain(Place place) {
    text_.clear();
    std::vector<uint32_t> before{place.node};  // back to where it began
    size_t first = place.stage;
    while (first > 0 && lineage_.steps()[first - 1].origin[before.back()] != kNone) {
      before.push_back(lineage_.steps()[--first].origin[before.back()]);
    }
    if (first > 0) {
      row(stage(first).name, "made " + line(first, before.back()));
    } else {
      row("read", line(0, before.back()));
    }
    for (size_t s = first; s < place.stage; ++s) {
      before.pop_back();
      made(s, before.back());
    }
    uint32_t node = place.node;
    size_t s = place.stage;
    while (s + 1 < lineage_.stages().size() && node != kNone) node = follow(s++, node);
    if (node != kNone && module_ != nullptr) kernel(node);
    return text_;
  }

 private:
  const Stage& stage(size_t s) const { return lineage_.stages()[s]; }

  std::string line(size_t s, uint32_t node) const {
    const size_t g = stage(s).graph_of(node);
    const std::string body = g + 1 < stage(s).graphs.size() ? "#" + std::to_string(g) : "";
    return body + printers_[s].line(*stage(s).graphs[g], NodeId(node - stage(s).base[g]));
  }

  void row(const std::string& head, const std::string& what) {
    constexpr size_t kWidth = 14;
    text_ += "  " + head + std::string(std::max(head.size() + 1, kWidth) - head.size(), ' ') +
             what + "\n";
  }

  static std::string application(const Lineage::Application& a) {
    if (a.rule == nullptr) return std::string(a.op) + " of constants folded";
    return "rule " + a.rule->name + " at " + std::string(a.op) + ": " + a.rule->doc;
  }

  // How a node after step `s` came from the one for whose sake it was made.
  void made(size_t s, uint32_t node) {
    const Step& step = lineage_.steps()[s];
    const uint32_t origin = step.origin[node];
    if (step.became[origin] == node) {
      follow(s, origin);
      return;
    }
    row(stage(s + 1).name, "made on the way: " + line(s + 1, node));
    if (step.maker[node] != kNone)
      row("", "by " + application(step.applications[step.maker[node]]));
  }

  // What became of a node in step `s`; kNone: it is gone.
  uint32_t follow(size_t s, uint32_t node) {
    const Step& step = lineage_.steps()[s];
    const std::string& name = stage(s + 1).name;
    const uint32_t after = step.became[node];
    std::vector<const Lineage::Application*> applied;
    for (const Lineage::Application& a : step.applications) {
      if (a.before == node) applied.push_back(&a);
    }
    switch (step.fate[node]) {
      case Fate::kUnread: row(name, "removed: no output needs it"); break;
      case Fate::kGone: row(name, "removed: what read it no longer does"); break;
      case Fate::kKept:
        row(name, (applied.empty() ? "kept " : "became ") + line(s + 1, after));
        break;
      case Fate::kMerged:
        row(name, (applied.empty() ? "merged with its equal " : "became ") + line(s + 1, after));
        break;
    }
    for (const auto* a : applied) row("", "by " + application(*a));
    if (after == kNone) readers(s, node);
    return after;
  }

  // What happened to those that read a node which is gone.
  void readers(size_t s, uint32_t node) {
    const size_t g = stage(s).graph_of(node);
    const Graph& graph = *stage(s).graphs[g];
    const uint32_t base = stage(s).base[g];
    const Step& step = lineage_.steps()[s];
    std::set<uint32_t> reading;
    for (uint32_t i = 0; i < graph.num_nodes(); ++i) {
      for (ValueId v : graph.operands(NodeId(i))) {
        if (base + graph.producer(v).index == node) reading.insert(base + i);
      }
    }
    size_t lines = 0;
    for (const Lineage::Application& a : step.applications) {
      if (!reading.contains(a.before) || lines++ == kMaxNeighbours) continue;
      row("", "its reader " + line(s, a.before) + ": " + application(a));
    }
  }

  void kernel(uint32_t node) {
    const Stage& last = lineage_.stages().back();
    const size_t g = last.graph_of(node);
    const Graph* graph = last.graphs[g];
    const NodeId id(node - last.base[g]);
    if (placement_ != nullptr) {
      const bool outer = graph == &last.graph();
      place(*graph, outer ? *placement_ : placement_->bodies.at(graph), id);
    }
    const lower::GraphTrace* trace = nullptr;
    size_t uses = 0;
    for (const lower::GraphTrace& t : module_->stats.traces) {
      if (t.graph != graph) continue;
      if (trace == nullptr) trace = &t;
      ++uses;
    }
    if (trace == nullptr) return row("kernel", "none: nothing runs the body it is in");
    if (uses > 1) {
      row("kernel", "the body is written " + std::to_string(uses) + " times; the first:");
    }
    const uint32_t group = trace->group_of[id.index];
    if (group == schedule::kNoGroup) return row("kernel", "none: " + why_no_kernel(*graph, id));
    const uint32_t stats = trace->stats_of[group];
    if (stats == schedule::kNoGroup) return row("kernel", "none: nobody reads its group");
    row("kernel", names_of_kernels(stats) + "; group " + std::to_string(stats) + " (" +
                      std::to_string(module_->stats.groups[stats].num_nodes) +
                      " nodes): " + module_->stats.groups[stats].nodes);
    library(stats);
    neighbours(*trace, *graph, id);
  }

  void place(const Graph& graph, const passes::GraphPlacement& placement, NodeId id) {
    if (graph.node(id).op != Op::input) row("device", device_of(graph, placement, id));
    for (const std::string& copy : copies_of(graph, placement, id)) row("copied", copy);
  }

  static std::string why_no_kernel(const Graph& graph, NodeId id) {
    switch (graph.node(id).op) {
      case Op::input: return "an input is memory of the caller";
      case Op::constant:
        return schedule::is_literal(graph, graph.result(id)) ? "a constant written into kernels"
                                                             : "a constant in memory";
      default: return "an index map in the kernels that read it";
    }
  }

  // Whether a library may do the group's product or convolution.
  void library(uint32_t stats) {
    for (const lower::Step& step : module_->steps) {
      if (step.group != stats || step.product == lower::LibraryProduct::kNone) continue;
      const lower::LibraryProduct& p = module_->products[step.product];
      const std::string name = artifact::library_of(p) + ", where a run finds it";
      row("library", (p.choices.empty() ? "none" : name) + ": " + p.why);
    }
  }

  std::string names_of_kernels(uint32_t stats) const {
    std::vector<uint32_t> kernels;
    for (const lower::Step& step : module_->steps) {
      if (step.group != stats || step.kind != lower::Step::Kind::kCall) continue;
      if (std::ranges::find(kernels, step.kernel) == kernels.end()) kernels.push_back(step.kernel);
    }
    std::string names;
    for (uint32_t k : kernels) names += (names.empty() ? "" : ", ") + module_->names[k];
    return names.empty() ? "none, but steps of the plan" : names;
  }

  void neighbours(const lower::GraphTrace& trace, const Graph& graph, NodeId id) {
    const NodePrinter& printer = printers_.back();
    size_t lines = 0;
    for (const schedule::UnfusedEdge& e : trace.unfused) {
      if ((e.reader != id && e.producer != id) || lines++ >= kMaxNeighbours) continue;
      const NodeId other = e.reader == id ? e.producer : e.reader;
      row("not fused", (e.reader == id ? "with what it reads, " : "with its reader, ") +
                           printer.line(graph, other) + ": " +
                           std::string(schedule::reason(e.why)));
    }
    if (lines > kMaxNeighbours) {
      row("", "and " + std::to_string(lines - kMaxNeighbours) + " more");
    }
  }

  const Lineage& lineage_;
  const lower::LoweredModule* module_;
  const passes::Placement* placement_;
  std::vector<NodePrinter> printers_;  // of each stage
  std::string text_;
};

}  // namespace

std::string explain(const Lineage& lineage, const lower::LoweredModule* module,
                    const passes::Placement* placement, const std::string& subject) {
  const std::vector<Place> places = find_subject(lineage, subject);
  Explainer explainer(lineage, module, placement);
  std::string text;
  for (size_t i = 0; i < std::min(places.size(), kMaxNodes); ++i) {
    text += subject + ":\n" + explainer.explain(places[i]);
  }
  if (places.size() > kMaxNodes) {
    text += "and " + std::to_string(places.size() - kMaxNodes) + " more nodes of that name\n";
  }
  return text;
}

}  // namespace gcomp::driver
