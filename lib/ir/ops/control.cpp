// Checks and control flow. Bodies are closed graphs: all they use comes in as operands.
//
// A body has symbols of its own. Where a body's input has a plain symbol as extent and the operand it
// takes has extent e, the symbol means e; an extent of a result is known outside if all its symbols
// are. The others (they depend on data) are named by the attribute `symbols`.

#include <optional>
#include <unordered_map>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

// Extents of a body, expressed in the symbols of the graph that holds the node.
class BodyExtents {
 public:
  explicit BodyExtents(DimTable& dims) : dims_(dims) {}

  void learn(DimId inner, DimId outer) {
    if (const auto symbol = dims_.as_symbol(inner)) {
      known_.try_emplace(symbol->index, outer);
    } else if (inner == outer) {
      learn_same(inner);
    }
  }

  std::optional<DimId> outer(DimId inner) {
    if (const auto symbol = dims_.as_symbol(inner)) {
      const auto found = known_.find(symbol->index);
      return found == known_.end() ? std::nullopt : std::optional(found->second);
    }
    std::vector<SymbolId> symbols;
    dims_.collect_symbols(inner, &symbols);
    std::vector<DimId> replacement(symbols.empty() ? 0 : dims_.num_symbols());
    for (SymbolId s : symbols) {
      const auto found = known_.find(s.index);
      if (found == known_.end()) return std::nullopt;
      replacement[s.index] = found->second;
    }
    return symbols.empty() ? inner : dims_.substitute(inner, replacement);
  }

 private:
  // Equal expressions in both graphs: their symbols are the same unless known to be others.
  void learn_same(DimId extent) {
    std::vector<SymbolId> symbols;
    dims_.collect_symbols(extent, &symbols);
    for (SymbolId s : symbols) {
      known_.try_emplace(s.index, dims_.symbol(dims_.symbol_name(s)));
    }
  }

  DimTable& dims_;
  std::unordered_map<uint32_t, DimId> known_;
};

const Graph* body_graph(TypeInference& t, size_t i, size_t count) {
  const std::vector<GraphId>& bodies = t.attrs().graphs(AttrKey::bodies);
  if (!check_count(t, AttrKey::bodies, bodies.size(), count)) return nullptr;
  if (!t.require(bodies[i].index < t.context().num_graphs(),
                 "attribute 'bodies' has no such graph"))
    return nullptr;
  return &t.context().graph(bodies[i]);
}

const Type& input_type(const Graph& g, size_t i) { return g.type(g.inputs()[i].value); }
const Type& output_type(const Graph& g, size_t i) { return g.type(g.outputs()[i].value); }

bool check_input_count(TypeInference& t, const Graph& body, int count, std::string_view which) {
  if (body.inputs().size() == static_cast<size_t>(count)) return true;
  t.fail(std::string(which) + " has " + std::to_string(body.inputs().size()) +
         " inputs; it must have " + std::to_string(count));
  return false;
}

// Operand `i` can be input `input` of the body; extents may have to be checked at run time.
bool check_body_input(TypeInference& t, const Graph& body, size_t input, int i,
                      BodyExtents* extents) {
  const Type& inner = input_type(body, input);
  const Type& outer = t.operand(i);
  bool possible = inner.dtype == outer.dtype && inner.rank() == outer.rank();
  for (int a = 0; possible && a < inner.rank(); ++a) {
    const auto known = extents->outer(inner.dims[a]);
    possible = !known || t.compatible(*known, outer.dims[a]);
  }
  if (possible) return true;
  t.fail("operand " + std::to_string(i) + " is " + t.show(outer) + ", but input " +
         std::to_string(input) + " of the body is " + t.show(inner));
  return false;
}

