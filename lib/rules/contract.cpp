// Matrix products and convolutions: transposes into flags, padding, scales and biases into operands.
// Rows that copy work when the product has other readers ask for a single use.
#include <algorithm>
#include <cmath>
#include <utility>

#include "tables.h"

namespace gcomp::rules {
namespace {

const Pattern x = any("x"), w = any("w"), y = any("y");

// A transpose that swaps the last two axes and keeps the others.
bool swaps_matrices(const std::vector<int64_t>& perm) {
  const size_t n = perm.size();
  if (n < 2) return false;
  for (size_t i = 0; i + 2 < n; ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return perm[n - 1] == static_cast<int64_t>(n - 2);
}

std::vector<Attr> flags(int64_t trans_a, int64_t trans_b) {
  std::vector<Attr> attrs;
  if (trans_a != 0) attrs.push_back({AttrKey::trans_a, int64_t{1}});
  if (trans_b != 0) attrs.push_back({AttrKey::trans_b, int64_t{1}});
  return attrs;
}

Replacement matmul_of_transpose(const Match& m, Emitter& e, bool first) {
  const Attrs a = m.graph().attrs(m.root());
  if (!swaps_matrices(m.attrs("t").ints(AttrKey::perm))) return std::nullopt;
  const int64_t ta = a.integer_or(AttrKey::trans_a, 0), tb = a.integer_or(AttrKey::trans_b, 0);
  return e.value(Op::matmul, {m["x"], m["w"]}, first ? flags(1 - ta, tb) : flags(ta, 1 - tb));
}

// (A B)^T = B^T A^T
Replacement transpose_of_matmul(const Match& m, Emitter& e) {
  if (!swaps_matrices(m.graph().attrs(m.root()).ints(AttrKey::perm))) return std::nullopt;
  const Attrs a = m.attrs("m");
  const int64_t ta = a.integer_or(AttrKey::trans_a, 0), tb = a.integer_or(AttrKey::trans_b, 0);
  return e.value(Op::matmul, {m["w"], m["x"]}, flags(1 - tb, 1 - ta));
}

// The extent that is summed over.
DimId inner_extent(const Match& m) {
  const bool ta = m.graph().attrs(m.root()).integer_or(AttrKey::trans_a, 0) != 0;
  const std::vector<DimId>& dims = m.type("x").dims;
  return dims[dims.size() - (ta ? 2 : 1)];
}

Replacement matmul_of_zero(const Match& m, Emitter& e) {
  const Type t = m.root_type();
  return e.full(t, 0);
}

// One product an element: no sum.
Replacement outer_product(const Match& m, Emitter& e) {
  const std::vector<DimId> shape = m.root_type().dims;
  const size_t rank = shape.size();
  const auto spread = [&](ValueId v, size_t missing) {
    std::vector<DimId> kept;
    std::vector<int64_t> axes;
    for (size_t a = 0; a < rank; ++a) {
      if (a == missing) continue;
      kept.push_back(shape[a]);
      axes.push_back(static_cast<int64_t>(a));
    }
    return e.broadcast(e.reshape(v, kept), shape, axes);
  };
  const ValueId rows = spread(m["x"], rank - 1), columns = spread(m["w"], rank - 2);
  return e.value(Op::mul, {rows, columns});
}

// The same matrix for the whole batch: the rows of all of it are one matrix.
Replacement matmul_of_shared(const Match& m, Emitter& e) {
  const Attrs attrs = m.graph().attrs(m.root());
  const auto rank = static_cast<int64_t>(m.root_type().dims.size());
  if (attrs.integer_or(AttrKey::trans_a, 0) != 0 || m.type("w").rank() != 2 ||
      m.attrs("b").ints(AttrKey::axes) != std::vector<int64_t>{rank - 2, rank - 1}) {
    return std::nullopt;
  }
  const std::vector<DimId> full = m.type("b").dims, from = m.type("w").dims;
  if (!std::equal(from.begin(), from.end(), full.end() - 2)) return std::nullopt;
  const std::vector<DimId> shape = m.root_type().dims, x_dims = m.type("x").dims;
  const DimId rows = m.dims().product(std::span(shape).first(shape.size() - 1));
  const std::vector<Attr> kept = flags(0, attrs.integer_or(AttrKey::trans_b, 0));
  const ValueId product =
      e.value(Op::matmul, {e.reshape(m["x"], {rows, x_dims.back()}), m["w"]}, kept);
  return e.reshape(product, shape);
}

// Both matrices the same for the whole batch: one product, broadcast.
Replacement matmul_of_broadcasts(const Match& m, Emitter& e) {
  const std::vector<DimId> shape = m.root_type().dims;
  const auto rank = static_cast<int64_t>(shape.size());
  const std::vector<int64_t> matrix{rank - 2, rank - 1};
  for (const auto& [b, of] : {std::pair("b", "x"), std::pair("c", "w")}) {
    const std::vector<DimId>&full = m.type(b).dims, &from = m.type(of).dims;
    if (m.attrs(b).ints(AttrKey::axes) != matrix ||
        !std::equal(from.begin(), from.end(), full.end() - 2)) {
      return std::nullopt;
    }
  }
  const AttrsId attrs = m.graph().node(m.root()).attrs;
  const ValueId operands[] = {m["x"], m["w"]};
  const ValueId product = e.builder().result(e.builder().node(Op::matmul, operands, attrs));
  return e.broadcast(product, shape, matrix);
}

bool batch_of_one(const Match& m) {
  const std::vector<DimId>& dims = m.root_type().dims;
  return dims.size() > 2 && std::all_of(dims.begin(), dims.end() - 2,
                                        [&](DimId d) { return m.dims().is_constant(d, 1); });
}

Replacement matmul_of_one_matrix(const Match& m, Emitter& e) {
  const std::vector<DimId> shape = m.root_type().dims;
  const auto matrix = [&](ValueId v) {
    const std::vector<DimId> d = e.type(v).dims;
    return e.reshape(v, {d[d.size() - 2], d.back()});
  };
  const ValueId a = matrix(m["x"]), b = matrix(m["w"]);
  return e.reshape(e.like(m.root(), {a, b}), shape);
}

// Where `axes` place operand axis i, or -1.
std::vector<int64_t> places(const Match& m, ValueId v, std::string_view broadcast, size_t rank,
                            bool* varies) {
  const std::vector<int64_t>& axes = m.attrs(broadcast).ints(AttrKey::axes);
  const std::vector<DimId>&from = m.graph().type(v).dims, &full = m.type(broadcast).dims;
  std::vector<int64_t> at(rank, -1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(axes[i]);
    if (from[i] != full[a]) *varies = false;  // an extent of 1 that repeats: not in canonical form
    at[a] = static_cast<int64_t>(i);
  }
  return at;
}

// sum over axes of broadcast(x) * broadcast(y), where each has axes of its own: a product of matrices.
Replacement sum_of_outer(const Match& m, Emitter& e) {
  const std::vector<int64_t> reduced = m.graph().attrs(m.root()).ints(AttrKey::axes);
  const std::vector<DimId> full = m.type("b").dims;
  const size_t rank = full.size();
  bool plain = true;
  const std::vector<int64_t> of_x = places(m, m["x"], "b", rank, &plain);
  const std::vector<int64_t> of_y = places(m, m["y"], "c", rank, &plain);
  if (!plain) return std::nullopt;
  std::vector<size_t> batch, rows, columns, inner;
  for (size_t a = 0; a < rank; ++a) {
    const bool sum = std::binary_search(reduced.begin(), reduced.end(), static_cast<int64_t>(a));
    const bool in_x = of_x[a] >= 0, in_y = of_y[a] >= 0;
    if (in_x && in_y) {
      (sum ? inner : batch).push_back(a);
    } else if (sum || (!in_x && !in_y)) {
      return std::nullopt;  // other rules take a factor out of such a sum
    } else {
      (in_x ? rows : columns).push_back(a);
    }
  }
  if (rows.empty() || columns.empty() || inner.empty()) return std::nullopt;
  DimTable& dims = m.dims();
  const auto extent = [&](const std::vector<size_t>& axes) {
    DimId d = dims.constant(1);
    for (size_t a : axes) d = dims.mul(d, full[a]);
    return d;
  };
  const auto matrix = [&](ValueId v, const std::vector<int64_t>& place,
                          const std::vector<size_t>& own) {
    std::vector<int64_t> perm;
    for (const std::vector<size_t>* axes : {&std::as_const(batch), &own, &std::as_const(inner)}) {
      for (size_t a : *axes) perm.push_back(place[a]);
    }
    std::vector<DimId> shape;
    if (!batch.empty()) shape.push_back(extent(batch));
    shape.insert(shape.end(), {extent(own), extent(inner)});
    return e.reshape(e.transpose(v, perm), shape);
  };
  const ValueId a = matrix(m["x"], of_x, rows), b = matrix(m["y"], of_y, columns);
  const ValueId product = e.value(Op::matmul, {a, b}, flags(0, 1));
  // The axes as the product has them, then in their order.
  std::vector<size_t> order = batch;
  order.insert(order.end(), rows.begin(), rows.end());
  order.insert(order.end(), columns.begin(), columns.end());
  std::vector<DimId> shape;
  for (size_t axis : order) shape.push_back(full[axis]);
  std::vector<int64_t> perm(order.size());
  for (size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<int64_t>(i);
  std::sort(perm.begin(), perm.end(), [&](int64_t i, int64_t k) {
    return order[static_cast<size_t>(i)] < order[static_cast<size_t>(k)];
  });
  return e.transpose(e.reshape(product, shape), perm);
}

// sum((x * y)^2), x and y broadcast: of x^2 * y^2, which is a product of matrices.
Replacement sum_of_squared_outer(const Match& m, Emitter& e) {
  const std::vector<int64_t> axes = m.graph().attrs(m.root()).ints(AttrKey::axes);
  const ValueId xs = e.value(Op::mul, {m["x"], m["x"]}), ys = e.value(Op::mul, {m["y"], m["y"]});
  const ValueId b = e.like(m.node("b"), {xs}), c = e.like(m.node("c"), {ys});
  return e.builder().reduce(Op::reduce_sum, e.value(Op::mul, {b, c}), axes);
}

// matmul(x * s, w) -> matmul(x, w) * s: there the factor costs nothing, and meets others.
Replacement scale_out(const Match& m, Emitter& e, int which) {
  const ValueId x = m["x"], w = m["w"];
  const ValueId product = which == 0 ? e.like(m.root(), {x, w}) : e.like(m.root(), {w, x});
  if (m.op("scaled") == Op::neg) return e.value(Op::neg, {product});
  const Node& factor = m.graph().producer_node(m["s"]);
  if (factor.op != Op::broadcast) return std::nullopt;
  const ValueId number = m.graph().operands(factor)[0];
  if (m.graph().type(number).rank() != 0) return std::nullopt;
  return e.value(Op::mul, {product, e.broadcast(number, m.root_type().dims, {})});
}

bool finite_factor(const Match& m) {
  const double s = m.scalar("s");
  return std::isfinite(s) && s != 0 && !m.facts().is_constant(m["x"]);  // that folds
}

bool is_nhwc(const Attrs& conv) { return conv.string_or(AttrKey::layout, "nchw") == "nhwc"; }

// The axis of a conv's (or conv_transpose's) result that counts channels.
int64_t channel_axis(const Match& m) {
  return is_nhwc(m.attrs("conv")) ? m.type("conv").rank() - 1 : 1;
}

// Of the kernel: which axis counts output channels. Grouped transposed convolutions have none.
std::optional<size_t> out_axis_of_kernel(const Match& m) {
  const Attrs a = m.attrs("conv");
  const auto rank = static_cast<size_t>(m.type("conv").rank());
  if (m.op("conv") == Op::conv) return is_nhwc(a) ? rank - 1 : 0;
  if (a.integer_or(AttrKey::group, 1) != 1) return std::nullopt;
  return is_nhwc(a) ? rank - 1 : 1;
}

// `v` has one value per position of `axis`: as a vector of that extent. Looks through one broadcast.
std::optional<ValueId> per_axis(const Match& m, Emitter& e, ValueId v, size_t axis) {
  const Graph& g = m.graph();
  const Node& n = g.producer_node(v);
  if (n.op != Op::broadcast) return std::nullopt;
  const ValueId source = g.operands(n)[0];
  const std::vector<int64_t> axes = g.attrs(n).ints(AttrKey::axes);
  const std::vector<DimId> from = g.type(source).dims;
  const DimId extent = g.type(v).dims[axis];
  bool found = false;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (m.dims().is_constant(from[i], 1)) continue;
    if (static_cast<size_t>(axes[i]) != axis || from[i] != extent) return std::nullopt;
    found = true;
  }
  if (found) return e.reshape(source, {extent});
  return e.broadcast(e.reshape(source, {}), {extent}, {});
}

// Whether `v` is computed from constants alone by a few layout nodes, so that folding finishes it.
bool is_constant(const Match& m, ValueId v) {
  for (int steps = 0; steps < 4; ++steps) {
    if (m.facts().is_constant(v)) return true;
    const Node& n = m.graph().producer_node(v);
    if (!has_trait(n.op, kLayout)) return false;
    v = m.graph().operands(n)[0];
  }
  return false;
}

std::vector<ValueId> conv_operands(const Match& m) { return m.operands("conv"); }

ValueId conv_with(const Match& m, Emitter& e, std::vector<ValueId> operands) {
  const Node n = m.graph().node(m.node("conv"));
  return e.builder().result(e.builder().node(n.op, operands, n.attrs));
}

Replacement conv_bias(const Match& m, Emitter& e) {
  const auto bias = per_axis(m, e, m["y"], static_cast<size_t>(channel_axis(m)));
  if (!bias) return std::nullopt;
  std::vector<ValueId> operands = conv_operands(m);
  if (operands.size() == 3) {
    operands[2] = e.value(Op::add, {operands[2], *bias});
  } else {
    operands.push_back(*bias);
  }
  return conv_with(m, e, operands);
}

// conv(x, w, bias) combined with one factor per channel by `op` (mul or div).
Replacement conv_scaled(const Match& m, Emitter& e, Op op) {
  const auto out = out_axis_of_kernel(m);
  std::vector<ValueId> operands = conv_operands(m);
  if (!out || !is_constant(m, operands[1]) || !is_constant(m, m["y"])) return std::nullopt;
  const auto scale = per_axis(m, e, m["y"], static_cast<size_t>(channel_axis(m)));
  if (!scale) return std::nullopt;
  const std::vector<DimId> kernel = e.type(operands[1]).dims;
  const ValueId spread = e.broadcast(*scale, kernel, {static_cast<int64_t>(*out)});
  operands[1] = e.value(op, {operands[1], spread});
  if (operands.size() == 3) operands[2] = e.value(op, {operands[2], *scale});
  return conv_with(m, e, operands);
}

// matmul(x, w) times one constant factor per column, w constant.
Replacement matmul_scaled(const Match& m, Emitter& e) {
  if (!is_constant(m, m["w"]) || !is_constant(m, m["y"])) return std::nullopt;
  const auto rank = static_cast<size_t>(m.type("mm").rank());
  const auto scale = per_axis(m, e, m["y"], rank - 1);
  if (!scale) return std::nullopt;
  const Attrs a = m.attrs("mm");
  const bool trans_b = a.integer_or(AttrKey::trans_b, 0) != 0;
  const std::vector<DimId> shape = m.type("w").dims;
  const auto axis = static_cast<int64_t>(trans_b ? rank - 2 : rank - 1);
  const ValueId scaled = e.value(Op::mul, {m["w"], e.broadcast(*scale, shape, {axis})});
  return e.like(m.node("mm"), {m["x"], scaled});
}

bool all_zero(const DimTable& dims, const std::vector<DimId>& v, size_t at) {
  return dims.is_constant(v[at], 0);
}

// pad(x, 0) before a convolution, on spatial axes only and not cropping.
Replacement conv_of_pad(const Match& m, Emitter& e) {
  const Attrs pad = m.attrs("p"), conv = m.attrs("conv");
  const bool nhwc = is_nhwc(conv);
  const size_t rank = pad.dims(AttrKey::low).size(), first = nhwc ? 1 : 2;
  const size_t channel = nhwc ? rank - 1 : 1;
  std::vector<Attr> attrs;
  std::vector<DimId> low = conv.dims(AttrKey::low), high = conv.dims(AttrKey::high);
  for (AttrKey key : {AttrKey::low, AttrKey::high}) {
    std::vector<DimId>& sum = key == AttrKey::low ? low : high;
    const std::vector<DimId>& extra = pad.dims(key);
    if (!all_zero(m.dims(), extra, 0) || !all_zero(m.dims(), extra, channel)) return std::nullopt;
    for (size_t i = 0; i < sum.size(); ++i) {
      if (!provably_at_least(m.dims(), extra[first + i], 0)) return std::nullopt;
      sum[i] = m.dims().add(sum[i], extra[first + i]);
    }
  }
  for (const Attr& a : conv) {
    attrs.push_back(a);
    if (a.key == AttrKey::low) attrs.back().value = low;
    if (a.key == AttrKey::high) attrs.back().value = high;
  }
  std::vector<ValueId> operands = conv_operands(m);
  operands[0] = m["x"];
  std::vector<DimId> extents = low;
  extents.insert(extents.end(), high.begin(), high.end());
  if (!e.carriers(extents, operands).empty()) return std::nullopt;  // conv takes no carriers
  return e.value(Op::conv, operands, std::move(attrs));
}

// ---- cases ----

ValueId matmul_case(CaseMaker& make, int where) {
  const DType t = make.dtype(kNumbers);
  const DimId rows = make.extent(), inner = make.extent(), columns = make.extent();
  std::vector<DimId> a{rows, inner}, b{inner, columns};
  std::vector<int64_t> swap{1, 0};
  if (make.chance(0.4)) {
    const DimId batch = make.extent();
    a.insert(a.begin(), batch);
    b.insert(b.begin(), batch);
    swap = {0, 2, 1};
  }
  const auto input = [&](std::vector<DimId> dims, bool transposed, int64_t flag) {
    if (transposed != (flag != 0)) std::swap(dims[dims.size() - 1], dims[dims.size() - 2]);
    const ValueId v = make.input(t, dims);
    return transposed ? make.builder().value(Op::transpose, {v}, {{AttrKey::perm, swap}}) : v;
  };
  const int64_t ta = make.pick(0, 1), tb = make.pick(0, 1);
  const ValueId va = input(a, where == 0, ta), vb = input(b, where == 1, tb);
  const ValueId mm = make.builder().value(Op::matmul, {va, vb}, flags(ta, tb));
  if (where != 2) return mm;
  return make.builder().value(Op::transpose, {mm}, {{AttrKey::perm, swap}});
}

struct ProductCase {
  DType dtype;
  std::vector<DimId> batch;
  DimId rows, inner, columns;
};

// Of random operands; `zero`: one of them is 0 everywhere.
ValueId product(CaseMaker& make, const ProductCase& p, bool zero) {
  const int64_t ta = make.pick(0, 1), tb = make.pick(0, 1);
  const auto dims = [&](DimId rows, DimId columns, int64_t swapped) {
    std::vector<DimId> d = p.batch;
    d.insert(d.end(), {swapped ? columns : rows, swapped ? rows : columns});
    return d;
  };
  const Type a{p.dtype, dims(p.rows, p.inner, ta)}, b{p.dtype, dims(p.inner, p.columns, tb)};
  const bool first = make.chance(0.5);
  const ValueId va = zero && first ? make.splat(a, 0) : make.input(a);
  const ValueId vb = zero && !first ? make.splat(b, 0) : make.input(b);
  return make.builder().value(Op::matmul, {va, vb}, flags(ta, tb));
}

ProductCase product_case(CaseMaker& make, DTypeMask dtypes) {
  ProductCase p{make.dtype(dtypes), {}, make.extent(), make.extent(), make.extent()};
  if (make.chance(0.4)) p.batch.push_back(make.extent());
  return p;
}

Generator zero_product(DTypeMask dtypes) {
  return [=](CaseMaker& make) { return product(make, product_case(make, dtypes), true); };
}

Generator product_over(int64_t inner) {
  return [=](CaseMaker& make) {
    ProductCase p = product_case(make, kNumbers);
    p.inner = make.dims().constant(inner);
    return product(make, p, false);
  };
}

ValueId shared_case(CaseMaker& make, bool both) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kNumbers);
  std::vector<DimId> batch = make.shape(1, 2);
  const DimId rows = make.extent(), inner = make.extent(), columns = make.extent();
  const int64_t rank = static_cast<int64_t>(batch.size()) + 2, tb = make.pick(0, 1);
  std::vector<DimId> a = batch, b = batch;
  a.insert(a.end(), {rows, inner});
  const std::vector<DimId> w =
      tb ? std::vector<DimId>{columns, inner} : std::vector<DimId>{inner, columns};
  b.insert(b.end(), w.begin(), w.end());
  const std::vector<int64_t> matrix{rank - 2, rank - 1};
  const ValueId va = both ? g.broadcast(make.input(t, {rows, inner}), a, matrix) : make.input(t, a);
  const ValueId vb = g.broadcast(make.input(t, w), b, matrix);
  return g.value(Op::matmul, {va, vb}, flags(0, tb));
}

// Random broadcasts of two inputs to one shape; some axes are summed over.
ValueId outer_case(CaseMaker& make, bool squared) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(squared ? kFloats : kNumbers);
  const int rank = static_cast<int>(make.pick(3, 4));
  std::vector<DimId> full;
  for (int i = 0; i < rank; ++i) full.push_back(make.dims().constant(make.pick(2, 3)));
  std::vector<int64_t> of_x, of_y, reduced;
  for (int64_t a = 0; a < rank; ++a) {
    const int64_t kind = make.pick(0, 3);  // rows, columns, batch, inner
    if (kind != 1) of_x.push_back(a);
    if (kind != 0) of_y.push_back(a);
    if (kind == 3) reduced.push_back(a);
  }
  const auto spread = [&](const std::vector<int64_t>& axes) {
    std::vector<DimId> from;
    for (int64_t a : axes) from.push_back(full[static_cast<size_t>(a)]);
    return g.value(Op::broadcast, {make.input(t, from)},
                   {{AttrKey::axes, axes}, {AttrKey::shape, full}});
  };
  ValueId v = g.value(Op::mul, {spread(of_x), spread(of_y)});
  if (squared) v = g.value(Op::mul, {v, v});
  return g.value(Op::reduce_sum, {v}, {{AttrKey::axes, reduced}});
}

