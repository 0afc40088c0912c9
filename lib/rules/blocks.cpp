// Tensors that are a block amid a fill (pad), and tensors joined of parts. Sums of blocks are joined by
// the pass join_terms.
#include <algorithm>

#include "slices.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x"), y = any("y");

Pattern pad_of(std::string name, Pattern operand, Pattern fill) {
  return one_of({Op::pad}, std::move(name), {std::move(operand), std::move(fill)});
}

// A rank-0 constant: the one element of the splat `v`.
ValueId one_element(const Match& m, Emitter& e, ValueId v) {
  const Constant& c = *m.facts().constant_source(v);
  const DType t = c.dtype;
  std::vector<std::byte> one(c.bytes.begin(), c.bytes.begin() + byte_size(t));
  return e.builder().constant(make_constant(t, {}, std::move(one)));
}

bool has_splat(const Match& m, ValueId v) {
  const Constant* c = m.facts().constant_source(v);
  return c != nullptr && c->num_elements() > 0 && m.facts().splat(v).has_value();
}

// f(pad(x, a), pad(y, b), c) with equal margins -> pad(f(x, y, c), f(a, b, c)).
Replacement sink_pads(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const Node root = g.node(m.root());
  const std::vector<DimId> low = m.attrs("p").dims(AttrKey::low);
  const std::vector<DimId> high = m.attrs("p").dims(AttrKey::high);
  const std::vector<DimId> inner = m.type("x").dims;
  const auto span = g.operands(root);
  const std::vector<ValueId> operands(span.begin(), span.end());
  for (ValueId v : operands) {
    const Node& n = g.producer_node(v);
    if (n.op != Op::pad) {
      if (!has_splat(m, v)) return std::nullopt;
      continue;
    }
    const Attrs a = g.attrs(n);
    if (a.dims(AttrKey::low) != low || a.dims(AttrKey::high) != high ||
        g.type(g.operands(n)[0]).dims != inner) {
      return std::nullopt;
    }
  }
  std::vector<ValueId> block, fill;
  for (ValueId v : operands) {
    const Node n = g.producer_node(v);
    if (n.op == Op::pad) {
      block.push_back(g.operands(n)[0]);
      fill.push_back(g.operands(n)[1]);
    } else {
      fill.push_back(one_element(m, e, v));
      block.push_back(e.broadcast(fill.back(), inner, {}));
    }
  }
  const auto made = [&](const std::vector<ValueId>& of) {
    return e.builder().result(e.builder().node(root.op, of, root.attrs));
  };
  return e.pad(made(block), made(fill), low, high);
}

// Padding with zeros adds nothing to a sum; what is not reduced stays padded.
Replacement sum_of_pad(const Match& m, Emitter& e) {
  const std::vector<int64_t> axes = m.graph().attrs(m.root()).ints(AttrKey::axes);
  const std::vector<DimId> low = m.attrs("p").dims(AttrKey::low);
  const std::vector<DimId> high = m.attrs("p").dims(AttrKey::high);
  std::vector<DimId> kept_low, kept_high;
  bool padded = false;
  for (size_t i = 0; i < low.size(); ++i) {
    if (!std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i))) {
      kept_low.push_back(low[i]);
      kept_high.push_back(high[i]);
      continue;
    }
    if (!provably_at_least(m.dims(), low[i], 0) || !provably_at_least(m.dims(), high[i], 0)) {
      return std::nullopt;
    }
    padded = true;
  }
  if (!padded) return std::nullopt;
  const ValueId fill = m["fill"];
  return e.pad(e.builder().reduce(Op::reduce_sum, m["x"], axes), fill, kept_low, kept_high);
}

// Parts at the ends that are one value: padding. Not of shapes, whose elements are known as they are.
Replacement concat_of_fill(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const Type t = m.root_type();
  if (!is_float(t.dtype) && t.rank() < 2) return std::nullopt;
  const int64_t axis = g.attrs(m.root()).integer(AttrKey::axis);
  const auto a = static_cast<size_t>(axis);
  const auto span = g.operands(m.root());
  std::vector<ValueId> parts(span.begin(), span.end());
  const auto is_fill = [&](ValueId v) { return has_splat(m, v); };
  const auto source = std::find_if(parts.begin(), parts.end(), is_fill);
  if (source == parts.end()) return std::nullopt;
  // The value at whichever end has one.
  const ValueId model = is_fill(parts.front()) ? parts.front() : parts.back();
  if (!is_fill(model)) return std::nullopt;
  const ValueId fill = one_element(m, e, model);
  const auto same = [&](ValueId v) { return is_fill(v) && one_element(m, e, v) == fill; };
  DimTable& dims = m.dims();
  std::vector<DimId> low(t.dims.size(), dims.constant(0)), high = low;
  while (!parts.empty() && same(parts.back())) {
    high[a] = dims.add(high[a], e.type(parts.back()).dims[a]);
    parts.pop_back();
  }
  size_t skipped = 0;
  while (skipped < parts.size() && same(parts[skipped])) {
    low[a] = dims.add(low[a], e.type(parts[skipped++]).dims[a]);
  }
  parts.erase(parts.begin(), parts.begin() + static_cast<int64_t>(skipped));
  if (parts.empty()) return e.broadcast(fill, t.dims, {});
  return e.pad(e.concat(parts, axis), fill, low, high);
}

