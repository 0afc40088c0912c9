// Gathers and scatters by indices: what they do when the indices are constants, or add nothing.
#include <algorithm>
#include <unordered_map>

#include "slices.h"

namespace gcomp::rules {
namespace {

constexpr int64_t kMaxIndices = 4096;  // looked at one by one

const Pattern x = any("x"), y = any("y");

bool adds(const Match& m, std::string_view name) {
  return m.attrs(name).string_or(AttrKey::reduction, "none") == "add";
}
bool sets(const Match& m, std::string_view name) {
  return m.attrs(name).string_or(AttrKey::reduction, "none") == "none";
}

// A scatter of rows: coordinates along the first axis alone, one after the other.
struct Rows {
  std::vector<int64_t> at;  // from 0, all within the extent for every size
  bool distinct;
};

std::optional<Rows> rows_of(const Match& m, ValueId indices, const std::vector<DimId>& table) {
  const Constant* c = m.graph().constant(indices);
  if (c == nullptr || c->shape.size() != 2 || c->shape[1] != 1 || table.empty()) {
    return std::nullopt;
  }
  const int64_t n = c->num_elements();
  if (n == 0 || n > kMaxIndices) return std::nullopt;
  const auto extent = m.dims().constant_value(table[0]);
  Rows rows{{}, true};
  for (int64_t i = 0; i < n; ++i) {
    int64_t at = c->as_int(i);
    if (at < 0 && !extent) return std::nullopt;
    if (at < 0) at += *extent;
    if (at < 0 || !provably_at_least(m.dims(), table[0], at + 1)) return std::nullopt;
    rows.at.push_back(at);
  }
  std::vector<int64_t> sorted = rows.at;
  std::sort(sorted.begin(), sorted.end());
  rows.distinct = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  return rows;
}

bool consecutive(const std::vector<int64_t>& at) {
  for (size_t i = 1; i < at.size(); ++i) {
    if (at[i] != at[i - 1] + 1) return false;
  }
  return true;
}

// `i` has the numbers of the vector `j`, one a row: the coordinates of a scatter of what j gathers.
bool is_column_of(const Match& m, ValueId i, ValueId j) {
  const Graph& g = m.graph();
  const std::vector<DimId>&column = g.type(i).dims, &vector = g.type(j).dims;
  if (vector.size() != 1 || column.size() != 2 || column[0] != vector[0] ||
      !m.dims().is_constant(column[1], 1)) {
    return false;
  }
  const Node& n = g.producer_node(i);
  if (n.op == Op::reshape && g.operands(n)[0] == j) return true;
  const Constant *a = g.constant(i), *b = g.constant(j);
  if (a == nullptr || b == nullptr || a->num_elements() > kMaxIndices) return false;
  for (int64_t k = 0; k < a->num_elements(); ++k) {
    if (a->as_int(k) != b->as_int(k)) return false;
  }
  return true;
}

// A gather of rows along the first axis.
bool takes_rows(const Attrs& gather) {
  return gather.integer(AttrKey::axis) == 0 && gather.integer_or(AttrKey::batch_dims, 0) == 0;
}

// gather(scatter(x, i, y), i), no index twice: what was written.
Replacement gather_of_scatter(const Match& m, Emitter& e) {
  const auto rows = rows_of(m, m["i"], m.type("x").dims);
  if (!rows || !rows->distinct || !sets(m, "s") || !is_column_of(m, m["i"], m["j"]) ||
      !takes_rows(m.graph().attrs(m.root()))) {
    return std::nullopt;
  }
  return e.reshape(m["y"], m.root_type().dims);
}

// `v` is rows of `table` along the first axis, those at the scatter's coordinates `i`.
bool reads_rows(const Match& m, ValueId v, ValueId table, ValueId i) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (g.operands(n).empty() || g.operands(n)[0] != table) return false;
  if (n.op == Op::gather) return takes_rows(g.attrs(n)) && is_column_of(m, i, g.operands(n)[1]);
  if (n.op != Op::slice) return false;
  const std::vector<DimId>& full = g.type(table).dims;
  const auto rows = rows_of(m, i, full);
  const Slice s(g.attrs(n));
  const auto start = m.dims().constant_value(s.starts[0]);
  if (!rows || !start || !m.dims().is_constant(s.shape[0], static_cast<int64_t>(rows->at.size()))) {
    return false;
  }
  for (size_t k = 0; k < rows->at.size(); ++k) {
    if (rows->at[k] != *start + static_cast<int64_t>(k) * s.strides[0]) return false;
  }
  for (size_t a = 1; a < s.rank(); ++a) {
    if (!is_full(m, s, a, full[a])) return false;
  }
  return true;
}

// scatter(x, i, rows i of x + y), no index twice.
Replacement set_sum(const Match& m, Emitter& e) {
  const auto rows = rows_of(m, m["i"], m.type("x").dims);
  if (!rows || !rows->distinct || !sets(m, "s") || !reads_rows(m, m["r"], m["x"], m["i"])) {
    return std::nullopt;
  }
  return e.value(Op::scatter_nd, {m["x"], m["i"], m["y"]},
                 {{AttrKey::reduction, std::string("add")}});
}

// A slice of the rows that were written, in their order, or of none of them.
Replacement slice_of_scatter(const Match& m, Emitter& e) {
  Slice s = root_slice(m);
  const auto rows = rows_of(m, m["i"], m.type("x").dims);
  const auto start = m.dims().constant_value(s.starts[0]);
  const auto count = m.dims().constant_value(s.shape[0]);
  if (!rows || !start || !count || *count == 0 || *count > kMaxIndices) return std::nullopt;
  std::unordered_map<int64_t, int64_t> written;  // row -> the last update of it
  for (size_t k = 0; k < rows->at.size(); ++k) written[rows->at[k]] = static_cast<int64_t>(k);
  std::vector<int64_t> updates;
  for (int64_t k = 0; k < *count; ++k) {
    const auto found = written.find(*start + k * s.strides[0]);
    if (found != written.end()) updates.push_back(found->second);
  }
  if (updates.empty()) return slice(e, m["x"], s);
  if (!sets(m, "s") || static_cast<int64_t>(updates.size()) != *count) return std::nullopt;
  const int64_t stride = *count > 1 ? updates[1] - updates[0] : 1;
  for (size_t k = 1; k < updates.size(); ++k) {
    if (updates[k] - updates[k - 1] != stride) return std::nullopt;
  }
  s.starts[0] = m.dims().constant(updates[0]);
  s.strides[0] = stride;
  return slice(e, m["y"], s);
}

// A block of rows: its place in the result as padding.
ValueId as_block(const Match& m, Emitter& e, int64_t first) {
  const std::vector<DimId> shape = m.root_type().dims;
  const ValueId v = m["y"];
  DimTable& dims = m.dims();
  std::vector<DimId> low(shape.size(), dims.constant(0)), high = low;
  low[0] = dims.constant(first);
  high[0] = dims.sub(dims.sub(shape[0], low[0]), e.type(v).dims[0]);
  return e.pad(v, e.full({e.type(v).dtype, {}}, 0), low, high);
}

Replacement add_rows(const Match& m, Emitter& e) {
  const auto rows = rows_of(m, m["i"], m.root_type().dims);
  if (!rows || !consecutive(rows->at) || !adds(m, "s")) return std::nullopt;
  const ValueId block = as_block(m, e, rows->at[0]);
  return e.value(Op::add, {m["x"], block});
}

Replacement set_rows(const Match& m, Emitter& e) {
  const std::vector<DimId> shape = m.root_type().dims;
  const auto rows = rows_of(m, m["i"], shape);
  if (!rows || !consecutive(rows->at) || !sets(m, "s")) return std::nullopt;
  DimTable& dims = m.dims();
  const ValueId block = m["y"];
  Slice before(dims, shape), after = before;
  before.shape[0] = dims.constant(rows->at[0]);
  after.starts[0] = dims.constant(rows->at.back() + 1);
  after.shape[0] = dims.sub(shape[0], after.starts[0]);
  std::vector<ValueId> parts;
  if (!dims.is_constant(before.shape[0], 0)) parts.push_back(slice(e, m["x"], before));
  parts.push_back(block);
  if (!dims.is_constant(after.shape[0], 0)) parts.push_back(slice(e, m["x"], after));
  return parts.size() == 1 ? Replacement(parts[0]) : Replacement(e.concat(parts, 0));
}

bool distinct_sum(const Match& m) {
  const auto rows = rows_of(m, m["i"], m.root_type().dims);
  return rows && rows->distinct && adds(m, "s");
}

Replacement add_to_set(const Match& m, Emitter& e) {
  return e.value(Op::scatter_nd, {m["x"], m["i"], m["y"]},
                 {{AttrKey::reduction, std::string("none")}});
}

// z + scatter(0, i, y), the scatter read by nobody else: scattered into z, and no zeros are made.
Replacement scatter_into(const Match& m, Emitter& e) {
  return e.like(m.node("s"), {m["z"], m["i"], m["y"]});
}

// Setting what is there already: scatter(x, i, gather_nd(x, i)).
bool reads_what_it_writes(const Match& m) {
  return sets(m, "s") && m.attrs("g").integer_or(AttrKey::batch_dims, 0) == 0;
}

// Counting 0, 1, ... to the extent.
bool counts_all(const Match& m) {
  const Attrs a = m.graph().attrs(m.root());
  const auto axis = static_cast<size_t>(a.integer(AttrKey::axis));
  return a.integer_or(AttrKey::batch_dims, 0) == 0 && m.type("i").rank() == 1 &&
         m.type("i").dims[0] == m.type("x").dims[axis] && m.type("x") == m.root_type();
}

// ---- cases ----

struct ScatterCase {
  DType dtype;
  std::vector<DimId> table, update;
  std::vector<int64_t> at;
};

ScatterCase scatter_case(CaseMaker& make, bool run) {
  ScatterCase c{make.dtype(kNumbers), make.static_shape(1, 2, 1), {}, {}};
  const int64_t extent = make.pick(2, 5), n = make.pick(1, extent);
  c.table[0] = make.dims().constant(extent);
  const int64_t first = make.pick(0, extent - n);
  std::vector<int64_t> any_order;
  for (int64_t v : make.permutation(static_cast<int>(extent))) any_order.push_back(v);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = run ? first + i : any_order[static_cast<size_t>(i)];
    c.at.push_back(make.chance(0.2) ? at - extent : at);
  }
  c.update = c.table;
  c.update[0] = make.dims().constant(n);
  return c;
}

