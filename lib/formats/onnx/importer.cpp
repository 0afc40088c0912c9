#include "onnx/importer.h"

#include <algorithm>
#include <utility>

#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::formats::onnx {
namespace {

constexpr int64_t kOldestOpset = 7;
constexpr int64_t kNewestOpset = 25;
constexpr size_t kMaxErrors = 200;  // beyond these a list helps nobody

// Functions that call functions could make a small file a huge graph.
constexpr size_t kCallBytes = 1 << 20;
constexpr size_t kCallBytesPerByte = 64;

// The node's name, or its operator and index: unique within its graph.
std::string place_of(const NodeProto& node, size_t index) {
  if (!node.name.empty()) return std::string(node.name);
  return std::string(node.op_type) + "_#" + std::to_string(index);
}

std::string first_output(const NodeProto& node) {
  for (std::string_view name : node.outputs) {
    if (!name.empty()) return " (output '" + std::string(name) + "')";
  }
  return "";
}

bool is_word(std::string_view list, std::string_view word) {
  for (size_t at = list.find(word); at != list.npos; at = list.find(word, at + 1)) {
    const bool begins = at == 0 || list[at - 1] == ' ';
    const bool ends = at + word.size() == list.size() || list[at + word.size()] == ' ';
    if (begins && ends && !word.empty()) return true;
  }
  return false;
}

bool is_graph(const AttributeProto& a) { return !a.g.empty(); }

std::string function_key(std::string_view domain, std::string_view name,
                         std::string_view overload) {
  return std::string(domain) + '\n' + std::string(name) + '\n' + std::string(overload);
}

}  // namespace

std::string symbol_text(std::string_view name) {
  std::string text;
  for (char c : name.substr(0, 64)) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool digit = c >= '0' && c <= '9';
    text += letter || digit ? c : '_';
  }
  if (text.find_first_not_of('_') == text.npos) return "";
  return text[0] >= '0' && text[0] <= '9' ? "d" + text : text;
}

// A function of the model, which its calls inline.
struct Importer::Function {
  Bytes message;
  FunctionProto proto;
};

// One call being inlined: what its nodes see of the node that calls.
struct Importer::Call {
  const Function* function;
  int64_t opset;
  std::string prefix;                      // of its nodes' places
  std::vector<AttributeProto> attributes;  // of the calling node, and defaults
  std::shared_ptr<const Call> outer;       // the call that this one is part of
};

// One graph being imported.
struct Importer::Frame {
  std::shared_ptr<Body> body;
  std::unordered_map<std::string_view, ValueId> names;  // invalid: not made, because of an error
  std::vector<Bytes> nodes;
  size_t next = 0;
  std::vector<std::string_view> outputs;
  std::unordered_set<std::string_view> absent;  // inputs of a function that its call leaves out
  std::shared_ptr<const Call> call;             // null outside functions
  std::shared_ptr<NodeImport> owner;  // the node this is a nested graph of; null: the model's graph
  std::function<void(const Values&)> done;
};

Importer::Importer(Context& context, TensorSource source, const OnnxOptions& options,
                   Diagnostics& diagnostics)
    : context_(context),
      source_(std::move(source)),
      options_(options),
      diagnostics_(diagnostics),
      errors_left_(kMaxErrors) {}

Importer::~Importer() = default;

void Importer::report(Diagnostic d) {
  if (errors_left_ == 0) return;
  if (--errors_left_ == 0) d = {"and more errors", "", ""};
  diagnostics_.error(std::move(d));
}

void Importer::report(const UserError& error) {
  for (const Diagnostic& d : error.diagnostics()) report(d);
}

