// Indexed reads and writes, ordering, and results whose extent depends on data.

#include <algorithm>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

void import_gather(NodeImport& n) {
  const int64_t axis = n.axis(n.integer("axis", 0), n.rank(n.in(0)));
  n.out(n.gather(n.in(0), n.in(1), axis));
}

void import_gather_elements(NodeImport& n) {
  const int64_t axis = n.axis(n.integer("axis", 0), n.rank(n.in(0)));
  n.out(n.b.value(Op::gather_elements, {n.in(0), n.in(1)}, {{AttrKey::axis, axis}}));
}

void import_gather_nd(NodeImport& n) {
  const int64_t batch = n.integer("batch_dims", 0);
  n.out(n.b.value(Op::gather_nd, {n.in(0), n.in(1)}, {{AttrKey::batch_dims, batch}}));
}

std::string reduction(NodeImport& n) {
  const std::string how = n.text("reduction", "none");
  if (how != "none" && how != "add" && how != "mul" && how != "min" && how != "max") {
    n.unsupported("reduction '" + how + "'");
  }
  return how;
}

void import_scatter_elements(NodeImport& n) {
  const int64_t axis = n.axis(n.integer("axis", 0), n.rank(n.in(0)));
  n.out(n.b.value(Op::scatter_elements, {n.in(0), n.in(1), n.in(2)},
                  {{AttrKey::axis, axis}, {AttrKey::reduction, reduction(n)}}));
}

void import_scatter_nd(NodeImport& n) {
  n.out(
      n.b.value(Op::scatter_nd, {n.in(0), n.in(1), n.in(2)}, {{AttrKey::reduction, reduction(n)}}));
}

// Rows of `update` written into a cache at positions write_indices[b] + i along `axis`.
void import_tensor_scatter(NodeImport& n) {
  const ValueId cache = n.in(0), update = n.in(1);
  const int rank = n.rank(cache);
  const int64_t axis = n.axis(n.integer("axis", -2), rank);
  const std::string mode = n.text("mode", "linear");
  if (mode != "linear" && mode != "circular") n.unsupported("mode '" + mode + "'");
  if (axis == 0) n.fail("TensorScatter: axis 0 is the batch");
  ValueId at = n.iota(DType::kInt64, n.shape(update), axis);
  if (n.has(2)) at = n.add(at, n.along(n.cast(n.in(2), DType::kInt64), 0, rank));
  if (mode == "circular") {
    at = n.binary(Op::mod, at, n.extent_value(n.extent(cache, axis), DType::kInt64));
  }
  n.out(n.b.value(Op::scatter_elements, {cache, at, update}, {{AttrKey::axis, axis}}));
}

void import_one_hot(NodeImport& n) {
  const ValueId depth = n.reshape(n.cast(n.in(1), DType::kInt64), {n.dim(1)});
  const ValueId values = n.in(2);
  const int rank = n.rank(n.in(0));
  const int64_t axis = n.axis(n.integer("axis", -1), rank + 1);
  const DimId extent = n.extents_from(depth, "depth")[0];
  ValueId index = n.cast(n.in(0), DType::kInt64);
  const ValueId wrapped = n.add(index, n.extent_value(extent, DType::kInt64));
  index = n.unsqueeze(n.where(n.compare(Op::lt, index, 0), wrapped, index), {axis});
  const ValueId classes = n.along(n.iota(DType::kInt64, {extent}, 0), axis, rank + 1);
  const auto value = [&](int64_t i) {
    return n.reshape(n.slice_axis(values, 0, n.dim(i), n.dim(1)), {});
  };
  n.out(n.where(n.binary(Op::eq, index, classes), value(1), value(0)));
}

// The coordinates of the true elements of `x`: int64[rank, s].
ValueId nonzero(NodeImport& n, ValueId x) {
  const Dims symbols = {n.dims().fresh_symbol("nonzero")};
  return n.b.result(n.defining(Op::nonzero, {x}, {{AttrKey::symbols, symbols}}));
}

ValueId nonzero_1d(NodeImport& n, ValueId x) { return n.squeeze(nonzero(n, x), {0}); }

void import_nonzero(NodeImport& n) { n.out(nonzero(n, n.in(0))); }

void import_compress(NodeImport& n) {
  ValueId x = n.in(0);
  int64_t axis = 0;
  if (n.has_attribute("axis")) {
    axis = n.axis(n.integer("axis", 0), n.rank(x));
  } else {
    x = n.flatten(x);
  }
  n.out(n.gather(x, nonzero_1d(n, n.in(1)), axis));
}

void import_top_k(NodeImport& n) {
  const ValueId x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", -1), n.rank(x));
  Dims k;
  if (n.opset() < 10) {
    k = {n.dim(n.integer("k", 0))};
  } else {
    k = n.extents_from(n.in(1), "k");
  }
  Values operands = {x};
  for (ValueId c : n.carriers(k)) operands.push_back(c);
  const int64_t descending = n.flag("largest", true) ? 1 : 0;
  const NodeId node =
      n.b.node(Op::top_k, operands,
               {{AttrKey::axis, axis}, {AttrKey::descending, descending}, {AttrKey::shape, k}});
  n.out(0, n.b.result(node, 0));
  n.out(1, n.b.result(node, 1));
}