// Parts that are broadcast alike: the broadcast of their concat.
Replacement concat_of_broadcasts(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const std::vector<DimId> shape = m.root_type().dims;
  const int64_t axis = g.attrs(m.root()).integer(AttrKey::axis);
  const auto span = g.operands(m.root());
  std::optional<std::vector<int64_t>> axes;
  std::vector<ValueId> parts;
  for (ValueId v : span) {
    const Node& n = g.producer_node(v);
    if (n.op != Op::broadcast) return std::nullopt;
    const std::vector<int64_t>& own = g.attrs(n).ints(AttrKey::axes);
    if (axes && *axes != own) return std::nullopt;
    axes = own;
    const ValueId source = g.operands(n)[0];
    for (size_t i = 0; i < own.size(); ++i) {  // all that it has, in full
      if (g.type(source).dims[i] != g.type(v).dims[static_cast<size_t>(own[i])])
        return std::nullopt;
    }
    parts.push_back(source);
  }
  const auto at = std::find(axes->begin(), axes->end(), axis);
  if (parts.size() < 2 || at == axes->end()) return std::nullopt;
  return e.broadcast(e.concat(parts, at - axes->begin()), shape, *axes);
}

// Rows [1, ...] of a tensor, each reshaped to [...], one after the other: the tensor's rows reshaped at once.
Replacement concat_of_rows(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const std::vector<DimId> shape = m.root_type().dims;
  if (g.attrs(m.root()).integer(AttrKey::axis) != 0) return std::nullopt;
  const auto span = g.operands(m.root());
  std::vector<ValueId> rows;
  for (ValueId v : span) {
    const Node& n = g.producer_node(v);
    if (n.op != Op::reshape) return std::nullopt;
    const ValueId source = g.operands(n)[0];
    const std::vector<DimId>&from = g.type(source).dims, &to = g.type(v).dims;
    if (from.size() != to.size() + 1 || !m.dims().is_constant(from[0], 1) ||
        !std::equal(to.begin(), to.end(), from.begin() + 1) ||
        g.producer_node(source).op != Op::slice) {
      return std::nullopt;
    }
    rows.push_back(source);
  }
  return e.reshape(e.concat(rows, 0), shape);
}

// "x with a block set to y" where y is what x has there: its slice, or x and y are one number.
Replacement set_what_is_there(const Match& m, Emitter&) {
  const Graph& g = m.graph();
  const Attrs mask = m.attrs("mask"), block = m.attrs("p");
  for (AttrKey key : {AttrKey::low, AttrKey::high}) {
    if (mask.dims(key) != block.dims(key)) return std::nullopt;
  }
  const ValueId v = m["y"];
  if (has_splat(m, v) && has_splat(m, m["x"])) {
    const auto a = m.facts().splat(v), b = m.facts().splat(m["x"]);
    return a->equals(b->real) && a->integer == b->integer ? Replacement(m["x"]) : std::nullopt;
  }
  const Node& n = g.producer_node(v);
  if (n.op != Op::slice || g.operands(n)[0] != m["x"]) return std::nullopt;
  const Slice s(g.attrs(n));
  const bool plain =
      std::all_of(s.strides.begin(), s.strides.end(), [](int64_t k) { return k == 1; });
  return plain && s.starts == mask.dims(AttrKey::low) ? Replacement(m["x"]) : std::nullopt;
}

// The same row again and again.
Replacement concat_of_same(const Match& m, Emitter& e) {
  const Graph& g = m.graph();
  const auto axis = static_cast<size_t>(g.attrs(m.root()).integer(AttrKey::axis));
  const auto parts = g.operands(m.root());
  const ValueId v = parts[0];
  if (parts.size() < 2 || !m.dims().is_constant(g.type(v).dims[axis], 1) ||
      !std::all_of(parts.begin(), parts.end(), [&](ValueId p) { return p == v; })) {
    return std::nullopt;
  }
  const std::vector<DimId> shape = m.root_type().dims;
  std::vector<DimId> rest = g.type(v).dims;
  rest.erase(rest.begin() + static_cast<int64_t>(axis));
  std::vector<int64_t> axes;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != axis) axes.push_back(static_cast<int64_t>(i));
  }
  return e.broadcast(e.reshape(v, rest), shape, axes);
}