ValueId column(CaseMaker& make, const std::vector<int64_t>& at) {
  GraphBuilder& g = make.builder();
  std::vector<std::byte> bytes;
  for (int64_t v : at) {
    const Constant one = make_scalar_int(DType::kInt64, v);
    bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
  }
  return g.constant(
      make_constant(DType::kInt64, {static_cast<int64_t>(at.size()), 1}, std::move(bytes)));
}

ValueId scatter(CaseMaker& make, const ScatterCase& c, ValueId table, const char* reduction) {
  return make.builder().value(Op::scatter_nd,
                              {table, column(make, c.at), make.input(c.dtype, c.update)},
                              {{AttrKey::reduction, std::string(reduction)}});
}

Generator rows_case(const char* reduction, bool run, bool zero) {
  return [=](CaseMaker& make) {
    const ScatterCase c = scatter_case(make, run);
    const Type t{c.dtype, c.table};
    return scatter(make, c, zero ? make.splat(t, 0) : make.input(t), reduction);
  };
}

ValueId read_back_case(CaseMaker& make) {
  const ScatterCase c = scatter_case(make, false);
  const ValueId s = scatter(make, c, make.input(c.dtype, c.table), "none");
  return make.builder().value(Op::gather, {s, make.builder().int64s(c.at)},
                              {{AttrKey::axis, int64_t{0}}});
}