int64_t Importer::choose_opset(const Opsets& opsets, const std::string& place) {
  int64_t opset = 0;
  for (const auto& [domain, version] : opsets) {
    if (domain.empty() || domain == "ai.onnx") opset = version;
  }
  if (opset == 0) {
    graph_error(Code::kOpset, "the model does not say which version of the ONNX operators it uses",
                place, "export it again, or add an opset_import for the default domain");
  }
  if (opset < kOldestOpset) {
    graph_error(Code::kOpset,
                "opset " + std::to_string(opset) + " is older than " +
                    std::to_string(kOldestOpset) + ", the oldest supported",
                place, "convert the model with onnx.version_converter");
  }
  if (opset > kNewestOpset) {
    graph_error(Code::kOpset,
                "opset " + std::to_string(opset) + " is newer than " +
                    std::to_string(kNewestOpset) + ", the newest supported",
                place, "export the model for an older opset");
  }
  return opset;
}

// ---- Functions ----

void Importer::declare_functions(const ModelProto& model) {
  for (Bytes message : model.functions) {
    FunctionProto proto = read_function(message);
    std::string key = function_key(proto.domain, proto.name, proto.overload);
    const std::string name(proto.name);
    if (!functions_.emplace(std::move(key), Function{message, std::move(proto)}).second) {
      report({"a function of this name is defined twice", name, "names must be unique",
              Code::kFunction});
    }
  }
  call_budget_ = kCallBytes + kCallBytesPerByte * model.graph.size();
}

const Importer::Function* Importer::find_function(const NodeProto& node) const {
  if (functions_.empty()) return nullptr;
  const auto found = functions_.find(function_key(node.domain, node.op_type, node.overload));
  return found == functions_.end() ? nullptr : &found->second;
}

// Attributes that refer to those of the call get their values; false after an error.
bool Importer::resolve_attributes(const Frame& frame, NodeProto* node, const std::string& place) {
  bool good = true;
  std::erase_if(node->attributes, [&](AttributeProto& a) {
    if (a.reference.empty()) return false;
    const AttributeProto* given = nullptr;
    if (frame.call) {
      for (const AttributeProto& c : frame.call->attributes) {
        if (c.name == a.reference) given = &c;
      }
    } else {
      report({"attribute '" + std::string(a.name) + "' refers to one of a function, outside any",
              place, "", Code::kFunction});
      good = false;
    }
    if (given == nullptr) return true;  // has the value that it has when absent
    if (is_graph(*given)) {
      report({"a graph handed to a function is not supported", place, "inline the function",
              Code::kUnsupported});
      good = false;
    }
    const std::string_view name = a.name;
    a = *given;
    a.name = name;
    return false;
  });
  return good;
}

// Begins a frame in the caller's own body; `current_` is the calling node.
void Importer::enter_function(Frame& caller, const Function& function, const std::string& place) {
  const NodeProto& node = current_->proto();
  const FunctionProto& proto = function.proto;
  const std::string name(proto.name);
  for (const Call* c = caller.call.get(); c != nullptr; c = c->outer.get()) {
    if (c->function == &function)
      graph_error(Code::kFunction, "function " + name + " calls itself", place);
  }
  if (function.message.size() > call_budget_) {
    graph_error(Code::kTooLarge, "functions call one another too often", place,
                "the inlined graph would be huge");
  }
  call_budget_ -= function.message.size();
  if (node.inputs.size() > proto.inputs.size() || node.outputs.size() > proto.outputs.size()) {
    graph_error(Code::kFunction, "function " + name + " has fewer inputs or outputs than the call",
                place);
  }
  auto call = std::make_shared<Call>();
  call->function = &function;
  call->opset = choose_opset(proto.opsets, "function " + name);
  call->prefix = place + "/";
  call->attributes = node.attributes;
  for (Bytes b : proto.default_attributes) {
    AttributeProto a = read_attribute(b);
    if (node.find(a.name) == nullptr) call->attributes.push_back(std::move(a));
  }
  call->outer = caller.call;
  auto frame = std::make_unique<Frame>();
  frame->body = caller.body;
  frame->call = std::move(call);
  frame->nodes = proto.nodes;
  frame->outputs = proto.outputs;
  for (size_t i = 0; i < proto.inputs.size(); ++i) {
    const bool given = i < node.inputs.size() && !node.inputs[i].empty();
    if (!given) frame->absent.insert(proto.inputs[i]);
    if (given) frame->names.emplace(proto.inputs[i], current_->inputs()[i]);
  }
  frame->owner = current_;
  frame->done = [owner = current_](const Values& outputs) {
    for (size_t i = 0; i < owner->num_outputs(); ++i) owner->out(i, outputs[i]);
    owner->importer().finish(*owner);
  };
  entered_ = true;
  frames_.push_back(std::move(frame));
}