// ---- cases ----

struct Margins {
  std::vector<DimId> low, high;
};

ValueId padded(CaseMaker& make, ValueId v, ValueId fill, const Margins& margins) {
  return make.builder().value(Op::pad, {v, fill},
                              {{AttrKey::low, margins.low}, {AttrKey::high, margins.high}});
}

Margins random_margins(CaseMaker& make, size_t rank) {
  Margins m;
  for (size_t i = 0; i < rank; ++i) {
    m.low.push_back(make.dims().constant(make.pick(0, 2)));
    m.high.push_back(make.dims().constant(make.pick(0, 2)));
  }
  return m;
}

ValueId sink_case(CaseMaker& make, bool constant_first) {
  GraphBuilder& g = make.builder();
  const std::vector<DimId> shape = make.static_shape(1, 2);
  const DType t = make.dtype(kNumbers);
  const Margins margins = random_margins(make, shape.size());
  const auto pad = [&] { return padded(make, make.input(t, shape), make.input(t, {}), margins); };
  const ValueId p = pad();
  const std::vector<DimId> full = g.type(p).dims;
  const ValueId c = make.splat({t, full}, make.small_number(t));
  if (constant_first) return g.value(make.chance(0.5) ? Op::sub : Op::lt, {c, p});
  switch (make.pick(0, 2)) {
    case 0: return g.value(Op::neg, {p});
    case 1: return g.value(Op::mul, {p, c});
    default: return g.value(make.one_of(std::vector<Op>{Op::add, Op::max, Op::lt}), {p, pad()});
  }
}

ValueId sum_case(CaseMaker& make) {
  const DType t = make.dtype(kNumbers);
  const std::vector<DimId> shape = make.static_shape(1, 3);
  const ValueId p = padded(make, make.input(t, shape), make.splat({t, {}}, 0),
                           random_margins(make, shape.size()));
  const int rank = static_cast<int>(shape.size());
  return make.builder().value(
      Op::reduce_sum, {p},
      {{AttrKey::axes, make.axes_of_size(rank, static_cast<int>(make.pick(1, rank)))}});
}

ValueId fill_case(CaseMaker& make) {
  std::vector<DimId> shape = make.static_shape(1, 3);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  const DType t = make.dtype(kNumbers);
  const double c = make.small_number(t);
  std::vector<ValueId> parts;
  for (int64_t i = make.pick(2, 4); i > 0; --i) {
    shape[static_cast<size_t>(axis)] = make.dims().constant(make.pick(1, 2));
    const Type type{t, shape};
    parts.push_back(make.chance(0.5) ? make.splat(type, c) : make.input(type));
  }
  return make.builder().concat(parts, axis);
}

ValueId rows_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const ValueId v = make.input(make.dtype(kAllDTypes), make.static_shape(2, 3, 1));
  const std::vector<DimId> full = g.type(v).dims;
  const int64_t n = *make.dims().constant_value(full[0]);
  std::vector<ValueId> parts;
  for (int64_t i = make.pick(2, 3); i > 0; --i) {
    Slice s(make.dims(), full);
    s.starts[0] = make.dims().constant(make.pick(0, n - 1));
    s.shape[0] = make.dims().constant(1);
    const ValueId row = g.value(
        Op::slice, {v},
        {{AttrKey::starts, s.starts}, {AttrKey::shape, s.shape}, {AttrKey::strides, s.strides}});
    parts.push_back(g.value(Op::reshape, {row},
                            {{AttrKey::shape, std::vector<DimId>(full.begin() + 1, full.end())}}));
  }
  return g.concat(parts, 0);
}

ValueId broadcasts_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  std::vector<DimId> shape = make.static_shape(2, 3, 1);
  const auto rank = static_cast<int>(shape.size());
  const auto axis = make.pick(0, rank - 1);
  std::vector<int64_t> axes = make.axes_of_size(rank, rank - 1);
  if (!std::binary_search(axes.begin(), axes.end(), axis)) axes = {axis};
  const DType t = make.dtype(kAllDTypes);
  std::vector<ValueId> parts;
  for (int i = 0; i < 2; ++i) {
    shape[static_cast<size_t>(axis)] = make.dims().constant(make.pick(1, 3));
    std::vector<DimId> from;
    for (int64_t a : axes) from.push_back(shape[static_cast<size_t>(a)]);
    parts.push_back(g.value(Op::broadcast, {make.input(t, from)},
                            {{AttrKey::axes, axes}, {AttrKey::shape, shape}}));
  }
  return g.concat(parts, axis);
}