ValueId set_sum_case(CaseMaker& make, bool plus) {
  GraphBuilder& g = make.builder();
  const ScatterCase c = scatter_case(make, false);
  const ValueId v = make.input(c.dtype, c.table);
  ValueId at, column_at;
  if (plus) {
    at = g.int64s(c.at);
    column_at = column(make, c.at);
  } else {
    at = make.input(DType::kInt64, {c.update[0]});
    column_at =
        g.value(Op::reshape, {at},
                {{AttrKey::shape, std::vector<DimId>{c.update[0], make.dims().constant(1)}}});
  }
  ValueId rows = g.value(Op::gather, {v, at}, {{AttrKey::axis, int64_t{0}}});
  if (plus) rows = g.value(Op::add, {rows, make.input(c.dtype, c.update)});
  return g.value(Op::scatter_nd, {v, column_at, rows});
}

ValueId slice_case(CaseMaker& make) {
  const ScatterCase c = scatter_case(make, false);
  const ValueId v = make.input(c.dtype, c.table);
  return make_slice(make, scatter(make, c, v, make.chance(0.5) ? "none" : "add"));
}

ValueId sum_case(CaseMaker& make) {
  const ScatterCase c = scatter_case(make, false);
  const Type t{c.dtype, c.table};
  const ValueId s = scatter(make, c, make.splat(t, 0), "add");
  return make.builder().value(Op::add, {s, make.input(t)});
}

