// Constants that bodies capture become constants of the bodies, where rules fold them and lowering sees
// their elements (weights are packed when compiling, not in each turn of a loop).
//
// A body is rewritten for each set of constants that nodes give it. First all such versions are found, from
// the module's graph inwards; then they are built, bodies before the graphs that hold them.

#include <algorithm>
#include <map>
#include <optional>

#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "sweeps.h"

namespace gcomp::passes {
namespace {

using Given = std::vector<std::pair<size_t, ConstantId>>;  // inputs of a body, by number

struct Version {
  const Graph* graph = nullptr;
  Given given = {};
  std::map<uint32_t, std::vector<size_t>> bodies = {};  // node -> versions of its bodies
  std::map<uint32_t, std::vector<bool>> dropped = {};   // node -> operands that it no longer has
};

class Captures {
 public:
  Captures(const Graph& graph, const pass::PassContext& pass)
      : context_(graph.context()), graph_(graph), pass_(pass) {}

  // Null if no body captures a constant.
  std::unique_ptr<Graph> run() {
    versions_.push_back({.graph = &graph_});
    for (size_t i = 0; i < versions_.size(); ++i) find_bodies(i);
    if (!found_) return nullptr;
    // Ids of bodies are smaller than those of the graphs that hold them.
    std::vector<GraphId> built(versions_.size());
    for (const auto& [key, index] : numbers_) {
      built[index] = context_.add_graph(build(versions_[index], built));
    }
    return build(versions_[0], built);
  }

 private:
  static size_t first_capture(const Graph& g, const Node& n) {
    if (n.op == Op::cond) return 1;
    return 2 + static_cast<size_t>(g.attrs(n).integer(AttrKey::index));
  }

  std::optional<ConstantId> constant_of(const Version& v, ValueId value) const {
    const Node& n = v.graph->producer_node(value);
    if (n.op == Op::constant) return v.graph->attrs(n).constant(AttrKey::value);
    if (n.op != Op::input) return std::nullopt;
    const auto input = static_cast<size_t>(v.graph->attrs(n).integer(AttrKey::index));
    for (const auto& [i, id] : v.given) {
      if (i == input) return id;
    }
    return std::nullopt;
  }

  // The body's symbols can be told from the constant.
  bool is_plain(const Graph& body, size_t input) const {
    const Type& type = body.type(body.inputs()[input].value);
    return std::ranges::all_of(type.dims, [&](DimId d) {
      return context_.dims.constant_value(d) || context_.dims.as_symbol(d);
    });
  }

  void find_bodies(size_t index) {
    const Graph& g = *versions_[index].graph;
    for (uint32_t i = 0; i < g.num_nodes(); ++i) {
      const Node& n = g.node(NodeId(i));
      if (!has_trait(n.op, kHasBody)) continue;
      const std::vector<GraphId>& bodies = g.attrs(n).graphs(AttrKey::bodies);
      std::vector<bool> dropped(n.num_operands, false);
      Given given;
      for (size_t o = first_capture(g, n); o < n.num_operands; ++o) {
        const size_t input =
            o - 1;  // of a loop the iteration number comes first, of a cond nothing
        const auto constant = constant_of(versions_[index], g.operands(n)[o]);
        if (!constant || !std::ranges::all_of(bodies, [&](GraphId b) {
              return is_plain(context_.graph(b), input);
            })) {
          continue;
        }
        dropped[o] = found_ = true;
        given.emplace_back(input, *constant);
      }
      std::vector<size_t> versions;
      for (GraphId b : bodies) versions.push_back(number_of(b, given));
      versions_[index].bodies.emplace(i, std::move(versions));
      versions_[index].dropped.emplace(i, std::move(dropped));
    }
  }

  size_t number_of(GraphId body, const Given& given) {
    std::vector<std::pair<size_t, uint32_t>> key;
    for (const auto& [input, id] : given) key.emplace_back(input, id.index);
    const auto [it, inserted] =
        numbers_.try_emplace(std::pair(body.index, std::move(key)), versions_.size());
    if (inserted) versions_.push_back({.graph = &context_.graph(body), .given = given});
    return it->second;
  }

