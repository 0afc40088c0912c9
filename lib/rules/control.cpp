// cond and loop whose course is known: their bodies become part of the graph around them.
#include <algorithm>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Graph& body(const Match& m, size_t i) {
  return m.context().graph(m.graph().attrs(m.root()).graphs(AttrKey::bodies)[i]);
}

// A copy must not define the symbols of the original again, and is looked at node by node.
bool can_copy(const Graph& g) {
  constexpr size_t kMaxNodes = 4096;
  return g.num_nodes() <= kMaxNodes &&
         std::ranges::none_of(g.nodes(),
                              [](const Node& n) {
                                return has_trait(n.op, kDefinesDims) && n.op != Op::cond &&
                                       n.op != Op::loop;
                              }) &&
         std::ranges::none_of(g.nodes(), [&](const Node& n) {
           return has_trait(n.op, kHasBody) && g.attrs(n).has(AttrKey::symbols);
         });
}

// What the symbols of the body's inputs stand for; nullopt: an extent that would have to be compared.
std::optional<std::vector<DimId>> extents_given(const Match& m, Emitter& e, const Graph& g,
                                                const std::vector<ValueId>& given) {
  std::vector<DimId> by(m.dims().num_symbols());
  for (size_t i = 0; i < given.size(); ++i) {
    const std::vector<DimId>& inner = g.type(g.inputs()[i].value).dims;
    const std::vector<DimId>& outer = e.type(given[i]).dims;
    for (size_t a = 0; a < inner.size(); ++a) {
      const auto symbol = m.dims().as_symbol(inner[a]);
      if (!symbol) {
        if (inner[a] != outer[a]) return std::nullopt;
        continue;
      }
      DimId& known = by[symbol->index];
      if (known.valid() && known != outer[a]) return std::nullopt;
      known = outer[a];
    }
  }
  return by;
}

// In a body the extents of its inputs are known everywhere; around it what the graph computes has to bring them. Adds
// to a node's operands those of `given` that do, if its attributes mention any; false if the op takes none.
bool add_carriers(Emitter& e, Op op, const std::vector<DimId>& mentioned,
                  const std::vector<ValueId>& given, std::vector<ValueId>* operands) {
  if (!e.builder().needs_carrier(mentioned)) return true;
  for (ValueId v : given) {
    const bool brings = e.builder().needs_carrier(e.type(v).dims);
    if (brings && std::ranges::find(*operands, v) == operands->end()) operands->push_back(v);
  }
  return info(op).max_operands < 0;
}

// The body's outputs, computed from `given`.
std::optional<std::vector<ValueId>> inlined(const Match& m, Emitter& e, const Graph& g,
                                            const std::vector<ValueId>& given) {
  if (!can_copy(g)) return std::nullopt;
  const auto by = extents_given(m, e, g, given);
  if (!by) return std::nullopt;
  std::vector<ValueId> made(g.num_values());
  for (size_t i = 0; i < given.size(); ++i) made[g.inputs()[i].value.index] = given[i];
  std::vector<ValueId> operands;
  for (uint32_t i = 0; i < g.num_nodes(); ++i) {
    const Node& n = g.node(NodeId(i));
    if (n.op == Op::input) continue;
    std::vector<Attr> attrs;
    std::vector<DimId> mentioned;
    for (const Attr& a : g.attrs(n)) {
      attrs.push_back(a);
      if (auto* dims = std::get_if<std::vector<DimId>>(&attrs.back().value)) {
        for (DimId& d : *dims) d = m.dims().substitute(d, *by);
        mentioned.insert(mentioned.end(), dims->begin(), dims->end());
      }
    }
    operands.clear();
    for (ValueId v : g.operands(n)) operands.push_back(made[v.index]);
    if (!add_carriers(e, n.op, mentioned, given, &operands)) return std::nullopt;
    const NodeId copy = e.builder().node(n.op, operands, std::move(attrs));
    for (uint32_t r = 0; r < n.num_results; ++r) {
      made[n.first_result.index + r] = e.builder().result(copy, static_cast<int>(r));
    }
  }
  std::vector<ValueId> results;
  for (const Port& p : g.outputs()) results.push_back(made[p.value.index]);
  return results;
}

// In place of the root's results, if their types are the same.
Replacement instead(const Match& m, Emitter& e, const std::vector<ValueId>& values) {
  const Node& root = m.graph().node(m.root());
  if (values.size() != root.num_results) return std::nullopt;
  for (size_t k = 0; k < values.size(); ++k) {
    if (e.type(values[k]) != m.graph().type(m.root_value(static_cast<int>(k)))) return std::nullopt;
  }
  return values;
}

std::vector<ValueId> root_operands(const Match& m) {
  const auto span = m.graph().operands(m.root());
  return {span.begin(), span.end()};
}

Replacement one_branch(const Match& m, Emitter& e, size_t which) {
  const std::vector<ValueId> operands = root_operands(m);
  const auto results = inlined(m, e, body(m, which), {operands.begin() + 1, operands.end()});
  return results ? instead(m, e, *results) : std::nullopt;
}

Replacement cond_of_constant(const Match& m, Emitter& e) {
  return one_branch(m, e, m.scalar("c") != 0 ? 0 : 1);
}