// The entries of attribute `symbols` after the first `skip`: one for each extent of the results, a
// plain symbol that names the extent, or -1. An empty list names none.
class NamedExtents {
 public:
  NamedExtents(TypeInference& t, size_t skip)
      : t_(t), list_(t.attrs().dims(AttrKey::symbols)), next_(skip) {
    if (list_.size() <= skip) next_ = kNone;
  }
  // The name of the next extent, if it has one.
  std::optional<DimId> next() {
    if (next_ == kNone) return std::nullopt;
    if (!t_.require(next_ < list_.size(), "attribute 'symbols' has too few elements")) {
      return std::nullopt;
    }
    const DimId entry = list_[next_++];
    if (t_.dims().is_constant(entry, -1)) return std::nullopt;
    t_.require(t_.dims().as_symbol(entry).has_value(),
               "attribute 'symbols' must list plain symbols and -1");
    return entry;
  }
  void finish() {
    t_.require(next_ == kNone || next_ == list_.size(),
               "attribute 'symbols' must have one element for each extent of the results");
  }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  TypeInference& t_;
  const std::vector<DimId>& list_;
  size_t next_;
};

void fail_unnamed(TypeInference& t, size_t result, size_t axis, const std::string& why) {
  t.fail("axis " + std::to_string(axis) + " of result " + std::to_string(result) + " " + why +
         " (name the extent in attribute 'symbols')");
}

void infer_check(TypeInference& t) {
  if (t.operand(1).dtype != DType::kBool) {
    t.fail("operand 1 is " + t.show(t.operand(1)) + "; the condition must be bool (insert cast)");
    return;
  }
  t.result(t.operand(0));
}

struct Branch {
  const Graph* body;
  BodyExtents extents;
};

std::optional<Branch> enter_branch(TypeInference& t, size_t which) {
  const Graph* body = body_graph(t, which, 2);
  if (body == nullptr) return std::nullopt;
  const int captures = t.num_operands() - 1;
  if (!check_input_count(t, *body, captures, which == 0 ? "the then body" : "the else body")) {
    return std::nullopt;
  }
  Branch branch{body, BodyExtents(t.dims())};
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < captures; ++i) {
      const Type& inner = input_type(*body, i);
      const Type& outer = t.operand(i + 1);
      if (pass == 1 && !check_body_input(t, *body, i, i + 1, &branch.extents)) return std::nullopt;
      if (pass == 1 || inner.rank() != outer.rank()) continue;
      for (int a = 0; a < inner.rank(); ++a) branch.extents.learn(inner.dims[a], outer.dims[a]);
    }
  }
  return branch;
}

void infer_cond(TypeInference& t) {
  if (!check_scalar(t, 0, DType::kBool)) return;
  auto then_branch = enter_branch(t, 0);
  if (!then_branch) return;
  auto else_branch = enter_branch(t, 1);
  if (!else_branch) return;
  const size_t count = then_branch->body->outputs().size();
  if (!t.require(count == else_branch->body->outputs().size(),
                 "the bodies have different numbers of outputs")) {
    return;
  }
  NamedExtents names(t, 0);
  for (size_t r = 0; r < count; ++r) {
    const Type& a = output_type(*then_branch->body, r);
    const Type& b = output_type(*else_branch->body, r);
    if (a.dtype != b.dtype || a.rank() != b.rank()) {
      t.fail("output " + std::to_string(r) + " is " + t.show(a) + " in the then body and " +
             t.show(b) + " in the else body");
      return;
    }
    std::vector<DimId> shape;
    for (size_t axis = 0; axis < a.dims.size(); ++axis) {
      const auto name = names.next();
      const auto x = then_branch->extents.outer(a.dims[axis]);
      const auto y = else_branch->extents.outer(b.dims[axis]);
      if (t.failed()) return;
      if (!name && (!x || !y || *x != *y)) {
        fail_unnamed(
            t, r, axis,
            "differs between the bodies or depends on data: " + t.dims().to_string(a.dims[axis]) +
                " and " + t.dims().to_string(b.dims[axis]));
        return;
      }
      shape.push_back(name ? *name : *x);
    }
    t.result(a.dtype, std::move(shape));
  }
  names.finish();
}

