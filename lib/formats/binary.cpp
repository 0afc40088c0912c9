// Layout, all integers LEB128 varints unless said (signed ones zigzag):
//   "GCOMPBIN" | u32 version | u32 zero
//   strings: count, then (length, bytes) each         every name, location and extent text
//   dims: count, then a string index each             extents, as text
//   constants: count, then (dtype, rank, extents, offset of data from the data section) each
//   attribute lists: count, then (length, (key string, kind, value) ...) each; list 0 is empty
//   graphs: count, then each: nested ones first, the top graph last
//   u64 aligned: zero padding to a multiple of 64, then the data section: constants, each aligned
//   to 64
// A graph: symbols (string indices), inputs (name, location, dtype, flags (1: donated), rank, dims),
// constants (constant, location), nodes (op string, attributes, location, operands as distance back
// from the next id), outputs (name, id), states (input, output + 1 or 0, initial constant + 1 or 0).
// Version 1, which is read too, has no flags; its states are (input, output), without initial values.
#include "gcomp/formats/binary.h"

#include <charconv>
#include <cstring>
#include <unordered_map>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/states.h"
#include "gcomp/ir/symbols.h"
#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"
#include "gcomp/support/intern.h"
#include "gcomp/support/stable_vector.h"
#include "numbering.h"

