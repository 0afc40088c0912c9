#include "graph_reader.h"

#include <algorithm>

#include "gcomp/ir/element_text.h"
#include "gcomp/ir/states.h"
#include "gcomp/ir/symbols.h"
#include "gcomp/support/base64.h"

namespace gcomp::formats {
namespace {

using nlohmann::json;

std::string kind_of(const json& j) {
  return j.is_object() ? "an object" : j.is_array() ? "a list" : std::string("a ") + j.type_name();
}

std::string at(const char* list, size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

// Small integers only: what fits int64.
bool is_integer(const json& j) {
  return j.is_number_integer() &&
         !(j.is_number_unsigned() && j.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
}

std::vector<std::string> all_op_names() {
  std::vector<std::string> names;
  for (const OpInfo& row : all_ops()) names.emplace_back(row.name);
  return names;
}

const json* bodies_of(const json& node) {
  if (!node.is_object() || !node.contains("attrs") || !node["attrs"].is_object()) return nullptr;
  const auto found = node["attrs"].find("bodies");
  return found != node["attrs"].end() && found->is_array() ? &*found : nullptr;
}

}  // namespace

std::string JsonPlace::text() const {
  return owner + part + (index < 0 ? "" : "[" + std::to_string(index) + "]");
}

GraphReader::GraphReader(JsonSource& source)
    : source_(source), builder_(source.context, GraphBuilder::Mode::kRaw) {}

GraphReader::GraphReader(const GraphReader& parent, size_t node, size_t body)
    : source_(parent.source_),
      parent_(&parent),
      node_in_parent_(node),
      body_in_node_(body),
      builder_(parent.source_.context, GraphBuilder::Mode::kRaw) {}

std::string GraphReader::path() const {
  std::vector<const GraphReader*> outer;
  for (const GraphReader* r = this; r->parent_ != nullptr; r = r->parent_) outer.push_back(r);
  std::string text;
  for (size_t i = outer.size(); i-- > 0;) {
    text += at("nodes", outer[i]->node_in_parent_) + ".attrs." +
            at("bodies", outer[i]->body_in_node_) + ".";
  }
  return text;
}

void GraphReader::fail(const std::string& message, const std::string& place,
                       std::string hint) const {
  graph_error({message, path() + place, std::move(hint), Code::kField, source_.file_name});
}

const json& GraphReader::field(const json& j, const char* key, const std::string& place) const {
  if (!j.is_object()) fail("expected an object, found " + kind_of(j), place);
  const auto found = j.find(key);
  if (found == j.end()) fail("lacks \"" + std::string(key) + "\"", place);
  return *found;
}

ValueId GraphReader::lookup(const json& j, const JsonPlace& place) const {
  if (!j.is_number_unsigned()) fail("expected a value id, found " + kind_of(j), place.text());
  const ValueId* found = find_value(j.get<uint64_t>());
  if (found == nullptr) {
    fail("value " + j.dump() + " is not defined before its use", place.text(),
         "nodes must be in topological order");
  }
  return *found;
}

const ValueId* GraphReader::find_value(uint64_t id) const {
  if (id < values_.size()) return &values_[id];
  const auto found = more_values_.find(id);
  return found == more_values_.end() ? nullptr : &found->second;
}

void GraphReader::define(const json& j, ValueId v, const JsonPlace& place) {
  if (!j.is_number_unsigned()) fail("expected a value id, found " + kind_of(j), place.text());
  const auto id = j.get<uint64_t>();
  if (find_value(id) != nullptr) fail("value id " + j.dump() + " is defined twice", place.text());
  if (id == values_.size()) {
    values_.push_back(v);
  } else {
    more_values_.emplace(id, v);
  }
}

DType GraphReader::dtype(const json& j, const JsonPlace& place) const {
  if (j.is_string()) {
    if (const auto t = parse_dtype(j.get_ref<const std::string&>())) return *t;
  }
  fail("no such dtype: " + j.dump(), place.text(),
       "dtypes are bool, int8 to int64, uint8 to uint64, "
       "float16, bfloat16, float32, float64");
}

DimId GraphReader::dim(const json& j, const std::string& place, std::vector<ValueId>* carriers) {
  if (is_integer(j)) return builder_.dims().constant(j.get<int64_t>());
  if (j.is_string()) {
    try {
      return builder_.dims().parse(j.get_ref<const std::string&>());
    } catch (const UserError& error) {  // it knows the text, not the place
      fail(error.diagnostics()[0].message, place, error.diagnostics()[0].hint);
    }
  }
  if (carriers != nullptr && j.is_object()) {  // an element of an integer value
    const ValueId v = lookup(field(j, "value", place), {place, ".value"});
    const json& index = field(j, "index", place);
    const auto all = builder_.extents_from(v, "d", carriers);
    if (!index.is_number_unsigned() || index.get<uint64_t>() >= all.size()) {
      fail("index outside the value", place + ".index");
    }
    return all[index.get<uint64_t>()];
  }
  fail("expected an extent (integer or expression), found " + kind_of(j), place);
}

std::vector<DimId> GraphReader::dims(const json& j, const std::string& place,
                                     std::vector<ValueId>* carriers) {
  if (!j.is_array()) fail("expected a list of extents, found " + kind_of(j), place);
  std::vector<DimId> list;
  for (size_t i = 0; i < j.size(); ++i) {
    list.push_back(dim(j[i], place + "[" + std::to_string(i) + "]", carriers));
  }
  return list;
}

std::vector<int64_t> GraphReader::integers(const json& j, const JsonPlace& place) const {
  if (!j.is_array()) fail("expected a list of integers, found " + kind_of(j), place.text());
  std::vector<int64_t> list;
  for (const json& element : j) {
    if (!is_integer(element)) fail("expected an integer, found " + kind_of(element), place.text());
    list.push_back(element.get<int64_t>());
  }
  return list;
}

void GraphReader::symbol(const json& j) {
  if (!j.is_string()) fail("expected a name, found " + kind_of(j), "symbols");
  builder_.dims().symbol(j.get_ref<const std::string&>());
}

void GraphReader::input(const json& j, size_t index) {
  const std::string place = at("inputs", index);
  Type t;
  t.dtype = dtype(field(j, "dtype", place), {place, ".dtype"});
  t.dims = dims(field(j, "shape", place), place + ".shape", nullptr);
  const json& name = field(j, "name", place);
  if (!name.is_string()) fail("expected a name, found " + kind_of(name), place + ".name");
  for (DimId d : t.dims) {
    if (builder_.dims().upper_bound(d).value_or(0) < 0) fail("negative extent", place + ".shape");
  }
  const auto donate = j.find("donate");
  if (donate != j.end() && !donate->is_boolean()) fail("expected true or false", place + ".donate");
  const bool donated = donate != j.end() && donate->get<bool>();
  if (donated && parent_ != nullptr) {
    fail("a nested graph has no donated inputs", place, "remove \"donate\"");
  }
  builder_.set_loc(name.get_ref<const std::string&>());
  const ValueId v = builder_.input(name.get<std::string>(), t, donated);
  define(field(j, "id", place), v, {place, ".id"});
}

std::vector<std::byte> GraphReader::numbers(const json& j, DType t, size_t count,
                                            const JsonPlace& place) const {
  if (!j.is_array() || j.size() != count) {
    fail("expected a list of " + std::to_string(count) + " numbers", place.text());
  }
  std::vector<std::byte> bytes;
  bytes.reserve(count * byte_size(t));
  for (size_t i = 0; i < count; ++i) {
    const json& e = j[i];
    const std::string text = e.is_string()    ? e.get<std::string>()
                             : e.is_boolean() ? (e.get<bool>() ? "1" : "0")
                                              : e.dump();
    if (!append_element(t, text, &bytes)) {
      fail("'" + text + "' is not a value of " + std::string(name(t)),
           place.text() + "[" + std::to_string(i) + "]");
    }
  }
  return bytes;
}

Constant GraphReader::tensor(const json& j, const std::string& place) {
  const DType t = dtype(field(j, "dtype", place), {place, ".dtype"});
  const std::vector<int64_t> shape = integers(field(j, "shape", place), {place, ".shape"});
  int64_t bytes_wanted = static_cast<int64_t>(byte_size(t));
  for (int64_t d : shape) {
    if (d < 0 || __builtin_mul_overflow(bytes_wanted, d, &bytes_wanted)) {
      fail("impossible shape", place + ".shape");
    }
  }
  const auto count = static_cast<size_t>(bytes_wanted) / byte_size(t);
  if (j.contains("data")) {
    return make_constant(t, shape, numbers(j["data"], t, count, {place, ".data"}));
  }
  if (j.contains("base64")) {
    if (!j["base64"].is_string()) fail("expected text", place + ".base64");
    auto bytes = base64_decode(j["base64"].get_ref<const std::string&>());
    if (!bytes) fail("not base64", place + ".base64");
    if (bytes->size() != static_cast<size_t>(bytes_wanted)) {
      fail(std::to_string(bytes->size()) + " bytes, but dtype and shape say " +
               std::to_string(bytes_wanted),
           place + ".base64");
    }
    if (t == DType::kBool) {
      for (std::byte b : *bytes) {
        if (std::to_integer<int>(b) > 1) fail("bool elements must be 0 or 1", place + ".base64");
      }
    }
    return make_constant(t, shape, std::move(*bytes));
  }
  if (j.contains("file")) {
    const json& path = field(j["file"], "path", place + ".file");
    const json& name = field(j["file"], "tensor", place + ".file");
    if (!path.is_string() || !name.is_string()) fail("expected names", place + ".file");
    const auto full =
        resolve_inside(source_.folder, path.get<std::string>(), source_.file_name + ": " + place);
    auto found = source_.weights.find(full.string());
    if (found == source_.weights.end()) {
      found = source_.weights.emplace(full.string(), SafetensorsFile(full)).first;
      source_.context.files.push_back(full.string());
    }
    source_.context.weights.emplace(path.get<std::string>(), found->second.stamp());
    Constant c = found->second.tensor(name.get<std::string>());
    if (c.dtype != t || c.shape != shape) {
      fail("dtype or shape differs from tensor '" + name.get<std::string>() + "' in the file",
           place + ".file");
    }
    return c;
  }
  fail("lacks \"data\", \"base64\" or \"file\"", place);
}

void GraphReader::constant(const json& j, size_t index) {
  const std::string place = at("constants", index);
  if (!j.is_object()) fail("expected an object, found " + kind_of(j), place);
  const auto loc = j.find("loc");
  builder_.set_loc(loc != j.end() && loc->is_string() ? loc->get<std::string>() : "");
  define(field(j, "id", place), builder_.constant(tensor(j, place)), {place, ".id"});
}

AttrValue GraphReader::attribute(const AttrSpec& spec, const json& j, const std::string& place,
                                 std::vector<ValueId>* carriers) {
  switch (spec.kind) {
    case AttrKind::kInt:
      if (j.is_boolean()) return int64_t{j.get<bool>()};
      if (is_integer(j)) return j.get<int64_t>();
      break;
    case AttrKind::kFloat: {
      std::vector<std::byte> bytes;
      const std::string text = j.is_string() ? j.get<std::string>() : j.dump();
      if (append_element(DType::kFloat64, text, &bytes)) {
        double value;
        std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(&value));
        return value;
      }
      break;
    }
    case AttrKind::kString:
      if (j.is_string()) return j.get<std::string>();
      break;
    case AttrKind::kDType: return dtype(j, {place});
    case AttrKind::kInts: return integers(j, {place});
    case AttrKind::kDims: return dims(j, place, carriers);
    case AttrKind::kGraphs:
    case AttrKind::kConstant: break;
  }
  fail("expected a value of kind " + std::string(name(spec.kind)) + ", found " + kind_of(j), place);
}

std::vector<Attr> GraphReader::attributes(const OpInfo& row, const json& j,
                                          const std::string& place,
                                          std::vector<ValueId>* carriers) {
  std::vector<Attr> attrs;
  const auto found = j.find("attrs");
  if (found == j.end()) return attrs;
  if (!found->is_object()) fail("expected an object, found " + kind_of(*found), place + ".attrs");
  for (const auto& [key, value] : found->items()) {
    const auto spec = std::find_if(row.attrs.begin(), row.attrs.end(),
                                   [&](const AttrSpec& s) { return name(s.key) == key; });
    if (spec == row.attrs.end()) {
      std::vector<std::string> known;
      for (const AttrSpec& s : row.attrs) known.emplace_back(name(s.key));
      const std::string near = suggest(key, known);
      fail("op " + std::string(row.name) + " has no attribute '" + key + "'", place + ".attrs",
           near.empty() ? "" : "did you mean '" + near + "'?");
    }
    if (spec->kind == AttrKind::kGraphs) continue;  // read before, by node_tree
    attrs.push_back({spec->key, attribute(*spec, value, place + ".attrs." + key, carriers)});
  }
  return attrs;
}

// Ops of the file that the graph does not have: they need types, which only the reader knows.
bool GraphReader::pseudo_node(const json& j, const std::string& op_name,
                              std::span<const ValueId> operands, const std::string& place) {
  const bool like = op_name == "broadcast_like" || op_name == "specify_like";
  if (!like && op_name != "shape_of") return false;
  const json& out = field(j, "out", place);
  if (operands.size() != (like ? 2u : 1u) || !out.is_array() || out.size() != 1) {
    fail(op_name + " takes " + (like ? "two operands" : "one operand") + " and gives one result",
         place);
  }
  ValueId v;
  if (op_name == "shape_of") {
    v = builder_.shape_of(operands[0]);
  } else {
    const std::vector<DimId> shape = builder_.type(operands[1]).dims;
    const std::vector<ValueId> carriers =
        builder_.needs_carrier(shape) ? std::vector<ValueId>{operands[1]} : std::vector<ValueId>{};
    if (op_name == "broadcast_like") {
      const json& attrs = field(j, "attrs", place);
      v = builder_.broadcast(operands[0], shape,
                             integers(field(attrs, "axes", place), {place, ".attrs.axes"}),
                             carriers);
    } else if (builder_.type(operands[0]).dims == shape) {
      v = operands[0];
    } else {
      std::vector<ValueId> all{operands[0]};
      all.insert(all.end(), carriers.begin(), carriers.end());
      v = builder_.value(Op::specify_shape, all, {{AttrKey::shape, shape}});
    }
  }
  define(out[0], v, {place, ".out", 0});
  return true;
}

void GraphReader::known_node(const json& j, const std::string& op_name, const std::string& place,
                             std::vector<GraphId> bodies) {
  const json& in = field(j, "in", place);
  const json& out = field(j, "out", place);
  if (!in.is_array()) fail("expected a list of value ids", place + ".in");
  if (!out.is_array()) fail("expected a list of value ids", place + ".out");
  std::vector<ValueId> operands;
  for (size_t i = 0; i < in.size(); ++i) {
    operands.push_back(lookup(in[i], {place, ".in", static_cast<int64_t>(i)}));
  }
  if (pseudo_node(j, op_name, operands, place)) return;
  Op op;
  parse_op(op_name, &op);
  std::vector<Attr> attrs = attributes(info(op), j, place, &operands);
  if (!bodies.empty()) attrs.push_back({AttrKey::bodies, std::move(bodies)});
  const NodeId n = builder_.node(op, operands, std::move(attrs));
  const Node& made = builder_.graph().node(n);
  if (out.size() != made.num_results) {
    fail("op " + op_name + " gives " + std::to_string(made.num_results) + " results, \"out\" has " +
             std::to_string(out.size()),
         place + ".out");
  }
  for (size_t i = 0; i < out.size(); ++i) {
    define(out[i], builder_.result(n, static_cast<int>(i)),
           {place, ".out", static_cast<int64_t>(i)});
  }
}

void GraphReader::node(const json& j, size_t index, std::vector<GraphId> bodies) {
  const std::string place = at("nodes", index);
  const json& op = field(j, "op", place);
  if (!op.is_string()) fail("expected a name, found " + kind_of(op), place + ".op");
  const auto& op_name = op.get_ref<const std::string&>();
  const auto loc = j.find("loc");
  const bool named = loc != j.end() && loc->is_string();
  Op parsed;
  const bool pseudo =
      op_name == "shape_of" || op_name == "broadcast_like" || op_name == "specify_like";
  const bool made_elsewhere = op_name == "input" || op_name == "constant";
  if (!pseudo && (made_elsewhere || !parse_op(op_name, &parsed))) {
    const std::string near = suggest(op_name, all_op_names());
    source_.unknown_ops.error({made_elsewhere
                                   ? "op '" + op_name + "' belongs in the list \"" + op_name + "s\""
                                   : "no op '" + op_name + "'",
                               path() + place + (named ? " (" + loc->get<std::string>() + ")" : ""),
                               near.empty() || made_elsewhere ? "`gcomp list ops` shows all"
                                                              : "did you mean '" + near + "'?",
                               Code::kUnknownOp, source_.file_name});
  }
  // After an unknown op values are missing: go on only to find the other unknown ops.
  if (source_.unknown_ops.any()) return;
  builder_.set_loc(named ? loc->get<std::string>() : place);
  try {
    known_node(j, op_name, place, std::move(bodies));
  } catch (const UserError& e) {
    // Errors of the builder know the node's own name only: add where it is in the file.
    std::vector<Diagnostic> located = e.diagnostics();
    for (Diagnostic& d : located) {
      if (!d.file.empty()) continue;
      d.file = source_.file_name;
      d.place = path() + place + (named ? " (" + d.place + ")" : "");
    }
    throw UserError(e.code(), std::move(located));
  }
}

void GraphReader::begin_body(const json& j) {
  for (const char* key : {"inputs", "constants", "nodes", "outputs"}) {
    if (!field(j, key, "").is_array()) fail("expected a list", key);
  }
  for (size_t i = 0; i < j["inputs"].size(); ++i) input(j["inputs"][i], i);
  for (size_t i = 0; i < j["constants"].size(); ++i) constant(j["constants"][i], i);
}

GraphId GraphReader::finish_body(const json& j) {
  if (!source_.unknown_ops.any()) {
    for (size_t i = 0; i < j["outputs"].size(); ++i) output(j["outputs"][i], i);
  }
  require_symbols(builder_.graph(), source_.file_name, [this] { return path(); });
  return source_.context.add_graph(builder_.finish());
}

void GraphReader::node_tree(const json& root, size_t root_index) {
  // Nested graphs are read before the node that holds them. Depth of nesting is graph size, so the
  // work is on an explicit stack: an open node, the nested graph being read, its next node.
  struct Open {
    GraphReader* reader;
    const json* node;
    size_t index;
    std::vector<GraphId> bodies;
    std::unique_ptr<GraphReader> body;
    size_t next_node = 0;
  };
  std::vector<Open> stack;
  stack.push_back({this, &root, root_index, {}, nullptr});
  while (!stack.empty()) {
    Open& top = stack.back();
    const json* bodies = bodies_of(*top.node);
    const size_t which = top.bodies.size();
    if (top.body) {
      const json& graph = (*bodies)[which];
      if (top.next_node < graph["nodes"].size()) {
        const size_t index = top.next_node++;
        GraphReader* inner = top.body.get();
        stack.push_back({inner, &graph["nodes"][index], index, {}, nullptr});
      } else {
        top.bodies.push_back(top.body->finish_body(graph));
        top.body.reset();
      }
    } else if (bodies != nullptr && which < bodies->size()) {
      top.body = std::make_unique<GraphReader>(*top.reader, top.index, which);
      top.next_node = 0;
      top.body->begin_body((*bodies)[which]);
    } else {
      top.reader->node(*top.node, top.index, std::move(top.bodies));
      stack.pop_back();
    }
  }
}

void GraphReader::output(const json& j, size_t index) {
  if (source_.unknown_ops.any()) return;
  const std::string place = at("outputs", index);
  const json& id = field(j, "id", place);
  const auto name = j.find("name");
  const bool named = name != j.end() && name->is_string();
  builder_.output(named ? name->get<std::string>() : "output_" + std::to_string(index),
                  lookup(id, {place, ".id"}));
}

void GraphReader::update(const json& j, size_t index) {
  if (source_.unknown_ops.any()) return;
  const std::string place = at("updates", index);
  if (!j.is_array() || j.size() != 2) fail("expected [input index, output index]", place);
  builder_.state({.input = port(j[0], builder_.graph().inputs().size(), place),
                  .output = port(j[1], builder_.graph().outputs().size(), place)});
}

void GraphReader::state(const json& j, size_t index) {
  if (source_.unknown_ops.any()) return;
  const std::string place = at("states", index);
  State s{.input =
              port(field(j, "input", place), builder_.graph().inputs().size(), place + ".input")};
  if (const auto output = j.find("output"); output != j.end()) {
    s.output = port(*output, builder_.graph().outputs().size(), place + ".output");
  }
  if (const auto initial = j.find("initial"); initial != j.end()) {
    s.initial = source_.context.constants.intern(tensor(*initial, place + ".initial"));
  }
  builder_.state(s);
}

// The number of an input or output.
uint32_t GraphReader::port(const json& j, size_t end, const std::string& place) const {
  if (!j.is_number_unsigned()) fail("expected a number, found " + kind_of(j), place);
  if (j.get<uint64_t>() < end) return j.get<uint32_t>();
  fail("no such input or output: " + j.dump(), place,
       "inputs and outputs are counted from 0; there are " + std::to_string(end));
}

std::unique_ptr<Graph> GraphReader::finish() {
  source_.unknown_ops.checkpoint(ExitCode::kGraph);
  require_states(builder_.graph(), source_.file_name);
  require_symbols(builder_.graph(), source_.file_name);
  return builder_.finish();
}

}  // namespace gcomp::formats