void import_cum_sum(NodeImport& n) {
  const Ints axis = n.need_ints(n.in(1), "axis");
  if (axis.size() != 1) n.fail("CumSum: one axis is needed");
  n.out(n.b.value(Op::cumsum, {n.in(0)},
                  {{AttrKey::axis, n.axis(axis[0], n.rank(n.in(0)))},
                   {AttrKey::exclusive, n.integer("exclusive", 0)},
                   {AttrKey::reverse, n.integer("reverse", 0)}}));
}

void import_reverse_sequence(NodeImport& n) {
  const ValueId x = n.in(0);
  const int rank = n.rank(x);
  const int64_t time = n.axis(n.integer("time_axis", 0), rank);
  const int64_t batch = n.axis(n.integer("batch_axis", 1), rank);
  const ValueId length = n.along(n.cast(n.in(1), DType::kInt64), batch, rank);
  const ValueId t = n.iota(DType::kInt64, n.shape(x), time);
  const ValueId mirrored = n.sub(n.sub(length, t), 1.0);
  const ValueId index = n.where(n.binary(Op::lt, t, length), mirrored, t);
  n.out(n.b.value(Op::gather_elements, {x, index}, {{AttrKey::axis, time}}));
}

// ---- Unique ----

ValueId sorted_order(NodeImport& n, ValueId keys) {
  const NodeId node = n.b.node(Op::sort, Values{keys}, {{AttrKey::axis, int64_t{0}}});
  return n.b.result(node, 1);
}

// The stable lexicographic order of the rows of a matrix: by the last column first.
ValueId row_order(NodeImport& n, ValueId rows) {
  const auto columns = n.static_extent(rows, 1);
  if (!columns || *columns > 256) n.unsupported("an axis whose slices are large");
  ValueId order = n.iota(DType::kInt64, {n.extent(rows, 0)}, 0);
  for (int64_t c = *columns - 1; c >= 0; --c) {
    const ValueId column = n.squeeze(n.slice_axis(rows, 1, n.dim(c), n.dim(1)), {1});
    order = n.gather(order, sorted_order(n, n.gather(column, order, 0)), 0);
  }
  return order;
}

void import_unique(NodeImport& n) {
  ValueId x = n.in(0);
  int64_t axis = 0;
  if (n.has_attribute("axis")) {
    axis = n.axis(n.integer("axis", 0), n.rank(x));
  } else {
    x = n.flatten(x);
  }
  const DType t = DType::kInt64;
  const DimId count = n.extent(x, axis);
  ValueId rows = n.move_axis(x, axis, 0);
  DimId width = n.dim(1);
  for (int i = 1; i < n.rank(rows); ++i) width = n.dims().mul(width, n.extent(rows, i));
  rows = n.reshape(rows, {count, width});

  // Groups of equals in sorted order; `first` marks each group's first.
  const ValueId order = row_order(n, rows);
  const ValueId sorted = n.gather(rows, order, 0);
  const ValueId position = n.iota(t, {count}, 0);
  const ValueId before = n.max(n.sub(position, 1.0), 0.0);
  const ValueId differs =
      n.reduce(Op::reduce_or, n.binary(Op::ne, sorted, n.gather(sorted, before, 0)), {1}, false);
  const ValueId first = n.binary(Op::bit_or, n.compare(Op::eq, position, 0), differs);
  const ValueId starts = nonzero_1d(n, first);
  const DimId groups = n.extent(starts, 0);
  ValueId group = n.b.value(Op::cumsum, {n.cast(first, t)}, {{AttrKey::axis, int64_t{0}}});
  group = n.sub(group, 1.0);  // of each element in sorted order
  const ValueId ends = n.pad(n.slice_axis(starts, 0, n.dim(1), n.dims().sub(groups, n.dim(1))),
                             n.extent_value(count, t), {n.dim(0)}, {n.dim(1)});
  ValueId counts = n.sub(ends, starts);
  ValueId indices = n.gather(order, starts, 0);

  if (!n.flag("sorted", true)) {  // groups by first occurrence
    const ValueId by_occurrence = sorted_order(n, indices);
    const ValueId rank_of = sorted_order(n, by_occurrence);  // the inverse permutation
    indices = n.gather(indices, by_occurrence, 0);
    counts = n.gather(counts, by_occurrence, 0);
    group = n.gather(rank_of, group, 0);
  }
  n.out(0, n.gather(x, indices, axis));
  if (n.wants(1)) n.out(1, indices);
  if (n.wants(2)) {
    n.out(2, n.b.value(Op::scatter_elements, {n.iota(t, {count}, 0), order, group},
                       {{AttrKey::axis, int64_t{0}}}));
  }
  if (n.wants(3)) n.out(3, counts);
}

constexpr OpRow kRows[] = {
    {"Compress", import_compress, "axis"},
    {"CumSum", import_cum_sum, "exclusive reverse"},
    {"Gather", import_gather, "axis"},
    {"GatherElements", import_gather_elements, "axis"},
    {"GatherND", import_gather_nd, "batch_dims"},
    {"NonZero", import_nonzero, ""},
    {"OneHot", import_one_hot, "axis"},
    {"ReverseSequence", import_reverse_sequence, "batch_axis time_axis"},
    {"Scatter", import_scatter_elements, "axis"},
    {"ScatterElements", import_scatter_elements, "axis reduction"},
    {"ScatterND", import_scatter_nd, "reduction"},
    {"TensorScatter", import_tensor_scatter, "axis mode"},
    {"TopK", import_top_k, "axis k largest sorted"},
    {"Unique", import_unique, "axis sorted"},
};

}  // namespace

std::span<const OpRow> index_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
