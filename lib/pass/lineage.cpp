// Within a pass, each graph swept or rebuilt gives a map from its nodes to those of its result. When the
// pass ends, the maps that lead from a graph of the stage before to one of the stage after are composed.

#include "gcomp/pass/lineage.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "gcomp/ir/text.h"
#include "gcomp/support/error.h"

namespace gcomp::pass {

using rewrite::Rewrite;
using rewrite::Swept;

size_t Lineage::Stage::graph_of(uint32_t node) const {
  return static_cast<size_t>(std::ranges::upper_bound(base, node) - base.begin()) - 1;
}

const Node& Lineage::Stage::node(uint32_t n) const {
  const size_t g = graph_of(n);
  return graphs[g]->node(NodeId(n - base[g]));
}

uint32_t Lineage::Stage::number(const Graph* g, NodeId n) const {
  const auto found = index.find(g);
  return found == index.end() ? kNone : base[found->second] + n.index;
}

void Lineage::add_stage(std::string name, const Graph& graph) {
  Stage stage{std::move(name), inner_first(graph), {0}};
  for (const Graph* g : stage.graphs) {
    stage.index.emplace(g, stage.index.size());
    stage.base.push_back(stage.base.back() + static_cast<uint32_t>(g->num_nodes()));
  }
  stages_.push_back(std::move(stage));
}

void Lineage::finish(const Graph& graph) {
  if (stages_.empty()) add_stage("read", graph);
}

void Lineage::begin_pass(const Pass&, const Graph& graph) {
  if (stages_.empty()) add_stage("read", graph);
  maps_.clear();
  map_of_.clear();
}

void Lineage::begin_graph(const Graph& old) {
  taken_.clear();
  applied_.clear();
  if (!stages_.back().index.contains(&old) && !map_of_.contains(&old)) {
    guess(stages_.back().graph(), old);
  }
}

void Lineage::take(NodeId old_node, const Graph& built) {
  taken_.emplace_back(old_node.index, static_cast<uint32_t>(built.num_nodes()));
}

void Lineage::applied(const Rewrite& r) {
  applied_.push_back({r.rule, r.old_node.index, r.root.index, r.built.producer(r.values[0]).index,
                      static_cast<uint32_t>(r.first_made),
                      static_cast<uint32_t>(r.built.num_nodes())});
}

void Lineage::end_graph(const Swept& swept) {
  const Graph &old = swept.old, &built = swept.built, &result = swept.result;
  // Nodes built -> nodes of the result.
  std::vector<uint32_t> moved(built.num_nodes(), kNone);
  for (uint32_t i = 0; i < built.num_nodes(); ++i) {
    const Node& n = built.node(NodeId(i));
    const ValueId v = n.num_results > 0 ? swept.moved[n.first_result.index] : ValueId();
    if (v.valid()) moved[i] = result.producer(v).index;
  }
  Map map{&old, &result, {}, {}, {}, {}, {}};
  map.origin.assign(result.num_nodes(), kNone);
  map.maker.assign(result.num_nodes(), kNone);
  for (size_t t = 0; t < taken_.size(); ++t) {
    const size_t end = t + 1 < taken_.size() ? taken_[t + 1].second : built.num_nodes();
    for (size_t i = taken_[t].second; i < end; ++i) {
      if (moved[i] != kNone) map.origin[moved[i]] = taken_[t].first;
    }
  }
  for (const Applied& a : applied_) {
    const auto number = static_cast<uint32_t>(map.applications.size());
    for (uint32_t i = a.first_made; i < a.end_made; ++i) {
      if (moved[i] != kNone && map.maker[moved[i]] == kNone) map.maker[moved[i]] = number;
    }
    map.applications.push_back(
        {a.rule, a.old_node, moved[a.result], gcomp::name(built.node(NodeId(a.root)).op)});
  }
  for (uint32_t i = 0; i < old.num_nodes(); ++i) {
    const Node& n = old.node(NodeId(i));
    uint32_t became = kNone;
    bool read = false;
    for (uint32_t k = 0; k < n.num_results; ++k) {
      const ValueId v = swept.memo[n.first_result.index + k];
      read = read || v.valid();
      if (v.valid() && became == kNone) became = moved[built.producer(v).index];
    }
    if (n.op == Op::input && became != kNone) map.origin[became] = i;
    map.became.push_back(became);
    map.fate.push_back(!read             ? Fate::kUnread
                       : became == kNone ? Fate::kGone
                                         : Fate::kMerged);  // those kept: below
  }
  for (uint32_t i = 0; i < old.num_nodes(); ++i) {
    if (map.became[i] != kNone && map.origin[map.became[i]] == i) map.fate[i] = Fate::kKept;
  }
  map_of_[&result] = maps_.size();
  maps_.push_back(std::move(map));
}

void Lineage::rebuilt(const Graph& old, const Graph& result, std::span<const ValueId> became) {
  Map map{&old, &result, {}, {}, {}, {}, {}};
  map.origin.assign(result.num_nodes(), kNone);
  map.maker.assign(result.num_nodes(), kNone);
  for (uint32_t i = 0; i < old.num_nodes(); ++i) {
    const Node& n = old.node(NodeId(i));
    uint32_t node = kNone;
    for (uint32_t k = 0; k < n.num_results && node == kNone; ++k) {
      const ValueId v = became[n.first_result.index + k];
      if (v.valid()) node = result.producer(v).index;
    }
    const bool first = node != kNone && map.origin[node] == kNone;
    if (first) map.origin[node] = i;
    map.became.push_back(node);
    map.fate.push_back(node == kNone ? Fate::kUnread : first ? Fate::kKept : Fate::kMerged);
  }
  // What was made in between was made for the node that was rebuilt next.
  uint32_t next = kNone;
  for (size_t i = result.num_nodes(); i-- > 0;) {
    if (map.origin[i] == kNone) {
      map.origin[i] = next;
    } else {
      next = map.origin[i];
    }
  }
  map_of_[&result] = maps_.size();
  maps_.push_back(std::move(map));
}

// A pass built `old` and did not say from what: from `source`, by places and ops.
void Lineage::guess(const Graph& source, const Graph& old) {
  std::map<std::pair<uint32_t, Op>, std::vector<uint32_t>> by_place;
  for (uint32_t i = 0; i < old.num_nodes(); ++i) {
    const Node& n = old.node(NodeId(i));
    by_place[{n.loc.index, n.op}].push_back(i);
  }
  for (auto& [place, nodes] : by_place) std::ranges::reverse(nodes);
  std::vector<ValueId> became(source.num_values());
  for (uint32_t i = 0; i < source.num_nodes(); ++i) {
    const Node& n = source.node(NodeId(i));
    const auto found = by_place.find({n.loc.index, n.op});
    if (found == by_place.end() || found->second.empty() || n.num_results == 0) continue;
    became[n.first_result.index] = old.result(NodeId(found->second.back()));
    found->second.pop_back();
  }
  rebuilt(source, old, became);
}

Lineage::Map Lineage::identity(const Graph& g) {
  Map map{&g, &g, {}, {}, {}, {}, {}};
  map.became.resize(g.num_nodes());
  std::iota(map.became.begin(), map.became.end(), 0u);
  map.origin = map.became;
  map.maker.assign(g.num_nodes(), kNone);
  map.fate.assign(g.num_nodes(), Fate::kKept);
  return map;
}

Lineage::Map Lineage::composed(const Map& first, const Map& second) {
  Map map{first.old, second.result, {}, {}, {}, {}, {}};
  const auto through = [](const std::vector<uint32_t>& table, uint32_t i) {
    return i == kNone ? kNone : table[i];
  };
  map.applications = first.applications;
  for (Application& a : map.applications) a.after = through(second.became, a.after);
  for (Application a : second.applications) {
    a.before = through(first.origin, a.before);
    map.applications.push_back(a);
  }
  const auto shift = static_cast<uint32_t>(first.applications.size());
  for (size_t i = 0; i < second.origin.size(); ++i) {
    map.origin.push_back(through(first.origin, second.origin[i]));
    map.maker.push_back(second.maker[i] != kNone ? second.maker[i] + shift
                                                 : through(first.maker, second.origin[i]));
  }
  for (size_t i = 0; i < first.became.size(); ++i) {
    const uint32_t middle = first.became[i];
    map.became.push_back(through(second.became, middle));
    const bool lost = middle == kNone || map.became.back() == kNone;
    const bool kept = !lost && map.origin[map.became.back()] == i;
    map.fate.push_back(middle == kNone ? first.fate[i]
                       : lost          ? second.fate[middle]
                       : kept          ? Fate::kKept
                                       : Fate::kMerged);
  }
  return map;
}

// From a graph of the stage before to `g`, or from one that is not known.
Lineage::Map Lineage::map_to(const Graph& g) const {
  Map map = identity(g);
  size_t end = maps_.size();
  while (!stages_.back().index.contains(map.old)) {
    const auto found = map_of_.find(map.old);
    if (found == map_of_.end() || found->second >= end) break;
    end = found->second;
    map = composed(maps_[end], map);
  }
  return map;
}

void Lineage::end_pass(const Pass& pass, const Graph& after, std::shared_ptr<const Graph> before) {
  if (!before) {
    idle_.emplace_back(pass.name, stages_.size());
    return;
  }
  add_stage(pass.name, after);
  const Stage made = std::move(stages_.back());
  stages_.pop_back();
  const Stage& from = stages_.back();
  const bool alike = made.graphs.size() == from.graphs.size();  // bodies stand for those before
  for (size_t g = alike ? 0 : made.graphs.size() - 1; g < made.graphs.size(); ++g) {
    const Graph* graph = made.graphs[g];
    if (from.index.contains(graph) || map_of_.contains(graph)) continue;
    guess(alike ? *from.graphs[g] : from.graph(), *graph);
  }
  Step step;
  step.became.assign(from.num_nodes(), kNone);
  step.fate.assign(from.num_nodes(), Fate::kUnread);
  for (size_t g = 0; g < made.graphs.size(); ++g) {
    const Map map = map_to(*made.graphs[g]);
    const auto found = from.index.find(map.old);
    const bool known = found != from.index.end();
    const uint32_t old_base = known ? from.base[found->second] : kNone;
    const auto before_number = [&](uint32_t n) {
      return !known || n == kNone ? kNone : old_base + n;
    };
    const auto after_number = [&](uint32_t n) { return n == kNone ? kNone : made.base[g] + n; };
    const auto shift = static_cast<uint32_t>(step.applications.size());
    for (size_t i = 0; i < map.origin.size(); ++i) {
      step.origin.push_back(before_number(map.origin[i]));
      step.maker.push_back(map.maker[i] == kNone ? kNone : map.maker[i] + shift);
    }
    for (const Application& a : map.applications) {
      step.applications.push_back({a.rule, before_number(a.before), after_number(a.after), a.op});
    }
    for (size_t i = 0; known && i < map.became.size(); ++i) {
      uint32_t& became = step.became[old_base + i];
      if (became != kNone) continue;  // a body in several versions: the first
      became = after_number(map.became[i]);
      step.fate[old_base + i] = map.fate[i];
    }
  }
  steps_.push_back(std::move(step));
  stages_.push_back(made);
  kept_.push_back(std::move(before));
}

}  // namespace gcomp::pass