// ---- The first walk: unsupported operators, and what nested graphs take from outside ----

struct Importer::Scan {
  Bytes key;
  std::string prefix;  // of places
  bool decoded = false;
  std::vector<Bytes> nodes;
  std::vector<std::string_view> outputs;
  size_t next = 0;
  bool nested_done = false;                    // the nested graphs of node `next` have been scanned
  std::unordered_set<std::string_view> known;  // defined here, or already free
  FreeNames free;

  void use(std::string_view name) {
    if (!name.empty() && known.insert(name).second) free.push_back(name);
  }
  void begin(const Function& function) {
    decoded = true;
    key = function.message;
    prefix = "function " + std::string(function.proto.name) + ": ";
    known.insert(function.proto.inputs.begin(), function.proto.inputs.end());
    outputs = function.proto.outputs;
    nodes = function.proto.nodes;
  }
  void decode() {
    decoded = true;
    GraphProto graph = read_graph(key);
    for (const ValueInfo& i : graph.inputs) known.insert(i.name);
    for (Bytes t : graph.initializers) known.insert(read_tensor(t).name);
    for (const ValueInfo& o : graph.outputs) outputs.push_back(o.name);
    nodes = std::move(graph.nodes);
  }
};

// The function that the node calls, if it is one.
const Importer::Function* Importer::check_node(const NodeProto& node, const std::string& place) {
  if (const Function* function = find_function(node)) return function;
  std::string hint;
  std::string op = std::string(node.op_type);
  if (!node.domain.empty()) {
    op = std::string(node.domain) + "." + op;
    hint = "only operators of the default ONNX domain and the model's functions are supported";
  } else if (find_op(node.op_type) != nullptr) {
    return nullptr;
  } else if (const std::string near = nearest_op(node.op_type); !near.empty()) {
    hint = "did you mean " + near + "?";
  } else {
    hint = "rewrite the model without it, or cut the graph before it";
  }
  report(
      {"operator " + op + " is not supported" + first_output(node), place, hint, Code::kUnknownOp});
  return nullptr;
}

void Importer::scan(const ModelProto& model) {
  std::vector<Scan> stack(1);
  stack.back().key = model.graph;
  std::unordered_set<const Function*> called;
  std::vector<const Function*> pending;
  while (!stack.empty() || !pending.empty()) {
    if (stack.empty()) {
      stack.emplace_back().begin(*pending.back());
      pending.pop_back();
    }
    if (!stack.back().decoded) stack.back().decode();
    Scan& top = stack.back();
    if (top.next == top.nodes.size()) {
      for (std::string_view name : top.outputs) top.use(name);
      free_names_.emplace(top.key.data(), std::move(top.free));
      stack.pop_back();
      continue;
    }
    const NodeProto node = read_node(top.nodes[top.next]);
    if (!top.nested_done) {
      for (std::string_view name : node.inputs) top.use(name);
      const Function* f = check_node(node, top.prefix + place_of(node, top.next));
      if (f != nullptr && called.insert(f).second) pending.push_back(f);
      top.nested_done = true;
      std::vector<Scan> nested;
      for (const AttributeProto& a : node.attributes) {
        if (!is_graph(a)) continue;
        nested.emplace_back();
        nested.back().key = a.g;
        nested.back().prefix = top.prefix;
      }
      for (Scan& s : nested) stack.push_back(std::move(s));
      continue;  // `top` may have moved
    }
    for (const AttributeProto& a : node.attributes) {
      if (!is_graph(a)) continue;
      for (std::string_view name : free_names_.at(a.g.data())) top.use(name);
    }
    for (std::string_view name : node.outputs) top.known.insert(name);
    ++top.next;
    top.nested_done = false;
  }
}

