// If, Loop and Scan. Their graphs are imported on the importer's stack; what follows here happens
// before the first and in `done` of the last.

#include <algorithm>

#include "onnx/nested.h"

namespace gcomp::formats::onnx {
namespace {

using NodePtr = std::shared_ptr<NodeImport>;

Bytes graph_attribute(NodeImport& n, std::string_view name) {
  const AttributeProto* a = n.attribute(name);
  if (a == nullptr || a->g.empty()) n.fail("attribute '" + std::string(name) + "' is missing");
  return a->g;
}

std::optional<bool> known_truth(NodeImport& n, ValueId v) {
  if (const Constant* c = n.b.constant_of(v)) {
    if (c->num_elements() == 1) return c->as_int(0) != 0;
  }
  const auto& known = n.b.dim_values(v);
  if (!known || known->size() != 1) return std::nullopt;
  const auto value = n.dims().constant_value((*known)[0]);
  return value ? std::optional<bool>(*value != 0) : std::nullopt;
}

// A condition or trip count, which files write as a scalar or as one element.
ValueId as_scalar(NodeImport& n, ValueId v) { return n.rank(v) == 0 ? v : n.reshape(v, {}); }

GraphId add_body(NodeImport& n, Body& body, const Values& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    body.builder.output("out" + std::to_string(i), outputs[i]);
  }
  return n.importer().context().add_graph(body.builder.finish());
}

// ---- If ----

struct IfState {
  std::shared_ptr<Captures> captures;
  std::shared_ptr<InnerExtents> extents;
  std::shared_ptr<Body> bodies[2];
  Values outputs[2];
};

void finish_if(NodeImport& n, IfState& s) {
  const Values &then_out = s.outputs[0], &else_out = s.outputs[1];
  if (then_out.size() != n.num_outputs() || else_out.size() != n.num_outputs()) {
    n.fail("If: the branches do not give as many results as the node has outputs");
  }
  // An extent that is not the same expression of inputs on both sides gets a name.
  Dims symbols;
  bool named = false;
  for (size_t i = 0; i < then_out.size(); ++i) {
    const Type a = s.bodies[0]->builder.type(then_out[i]);
    const Type c = s.bodies[1]->builder.type(else_out[i]);
    if (a.rank() != c.rank() || a.dtype != c.dtype) {
      n.fail("If: result " + std::to_string(i) + " differs in type or rank between the branches");
    }
    for (size_t axis = 0; axis < a.dims.size(); ++axis) {
      const Dims extent = {a.dims[axis]};
      const bool same = a.dims[axis] == c.dims[axis] &&
                        !s.bodies[0]->builder.needs_carrier(extent) &&
                        !s.bodies[1]->builder.needs_carrier(extent);
      symbols.push_back(same ? n.dim(-1) : n.dims().fresh_symbol("if"));
      named = named || !same;
    }
  }
  const GraphId then_graph = add_body(n, *s.bodies[0], then_out);
  const GraphId else_graph = add_body(n, *s.bodies[1], else_out);
  std::vector<Attr> attrs = {{AttrKey::bodies, std::vector<GraphId>{then_graph, else_graph}}};
  if (named) attrs.push_back({AttrKey::symbols, symbols});
  Values operands = {as_scalar(n, n.in(0))};
  const Values& captured = s.captures->operands();
  operands.insert(operands.end(), captured.begin(), captured.end());
  const NodeId node = n.defining(Op::cond, operands, attrs);
  for (size_t i = 0; i < n.num_outputs(); ++i) n.out(i, n.b.result(node, static_cast<int>(i)));
  n.importer().finish(n);
}

void enter_branch(NodePtr node, std::shared_ptr<IfState> s, int which) {
  NodeImport& n = *node;
  s->bodies[which] = std::make_shared<Body>(n.importer().context());
  s->bodies[which]->builder.set_loc(n.b.loc());
  Importer::NestedGraph nested;
  nested.bytes = graph_attribute(n, which == 0 ? "then_branch" : "else_branch");
  nested.body = s->bodies[which];
  nested.captures = s->captures->declare(*nested.body, *s->extents);
  nested.done = [node, s, which](const Values& outputs) {
    s->outputs[which] = outputs;
    if (which == 0) return enter_branch(node, s, 1);
    finish_if(*node, *s);
  };
  n.importer().enter(node, std::move(nested));
}

void import_if(NodeImport& n) {
  const Bytes then_graph = graph_attribute(n, "then_branch");
  const Bytes else_graph = graph_attribute(n, "else_branch");
  const NodePtr node = n.importer().current();
  if (const auto known = known_truth(n, n.in(0))) {  // only one branch can run: in place
    Importer::NestedGraph nested;
    nested.bytes = *known ? then_graph : else_graph;
    nested.body = n.importer().current_body();
    nested.captures = Captures(n, n.importer().free_names(nested.bytes)).outside();
    nested.done = [node](const Values& outputs) {
      if (outputs.size() < node->num_outputs()) node->fail("If: a branch gives too few results");
      for (size_t i = 0; i < node->num_outputs(); ++i) node->out(i, outputs[i]);
      node->importer().finish(*node);
    };
    return n.importer().enter(node, std::move(nested));
  }
  auto s = std::make_shared<IfState>();
  const FreeNames names =
      join(n.importer().free_names(then_graph), n.importer().free_names(else_graph));
  s->captures = std::make_shared<Captures>(n, names);
  s->extents = std::make_shared<InnerExtents>(n.dims());
  enter_branch(node, s, 0);
}

// ---- Loops ----

// What Loop and Scan have in common: carried values, captures, and stacked results.
struct LoopState {
  Bytes graph;
  ValueId trip_count;           // int64 scalar
  std::optional<DimId> extent;  // the trip count as an extent, if known
  ValueId condition;            // bool scalar; invalid: runs trip_count times
  Values carried;               // first values
  Values scanned;               // Scan: inputs of which each iteration sees one slice of axis 0
  std::vector<bool> reversed;   // of `scanned`: from the end
  bool is_scan = false;
  std::shared_ptr<Captures> captures;
  std::vector<std::vector<bool>> varies;  // per carried value and axis: its extent changes
  std::function<void(const Values& results)> done;