namespace gcomp::formats {
namespace {

constexpr std::string_view kMagic = "GCOMPBIN";
constexpr uint32_t kVersion = 2;
constexpr uint64_t kDonated = 1;
constexpr size_t kAlignment = 64;

size_t align(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

class Encoder {
 public:
  void u(uint64_t v) {
    while (v >= 0x80) {
      bytes_ += static_cast<char>(v | 0x80);
      v >>= 7;
    }
    bytes_ += static_cast<char>(v);
  }
  void s(int64_t v) { u(static_cast<uint64_t>(v) << 1 ^ static_cast<uint64_t>(v >> 63)); }
  void raw(std::string_view text) { bytes_ += text; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// The number in the file of things that have small ids in memory, given at their first use.
class FileNumbers {
 public:
  // `make(number)` is called at the first use.
  template <class Make>
  uint32_t of(size_t id, Make&& make) {
    if (id >= numbers_.size()) numbers_.resize(id + 1, kNone);
    if (numbers_[id] == kNone) numbers_[id] = make();
    return numbers_[id];
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> numbers_;
};

class Writer {
 public:
  Writer(const Graph& top, const std::function<void(std::string_view)>& sink)
      : context_(top.context()), sink_(sink) {
    attrs(AttrTable::none());
    collect_bodies(top);
    for (const Graph* g : order_) graph(*g);
  }

  void write() {
    Encoder head;
    head.raw(kMagic);
    const uint32_t fixed[2] = {kVersion, 0};
    head.raw({reinterpret_cast<const char*>(fixed), sizeof fixed});
    head.u(strings_.size());
    for (size_t i = 0; i < strings_.size(); ++i) {
      head.u(strings_[i].size());
      head.raw(strings_[i]);
    }
    head.u(dims_.size());
    for (uint32_t d : dims_) head.u(d);
    head.u(constants_.size());
    size_t data = 0;
    for (const Constant* c : constants_) {
      head.u(static_cast<uint64_t>(c->dtype));
      head.u(c->shape.size());
      for (int64_t d : c->shape) head.u(static_cast<uint64_t>(d));
      head.u(data);
      data += align(c->bytes.size());
    }
    head.u(num_attr_lists_);
    sink_(head.bytes());
    sink_(attr_lists_.bytes());
    Encoder count;
    count.u(order_.size());
    sink_(count.bytes());
    sink_(graphs_.bytes());
    const size_t written = head.bytes().size() + attr_lists_.bytes().size() + count.bytes().size() +
                           graphs_.bytes().size();
    sink_(std::string(align(written) - written, '\0'));
    for (const Constant* c : constants_) {
      sink_({reinterpret_cast<const char*>(c->bytes.data()), c->bytes.size()});
      sink_(std::string(align(c->bytes.size()) - c->bytes.size(), '\0'));
    }
  }

 private:
  // Nested graphs before the graphs that hold them, each once.
  void collect_bodies(const Graph& top) {
    std::vector<std::pair<const Graph*, size_t>> stack{{&top, 0}};
    while (!stack.empty()) {
      auto& [g, next] = stack.back();
      const Graph* inner = nullptr;
      for (; next < g->num_nodes() && inner == nullptr; ++next) {
        if (!has_trait(g->node(NodeId(next)).op, kHasBody)) continue;
        for (GraphId id : g->attrs(NodeId(next)).graphs(AttrKey::bodies)) {
          if (graph_ids_.contains(&context_.graph(id))) continue;
          inner = &context_.graph(id);
          --next;  // look at this node again: it may hold more
          break;
        }
      }
      if (inner != nullptr) {
        stack.emplace_back(inner, 0);
        continue;
      }
      graph_ids_.emplace(g, order_.size());
      order_.push_back(g);
      stack.pop_back();
    }
  }

  uint32_t string(std::string_view text) {
    const size_t hash = hash_bytes(std::as_bytes(std::span(text)));
    const auto found = string_ids_.find(hash, [&](uint32_t id) { return strings_[id] == text; });
    if (found) return *found;
    const auto id = static_cast<uint32_t>(strings_.size());
    strings_.emplace_back(text);
    string_ids_.add(hash, id);
    return id;
  }
  uint32_t op(Op o) {
    return op_names_.of(static_cast<size_t>(o), [&] { return string(name(o)); });
  }
  uint32_t loc(LocId id) {
    return locs_.of(id.index, [&] { return string(context_.locs[id]); });
  }
  uint32_t dim(DimId d) {
    return dim_ids_.of(d.index, [&] {
      dims_.push_back(string(context_.dims.to_string(d)));
      return static_cast<uint32_t>(dims_.size() - 1);
    });
  }
  uint32_t constant(ConstantId id) {
    return constant_ids_.of(id.index, [&] {
      constants_.push_back(&context_.constants[id]);
      return static_cast<uint32_t>(constants_.size() - 1);
    });
  }
  uint32_t attrs(AttrsId id) {
    return attr_ids_.of(id.index, [&] {
      const Attrs list = context_.attrs[id];
      attr_lists_.u(list.size());
      for (const Attr& a : list) {
        attr_lists_.u(
            key_names_.of(static_cast<size_t>(a.key), [&] { return string(name(a.key)); }));
        attr_lists_.u(static_cast<uint64_t>(a.value.kind()));
        attribute(&attr_lists_, a.value);
      }
      return num_attr_lists_++;
    });
  }

  void attribute(Encoder* e, const AttrValue& value) {
    switch (value.kind()) {
      case AttrKind::kInt: e->s(std::get<int64_t>(value)); break;
      case AttrKind::kFloat:
        e->raw({reinterpret_cast<const char*>(&std::get<double>(value)), sizeof(double)});
        break;
      case AttrKind::kString: e->u(string(std::get<std::string>(value))); break;
      case AttrKind::kDType: e->u(static_cast<uint64_t>(std::get<DType>(value))); break;
      case AttrKind::kInts: {
        const auto& list = std::get<std::vector<int64_t>>(value);
        e->u(list.size());
        for (int64_t v : list) e->s(v);
        break;
      }
      case AttrKind::kDims: {
        const auto& list = std::get<std::vector<DimId>>(value);
        e->u(list.size());
        for (DimId d : list) e->u(dim(d));
        break;
      }
      case AttrKind::kGraphs: {
        const auto& list = std::get<std::vector<GraphId>>(value);
        e->u(list.size());
        for (GraphId g : list) e->u(graph_ids_.at(&context_.graph(g)));
        break;
      }
      case AttrKind::kConstant: e->u(constant(std::get<ConstantId>(value))); break;
    }
  }

  void graph(const Graph& g) {
    const Numbering numbering(g);
    Encoder& e = graphs_;
    const std::vector<SymbolId> symbols = symbols_of(g);
    e.u(symbols.size());
    for (SymbolId s : symbols) e.u(string(context_.dims.symbol_name(s)));
    e.u(g.inputs().size());
    for (const Port& p : g.inputs()) {
      const Type& t = g.type(p.value);
      e.u(string(p.name));
      e.u(loc(g.producer_node(p.value).loc));
      e.u(static_cast<uint64_t>(t.dtype));
      e.u(p.donate ? kDonated : 0);
      e.u(t.dims.size());
      for (DimId d : t.dims) e.u(dim(d));
    }
    e.u(numbering.constants.size());
    for (NodeId n : numbering.constants) {
      e.u(constant(g.attrs(n).constant(AttrKey::value)));
      e.u(loc(g.node(n).loc));
    }
    e.u(numbering.operations.size());
    for (NodeId id : numbering.operations) {
      const Node& n = g.node(id);
      const uint32_t next =
          n.num_results > 0 ? numbering.id[n.first_result.index] : 0;  // ops have results
      e.u(op(n.op));
      e.u(attrs(n.attrs));
      e.u(loc(n.loc));
      e.u(n.num_operands);
      for (ValueId v : g.operands(n)) e.u(next - numbering.id[v.index]);
    }
    e.u(g.outputs().size());
    for (const Port& p : g.outputs()) {
      e.u(string(p.name));
      e.u(numbering.id[p.value.index]);
    }
    e.u(g.states().size());
    for (const State& s : g.states()) {
      e.u(s.input);
      e.u(s.output == State::kUnchanged ? 0 : uint64_t{s.output} + 1);
      e.u(s.initial.valid() ? uint64_t{constant(s.initial)} + 1 : 0);
    }
  }

  const Context& context_;
  const std::function<void(std::string_view)>& sink_;
  std::vector<const Graph*> order_;
  std::unordered_map<const Graph*, size_t> graph_ids_;
  StableVector<std::string> strings_{"strings"};
  InternTable string_ids_;
  FileNumbers op_names_, key_names_, locs_;
  std::vector<uint32_t> dims_;  // their strings
  FileNumbers dim_ids_;
  std::vector<const Constant*> constants_;
  FileNumbers constant_ids_;
  FileNumbers attr_ids_;
  uint32_t num_attr_lists_ = 0;
  Encoder attr_lists_;
  Encoder graphs_;
};

class Reader {
 public:
  Reader(Context& context, const MappedFile& file, const std::string& file_name)
      : context_(context), file_(file), name_(file_name) {}

  std::unique_ptr<Graph> read() {
    header();
    read_strings();
    read_dims();
    read_constants();
    read_attr_positions();
    const size_t graphs = count();
    if (graphs == 0) fail("holds no graph");
    std::unique_ptr<Graph> last;
    for (size_t i = 0; i < graphs; ++i) {
      if (last && has_interface_marks(*last)) fail("a nested graph has states or donated inputs");
      if (last) bodies_.push_back(context_.add_graph(std::move(last)));
      last = graph();
      require_symbols(*last, name_);
    }
    require_states(*last, name_);
    // Also what tells a truncated file: the data section is found from the end.
    if (align(at_) != data_begin_) fail("the graphs do not end where the data section begins");
    return last;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    graph_error({"not a valid binary graph: " + what, "offset " + std::to_string(at_), "",
                 Code::kMalformedBinary, name_});
  }
  uint64_t u() {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= file_.bytes.size()) fail("ends too early");
      const auto b = std::to_integer<uint64_t>(file_.bytes[at_++]);
      v |= (b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    fail("a number is too long");
  }
  int64_t s() {
    const uint64_t v = u();
    return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
  }
  // A number of things that take at least one byte each in the rest of the file.
  size_t count() {
    const uint64_t n = u();
    if (n > file_.bytes.size() - at_) fail("a count is larger than the file");
    return n;
  }
  template <class T>
  T& pick(std::vector<T>& list, const char* what) {
    const uint64_t i = u();
    if (i >= list.size()) fail(std::string("no such ") + what);
    return list[i];
  }
  // A string of the file, and what it means, once asked.
  struct Text {
    std::string_view text;
    LocId loc = {};
    std::optional<Op> op = {};
    std::optional<AttrKey> key = {};
  };
  Text& string() { return pick(strings_, "string"); }
  LocId loc() {
    Text& s = string();
    if (!s.loc.valid()) s.loc = context_.locs.intern(s.text);
    return s.loc;
  }
  AttrKey key() {
    Text& s = string();
    if (!s.key) s.key = parse_attr_key(s.text);
    if (!s.key) fail("no attribute '" + std::string(s.text) + "'");
    return *s.key;
  }
  Op op() {
    Text& s = string();
    Op parsed;
    if (!s.op && parse_op(s.text, &parsed)) s.op = parsed;
    if (!s.op || *s.op == Op::input || *s.op == Op::constant) {
      fail("no op '" + std::string(s.text) + "'");
    }
    return *s.op;
  }
  DType dtype() {
    const uint64_t t = u();
    if (t >= kNumDTypes) fail("no such dtype");
    return static_cast<DType>(t);
  }

  void header() {
    if (!is_binary(file_.bytes) || file_.bytes.size() < 16) fail("no header");
    std::memcpy(&version_, file_.bytes.data() + 8, 4);
    if (version_ == 0 || version_ > kVersion) {
      fail("version " + std::to_string(version_) +
           " is not known to this gcomp (it reads 1 and 2)");
    }
    at_ = 16;
  }

  void read_strings() {
    const size_t n = count();
    strings_.reserve(n);
    for (size_t i = 0; i < n; ++i) {
      const size_t size = count();
      strings_.push_back({{reinterpret_cast<const char*>(file_.bytes.data()) + at_, size}});
      at_ += size;
    }
  }

  void read_dims() {
    const size_t n = count();
    dims_.reserve(n);
    for (size_t i = 0; i < n; ++i) dims_.push_back(parse_dim(string().text));
  }

  // Most extents are numbers.
  DimId parse_dim(std::string_view text) {
    int64_t value;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return context_.dims.parse(text);
    return context_.dims.constant(value);
  }

  void read_constants() {
    const size_t n = count();
    for (size_t i = 0; i < n; ++i) {
      Constant c;
      c.dtype = dtype();
      const size_t rank = count();
      int64_t bytes = static_cast<int64_t>(byte_size(c.dtype));
      for (size_t a = 0; a < rank; ++a) {
        const auto d = static_cast<int64_t>(u());
        if (d < 0 || __builtin_mul_overflow(bytes, d, &bytes)) fail("impossible shape");
        c.shape.push_back(d);
      }
      const uint64_t begin = u();
      const auto size = static_cast<uint64_t>(bytes);
      if (begin % kAlignment != 0 || begin > file_.bytes.size() ||
          size > file_.bytes.size() - begin) {
        fail("a constant lies outside the file");
      }
      data_ranges_.emplace_back(begin, size);
      c.owner = file_.owner;
      constants_.push_back(std::move(c));
    }
    // The data section begins after the graphs, whose end is not known yet; it ends the file.
    size_t end = 0;
    for (const auto& [begin, size] : data_ranges_) end = std::max(end, begin + align(size));
    if (end > file_.bytes.size()) fail("constants run past the end");
    data_begin_ = file_.bytes.size() - end;
    for (size_t i = 0; i < n; ++i) {
      constants_[i].bytes =
          file_.bytes.subspan(data_begin_ + data_ranges_[i].first, data_ranges_[i].second);
      if (constants_[i].dtype == DType::kBool) {
        for (std::byte b : constants_[i].bytes) {
          if (std::to_integer<int>(b) > 1) fail("bool elements must be 0 or 1");
        }
      }
    }
  }

  // Attribute lists may name nested graphs, which come later: remember where each begins.
  void read_attr_positions() {
    const size_t n = count();
    for (size_t i = 0; i < n; ++i) {
      attr_positions_.push_back(at_);
      const size_t length = count();
      for (size_t k = 0; k < length; ++k) skip_attribute();
    }
    attr_ids_.resize(n);
  }

  uint64_t kind() {
    const uint64_t k = u();
    if (k > static_cast<uint64_t>(AttrKind::kConstant)) fail("no such kind of attribute");
    return k;
  }
  double real() {
    if (file_.bytes.size() - at_ < sizeof(double)) fail("ends too early");
    double v;
    std::memcpy(&v, file_.bytes.data() + at_, sizeof v);
    at_ += sizeof v;
    return v;
  }

  void skip_attribute() {
    key();
    switch (static_cast<AttrKind>(kind())) {
      case AttrKind::kFloat: real(); break;
      case AttrKind::kInts:
      case AttrKind::kDims:
      case AttrKind::kGraphs:
        for (size_t left = count(); left > 0; --left) u();
        break;
      default: u();
    }
  }

  Attr attribute() {
    const AttrKey k = key();
    switch (static_cast<AttrKind>(kind())) {
      case AttrKind::kInt: return {k, s()};
      case AttrKind::kFloat: return {k, real()};
      case AttrKind::kString: return {k, std::string(string().text)};
      case AttrKind::kDType: return {k, dtype()};
      case AttrKind::kInts: {
        std::vector<int64_t> list(count());
        for (int64_t& v : list) v = s();
        return {k, std::move(list)};
      }
      case AttrKind::kDims: {
        std::vector<DimId> list(count());
        for (DimId& d : list) d = pick(dims_, "extent");
        return {k, std::move(list)};
      }
      case AttrKind::kGraphs: {
        std::vector<GraphId> list(count());
        for (GraphId& g : list) g = pick(bodies_, "nested graph");
        return {k, std::move(list)};
      }
      case AttrKind::kConstant: return {k, constant_id(u())};
    }
    fail("no such kind of attribute");
  }

  ConstantId constant_id(size_t i) {
    if (i >= constants_.size()) fail("no such constant");
    if (constant_ids_.empty()) constant_ids_.resize(constants_.size());
    if (!constant_ids_[i].valid()) constant_ids_[i] = context_.constants.intern(constants_[i]);
    return constant_ids_[i];
  }

  AttrsId attrs() {
    const uint64_t i = u();
    if (i >= attr_ids_.size()) fail("no such attribute list");
    if (attr_ids_[i].valid()) return attr_ids_[i];
    const size_t resume = at_;
    at_ = attr_positions_[i];
    std::vector<Attr> list;
    const size_t length = count();
    for (size_t k = 0; k < length; ++k) {
      list.push_back(attribute());
      for (size_t other = 0; other + 1 < list.size(); ++other) {
        if (list[other].key == list.back().key) fail("an attribute occurs twice");
      }
    }
    at_ = resume;
    return attr_ids_[i] = context_.attrs.intern(std::move(list));
  }

  std::unique_ptr<Graph> graph() {
    GraphBuilder builder(context_, GraphBuilder::Mode::kRaw);
    std::vector<ValueId> values;
    const size_t symbols = count();
    for (size_t i = 0; i < symbols; ++i) context_.dims.symbol(string().text);
    const size_t inputs = count();
    for (size_t i = 0; i < inputs; ++i) {
      std::string name(string().text);
      builder.set_loc(loc());
      Type t;
      t.dtype = dtype();
      const uint64_t flags = version_ == 1 ? 0 : u();
      if (flags > kDonated) fail("an input has unknown flags");
      t.dims.resize(count());
      for (DimId& d : t.dims) d = pick(dims_, "extent");
      values.push_back(builder.input(std::move(name), t, (flags & kDonated) != 0));
    }
    const size_t constants = count();
    for (size_t i = 0; i < constants; ++i) {
      const ConstantId c = constant_id(u());
      builder.set_loc(loc());
      values.push_back(builder.constant(c));
    }
    const size_t nodes = count();
    reserve(&builder, &values, nodes);
    for (size_t i = 0; i < nodes; ++i) node(&builder, &values);
    const size_t outputs = count();
    for (size_t i = 0; i < outputs; ++i) {
      std::string name(string().text);
      builder.output(std::move(name), pick(values, "value"));
    }
    const size_t states = count();
    for (size_t i = 0; i < states; ++i) builder.state(state(inputs, outputs));
    return builder.finish();
  }

  State state(size_t inputs, size_t outputs) {
    const uint64_t in = u(), out = u() + (version_ == 1 ? 1 : 0);
    if (in >= inputs || out > outputs) fail("no such input or output");
    State s{.input = static_cast<uint32_t>(in)};
    if (out != 0) s.output = static_cast<uint32_t>(out - 1);
    const uint64_t initial = version_ == 1 ? 0 : u();
    if (initial > constants_.size()) fail("no such constant");
    if (initial != 0) s.initial = constant_id(initial - 1);
    return s;
  }

  // A node takes at least these bytes, an operand one: what a file can hold, whatever it says.
  static constexpr size_t kMinNodeBytes = 4;
  void reserve(GraphBuilder* builder, std::vector<ValueId>* values, size_t nodes) {
    const size_t left = file_.bytes.size() - at_;
    const size_t possible = std::min(nodes, left / kMinNodeBytes);
    const size_t have = builder->graph().num_nodes();
    values->reserve(have + possible);
    builder->reserve(have + possible, std::min(left, 2 * possible));
  }

  void node(GraphBuilder* builder, std::vector<ValueId>* values) {
    const Op o = op();
    const AttrsId list = attrs();
    builder->set_loc(loc());
    operands_.resize(count());
    for (ValueId& v : operands_) {
      const uint64_t back = u();
      if (back == 0 || back > values->size()) fail("an operand is not defined before its use");
      v = (*values)[values->size() - back];
    }
    const NodeId n = builder->node(o, operands_, list);
    for (int r = 0; r < builder->graph().node(n).num_results; ++r) {
      values->push_back(builder->result(n, r));
    }
  }

  Context& context_;
  const MappedFile& file_;
  const std::string& name_;
  uint32_t version_ = 0;
  size_t at_ = 0;
  size_t data_begin_ = 0;
  std::vector<Text> strings_;
  std::vector<DimId> dims_;
  std::vector<Constant> constants_;
  std::vector<ConstantId> constant_ids_;
  std::vector<std::pair<size_t, size_t>> data_ranges_;
  std::vector<size_t> attr_positions_;
  std::vector<AttrsId> attr_ids_;
  std::vector<GraphId> bodies_;
  std::vector<ValueId> operands_;
};

}  // namespace

bool is_binary(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

std::unique_ptr<Graph> read_binary(Context& context, const MappedFile& file,
                                   const std::string& file_name) {
  return Reader(context, file, file_name).read();
}

void write_binary(const Graph& graph, const std::function<void(std::string_view)>& sink) {
  Writer(graph, sink).write();
}

}  // namespace gcomp::formats