void Importer::count_again(Bytes graph) {
  if (graph.size() > again_budget_) {
    graph_error(Code::kTooLarge,
                "loops within loops change the extents of what they carry too often", "",
                "pad the carried tensors to a fixed extent");
  }
  again_budget_ -= graph.size();
}

const FreeNames& Importer::free_names(Bytes graph) const { return free_names_.at(graph.data()); }

// ---- Inputs and weights ----

DimId Importer::input_dim(const ValueInfo& info, size_t axis) {
  DimTable& dims = context_.dims;
  const DimProto& d = info.dims[axis];
  if (d.value && *d.value >= 0) return dims.constant(*d.value);
  std::string symbol = symbol_text(d.param);
  // "-1" and the like say nothing: every such extent is its own.
  const bool named = !symbol.empty() && d.param[0] != '-' && d.param[0] != '?';
  if (!named) {
    symbol = symbol_text(info.name) + "_d" + std::to_string(axis);
    if (symbol[0] == '_') symbol = "x" + symbol;
  }
  dims_seen_.insert(symbol);
  if (const auto given = options_.dims.find(symbol); given != options_.dims.end()) {
    return dims.constant(given->second);
  }
  return dims.symbol(symbol);
}

std::optional<Type> Importer::input_type(const ValueInfo& info) {
  const std::string place = std::string(info.name);
  const auto dtype = info.is_tensor ? dtype_of(info.elem_type) : std::nullopt;
  if (!dtype) {
    report({info.is_tensor
                ? "input of element type " + type_name(info.elem_type) + " is not supported"
                : "an input that is not a tensor is not supported",
            place, ""});
    return std::nullopt;
  }
  if (!info.has_shape) {
    report({"the input's rank is not known", place, "give the input a shape in the model",
            Code::kUnsupported});
    return std::nullopt;
  }
  Type type{*dtype, {}};
  for (size_t axis = 0; axis < info.dims.size(); ++axis) type.dims.push_back(input_dim(info, axis));
  return type;
}

void Importer::declare_initializers(Frame& frame, const GraphProto& graph) {
  if (graph.has_sparse_initializers) {
    report({"sparse weights are not supported", "sparse_initializer", "store them dense",
            Code::kUnsupported});
  }
  for (Bytes bytes : graph.initializers) {
    const TensorProto tensor = read_tensor(bytes);
    ValueId value;
    frame.body->builder.set_loc(tensor.name);
    try {
      value = frame.body->builder.constant(to_constant(tensor, source_));
    } catch (const UserError& error) {
      if (error.code() != ExitCode::kGraph) throw;
      report(error);
    }
    bind(frame, tensor.name, value);
  }
}

void Importer::declare_inputs(Frame& frame, const GraphProto& graph) {
  GraphBuilder& b = frame.body->builder;
  for (const ValueInfo& info : graph.inputs) {
    if (frame.names.contains(info.name)) continue;  // a weight that is also listed as input
    b.set_loc(info.name);
    const auto type = input_type(info);
    const auto given = options_.constants.find(std::string(info.name));
    ValueId value;
    if (given != options_.constants.end()) {
      value = b.constant(given->second);
    } else if (type) {
      value = b.input(std::string(info.name), *type);
    }
    bind(frame, info.name, value);
  }
}

void Importer::check_options() {
  const std::vector<std::string> names(dims_seen_.begin(), dims_seen_.end());
  for (const auto& [name, extent] : options_.dims) {
    if (dims_seen_.contains(name)) continue;
    const std::string near = suggest(name, names);
    std::string hint = "did you mean '" + near + "'?";
    if (near.empty()) {
      std::vector<std::string> sorted = names;
      std::sort(sorted.begin(), sorted.end());
      hint = "the model's symbolic dims are:";
      for (const std::string& s : sorted) hint += " " + s;
      if (sorted.empty()) hint = "the model has no symbolic dims";
    }
    report({"no input has a dim '" + name + "'", "", hint, Code::kExtents});
  }
  for (const auto& [name, constant] : options_.constants) {
    if (!frames_.back()->names.contains(name)) report({"no input '" + name + "'", "", ""});
  }
}

