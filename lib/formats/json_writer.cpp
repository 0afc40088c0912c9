#include <nlohmann/json.hpp>

#include "gcomp/formats/json.h"
#include "gcomp/ir/element_text.h"
#include "gcomp/support/base64.h"
#include "numbering.h"

namespace gcomp::formats {
namespace {

std::string json_string(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string number_or_text(const std::string& element) {
  const bool finite = element != "inf" && element != "-inf" && element != "nan";
  return finite ? element : "\"" + element + "\"";
}

template <class List, class F>
std::string bracketed(const List& list, F&& element) {
  std::string text = "[";
  for (const auto& e : list) {
    if (text.size() > 1) text += ", ";
    text += element(e);
  }
  return text + "]";
}

class Writer {
 public:
  Writer(const JsonWriteOptions& options, const std::function<void(std::string_view)>& sink)
      : options_(options), sink_(sink) {}

  void write(const Graph& top) {
    // One frame an open graph: nested graphs are written inside their node, without recursion.
    frames_.push_back(std::make_unique<Frame>(top));
    begin(*frames_.back(), "\"version\": 1,\n\"symbols\": ");
    while (!frames_.empty()) step();
    sink_("\n");
  }

 private:
  struct Frame {
    explicit Frame(const Graph& g) : graph(g), numbering(g) {}
    const Graph& graph;
    Numbering numbering;
    size_t next = 0;       // operation
    size_t next_body = 0;  // of that operation
  };

  std::string dim(const Graph& g, DimId d) const {
    const auto v = g.context().dims.constant_value(d);
    return v ? std::to_string(*v) : json_string(g.context().dims.to_string(d));
  }
  std::string dims(const Graph& g, std::span<const DimId> list) const {
    return bracketed(list, [&](DimId d) { return dim(g, d); });
  }
  std::string id(const Frame& f, ValueId v) const {
    return std::to_string(f.numbering.id[v.index]);
  }

  void begin(const Frame& f, std::string_view head) {
    const Graph& g = f.graph;
    sink_("{");
    if (!head.empty()) {
      sink_(head);
      const auto name = [&](SymbolId s) { return json_string(g.context().dims.symbol_name(s)); };
      sink_(bracketed(symbols_of(g), name) + ",\n");
    }
    sink_("\"inputs\": [");
    for (size_t i = 0; i < g.inputs().size(); ++i) {
      const Port& p = g.inputs()[i];
      const Type& t = g.type(p.value);
      sink_(std::string(i ? ",\n" : "\n") + "{\"id\": " + id(f, p.value) +
            ", \"name\": " + json_string(p.name) + ", \"dtype\": \"" + std::string(name(t.dtype)) +
            "\", \"shape\": " + dims(g, t.dims) + (p.donate ? ", \"donate\": true}" : "}"));
    }
    sink_("],\n\"constants\": [");
    for (size_t i = 0; i < f.numbering.constants.size(); ++i) {
      sink_(i ? ",\n" : "\n");
      constant(f, f.numbering.constants[i]);
    }
    sink_("],\n\"nodes\": [");
  }

  void constant(const Frame& f, NodeId n) {
    const Graph& g = f.graph;
    sink_("{\"id\": " + id(f, g.result(n)) + ", ");
    tensor(g, g.attrs(n).constant(AttrKey::value));
    location(g, n);
    sink_("}");
  }

  // "dtype": ..., "shape": ..., and the elements
  void tensor(const Graph& g, ConstantId cid) {
    const Constant& c = g.context().constants[cid];
    sink_("\"dtype\": \"" + std::string(name(c.dtype)) +
          "\", \"shape\": " + bracketed(c.shape, [](int64_t d) { return std::to_string(d); }));
    if (!options_.weights_file.empty() && c.bytes.size() >= options_.min_weight_bytes) {
      sink_(", \"file\": {\"path\": " + json_string(options_.weights_file) + ", \"tensor\": \"c" +
            std::to_string(cid.index) + "\"}");
    } else if (c.num_elements() <= options_.max_inline_elements && text_is_exact(c)) {
      std::string data = "[";
      for (int64_t i = 0; i < c.num_elements(); ++i) {
        data += (i ? ", " : "") + number_or_text(element_text(c, i));
      }
      sink_(", \"data\": " + data + "]");
    } else {
      sink_(", \"base64\": \"" + base64_encode(c.bytes) + "\"");
    }
  }

  void location(const Graph& g, NodeId n) {
    const LocId loc = g.node(n).loc;
    if (loc != LocTable::none()) sink_(", \"loc\": " + json_string(g.context().locs[loc]));
  }

  std::string attribute(const Graph& g, const AttrValue& value) const {
    switch (value.kind()) {
      case AttrKind::kInt: return std::to_string(std::get<int64_t>(value));
      case AttrKind::kFloat: {
        return number_or_text(
            element_text(make_splat(DType::kFloat64, {}, std::get<double>(value)), 0));
      }
      case AttrKind::kString: return json_string(std::get<std::string>(value));
      case AttrKind::kDType: return "\"" + std::string(name(std::get<DType>(value))) + "\"";
      case AttrKind::kInts:
        return bracketed(std::get<std::vector<int64_t>>(value),
                         [](int64_t v) { return std::to_string(v); });
      case AttrKind::kDims: return dims(g, std::get<std::vector<DimId>>(value));
      case AttrKind::kGraphs:
      case AttrKind::kConstant: break;
    }
    return "null";
  }

  // Writes the next piece of the innermost open graph.
  void step() {
    Frame& f = *frames_.back();
    const Graph& g = f.graph;
    if (f.next == f.numbering.operations.size()) {
      end(f);
      frames_.pop_back();
      return;
    }
    const NodeId n = f.numbering.operations[f.next];
    const auto& bodies = g.attrs(n).graphs(AttrKey::bodies);
    if (f.next_body == 0) node_head(f, n);
    if (f.next_body < bodies.size()) {
      sink_(f.next_body == 0 ? (open_attrs_ ? ", \"bodies\": [" : ", \"attrs\": {\"bodies\": [")
                             : ",\n");
      open_attrs_ = true;
      const Graph& body = g.context().graph(bodies[f.next_body++]);
      frames_.push_back(std::make_unique<Frame>(body));
      begin(*frames_.back(), "");
      return;
    }
    if (!bodies.empty()) {
      sink_("]");
      open_attrs_ = true;  // inner nodes changed it
    }
    if (open_attrs_) sink_("}");
    location(g, n);
    sink_("}");
    ++f.next;
    f.next_body = 0;
  }

  void node_head(const Frame& f, NodeId n) {
    const Graph& g = f.graph;
    const Node& node = g.node(n);
    std::string text = std::string(f.next ? ",\n" : "\n") + "{\"op\": \"" +
                       std::string(name(node.op)) + "\", \"in\": ";
    text += bracketed(g.operands(n), [&](ValueId v) { return id(f, v); }) + ", \"out\": [";
    for (int r = 0; r < node.num_results; ++r) text += (r ? ", " : "") + id(f, g.result(n, r));
    text += "]";
    open_attrs_ = false;
    for (const Attr& a : g.attrs(n)) {
      if (a.value.kind() == AttrKind::kGraphs) continue;
      text += std::string(open_attrs_ ? ", \"" : ", \"attrs\": {\"") + std::string(name(a.key)) +
              "\": " + attribute(g, a.value);
      open_attrs_ = true;
    }
    sink_(text);
  }

  void end(const Frame& f) {
    const Graph& g = f.graph;
    sink_("],\n\"outputs\": [");
    for (size_t i = 0; i < g.outputs().size(); ++i) {
      const Port& p = g.outputs()[i];
      sink_(std::string(i ? ",\n" : "\n") + "{\"name\": " + json_string(p.name) +
            ", \"id\": " + id(f, p.value) + "}");
    }
    sink_("]");
    if (!g.states().empty()) states(g);
    sink_("}");
  }

  void states(const Graph& g) {
    const char* before = ",\n\"states\": [\n";
    for (const State& s : g.states()) {
      sink_(before + ("{\"input\": " + std::to_string(s.input)));
      if (s.output != State::kUnchanged) sink_(", \"output\": " + std::to_string(s.output));
      if (s.initial.valid()) {
        sink_(", \"initial\": {");
        tensor(g, s.initial);
        sink_("}");
      }
      sink_("}");
      before = ",\n";
    }
    sink_("]");
  }

  const JsonWriteOptions& options_;
  const std::function<void(std::string_view)>& sink_;
  std::vector<std::unique_ptr<Frame>> frames_;
  bool open_attrs_ = false;
};

}  // namespace

void write_json(const Graph& graph, const JsonWriteOptions& options,
                const std::function<void(std::string_view)>& sink) {
  Writer(options, sink).write(graph);
}

}  // namespace gcomp::formats