ValueId set_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kNumbers);
  const std::vector<DimId> inner = make.static_shape(1, 2);
  const Margins margins = random_margins(make, inner.size());
  const ValueId mask = padded(make, make.splat({DType::kBool, inner}, 1),
                              make.splat({DType::kBool, {}}, 0), margins);
  const Type full{t, g.type(mask).dims};
  const double c = make.small_number(t);
  const bool number = make.chance(0.5);
  const ValueId v = number ? make.splat(full, c) : make.input(full);
  const ValueId block = number
                            ? make.splat({t, inner}, c)
                            : g.value(Op::slice, {v},
                                      {{AttrKey::starts, margins.low},
                                       {AttrKey::shape, inner},
                                       {AttrKey::strides, std::vector<int64_t>(inner.size(), 1)}});
  return g.value(Op::where, {mask, padded(make, block, make.splat({t, {}}, 0), margins), v});
}

ValueId pad_of_fill_case(CaseMaker& make) {
  const DType t = make.dtype(kNumbers);
  const std::vector<DimId> shape = make.static_shape(1, 2);
  const double c = make.small_number(t);
  return padded(make, make.splat({t, shape}, c), make.splat({t, {}}, c),
                random_margins(make, shape.size()));
}

ValueId same_case(CaseMaker& make) {
  std::vector<DimId> shape = make.shape(1, 3);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  shape[static_cast<size_t>(axis)] = make.dims().constant(1);
  const std::vector<ValueId> parts(static_cast<size_t>(make.pick(2, 4)),
                                   make.input(make.dtype(kAllDTypes), shape));
  return make.builder().concat(parts, axis);
}

}  // namespace

std::vector<Rule> block_rules() {
  const Pattern p = pad_of("p", x, any("fill"));
  const Condition zero = scalar_is("fill", [](double v) { return v == 0; });
  return everywhere({
      rule("sink_pads", "f(pad(x), pad(y)) with equal margins -> pad(f(x, y))",
           one_of(elementwise_ops(), "f", {p}).and_more(), sink_pads)
          .cases([](CaseMaker& make) { return sink_case(make, false); }),
      rule("sink_pad_second", "f(c, pad(x)) -> pad(f(c, x))",
           one_of(elementwise_ops(), "f", {scalar("c"), p}), sink_pads)
          .cases([](CaseMaker& make) { return sink_case(make, true); }),
      rule("sum_of_pad", "sum(pad(x, 0)) -> pad(sum(x), 0)",
           op(Op::reduce_sum, {pad_of("p", x, scalar("fill"))}), sum_of_pad)
          .when(zero)
          .reassociates()
          .cases(sum_case),
      rule("concat_of_fill", "concat of x and one value at its ends -> pad(x)", op(Op::concat, {}),
           concat_of_fill)
          .cases(fill_case),
      rule("concat_of_broadcasts", "concat(broadcast(x), broadcast(y)) -> broadcast(concat(x, y))",
           op(Op::concat, {one_of({Op::broadcast}, "first", {x})}).and_more(), concat_of_broadcasts)
          .cases(broadcasts_case),
      rule("concat_of_rows", "concat of rows, each reshaped -> reshape of concat of the rows",
           op(Op::concat, {one_of({Op::reshape}, "first", {x})}).and_more(), concat_of_rows)
          .cases(rows_case),
      rule("pad_of_fill", "pad of what the fill is -> the fill",
           op(Op::pad, {scalar("x"), scalar("fill")}),
           [](const Match& m, Emitter& e) -> Replacement {
             const std::vector<DimId> shape = m.root_type().dims;
             return e.broadcast(m["fill"], shape, {});
           })
          .when([](const Match& m) {
            const auto a = m.facts().splat(m["x"]), b = m.facts().splat(m["fill"]);
            return a->equals(b->real) && a->integer == b->integer;
          })
          .cases(pad_of_fill_case),
      rule("set_what_is_there", "x with a block set to what x has there -> x",
           where(pad_of("mask", scalar("in", kBools), 0), pad_of("p", y, any("fill")), x),
           set_what_is_there)
          .when([](const Match& m) { return m.scalar("in") != 0; })
          .cases(set_case),
      rule("concat_of_same", "concat of one row n times -> broadcast", op(Op::concat, {}),
           concat_of_same)
          .cases(same_case),
  });
}

}  // namespace gcomp::rules