  // What the symbols of inputs that go are.
  std::vector<DimId> replacement_of(const Version& v) const {
    std::vector<DimId> by(context_.dims.num_symbols());
    for (const auto& [input, id] : v.given) {
      const Type& type = v.graph->type(v.graph->inputs()[input].value);
      const Constant& c = context_.constants[id];
      for (size_t a = 0; a < type.dims.size(); ++a) {
        const auto symbol = context_.dims.as_symbol(type.dims[a]);
        if (symbol) by[symbol->index] = context_.dims.constant(c.shape[a]);
      }
    }
    return by;
  }

  std::unique_ptr<Graph> build(const Version& v, const std::vector<GraphId>& built) {
    const Graph& g = *v.graph;
    const std::vector<DimId> by = replacement_of(v);
    GraphBuilder b(context_, GraphBuilder::Mode::kRaw);
    std::vector<ValueId> made(g.num_values());
    for (size_t i = 0; i < g.inputs().size(); ++i) {
      const Port& port = g.inputs()[i];
      b.set_loc(g.producer_node(port.value).loc);
      ValueId& to = made[port.value.index];
      for (const auto& [input, id] : v.given) {
        if (input == i) to = b.constant(id);
      }
      if (to.valid()) continue;
      Type type = g.type(port.value);
      for (DimId& d : type.dims) d = context_.dims.substitute(d, by);
      to = b.input(port.name, type, port.donate);
    }
    for (uint32_t i = 0; i < g.num_nodes(); ++i) {
      if (g.node(NodeId(i)).op != Op::input) copy_node(v, NodeId(i), by, built, b, &made);
    }
    for (const Port& port : g.outputs()) b.output(port.name, made[port.value.index]);
    for (const State& s : g.states()) b.state(s);
    auto result = b.finish();
    pass_.rebuilt(g, *result, made);
    return result;
  }

  void copy_node(const Version& v, NodeId id, const std::vector<DimId>& by,
                 const std::vector<GraphId>& built, GraphBuilder& b, std::vector<ValueId>* made) {
    const Graph& g = *v.graph;
    const Node& n = g.node(id);
    const Attrs old = g.attrs(n);
    std::vector<Attr> attrs(old.begin(), old.end());
    for (Attr& attr : attrs) {
      if (auto* dims = std::get_if<std::vector<DimId>>(&attr.value)) {
        for (DimId& d : *dims) d = context_.dims.substitute(d, by);
      } else if (auto* graphs = std::get_if<std::vector<GraphId>>(&attr.value)) {
        const std::vector<size_t>& versions = v.bodies.at(id.index);
        for (size_t k = 0; k < graphs->size(); ++k) (*graphs)[k] = built[versions[k]];
      }
    }
    std::vector<ValueId> operands;
    const auto all = g.operands(n);
    for (size_t o = 0; o < all.size(); ++o) {
      const bool gone = has_trait(n.op, kHasBody) && v.dropped.at(id.index)[o];
      if (!gone) operands.push_back((*made)[all[o].index]);
    }
    b.set_loc(n.loc);
    const NodeId copy = b.node(n.op, operands, std::move(attrs));
    for (uint32_t r = 0; r < n.num_results; ++r) {
      (*made)[n.first_result.index + r] = b.result(copy, static_cast<int>(r));
    }
  }

  Context& context_;
  const Graph& graph_;
  const pass::PassContext& pass_;
  std::vector<Version> versions_;  // the module's graph first
  // (body, what it is given) -> version, by increasing id of the body
  std::map<std::pair<uint32_t, std::vector<std::pair<size_t, uint32_t>>>, size_t> numbers_;
  bool found_ = false;
};

}  // namespace

pass::Pass captures() {
  const auto run = [](const Graph& graph, pass::PassContext& context) -> std::unique_ptr<Graph> {
    const auto changed = Captures(graph, context).run();
    if (!changed || !may_rebuild(graph, context)) return nullptr;
    return sweep(*changed, context);
  };
  return {"captures",
          run,
          false,
          {"fast_compile", "fast_run"},
          "constants that bodies of cond and loop capture become constants of the bodies",
          "canonicalize"};
}

}  // namespace gcomp::passes