// Checks the counts and the types that no extent decides; gives the body or nullptr.
const Graph* enter_loop(TypeInference& t) {
  const int64_t carried = t.attrs().integer(AttrKey::index);
  if (!check_scalar(t, 0, DType::kInt64) || !check_scalar(t, 1, DType::kBool)) return nullptr;
  if (!t.require(carried >= 0 && carried <= t.num_operands() - 2,
                 "attribute 'index', the number of carried values, must be 0 to the number of "
                 "operands less 2")) {
    return nullptr;
  }
  const Graph* body = body_graph(t, 0, 1);
  if (body == nullptr || !check_input_count(t, *body, t.num_operands() - 1, "the body")) {
    return nullptr;
  }
  if (!t.require(body->outputs().size() >= static_cast<size_t>(carried) + 1,
                 "the body must put out whether to continue, then the carried values")) {
    return nullptr;
  }
  const Type& iteration = input_type(*body, 0);
  const Type& go_on = output_type(*body, 0);
  if (!t.require(iteration.dtype == DType::kInt64 && iteration.rank() == 0,
                 "the body's input 0, the iteration number, must be int64[]") ||
      !t.require(go_on.dtype == DType::kBool && go_on.rank() == 0,
                 "the body's output 0, whether to continue, must be bool[]")) {
    return nullptr;
  }
  for (int64_t i = 0; i < carried; ++i) {
    const Type& in = input_type(*body, i + 1);
    const Type& out = output_type(*body, i + 1);
    if (in.dtype == out.dtype && in.rank() == out.rank()) continue;
    t.fail("carried value " + std::to_string(i) + " is " + t.show(in) + " before the body and " +
           t.show(out) + " after it");
    return nullptr;
  }
  return body;
}

// Learns the meaning of the body's symbols: those of captures, and those of carried extents that do
// not change. `names` has an entry for each carried extent, the name it has after the loop if any.
bool learn_loop(TypeInference& t, const Graph& body, size_t carried,
                const std::vector<std::vector<std::optional<DimId>>>& names, BodyExtents* extents) {
  const auto operands = static_cast<size_t>(t.num_operands());
  for (size_t i = 2; i < operands; ++i) {
    const Type& inner = input_type(body, i - 1);
    const Type& outer = t.operand(static_cast<int>(i));
    if (inner.rank() != outer.rank()) continue;
    for (size_t a = 0; a < inner.dims.size(); ++a) {
      const bool varies = i - 2 < carried && names[i - 2][a].has_value();
      if (!varies) extents->learn(inner.dims[a], outer.dims[a]);
    }
  }
  for (size_t i = 2; i < operands; ++i) {
    if (!check_body_input(t, body, i - 1, static_cast<int>(i), extents)) return false;
  }
  return true;
}

void infer_loop(TypeInference& t) {
  const Graph* body = enter_loop(t);
  if (body == nullptr) return;
  const auto carried = static_cast<size_t>(t.attrs().integer(AttrKey::index));
  NamedExtents named(t, 1);
  std::vector<std::vector<std::optional<DimId>>> names(carried);
  for (size_t i = 0; i < carried; ++i) {
    for (int a = 0; a < input_type(*body, i + 1).rank(); ++a) names[i].push_back(named.next());
  }
  BodyExtents extents(t.dims());
  if (t.failed() || !learn_loop(t, *body, carried, names, &extents)) return;
  for (size_t i = 0; i < carried; ++i) {
    Type result = t.operand(static_cast<int>(i) + 2);
    const Type& in = input_type(*body, i + 1);
    const Type& out = output_type(*body, i + 1);
    for (size_t a = 0; a < result.dims.size(); ++a) {
      const auto after = extents.outer(out.dims[a]);
      if (names[i][a]) {
        result.dims[a] = *names[i][a];
      } else if (in.dims[a] != out.dims[a] && (!after || *after != result.dims[a])) {
        fail_unnamed(t, i, a,
                     "changes from one iteration to the next, from " +
                         t.dims().to_string(in.dims[a]) + " to " + t.dims().to_string(out.dims[a]));
        return;
      }
    }
    t.result(std::move(result));
  }
  const std::vector<DimId>& symbols = t.attrs().dims(AttrKey::symbols);
  const bool stacks = body->outputs().size() > carried + 1;
  if (!t.require(
          !symbols.empty() || !stacks,
          "attribute 'symbols' must name the number of iterations: the extent of the stacked "
          "results")) {
    return;
  }
  if (!symbols.empty() && !t.require(t.dims().as_symbol(symbols[0]).has_value(),
                                     "attribute 'symbols' must begin with a plain symbol")) {
    return;
  }
  for (size_t o = carried + 1; o < body->outputs().size(); ++o) {
    const Type& each = output_type(*body, o);
    std::vector<DimId> shape = {symbols[0]};
    for (size_t a = 0; a < each.dims.size(); ++a) {
      const auto name = named.next();
      const auto known = extents.outer(each.dims[a]);
      if (t.failed()) return;
      if (!name && !known) {
        fail_unnamed(t, o - 1, a + 1, "depends on data: " + t.dims().to_string(each.dims[a]));
        return;
      }
      shape.push_back(name ? *name : *known);
    }
    t.result(each.dtype, std::move(shape));
  }
  named.finish();
}

}  // namespace