ValueId nothing_case(CaseMaker& make) {
  const ScatterCase c = scatter_case(make, false);
  const Type t{make.dtype(kInts), c.table};
  return make.builder().value(
      Op::scatter_nd, {make.input(t), column(make, c.at), make.splat({t.dtype, c.update}, 0)},
      {{AttrKey::reduction, std::string("add")}});
}

ValueId same_case(CaseMaker& make) {
  const ScatterCase c = scatter_case(make, false);
  const ValueId v = make.input(c.dtype, c.table), at = column(make, c.at);
  const ValueId read = make.builder().value(Op::gather_nd, {v, at});
  return make.builder().value(Op::scatter_nd, {v, at, read});
}

ValueId everything_case(CaseMaker& make) {
  const std::vector<DimId> shape = make.shape(1, 3);
  const auto axis = make.pick(0, static_cast<int64_t>(shape.size()) - 1);
  const ValueId v = make.input(make.dtype(kAllDTypes), shape);
  const ValueId all = make.builder().value(
      Op::iota, std::span<const ValueId>(),
      {{AttrKey::axis, int64_t{0}},
       {AttrKey::dtype, DType::kInt64},
       {AttrKey::shape, std::vector<DimId>{shape[static_cast<size_t>(axis)]}}});
  return make.builder().value(Op::gather, {v, all}, {{AttrKey::axis, axis}});
}

}  // namespace

std::vector<Rule> indexed_rules() {
  const auto scatter_of = [](Pattern table, Pattern updates) {
    return one_of({Op::scatter_nd}, "s", {std::move(table), any("i"), std::move(updates)});
  };
  const auto operand = [](const Match& m, Emitter&) -> Replacement { return m["x"]; };
  std::vector<Rule> rules = everywhere({
      rule("gather_all", "gather(x, 0, 1, ...) of all -> x",
           op(Op::gather, {x, one_of({Op::iota}, "i", {})}), operand)
          .when(counts_all)
          .cases(everything_case),
      rule("gather_of_scatter", "gather(scatter(x, i, y), i), constants all different -> y",
           op(Op::gather, {scatter_of(x, y), constant("j")}), gather_of_scatter)
          .cases(read_back_case),
      rule("slice_of_scatter",
           "slice of rows that a scatter wrote, or of none -> of those, or of x",
           op(Op::slice, {scatter_of(x, y)}), slice_of_scatter)
          .cases(slice_case),
      rule("scatter_what_is_there", "scatter(x, i, gather_nd(x, i)) -> x",
           scatter_of(x, one_of({Op::gather_nd}, "g", {x, any("i")})), operand)
          .when(reads_what_it_writes)
          .cases(same_case),
      rule("scatter_gathered", "scatter(x, i, gather(x, i)) -> x", scatter_of(x, any("r")), operand)
          .when(
              [](const Match& m) { return sets(m, "s") && reads_rows(m, m["r"], m["x"], m["i"]); })
          .cases([](CaseMaker& make) { return set_sum_case(make, false); }),
      rule("scatter_gathered_sum",
           "scatter(x, i, gather(x, i) + y), constants all different -> adding y",
           scatter_of(x, any("r") + y), set_sum)
          .cases([](CaseMaker& make) { return set_sum_case(make, true); }),
      rule("scatter_nothing", "scatter that adds 0 -> x, integers", scatter_of(integer("x"), 0),
           operand)
          .when([](const Match& m) { return adds(m, "s"); })
          .cases(nothing_case),
      rule("add_rows", "scatter that adds to constant neighbouring rows -> x + pad(y)",
           scatter_of(x, y), add_rows)
          .reassociates()  // -0.0 + 0 is 0
          .cases(rows_case("add", true, false)),
      rule("set_rows", "scatter to constant neighbouring rows -> concat of what is left and y",
           scatter_of(x, y), set_rows)
          .cases(rows_case("none", true, false)),
      rule("scatter_add_to_set", "scatter that adds to 0 at different constants -> scatter",
           scatter_of(Pattern(0).named("x"), y), add_to_set)
          .when(distinct_sum)
          .reassociates()
          .cases(rows_case("add", false, true)),
  });
  for (Rule& r :
       only_in("specialize",
               {
                   rule("scatter_into_sum", "z + scatter(0, i, y) -> scatter(z, i, y), adding",
                        any("z") + scatter_of(0, y), scatter_into)
                       .when([](const Match& m) { return adds(m, "s") && used_once(m, "s"); })
                       .reassociates()
                       .cases(sum_case),
               })) {
    rules.push_back(std::move(r));
  }
  return rules;
}

}  // namespace gcomp::rules