struct ConvCase {
  ValueId result;
  std::vector<DimId> shape;
  int64_t channel;
  DType dtype;
};

// `pad_first`: the operand is padded by zeros.
ConvCase conv_case(CaseMaker& make, bool constant_kernel, bool pad_first) {
  GraphBuilder& g = make.builder();
  DimTable& d = make.dims();
  const DType t = make.dtype(kFloats);
  const bool nhwc = make.chance(0.5);
  const int spatial = static_cast<int>(make.pick(1, 2));
  const int64_t group = make.pick(1, 2), in = group * make.pick(1, 2),
                out = group * make.pick(1, 2);
  const DimId batch = make.extent();
  std::vector<DimId> image, kernel;
  for (int i = 0; i < spatial; ++i) {
    image.push_back(d.constant(make.pick(3, 5)));
    kernel.push_back(d.constant(make.pick(1, 3)));
  }
  std::vector<DimId> xs{batch}, ws;
  if (nhwc) {
    xs.insert(xs.end(), image.begin(), image.end());
    xs.push_back(d.constant(in));
    ws = kernel;
    ws.push_back(d.constant(in / group));
    ws.push_back(d.constant(out));
  } else {
    xs.push_back(d.constant(in));
    xs.insert(xs.end(), image.begin(), image.end());
    ws = {d.constant(out), d.constant(in / group)};
    ws.insert(ws.end(), kernel.begin(), kernel.end());
  }
  ValueId v = make.input(t, xs);
  if (pad_first) {
    std::vector<DimId> low(xs.size(), d.constant(0)), high = low;
    for (int i = 0; i < spatial; ++i) {
      low[static_cast<size_t>((nhwc ? 1 : 2) + i)] = d.constant(make.pick(0, 2));
      high[static_cast<size_t>((nhwc ? 1 : 2) + i)] = d.constant(make.pick(1, 2));
    }
    v = g.value(Op::pad, {v, g.scalar(t, 0)}, {{AttrKey::low, low}, {AttrKey::high, high}});
  }
  const Type kernel_type{t, ws};
  std::vector<ValueId> operands{
      v, constant_kernel ? make.constant(kernel_type) : make.input(kernel_type)};
  if (make.chance(0.5)) operands.push_back(make.input(t, {d.constant(out)}));
  if (constant_kernel && operands.size() == 3) {
    operands[2] = make.constant(Type{t, {d.constant(out)}});
  }
  const std::vector<int64_t> ones(static_cast<size_t>(spatial), 1);
  const std::vector<DimId> pads(static_cast<size_t>(spatial), d.constant(make.pick(0, 1)));
  const ValueId c = g.value(Op::conv, operands,
                            {{AttrKey::dilations, ones},
                             {AttrKey::group, group},
                             {AttrKey::high, pads},
                             {AttrKey::low, pads},
                             {AttrKey::layout, std::string(nhwc ? "nhwc" : "nchw")},
                             {AttrKey::strides, ones}});
  const std::vector<DimId> shape = g.type(c).dims;
  return {c, shape, nhwc ? static_cast<int64_t>(shape.size()) - 1 : 1, t};
}