// ---- The second walk ----

void Importer::bind(Frame& frame, std::string_view name, ValueId v) {
  if (name.empty()) return;
  if (!frame.names.emplace(name, v).second) {
    report({"a value of this name is defined twice", std::string(name), "names must be unique"});
  }
}

ValueId Importer::lookup(std::string_view name) const {
  const auto& names = frames_.back()->names;
  const auto found = names.find(name);
  return found == names.end() ? ValueId() : found->second;
}

std::shared_ptr<Body> Importer::current_body() const { return frames_.back()->body; }

void Importer::poison_outputs(Frame& frame, const NodeProto& node) {
  for (std::string_view name : node.outputs) bind(frame, name, ValueId());
}

void Importer::bind_outputs(Frame& frame, const NodeImport& node) {
  const NodeProto& proto = node.proto();
  for (size_t i = 0; i < proto.outputs.size(); ++i) {
    if (proto.outputs[i].empty()) continue;
    if (!node.outputs()[i].valid()) {
      report({std::string(proto.op_type) + ": output " + std::to_string(i) + " ('" +
                  std::string(proto.outputs[i]) + "') is not supported",
              context_.locs[node.b.loc()], "remove the output from the node if nothing reads it"});
    }
    bind(frame, proto.outputs[i], node.outputs()[i]);
  }
}

void Importer::finish(NodeImport& node) { bind_outputs(*frames_.back(), node); }

void Importer::import_node(Frame& frame, NodeProto node, size_t index) {
  const Function* function = find_function(node);
  const OpRow* row = node.domain.empty() && !function ? find_op(node.op_type) : nullptr;
  const std::string place = (frame.call ? frame.call->prefix : "") + place_of(node, index);
  frame.body->builder.set_loc(place);
  bool usable = resolve_attributes(frame, &node, place) && (row != nullptr || function != nullptr);
  Values inputs;
  for (std::string_view name : node.inputs) {
    inputs.emplace_back();
    if (name.empty() || frame.absent.contains(name)) continue;
    const auto found = frame.names.find(name);
    if (found == frame.names.end()) {
      report({"value '" + std::string(name) + "' is used but not defined before", place,
              "nodes must come after those whose results they use"});
      usable = false;
    } else {
      inputs.back() = found->second;
      usable = usable && found->second.valid();
    }
  }
  for (const AttributeProto& a : node.attributes) {
    if (row == nullptr || is_word(row->attributes, a.name)) continue;
    report({std::string(node.op_type) + ": attribute '" + std::string(a.name) +
                "' is not supported" + first_output(node),
            place, "the operator has these: " + std::string(row->attributes)});
    usable = false;
  }
  if (!usable) return poison_outputs(frame, node);
  current_ = std::make_shared<NodeImport>(*this, *frame.body, node, std::move(inputs),
                                          frame.call ? frame.call->opset : opset_);
  entered_ = false;
  try {
    if (function != nullptr) return enter_function(frame, *function, place);
    row->import(*current_);
  } catch (const UserError& error) {
    report(error);
    return poison_outputs(frame, node);
  }
  if (!entered_) bind_outputs(frame, *current_);
}

void Importer::enter(std::shared_ptr<NodeImport> node, NestedGraph nested) {
  entered_ = true;
  const GraphProto graph = read_graph(nested.bytes);
  auto frame = std::make_unique<Frame>();
  frame->body = std::move(nested.body);
  frame->owner = std::move(node);
  frame->done = std::move(nested.done);
  frame->call = frames_.back()->call;
  for (const auto& [name, v] : nested.captures) frame->names.insert_or_assign(name, v);
  for (size_t i = 0; i < graph.inputs.size() && i < nested.inputs.size(); ++i) {
    frame->names.insert_or_assign(graph.inputs[i].name, nested.inputs[i]);
  }
  declare_initializers(*frame, graph);
  frame->nodes = graph.nodes;
  for (const ValueInfo& o : graph.outputs) frame->outputs.push_back(o.name);
  frames_.push_back(std::move(frame));
}