std::vector<OpInfo> control_rows() {
  return {
      {.op = Op::check,
       .min_operands = 2,
       .max_operands = 2,
       .num_results = 1,
       .traits = kEffect | kView,
       .signature = "(x: T, cond: bool) -> T",
       .doc = "x. If an element of cond (of any shape) is false, the run fails with `message`; of "
              "several failing nodes the first in the graph's order is reported.",
       .attrs = {{AttrKey::message, AttrKind::kString, true, "what the failed run reports"}},
       .infer = infer_check},
      {.op = Op::cond,
       .min_operands = 1,
       .max_operands = -1,
       .num_results = -1,
       .traits = kHasBody | kDefinesDims,
       .signature = "(pred: bool[], captures...) -> results...",
       .doc =
           "The results of the first body if pred is true, else of the second; only that one runs. "
           "Both are closed graphs whose inputs are the captures, and their outputs agree in "
           "number, dtypes and ranks. A result's extent is that of both bodies if they are "
           "provably equal; otherwise `symbols` must name it. Extents of a capture and of the "
           "body's input that are not provably equal are compared at run time.",
       .attrs = {{AttrKey::bodies, AttrKind::kGraphs, true, "[then, else]"},
                 {AttrKey::symbols, AttrKind::kDims, false,
                  "absent, or for each extent of the results, in order, a fresh symbol that names "
                  "it or -1"}},
       .infer = infer_cond},
      {.op = Op::loop,
       .min_operands = 2,
       .max_operands = -1,
       .num_results = -1,
       .traits = kHasBody | kDefinesDims,
       .signature = "(max_trip_count: int64[], condition: bool[], carried..., captures...) -> "
                    "(carried..., stacked...)",
       .doc =
           "k = 0; while (k < max_trip_count and condition) { condition, carried, each = body(k, "
           "carried, captures); k += 1 }. The first `index` operands after the condition are the "
           "carried values' first values, the rest captures. The body is a closed graph with "
           "inputs (iteration number int64[], carried..., captures...) and outputs (condition "
           "bool[], carried..., each...). The results are the carried values after the last "
           "iteration, then each further output's values of all iterations, stacked along a new "
           "axis 0 whose extent is the number of iterations: symbols[0]. A carried extent that "
           "changes, and an extent of a stacked value that depends on data, must be named in "
           "`symbols`; the stacked values of all iterations must have one shape (a run-time "
           "error otherwise), and without any iteration a named extent of theirs is 0.",
       .attrs =
           {{AttrKey::bodies, AttrKind::kGraphs, true, "[body]"},
            {AttrKey::index, AttrKind::kInt, true, "number of carried values"},
            {AttrKey::symbols, AttrKind::kDims, false,
             "[s, ...]: s, a fresh symbol, names the number of iterations (required if there "
             "are stacked results); then nothing, or for each extent of the carried results and "
             "each extent of the stacked results but their first, in order, a fresh symbol or "
             "-1"}},
       .infer = infer_loop},
  };
}

}  // namespace gcomp::ops