ValueId channel_case(CaseMaker& make, Op op, bool constants) {
  const ConvCase c = conv_case(make, constants, false);
  const Type vector{c.dtype, {c.shape[static_cast<size_t>(c.channel)]}};
  const ValueId v = constants ? make.constant(vector) : make.input(vector);
  const ValueId b = make.builder().value(
      Op::broadcast, {v},
      {{AttrKey::axes, std::vector<int64_t>{c.channel}}, {AttrKey::shape, c.shape}});
  return make.builder().value(op, {c.result, b});
}

// One operand of a product is negated, or scaled by a number (a constant, or an input).
ValueId scaled_operand_case(CaseMaker& make, int which, Op op, bool constant) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(constant ? kNumbers : kFloats);
  const DimId rows = make.extent(), inner = make.extent(), columns = make.extent();
  const int64_t ta = make.pick(0, 1), tb = make.pick(0, 1);
  const std::vector<DimId> a = ta ? std::vector{inner, rows} : std::vector{rows, inner};
  const std::vector<DimId> b = tb ? std::vector{columns, inner} : std::vector{inner, columns};
  ValueId operands[] = {make.input(t, a), make.input(t, b)};
  ValueId& scaled = operands[which];
  if (op == Op::neg) {
    scaled = g.value(op, {scaled});
  } else {
    const ValueId s = constant ? g.scalar(t, make.small_number(t)) : make.input(t, {});
    scaled = g.value(op, {scaled, g.broadcast(s, which == 0 ? a : b, {})});
  }
  return g.value(Op::matmul, operands, flags(ta, tb));
}