  std::shared_ptr<Body> body;
  std::vector<Type> inner;  // types of the carried values in the body
};

void enter_loop(NodePtr node, std::shared_ptr<LoopState> s);

// Extents of the body that have no meaning outside it.
bool is_inner_only(const LoopState& s, DimTable& dims, DimId d) {
  if (s.body->builder.needs_carrier(Dims{d})) return true;
  std::vector<SymbolId> symbols;
  dims.collect_symbols(d, &symbols);
  for (size_t i = 0; i < s.inner.size(); ++i) {
    for (size_t a = 0; a < s.inner[i].dims.size(); ++a) {
      if (!s.varies[i][a]) continue;
      const auto varying = dims.as_symbol(s.inner[i].dims[a]);
      if (std::find(symbols.begin(), symbols.end(), *varying) != symbols.end()) return true;
    }
  }
  return false;
}

// Marks the carried extents that change; true if one was not marked before.
bool find_varying(NodeImport& n, LoopState& s, const Values& outputs) {
  bool changed = false;
  for (size_t i = 0; i < s.carried.size(); ++i) {
    const Type after = s.body->builder.type(outputs[i]);
    if (after.dtype != s.inner[i].dtype || after.rank() != s.inner[i].rank()) {
      n.fail("carried value " + std::to_string(i) + " changes its type or rank");
    }
    for (size_t a = 0; a < after.dims.size(); ++a) {
      if (after.dims[a] == s.inner[i].dims[a] || s.varies[i][a]) continue;
      s.varies[i][a] = true;
      changed = true;
    }
  }
  return changed;
}

// Whether the body's condition is always true.
bool always_continues(const LoopState& s, ValueId condition_out) {
  if (!condition_out.valid()) return true;
  const Constant* c = s.body->builder.constant_of(condition_out);
  return c != nullptr && c->num_elements() == 1 && c->as_int(0) != 0;
}

void finish_loop(NodePtr node, std::shared_ptr<LoopState> s, const Values& outputs_in) {
  NodeImport& n = *node;
  Values outputs = outputs_in;
  ValueId go_on;
  if (!s->is_scan) {
    if (outputs.empty()) n.fail("the body has no outputs");
    if (s->condition.valid()) go_on = outputs[0];
    outputs.erase(outputs.begin());
  }
  const size_t carried = s->carried.size();
  if (outputs.size() != n.num_outputs() || carried > outputs.size()) {
    n.fail("the body does not give as many results as the node has outputs");
  }
  if (find_varying(n, *s, outputs)) {
    n.importer().count_again(s->graph);
    return enter_loop(node, s);
  }
  Emitter inside(*s->body);
  const bool counted = always_continues(*s, go_on);
  if (!go_on.valid()) go_on = inside.b.scalar_int(DType::kBool, 1);
  if (inside.rank(go_on) != 0) go_on = inside.reshape(go_on, {});
  outputs.insert(outputs.begin(), go_on);

  Dims symbols = {n.dims().fresh_symbol("steps")};
  for (size_t i = 0; i < carried; ++i) {
    for (bool varies : s->varies[i]) {
      symbols.push_back(varies ? n.dims().fresh_symbol("loop") : n.dim(-1));
    }
  }
  for (size_t i = carried + 1; i < outputs.size(); ++i) {
    for (DimId d : s->body->builder.type(outputs[i]).dims) {
      const bool name = is_inner_only(*s, n.dims(), d);
      symbols.push_back(name ? n.dims().fresh_symbol("loop") : n.dim(-1));
    }
  }
  Values operands = {s->trip_count,
                     s->condition.valid() ? s->condition : n.b.scalar_int(DType::kBool, 1)};
  for (const Values& list : {s->carried, s->scanned, s->captures->operands()}) {
    operands.insert(operands.end(), list.begin(), list.end());
  }
  const GraphId body = add_body(n, *s->body, outputs);
  const NodeId loop = n.defining(Op::loop, operands,
                                 {{AttrKey::bodies, std::vector<GraphId>{body}},
                                  {AttrKey::index, static_cast<int64_t>(carried)},
                                  {AttrKey::symbols, symbols}});
  Values results;
  for (int i = 0; i < n.b.graph().node(loop).num_results; ++i) {
    ValueId v = n.b.result(loop, i);
    if (static_cast<size_t>(i) >= carried && counted && s->extent) {
      Dims exact = n.shape(v);
      exact[0] = *s->extent;
      v = n.specify(v, exact);
    }
    results.push_back(v);
  }
  s->done(results);
  n.importer().finish(n);
}

void enter_loop(NodePtr node, std::shared_ptr<LoopState> s) {
  NodeImport& n = *node;
  s->body = std::make_shared<Body>(n.importer().context());
  GraphBuilder& b = s->body->builder;
  b.set_loc(n.b.loc());
  InnerExtents extents(n.dims());
  const ValueId step = b.input("step", Type{DType::kInt64, {}});
  Values inputs;
  s->inner.clear();
  for (size_t i = 0; i < s->carried.size(); ++i) {
    Type type = extents.inner(n.b.type(s->carried[i]));
    s->varies.resize(s->carried.size());
    s->varies[i].resize(type.dims.size());
    for (size_t a = 0; a < type.dims.size(); ++a) {
      if (s->varies[i][a]) type.dims[a] = n.dims().fresh_symbol("carried");
    }
    s->inner.push_back(type);
    inputs.push_back(b.input("carried" + std::to_string(i), type));
  }
  Emitter inside(*s->body);
  for (size_t i = 0; i < s->scanned.size(); ++i) {
    const ValueId all = b.input("all" + std::to_string(i), extents.inner(n.b.type(s->scanned[i])));
    ValueId at = step;
    if (s->reversed[i]) {
      const ValueId last = inside.extent_value(inside.extent(all, 0), DType::kInt64);
      at = inside.sub(inside.sub(last, 1.0), step);
    }
    inputs.push_back(inside.gather(all, at, 0));
  }
  if (!s->is_scan) inputs.insert(inputs.begin(), {step, b.scalar_int(DType::kBool, 1)});
  Importer::NestedGraph nested;
  nested.bytes = s->graph;
  nested.body = s->body;
  nested.inputs = inputs;
  nested.captures = s->captures->declare(*s->body, extents);
  nested.done = [node, s](const Values& outputs) { finish_loop(node, s, outputs); };
  n.importer().enter(node, std::move(nested));
}

void import_loop(NodeImport& n) {
  auto s = std::make_shared<LoopState>();
  s->graph = graph_attribute(n, "body");
  if (n.has(0)) {
    s->trip_count = n.cast(as_scalar(n, n.in(0)), DType::kInt64);
    const auto& known = n.b.dim_values(s->trip_count);
    if (known && known->size() == 1) s->extent = n.dims().max((*known)[0], n.dim(0));
  } else {
    s->trip_count = n.b.scalar_int(DType::kInt64, INT64_MAX);
  }
  if (n.has(1)) {
    s->condition = as_scalar(n, n.in(1));
    if (known_truth(n, s->condition) != true) s->extent.reset();
  }
  for (size_t i = 2; i < n.num_inputs(); ++i) s->carried.push_back(n.in(i));
  s->captures = std::make_shared<Captures>(n, n.importer().free_names(s->graph));
  const NodePtr node = n.importer().current();
  // `done` must not own the node, which owns it.
  s->done = [&n](const Values& results) {
    for (size_t i = 0; i < results.size(); ++i) n.out(i, results[i]);
  };
  enter_loop(node, s);
}

void import_scan(NodeImport& n) {
  if (n.opset() < 9) n.unsupported("opset 8 (a batched scan)");
  auto s = std::make_shared<LoopState>();
  s->is_scan = true;
  s->graph = graph_attribute(n, "body");
  const int64_t scans = n.integer("num_scan_inputs", 0);
  if (scans < 1 || scans > static_cast<int64_t>(n.num_inputs())) {
    n.fail("Scan: attribute 'num_scan_inputs' is out of range");
  }
  const auto count = static_cast<size_t>(scans), states = n.num_inputs() - count;
  if (n.num_outputs() < states) n.fail("Scan: fewer outputs than states");
  const size_t stacked = n.num_outputs() - states;
  const Ints in_axes = n.ints("scan_input_axes", Ints(count, 0));
  const Ints in_directions = n.ints("scan_input_directions", Ints(count, 0));
  const Ints out_axes = n.ints("scan_output_axes", Ints(stacked, 0));
  const Ints out_directions = n.ints("scan_output_directions", Ints(stacked, 0));
  if (in_axes.size() != count || in_directions.size() != count || out_axes.size() != stacked ||
      out_directions.size() != stacked) {
    n.fail("Scan: axes and directions must have one value for each scanned tensor");
  }
  for (size_t i = 0; i < states; ++i) s->carried.push_back(n.in(i));
  for (size_t i = 0; i < count; ++i) {
    const ValueId x = n.in(states + i);
    ValueId v = n.move_axis(x, n.axis(in_axes[i], n.rank(x)), 0);
    if (i == 0) s->extent = n.extent(v, 0);
    Dims exact = n.shape(v);
    exact[0] = *s->extent;
    s->scanned.push_back(n.specify(v, exact));
    s->reversed.push_back(in_directions[i] != 0);
  }
  s->trip_count = n.extent_value(*s->extent, DType::kInt64);
  s->captures = std::make_shared<Captures>(n, n.importer().free_names(s->graph));
  s->done = [&n, states, out_axes, out_directions](const Values& results) {
    for (size_t i = 0; i < results.size(); ++i) {
      ValueId v = results[i];
      if (i >= states) {
        const size_t k = i - states;
        if (out_directions[k] != 0) v = n.b.value(Op::reverse, {v}, {{AttrKey::axes, Ints{0}}});
        v = n.move_axis(v, 0, n.axis(out_axes[k], n.rank(v)));
      }
      n.out(i, v);
    }
  };
  enter_loop(n.importer().current(), s);
}

constexpr OpRow kRows[] = {
    {"If", import_if, "then_branch else_branch"},
    {"Loop", import_loop, "body"},
    {"Scan", import_scan,
     "body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes "
     "scan_output_directions directions"},
};

}  // namespace

std::span<const OpRow> control_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