// Node for node the same; bodies were swept, so equal computations mostly are.
bool same_bodies(const Match& m) {
  const Graph &a = body(m, 0), &b = body(m, 1);
  if (a.num_nodes() != b.num_nodes() || a.num_nodes() > 4096) return false;
  const auto same_nodes = [&](const Node& x, const Node& y) {
    return x.op == y.op && x.attrs == y.attrs && x.num_results == y.num_results &&
           x.first_result == y.first_result && std::ranges::equal(a.operands(x), b.operands(y));
  };
  const auto same_ports = [](const Port& x, const Port& y) { return x.value == y.value; };
  return std::ranges::equal(a.nodes(), b.nodes(), same_nodes) &&
         std::ranges::equal(a.outputs(), b.outputs(), same_ports);
}

// A loop's operands from the first carried value on.
std::vector<ValueId> first_values(const Match& m) {
  const std::vector<ValueId> operands = root_operands(m);
  return {operands.begin() + 2, operands.end()};
}

Replacement loop_never(const Match& m, Emitter& e) {
  const auto carried = static_cast<size_t>(m.graph().attrs(m.root()).integer(AttrKey::index));
  std::vector<ValueId> values = first_values(m);
  values.resize(carried);
  return instead(m, e, values);
}

Replacement loop_once(const Match& m, Emitter& e) {
  std::vector<ValueId> given = first_values(m);
  given.insert(given.begin(), e.builder().scalar_int(DType::kInt64, 0));
  auto results = inlined(m, e, body(m, 0), given);
  if (!results) return std::nullopt;
  results->erase(results->begin());  // whether to go on
  return instead(m, e, *results);
}

// ---- cases ----

struct BodyMaker {
  GraphBuilder b;
  explicit BodyMaker(Context& context) : b(context, GraphBuilder::Mode::kRaw) {}
  ValueId in(const Type& t) { return b.input("x" + std::to_string(b.graph().inputs().size()), t); }
  GraphId finish(const std::vector<ValueId>& outputs) {
    for (ValueId v : outputs) b.output("y" + std::to_string(b.graph().outputs().size()), v);
    return b.context().add_graph(b.finish());
  }
};

ValueId cond_case(CaseMaker& make, bool same, bool constant_predicate) {
  GraphBuilder& g = make.builder();
  const Type t{make.dtype(kNumbers), make.static_shape()};
  std::vector<GraphId> bodies;
  for (Op o : {Op::add, Op::mul}) {
    BodyMaker inner(g.context());
    const ValueId a = inner.in(t), b = inner.in(t);
    const ValueId v = inner.b.value(same ? Op::add : o, {a, b});
    bodies.push_back(inner.finish({inner.b.value(Op::sub, {v, a})}));
  }
  const Type flag{DType::kBool, {}};
  const ValueId p = constant_predicate ? g.constant(make_scalar_int(DType::kBool, make.pick(0, 1)))
                                       : make.input(flag);
  const ValueId operands[] = {p, make.input(t), make.input(t)};
  return g.result(g.node(Op::cond, operands, {{AttrKey::bodies, bodies}}));
}

ValueId loop_case(CaseMaker& make, int64_t turns) {
  GraphBuilder& g = make.builder();
  const Type t{make.dtype(kNumbers), make.static_shape()}, count{DType::kInt64, {}};
  BodyMaker inner(g.context());
  const ValueId k = inner.in(count), a = inner.in(t), b = inner.in(t);
  const ValueId go = inner.b.constant(make_scalar_int(DType::kBool, 1));
  const ValueId turn = inner.b.broadcast(inner.b.cast(k, t.dtype), t.dims, {});
  const GraphId id =
      inner.finish({go, inner.b.value(Op::add, {inner.b.value(Op::mul, {a, b}), turn})});
  const ValueId operands[] = {g.scalar_int(DType::kInt64, turns),
                              g.constant(make_scalar_int(DType::kBool, 1)), make.input(t),
                              make.input(t)};
  return g.result(
      g.node(Op::loop, operands,
             {{AttrKey::bodies, std::vector<GraphId>{id}}, {AttrKey::index, int64_t{1}}}));
}

}  // namespace

std::vector<Rule> control_rules() {
  const Pattern go = scalar("go", kBools);
  const auto loop_of = [](Pattern turns, Pattern condition) {
    return op(Op::loop, {std::move(turns), std::move(condition)}).and_more();
  };
  return everywhere({
      rule("cond_of_constant", "cond of a constant -> the body that runs",
           op(Op::cond, {scalar("c")}).and_more(), cond_of_constant)
          .cases([](CaseMaker& make) { return cond_case(make, false, true); }),
      rule("cond_of_same", "cond with two equal bodies -> the body",
           op(Op::cond, {any("p")}).and_more(),
           [](const Match& m, Emitter& e) { return one_branch(m, e, 0); })
          .when(same_bodies)
          .cases([](CaseMaker& make) { return cond_case(make, true, false); }),
      rule("loop_never", "loop of no turns -> the first values",
           loop_of(scalar("turns"), any("go")), loop_never)
          .when(scalar_is("turns", [](double v) { return v <= 0; }))
          .cases([](CaseMaker& make) { return loop_case(make, 0); }),
      rule("loop_once", "loop of one turn -> its body", loop_of(1, go), loop_once)
          .when(scalar_is("go", [](double v) { return v != 0; }))
          .cases([](CaseMaker& make) { return loop_case(make, 1); }),
  });
}

}  // namespace gcomp::rules