// A factor or sign of one operand of a product, moved to its result.
std::vector<Rule> scale_rules() {
  std::vector<Rule> rules;
  for (const int which : {0, 1}) {
    const std::string side = which == 0 ? "_a" : "_b";
    const auto of = [&](const Pattern& scaled) {
      return which == 0 ? op(Op::matmul, {scaled, w}) : op(Op::matmul, {w, scaled});
    };
    const auto out = [which](const Match& m, Emitter& e) { return scale_out(m, e, which); };
    rules.push_back(rule("matmul_scale" + side, "matmul(x * s, w) -> matmul(x, w) * s, s a number",
                         of(one_of({Op::mul}, "scaled", {x, scalar("s", kNumbers)})), out)
                        .when(finite_factor)
                        .reassociates()
                        .cases([which](CaseMaker& make) {
                          return scaled_operand_case(make, which, Op::mul, true);
                        }));
    rules.push_back(rule("matmul_neg" + side, "matmul(-x, w) -> -matmul(x, w)",
                         of(one_of({Op::neg}, "scaled", {x})), out)
                        .reassociates()
                        .cases([which](CaseMaker& make) {
                          return scaled_operand_case(make, which, Op::neg, true);
                        }));
    rules.push_back(rule("matmul_factor" + side, "matmul(x * broadcast(s), w) -> matmul(x, w) * s",
                         of(one_of({Op::mul}, "scaled", {x, one_of({Op::broadcast}, "s", {y})})),
                         out)
                        .assumes_finite()
                        .cases([which](CaseMaker& make) {
                          return scaled_operand_case(make, which, Op::mul, false);
                        }));
  }
  return everywhere(std::move(rules));
}

