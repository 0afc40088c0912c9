// A matrix product that selects rows: (i == 0, 1, ..., n-1) as numbers, times a table, is a gather.
#include <algorithm>
#include <cmath>

#include "tables.h"

namespace gcomp::rules {
namespace {

constexpr double kMaxFirst = 1 << 30;  // sums and indices stay exact

bool all_finite(const Constant& c) {
  for (int64_t i = 0; i < c.num_elements(); ++i) {
    if (!std::isfinite(c.as_double(i))) return false;
  }
  return true;
}

// The first number if `v` counts first, first + 1, ... along its last axis and is equal along the others.
std::optional<double> counts_along_last(const Match& m, ValueId v) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  const ValueId source = n.op == Op::broadcast ? g.operands(n)[0] : v;
  const Constant* c = g.constant(source);
  const Type &from = g.type(source), &to = g.type(v);
  if (c == nullptr || from.rank() == 0 || from.dims.back() != to.dims.back()) return std::nullopt;
  if (m.dims().constant_value(from.dims.back()) != c->num_elements()) return std::nullopt;
  if (n.op == Op::broadcast && g.attrs(n).ints(AttrKey::axes).back() != to.rank() - 1) {
    return std::nullopt;
  }
  const double first = c->num_elements() > 0 ? c->as_double(0) : kMaxFirst;
  if (!(std::fabs(first) < kMaxFirst)) return std::nullopt;
  for (int64_t i = 0; i < c->num_elements(); ++i) {
    if (c->as_double(i) != first + static_cast<double>(i)) return std::nullopt;
  }
  return first;
}

// The broadcast "b" without its last axis; nullopt if it varies along that.
std::optional<ValueId> without_last(const Match& m, Emitter& e) {
  std::vector<int64_t> axes = m.attrs("b").ints(AttrKey::axes);
  std::vector<DimId> from = m.type("i").dims, to = m.type("b").dims;
  to.pop_back();
  if (!axes.empty() && axes.back() == static_cast<int64_t>(to.size())) {
    if (!m.dims().is_constant(from.back(), 1)) return std::nullopt;
    axes.pop_back();
    from.pop_back();
  }
  return e.broadcast(e.reshape(m["i"], from), to, axes);
}

Replacement select_rows(const Match& m, Emitter& e) {
  const Attrs attrs = m.graph().attrs(m.root());
  const Constant* table = m.graph().constant(m["w"]);
  const Type w = m.type("w"), root = m.root_type();
  if (attrs.integer_or(AttrKey::trans_a, 0) != 0 || attrs.integer_or(AttrKey::trans_b, 0) != 0 ||
      w.rank() != 2 || table == nullptr || m.type("hot").dims.back() != w.dims[0]) {
    return std::nullopt;
  }
  const auto first = counts_along_last(m, m["c"]);
  const auto index = first ? without_last(m, e) : std::nullopt;
  if (!index || !all_finite(*table)) return std::nullopt;
  const auto count = static_cast<double>(*m.dims().constant_value(w.dims[0]));
  // What is not counted selects the row of zeros at the end.
  const ValueId inside =
      e.value(Op::bit_and, {e.value(Op::ge, {*index, splat_like(e, *index, *first)}),
                            e.value(Op::le, {*index, splat_like(e, *index, *first + count - 1)})});
  const ValueId wide = e.cast(*index, DType::kInt64);
  const ValueId row = e.value(
      Op::where,
      {inside, e.value(Op::sub, {wide, splat_like(e, wide, *first)}), splat_like(e, wide, count)});
  std::vector<int64_t> shape = table->shape;
  std::vector<std::byte> bytes(table->bytes.begin(), table->bytes.end());
  bytes.resize(bytes.size() + bytes.size() / static_cast<size_t>(shape[0]));
  ++shape[0];
  const ValueId longer = e.builder().constant(make_constant(w.dtype, shape, std::move(bytes)));
  return e.value(Op::gather, {longer, e.reshape(row, {root.dims[0]})},
                 {{AttrKey::axis, int64_t{0}}});
}

ValueId select_rows_case(CaseMaker& make, bool reshaped) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kFloats), ti = make.dtype(kInts);
  const int64_t n = make.pick(1, 4), first = make.pick(0, 2);
  std::vector<DimId> lead{make.extent()};
  if (reshaped) lead.push_back(make.static_extent(1));
  std::vector<DimId> full = lead;
  full.push_back(make.dims().constant(n));
  std::vector<int64_t> axes(lead.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < n; ++i) numbers.push_back(first + i);
  const ValueId index = g.broadcast(make.input(ti, lead), full, axes);
  const ValueId count =
      g.broadcast(g.cast(g.int64s(numbers), ti), full, {static_cast<int64_t>(lead.size())});
  ValueId hot = g.cast(g.value(Op::eq, {index, count}), t);
  if (reshaped) {
    hot = g.reshape(hot, {make.dims().mul(lead[0], lead[1]), full.back()});
  }
  return g.value(Op::matmul, {hot, make.constant({t, {full.back(), make.static_extent(1)}})});
}

}  // namespace

std::vector<Rule> one_hot_rules() {
  const Pattern equal = op(Op::eq, {one_of({Op::broadcast}, "b", {integer("i")}), constant("c")});
  const Pattern hot = one_of({Op::cast}, "hot", {equal});
  const Pattern table = constant("w");
  std::vector<Rule> rules = only_in(
      "specialize",
      {
          rule("select_rows", "matmul((i == 0, 1, ..., n-1) as numbers, table) -> gather(table, i)",
               op(Op::matmul, {hot, table}), select_rows)
              .cases([](CaseMaker& make) { return select_rows_case(make, false); }),
          rule("select_rows_reshaped", "the same where leading axes are merged before the product",
               op(Op::matmul, {op(Op::reshape, {hot}), table}), select_rows)
              .cases([](CaseMaker& make) { return select_rows_case(make, true); }),
      });
  for (Rule& r : rules) r.tags.push_back("contract");
  return rules;
}

}  // namespace gcomp::rules
