#include <unordered_map>

#include "gcomp/ir/element_text.h"
#include "gcomp/ir/infer.h"
#include "gcomp/ir/text.h"
#include "gcomp/support/base64.h"

namespace gcomp {
namespace {

std::string in_quotes(std::string_view text) {
  std::string s = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') s += '\\';
    if (c == '\n') {
      s += "\\n";
    } else {
      s += c;
    }
  }
  return s + "\"";
}

template <class List, class F>
std::string list_text(const List& list, F&& element) {
  std::string s = "[";
  for (const auto& e : list) {
    if (s.size() > 1) s += ", ";
    s += element(e);
  }
  return s + "]";
}

std::string dims_text(const Context& c, std::span<const DimId> list) {
  return list_text(list, [&](DimId d) { return c.dims.to_string(d); });
}

std::string elements(const Constant& c, const PrintOptions& options) {
  const bool small = c.num_elements() <= options.max_elements;
  if (!small && options.elide) return "{...}";
  if (!small || !text_is_exact(c)) return "{base64 \"" + base64_encode(c.bytes) + "\"}";
  std::string s = "{";
  for (int64_t i = 0; i < c.num_elements(); ++i) s += (i ? ", " : "") + element_text(c, i);
  return s + "}";
}

// "state 1 -> 0 = float32[2] {0.5, 1.5}"
std::string state_line(const Graph& g, const State& s, const PrintOptions& options) {
  std::string line = "state " + std::to_string(s.input);
  if (s.output != State::kUnchanged) line += " -> " + std::to_string(s.output);
  if (!s.initial.valid()) return line;
  const Constant& c = g.context().constants[s.initial];
  line += " = " + std::string(name(c.dtype)) +
          list_text(c.shape, [](int64_t d) { return std::to_string(d); });
  return line + " " + elements(c, options);
}

}  // namespace

std::vector<const Graph*> inner_first(const Graph& top) {
  std::vector<const Graph*> order;
  std::unordered_map<const Graph*, bool> done;  // false: open
  std::vector<const Graph*> stack{&top};
  while (!stack.empty()) {
    const Graph* g = stack.back();
    const auto [it, is_new] = done.try_emplace(g, false);
    if (!is_new) {
      stack.pop_back();
      if (!it->second) order.push_back(g);
      it->second = true;
      continue;
    }
    for (const Node& n : g->nodes()) {
      if (!has_trait(n.op, kHasBody)) continue;
      for (GraphId id : g->attrs(n).graphs(AttrKey::bodies)) {
        if (!done.contains(&g->context().graph(id))) stack.push_back(&g->context().graph(id));
      }
    }
  }
  return order;
}

NodePrinter::NodePrinter(const Graph& top, const PrintOptions& options)
    : c_(top.context()), options_(options), graphs_(inner_first(top)) {
  for (size_t i = 0; i < graphs_.size(); ++i) number_.emplace(graphs_[i], i);
}

std::string NodePrinter::attribute(const AttrValue& value) const {
  switch (value.kind()) {
    case AttrKind::kInt: return std::to_string(std::get<int64_t>(value));
    case AttrKind::kFloat:
      return element_text(make_splat(DType::kFloat64, {}, std::get<double>(value)), 0);
    case AttrKind::kString: return in_quotes(std::get<std::string>(value));
    case AttrKind::kDType: return std::string(name(std::get<DType>(value)));
    case AttrKind::kInts:
      return list_text(std::get<std::vector<int64_t>>(value),
                       [](int64_t v) { return std::to_string(v); });
    case AttrKind::kDims: return dims_text(c_, std::get<std::vector<DimId>>(value));
    case AttrKind::kGraphs:
      return list_text(std::get<std::vector<GraphId>>(value), [this](GraphId g) {
        return "#" + std::to_string(number_.at(&c_.graph(g)));
      });
    case AttrKind::kConstant: break;
  }
  return "?";
}

std::string NodePrinter::line(const Graph& g, NodeId id) const {
  const Node& n = g.node(id);
  std::string out;
  for (int r = 0; r < n.num_results; ++r) {
    out += (r ? ", %" : "%") + std::to_string(g.result(id, r).index);
  }
  out += " = " + std::string(name(n.op));
  if (n.op == Op::input) {
    const Port& port = g.inputs()[g.attrs(n).integer(AttrKey::index)];
    out += " " + in_quotes(port.name) + (port.donate ? " donate" : "");
  } else if (n.op != Op::constant) {
    out += "(";
    for (size_t i = 0; i < g.operands(n).size(); ++i) {
      out += (i ? ", %" : "%") + std::to_string(g.operands(n)[i].index);
    }
    out += ")";
    bool first = true;
    for (const Attr& a : g.attrs(n)) {
      out += (first ? " {" : ", ") + std::string(name(a.key)) + "=" + attribute(a.value);
      first = false;
    }
    if (!first) out += "}";
  }
  out += " : ";
  for (int r = 0; r < n.num_results; ++r) {
    out += (r ? ", " : "") + to_string(c_, g.type(g.result(id, r)));
  }
  if (n.op == Op::constant) out += " " + elements(*g.constant(g.result(id)), options_);
  if (options_.locations && n.loc != LocTable::none()) out += "  @" + in_quotes(c_.locs[n.loc]);
  return out;
}

std::string print(const Graph& top, const PrintOptions& options) {
  const NodePrinter printer(top, options);
  std::string out;
  for (size_t i = 0; i < printer.graphs().size(); ++i) {
    const Graph& g = *printer.graphs()[i];
    out += &g == &top ? "graph {\n" : "body #" + std::to_string(i) + " {\n";
    for (size_t n = 0; n < g.num_nodes(); ++n) out += "  " + printer.line(g, NodeId(n)) + "\n";
    for (const Port& p : g.outputs()) {
      out += "  return " + in_quotes(p.name) + " = %" + std::to_string(p.value.index) + "\n";
    }
    for (const State& s : g.states()) out += "  " + state_line(g, s, options) + "\n";
    out += "}\n";
  }
  return out;
}

}  // namespace gcomp