ValueId scaled_matmul_case(CaseMaker& make) {
  GraphBuilder& g = make.builder();
  const DType t = make.dtype(kFloats);
  const DimId rows = make.extent(), inner = make.static_extent(1), columns = make.static_extent(1);
  const int64_t tb = make.pick(0, 1);
  const std::vector<DimId> wd =
      tb ? std::vector<DimId>{columns, inner} : std::vector<DimId>{inner, columns};
  const ValueId mm =
      g.value(Op::matmul, {make.input(t, {rows, inner}), make.constant({t, wd})}, flags(0, tb));
  const ValueId s = g.value(Op::broadcast, {make.constant({t, {columns}})},
                            {{AttrKey::axes, std::vector<int64_t>{1}},
                             {AttrKey::shape, std::vector<DimId>{rows, columns}}});
  return g.value(Op::mul, {mm, s});
}

std::vector<Rule> matmul_rules() {
  const auto transposed = [](const Pattern& p) { return one_of({Op::transpose}, "t", {p}); };
  const Pattern outer = one_of({Op::broadcast}, "b", {x}) * one_of({Op::broadcast}, "c", {y});
  return everywhere({
      rule("matmul_transpose_a", "matmul(transpose(a), b) -> matmul(a, b) with trans_a",
           op(Op::matmul, {transposed(x), w}),
           [](const Match& m, Emitter& e) { return matmul_of_transpose(m, e, true); })
          .cases([](CaseMaker& make) { return matmul_case(make, 0); }),
      rule("matmul_transpose_b", "matmul(a, transpose(b)) -> matmul(a, b) with trans_b",
           op(Op::matmul, {x, transposed(w)}),
           [](const Match& m, Emitter& e) { return matmul_of_transpose(m, e, false); })
          .cases([](CaseMaker& make) { return matmul_case(make, 1); }),
      rule("transpose_of_matmul", "transpose(matmul(a, b)) -> matmul(b, a), both transposed",
           op(Op::transpose, {one_of({Op::matmul}, "m", {x, w})}), transpose_of_matmul)
          .when([](const Match& m) { return used_once(m, "m"); })
          .reassociates()
          .cases([](CaseMaker& make) { return matmul_case(make, 2); }),
      rule("zero_matmul_int", "matmul(0, b) -> 0, integers", op(Op::matmul, {0, integer("w")}),
           matmul_of_zero)
          .cases(zero_product(kInts)),
      rule("matmul_zero_int", "matmul(a, 0) -> 0, integers", op(Op::matmul, {integer("x"), 0}),
           matmul_of_zero)
          .cases(zero_product(kInts)),
      rule("zero_matmul", "matmul(0, b) -> 0", op(Op::matmul, {0.0, real("w")}), matmul_of_zero)
          .assumes_finite()
          .cases(zero_product(kFloats)),
      rule("matmul_zero", "matmul(a, 0) -> 0", op(Op::matmul, {real("x"), 0.0}), matmul_of_zero)
          .assumes_finite()
          .cases(zero_product(kFloats)),
      rule("matmul_over_nothing", "matmul that sums over no element -> 0", op(Op::matmul, {x, w}),
           matmul_of_zero)
          .when([](const Match& m) { return m.dims().is_constant(inner_extent(m), 0); })
          .cases(product_over(0)),
      rule("matmul_over_one", "matmul that sums over one element -> product of broadcasts",
           op(Op::matmul, {x, w}), outer_product)
          .when([](const Match& m) { return m.dims().is_constant(inner_extent(m), 1); })
          .reassociates()
          .cases(product_over(1)),
      rule("matmul_of_one_matrix", "matmul of a batch of one -> of matrices",
           op(Op::matmul, {x, w}), matmul_of_one_matrix)
          .when(batch_of_one)
          .reassociates()
          .cases([](CaseMaker& make) {
            ProductCase p = product_case(make, kNumbers);
            p.batch.assign(static_cast<size_t>(make.pick(1, 2)), make.dims().constant(1));
            return product(make, p, false);
          }),
      rule("matmul_of_broadcasts", "matmul(broadcast(a), broadcast(b)) -> broadcast(matmul(a, b))",
           op(Op::matmul, {one_of({Op::broadcast}, "b", {x}), one_of({Op::broadcast}, "c", {w})}),
           matmul_of_broadcasts)
          .reassociates()
          .cases([](CaseMaker& make) { return shared_case(make, true); }),
      rule("sum_of_outer", "sum(broadcast(x) * broadcast(y)) with axes of their own -> matmul",
           op(Op::reduce_sum, {outer}), sum_of_outer)
          .reassociates()
          .cases([](CaseMaker& make) { return outer_case(make, false); }),
      rule("sum_of_squared_outer", "sum((broadcast(x) * broadcast(y))^2) -> sum(x^2 * y^2)",
           op(Op::reduce_sum, {outer * outer}), sum_of_squared_outer)
          .reassociates()
          .cases([](CaseMaker& make) { return outer_case(make, true); }),
      rule("matmul_of_shared_matrix", "matmul(a, broadcast(w) over the batch) -> one product",
           op(Op::matmul, {x, one_of({Op::broadcast}, "b", {w})}), matmul_of_shared)
          .reassociates()
          .cases([](CaseMaker& make) { return shared_case(make, false); }),
  });
}

