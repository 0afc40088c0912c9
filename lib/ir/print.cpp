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

// The graphs inside `top`, inner ones first, each once; `top` is last.
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

class Printer {
 public:
  Printer(const Graph& top, const PrintOptions& options)
      : c_(top.context()), options_(options), order_(inner_first(top)) {
    for (size_t i = 0; i < order_.size(); ++i) number_.emplace(order_[i], i);
  }

  std::string run() {
    for (size_t i = 0; i + 1 < order_.size(); ++i) {
      graph("body #" + std::to_string(i), *order_[i]);
    }
    graph("graph", *order_.back());
    return std::move(out_);
  }

 private:
  std::string dims(std::span<const DimId> list) const {
    return list_text(list, [this](DimId d) { return c_.dims.to_string(d); });
  }

  std::string attribute(const AttrValue& value) const {
    switch (value.kind()) {
      case AttrKind::kInt: return std::to_string(std::get<int64_t>(value));
      case AttrKind::kFloat:
        return element_text(make_splat(DType::kFloat64, {}, std::get<double>(value)), 0);
      case AttrKind::kString: return in_quotes(std::get<std::string>(value));
      case AttrKind::kDType: return std::string(name(std::get<DType>(value)));
      case AttrKind::kInts:
        return list_text(std::get<std::vector<int64_t>>(value),
                         [](int64_t v) { return std::to_string(v); });
      case AttrKind::kDims: return dims(std::get<std::vector<DimId>>(value));
      case AttrKind::kGraphs:
        return list_text(std::get<std::vector<GraphId>>(value), [this](GraphId g) {
          return "#" + std::to_string(number_.at(&c_.graph(g)));
        });
      case AttrKind::kConstant: break;
    }
    return "?";
  }

  std::string elements(const Constant& c) const {
    const bool small = c.num_elements() <= options_.max_elements;
    if (!small && options_.elide) return "{...}";
    if (!small || !text_is_exact(c)) return "{base64 \"" + base64_encode(c.bytes) + "\"}";
    std::string s = "{";
    for (int64_t i = 0; i < c.num_elements(); ++i) s += (i ? ", " : "") + element_text(c, i);
    return s + "}";
  }

  void graph(const std::string& head, const Graph& g) {
    out_ += head + " {\n";
    for (size_t i = 0; i < g.num_nodes(); ++i) node(g, NodeId(i));
    for (const Port& p : g.outputs()) {
      out_ += "  return " + in_quotes(p.name) + " = %" + std::to_string(p.value.index) + "\n";
    }
    for (const Update& u : g.updates()) {
      out_ += "  update " + std::to_string(u.input) + " -> " + std::to_string(u.output) + "\n";
    }
    out_ += "}\n";
  }

  void node(const Graph& g, NodeId id) {
    const Node& n = g.node(id);
    out_ += "  ";
    for (int r = 0; r < n.num_results; ++r) {
      out_ += (r ? ", %" : "%") + std::to_string(g.result(id, r).index);
    }
    out_ += " = " + std::string(name(n.op));
    if (n.op == Op::input) {
      out_ += " " + in_quotes(g.inputs()[g.attrs(n).integer(AttrKey::index)].name);
    } else if (n.op != Op::constant) {
      out_ += "(";
      for (size_t i = 0; i < g.operands(n).size(); ++i) {
        out_ += (i ? ", %" : "%") + std::to_string(g.operands(n)[i].index);
      }
      out_ += ")";
      bool first = true;
      for (const Attr& a : g.attrs(n)) {
        out_ += (first ? " {" : ", ") + std::string(name(a.key)) + "=" + attribute(a.value);
        first = false;
      }
      if (!first) out_ += "}";
    }
    out_ += " : ";
    for (int r = 0; r < n.num_results; ++r) {
      out_ += (r ? ", " : "") + to_string(c_, g.type(g.result(id, r)));
    }
    if (n.op == Op::constant) out_ += " " + elements(*g.constant(g.result(id)));
    if (options_.locations && n.loc != LocTable::none()) out_ += "  @" + in_quotes(c_.locs[n.loc]);
    out_ += "\n";
  }

  const Context& c_;
  const PrintOptions& options_;
  std::vector<const Graph*> order_;
  std::unordered_map<const Graph*, size_t> number_;
  std::string out_;
};

}  // namespace

std::string print(const Graph& graph, const PrintOptions& options) {
  return Printer(graph, options).run();
}

}  // namespace gcomp