void Importer::leave() {
  const std::unique_ptr<Frame> frame = std::move(frames_.back());
  Values outputs;
  bool whole = true;
  for (std::string_view name : frame->outputs) {
    const auto found = frame->names.find(name);
    if (found == frame->names.end()) {
      report({"the graph's output is not defined", std::string(name), ""});
    }
    outputs.push_back(found == frame->names.end() ? ValueId() : found->second);
    whole = whole && outputs.back().valid();
  }
  if (!frame->owner) {
    frames_.pop_back();
    for (size_t i = 0; whole && i < outputs.size(); ++i) {
      frame->body->builder.output(std::string(frame->outputs[i]), outputs[i]);
    }
    return;
  }
  frames_.pop_back();
  Frame& parent = *frames_.back();
  if (!whole) return poison_outputs(parent, frame->owner->proto());
  try {
    frame->done(outputs);
  } catch (const UserError& error) {
    report(error);
    poison_outputs(parent, frame->owner->proto());
  }
}

std::unique_ptr<Graph> Importer::import_model(const ModelProto& model) {
  if (!model.has_graph) {
    graph_error(Code::kNoGraph, "not an ONNX model: it has no graph", "", "give an .onnx file");
  }
  opset_ = choose_opset(model.opsets, "opset_import");
  declare_functions(model);
  scan(model);
  again_budget_ = 8 * model.graph.size();
  const GraphProto graph = read_graph(model.graph);
  auto top = std::make_unique<Frame>();
  top->body = std::make_shared<Body>(context_);
  const std::shared_ptr<Body> body = top->body;
  frames_.push_back(std::move(top));
  Frame& frame = *frames_.back();
  declare_initializers(frame, graph);
  declare_inputs(frame, graph);
  check_options();
  frame.nodes = graph.nodes;
  for (const ValueInfo& o : graph.outputs) frame.outputs.push_back(o.name);
  while (!frames_.empty()) {
    Frame& now = *frames_.back();
    if (now.next == now.nodes.size()) {
      leave();
      continue;
    }
    const size_t index = now.next++;
    import_node(now, read_node(now.nodes[index]), index);
  }
  return diagnostics_.any() ? nullptr : body->builder.finish();
}

}  // namespace gcomp::formats::onnx

namespace gcomp::formats {

std::unique_ptr<Graph> read_onnx(Context& context, std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, const OnnxOptions& options,
                                 Diagnostics& diagnostics) {
  try {
    auto files = std::make_shared<std::map<std::string, MappedFile>>();
    onnx::Importer importer(context,
                            {std::move(owner), options.weights_folder, files, &context.weights},
                            options, diagnostics);
    auto graph = importer.import_model(onnx::read_model(bytes));
    for (const auto& [path, file] : *files) context.files.push_back(path);
    return graph;
  } catch (const UserError& error) {
    if (error.code() != ExitCode::kGraph) throw;
    for (const Diagnostic& d : error.diagnostics()) diagnostics.error(d);
    return nullptr;
  }
}

std::unique_ptr<Graph> read_onnx(Context& context, const std::filesystem::path& path,
                                 const OnnxOptions& options, Diagnostics& diagnostics) {
  MappedFile file = map_file(path);
  OnnxOptions own = options;
  if (own.weights_folder.empty()) own.weights_folder = path.parent_path();
  return read_onnx(context, file.bytes, file.owner, own, diagnostics);
}

Constant read_onnx_tensor(std::span<const std::byte> bytes) {
  return onnx::to_constant(onnx::read_tensor(bytes), {});
}

}  // namespace gcomp::formats