std::vector<Rule> operand_rules() {
  const Pattern conv = one_of({Op::conv, Op::conv_transpose}, "conv", {x, w});
  const Pattern mm = one_of({Op::matmul}, "mm", {x, w});
  const Condition once = [](const Match& m) { return used_once(m, "conv"); };
  std::vector<Rule> rules = only_in(
      "specialize",
      {
          rule("conv_of_pad", "conv(pad(x, 0), w) -> conv(x, w) with more padding",
               one_of({Op::conv}, "conv", {one_of({Op::pad}, "p", {x, 0}), w}), conv_of_pad)
              .cases([](CaseMaker& make) { return conv_case(make, true, true).result; }),
          rule("conv_bias", "conv(x, w) + broadcast(b) per channel -> conv(x, w, b)", conv + y,
               conv_bias)
              .when(once)
              .reassociates()
              .cases([](CaseMaker& make) { return channel_case(make, Op::add, false); }),
          rule("conv_scale", "conv(x, w) * s per channel -> conv(x, w * s), constants", conv * y,
               [](const Match& m, Emitter& e) { return conv_scaled(m, e, Op::mul); })
              .when(once)
              .reassociates()
              .cases([](CaseMaker& make) { return channel_case(make, Op::mul, true); }),
          rule("conv_divide", "conv(x, w) / s per channel -> conv(x, w / s), constants", conv / y,
               [](const Match& m, Emitter& e) { return conv_scaled(m, e, Op::div); })
              .when(once)
              .reassociates()
              .cases([](CaseMaker& make) { return channel_case(make, Op::div, true); }),
          rule("matmul_scale", "matmul(x, w) * s per column -> matmul(x, w * s), constants", mm * y,
               matmul_scaled)
              .when([](const Match& m) { return used_once(m, "mm"); })
              .reassociates()
              .cases(scaled_matmul_case),
      });
  for (Rule& r : rules) r.tags.push_back("contract");
  return rules;
}

}  // namespace

std::vector<Rule> contract_rules() {
  std::vector<Rule> rules = matmul_rules();
  for (Rule& r : scale_rules()) rules.push_back(std::move(r));
  for (Rule& r : operand_rules()) rules.push_back(std::move(r));
  return rules;
}

}  // namespace gcomp::rules
