// Parser of the text form; the grammar is in gcomp/ir/text.h. Results may have any numbers; types are
// inferred again and must agree with what is written.
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/element_text.h"
#include "gcomp/ir/infer.h"
#include "gcomp/ir/states.h"
#include "gcomp/ir/text.h"
#include "gcomp/support/base64.h"
#include "gcomp/support/error.h"

namespace gcomp {
namespace {

class Parser {
 public:
  Parser(Context& context, std::string_view text) : context_(context), text_(text) {}

  std::unique_ptr<Graph> parse() {
    while (take("body")) {
      expect("#");
      const uint64_t id = number();
      if (!bodies_.emplace(id, context_.add_graph(graph())).second) fail("body defined twice");
    }
    expect("graph");
    auto g = graph();
    skip_space();
    if (at_ != text_.size()) fail("text after the graph");
    return g;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
    graph_error(Code::kGraph, what, "line " + std::to_string(line));
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(std::string_view token) {
    skip_space();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) fail("expected '" + std::string(token) + "'");
  }
  std::string_view word() {
    skip_space();
    const size_t start = at_;
    const auto in_word = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    };
    while (at_ < text_.size() && in_word(text_[at_])) ++at_;
    if (at_ == start) fail("expected a name");
    return text_.substr(start, at_ - start);
  }
  template <class T = uint64_t>
  T number() {
    skip_space();
    T v{};
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), v);
    if (error != std::errc()) fail("expected a number");
    at_ = static_cast<size_t>(end - text_.data());
    return v;
  }
  std::string string() {
    expect("\"");
    std::string s;
    while (at_ < text_.size() && text_[at_] != '"') {
      const bool escaped = text_[at_] == '\\' && at_ + 1 < text_.size();
      if (escaped) ++at_;
      s += escaped && text_[at_] == 'n' ? '\n' : text_[at_];
      ++at_;
    }
    expect("\"");
    return s;
  }

  // Elements of "[a, b]", split at commas outside parentheses.
  std::vector<std::string_view> list() {
    expect("[");
    std::vector<std::string_view> items;
    size_t start = at_;
    for (int depth = 0; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '[' || c == '(') ++depth;
      const bool end = c == ']' && depth == 0;
      if (end || (c == ',' && depth == 0)) {
        std::string_view item = text_.substr(start, at_ - start);
        while (item.starts_with(' ')) item.remove_prefix(1);
        if (!item.empty() || !end) items.push_back(item);
        start = at_ + 1;
      }
      if (end) {
        ++at_;
        return items;
      }
      if (c == ']' || c == ')') --depth;
    }
    fail("a list does not end");
  }
  std::vector<DimId> dims() {
    std::vector<DimId> d;
    for (std::string_view item : list()) d.push_back(context_.dims.parse(item));
    return d;
  }
  Type type() {
    const auto t = parse_dtype(word());
    if (!t) fail("no such dtype");
    return {*t, dims()};
  }
  template <class T>
  T converted(std::string_view item) const {
    T v{};
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), v);
    if (error != std::errc() || end != item.data() + item.size()) fail("expected a number");
    return v;
  }

  Constant constant(const Type& t) {
    std::vector<int64_t> shape;
    for (DimId d : t.dims) {
      const auto v = context_.dims.constant_value(d);
      if (!v) fail("a constant needs static extents");
      shape.push_back(*v);
    }
    expect("{");
    std::vector<std::byte> bytes;
    if (take("base64")) {
      auto decoded = base64_decode(string());
      if (!decoded) fail("not base64");
      bytes = std::move(*decoded);
      expect("}");
    } else {
      while (!take("}")) {
        skip_space();
        const size_t end = std::min(text_.find_first_of(",}", at_), text_.size());
        if (!append_element(t.dtype, text_.substr(at_, end - at_), &bytes)) fail("bad element");
        at_ = end;
        take(",");
      }
    }
    int64_t wanted = static_cast<int64_t>(byte_size(t.dtype));
    for (int64_t d : shape) {
      if (d < 0 || __builtin_mul_overflow(wanted, d, &wanted)) fail("impossible shape");
    }
    if (bytes.size() != static_cast<size_t>(wanted)) fail("another number of elements");
    return make_constant(t.dtype, std::move(shape), std::move(bytes));
  }

  AttrValue attribute(AttrKind kind) {
    switch (kind) {
      case AttrKind::kInt: return number<int64_t>();
      case AttrKind::kFloat: {
        skip_space();
        const size_t end = std::min(text_.find_first_of(",}", at_), text_.size());
        std::vector<std::byte> bytes;
        if (!append_element(DType::kFloat64, text_.substr(at_, end - at_), &bytes))
          fail("bad number");
        at_ = end;
        return make_constant(DType::kFloat64, {}, std::move(bytes)).as_double(0);
      }
      case AttrKind::kString: return string();
      case AttrKind::kDType: {
        const auto t = parse_dtype(word());
        if (!t) fail("no such dtype");
        return *t;
      }
      case AttrKind::kInts: {
        std::vector<int64_t> v;
        for (std::string_view item : list()) v.push_back(converted<int64_t>(item));
        return v;
      }
      case AttrKind::kDims: return dims();
      case AttrKind::kGraphs: {
        std::vector<GraphId> v;
        for (std::string_view item : list()) {
          if (!item.starts_with('#')) fail("expected a nested graph");
          const auto found = bodies_.find(converted<uint64_t>(item.substr(1)));
          if (found == bodies_.end()) fail("no such nested graph");
          v.push_back(found->second);
        }
        return v;
      }
      case AttrKind::kConstant: break;
    }
    fail("an attribute that has no text");
  }

  std::vector<Attr> attributes(Op op) {
    std::vector<Attr> attrs;
    if (!take("{")) return attrs;
    do {
      const std::string_view key = word();
      const OpInfo& row = info(op);
      const auto spec = std::find_if(row.attrs.begin(), row.attrs.end(),
                                     [&](const AttrSpec& s) { return name(s.key) == key; });
      if (spec == row.attrs.end()) fail("no attribute '" + std::string(key) + "'");
      for (const Attr& other : attrs) {
        if (other.key == spec->key) fail("attribute '" + std::string(key) + "' occurs twice");
      }
      expect("=");
      attrs.push_back({spec->key, attribute(spec->kind)});
    } while (take(","));
    expect("}");
    return attrs;
  }

  std::unique_ptr<Graph> graph() {
    GraphBuilder builder(context_, GraphBuilder::Mode::kRaw);
    std::unordered_map<uint64_t, ValueId> values;
    const auto value = [&] {
      expect("%");
      const auto found = values.find(number());
      if (found == values.end()) fail("a value is not defined before its use");
      return found->second;
    };
    expect("{");
    while (!take("}")) {
      if (take("return")) {
        std::string name = string();
        expect("=");
        builder.output(std::move(name), value());
      } else if (take("state")) {
        state(&builder);
      } else {
        node(&builder, &values, value);
      }
    }
    if (const auto problem = check_states(builder.graph())) fail(problem->what);
    return builder.finish();
  }

  void state(GraphBuilder* builder) {
    State s{.input = number<uint32_t>()};
    if (take("->")) s.output = number<uint32_t>();
    if (take("=")) s.initial = context_.constants.intern(constant(type()));
    builder->state(s);
  }

  template <class F>
  void node(GraphBuilder* builder, std::unordered_map<uint64_t, ValueId>* values, F&& value) {
    std::vector<uint64_t> results;
    do {
      expect("%");
      results.push_back(number());
    } while (take(","));
    expect("=");
    Op op;
    const std::string_view op_name = word();
    if (!parse_op(op_name, &op)) fail("no op '" + std::string(op_name) + "'");
    std::string input_name;
    bool donate = false;
    std::vector<ValueId> operands;
    std::vector<Attr> attrs;
    if (op == Op::input) {
      input_name = string();
      donate = take("donate");
    } else if (op != Op::constant) {
      expect("(");
      while (!take(")")) {
        operands.push_back(value());
        take(",");
      }
      attrs = attributes(op);
    }
    expect(":");
    std::vector<Type> types;
    do {
      types.push_back(type());
    } while (take(","));
    Constant data;
    if (op == Op::constant) data = constant(types[0]);
    builder->set_loc(take("@") ? string() : "");
    std::vector<ValueId> made;
    if (op == Op::input) {
      made.push_back(builder->input(input_name, types[0], donate));
    } else if (op == Op::constant) {
      made.push_back(builder->constant(std::move(data)));
    } else {
      const NodeId n = builder->node(op, operands, std::move(attrs));
      for (int r = 0; r < builder->graph().node(n).num_results; ++r) {
        made.push_back(builder->result(n, r));
      }
    }
    if (made.size() != results.size() || made.size() != types.size()) {
      fail(std::string(name(op)) + " gives " + std::to_string(made.size()) + " results");
    }
    for (size_t i = 0; i < made.size(); ++i) {
      if (!(builder->type(made[i]) == types[i])) {
        fail("written type " + to_string(context_, types[i]) + ", inferred " +
             to_string(context_, builder->type(made[i])));
      }
      if (!values->emplace(results[i], made[i]).second) fail("a value is defined twice");
    }
  }

  Context& context_;
  std::string_view text_;
  size_t at_ = 0;
  std::unordered_map<uint64_t, GraphId> bodies_;
};

}  // namespace

std::unique_ptr<Graph> parse_graph(Context& context, std::string_view text) {
  return Parser(context, text).parse();
}

}  // namespace gcomp
