// Products of matrices and tensors.

#include <algorithm>
#include <map>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

void import_matmul(NodeImport& n) { n.out(n.matmul(n.in(0), n.in(1))); }

void import_gemm(NodeImport& n) {
  ValueId a = n.in(0), c = n.in(1);
  if (n.rank(a) != 2 || n.rank(c) != 2) n.fail("Gemm: the operands must be matrices");
  const DType t = n.dtype(a);
  const double alpha = n.real("alpha", 1), beta = n.real("beta", 1);
  const bool trans_a = n.flag("transA", false), trans_b = n.flag("transB", false);
  // The inner extents agree, which run time may have to show.
  const DimId inner = n.extent(c, trans_b ? 1 : 0);
  Dims exact = n.shape(a);
  exact[trans_a ? 0 : 1] = inner;
  a = n.specify(a, exact);
  ValueId y =
      n.b.value(Op::matmul, {a, c},
                {{AttrKey::trans_a, int64_t{trans_a}}, {AttrKey::trans_b, int64_t{trans_b}}});
  if (alpha != 1) y = n.mul(y, alpha);
  if (n.has(2) && beta != 0) y = n.add(y, beta == 1 ? n.in(2) : n.mul(n.in(2), beta));
  n.out(n.cast(y, t));
}

// ---- Einsum ----

// Labels of one term: one character an axis, kEllipsis standing for the axes of "..." (from the left).
struct Equation {
  std::vector<std::string> inputs;
  std::string output;
};

constexpr char kFirstHidden = 1;  // labels of "..." axes: 1, 2, ... up to 26

Equation parse_equation(NodeImport& n) {
  std::string text;
  for (char c : n.text("equation", "")) {
    if (c != ' ') text += c;
  }
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  Equation e;
  size_t at = 0;
  while (true) {
    const size_t comma = left.find(',', at);
    e.inputs.push_back(left.substr(at, comma == left.npos ? left.npos : comma - at));
    if (comma == left.npos) break;
    at = comma + 1;
  }
  if (e.inputs.size() != n.num_inputs()) n.fail("Einsum: one term for each input is needed");
  // "..." stands for as many axes as are left over, the same for all terms after broadcasting.
  size_t hidden = 0;
  std::vector<size_t> hidden_of;
  for (size_t i = 0; i < e.inputs.size(); ++i) {
    const auto rank = static_cast<size_t>(n.rank(n.in(i)));
    const bool dots = e.inputs[i].find("...") != std::string::npos;
    const size_t named = e.inputs[i].size() - (dots ? 3 : 0);
    if (named > rank || (!dots && named != rank) || rank > 26) {
      n.fail("Einsum: a term does not fit its input's rank");
    }
    hidden_of.push_back(dots ? rank - named : 0);
    hidden = std::max(hidden, hidden_of.back());
  }
  const auto expand = [&](std::string* term, size_t count) {
    const size_t dots = term->find("...");
    if (dots == std::string::npos) return;
    std::string labels;
    for (size_t k = hidden - count; k < hidden; ++k) {
      labels += static_cast<char>(kFirstHidden + static_cast<char>(k));
    }
    term->replace(dots, 3, labels);
  };
  for (size_t i = 0; i < e.inputs.size(); ++i) expand(&e.inputs[i], hidden_of[i]);
  if (arrow != text.npos) {
    e.output = text.substr(arrow + 2);
    expand(&e.output, hidden);
  } else {  // the hidden axes, then the labels that occur once, in alphabetical order
    std::map<char, int> count;
    for (const std::string& term : e.inputs) {
      for (char c : term) ++count[c];
    }
    for (const auto& [label, times] : count) {
      if (times == 1 || label < ' ') e.output += label;
    }
  }
  for (const std::string& term : e.inputs) {
    for (char c : term) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c < ' ';
      if (!letter) n.fail("Einsum: bad equation '" + n.text("equation", "") + "'");
    }
  }
  return e;
}

// Axes with one label twice: their diagonal.
ValueId take_diagonals(NodeImport& n, ValueId v, std::string* term) {
  for (size_t i = 0; i < term->size(); ++i) {
    const size_t j = term->find((*term)[i], i + 1);
    if (j == std::string::npos) continue;
    const auto axis = static_cast<int64_t>(i), other = static_cast<int64_t>(j);
    const int rank = n.rank(v);
    const DimId extent = n.extent(v, axis);
    const ValueId rows = n.along(n.iota(DType::kInt64, {extent}, 0), axis, rank);
    const ValueId columns = n.along(n.iota(DType::kInt64, {n.extent(v, other)}, 0), other, rank);
    const ValueId kept = n.where(n.binary(Op::eq, rows, columns), v, n.like(v, 0));
    v = n.reduce(Op::reduce_sum, kept, {other}, false);
    term->erase(j, 1);
    --i;  // the label may occur a third time
  }
  return v;
}

// v's axes in the order of `labels`, 1 where it has none of that label.
ValueId align(NodeImport& n, ValueId v, const std::string& term, const std::string& labels) {
  Ints perm;
  Dims to;
  const Dims from = n.shape(v);
  for (char c : labels) {
    const size_t at = term.find(c);
    to.push_back(at == std::string::npos ? n.dim(1) : from[at]);
    if (at != std::string::npos) perm.push_back(static_cast<int64_t>(at));
  }
  return n.reshape(n.transpose(v, perm), to);
}

// Labels of `a` that are (not) in `c`.
std::string select(const std::string& a, const std::string& c, bool in) {
  std::string s;
  for (char label : a) {
    if ((c.find(label) != std::string::npos) == in) s += label;
  }
  return s;
}

// Sums away the axes of `v` whose labels are not in `keep`.
ValueId sum_away(NodeImport& n, ValueId v, std::string* term, const std::string& keep) {
  Ints axes;
  for (size_t i = 0; i < term->size(); ++i) {
    if (keep.find((*term)[i]) == std::string::npos) axes.push_back(static_cast<int64_t>(i));
  }
  *term = select(*term, keep, true);
  return n.reduce(Op::reduce_sum, v, axes, false);
}

// Two terms as one: a batched matrix product over the labels that only these two share.
ValueId contract(NodeImport& n, ValueId x, std::string* left, ValueId y, std::string right,
                 const std::string& keep) {
  x = sum_away(n, x, left, keep + right);
  y = sum_away(n, y, &right, keep + *left);
  const std::string shared = select(*left, right, true);
  const std::string inner = select(shared, keep, false), batch = select(shared, keep, true);
  const std::string rows = select(*left, right, false), columns = select(right, *left, false);
  if (inner.empty()) {  // no sum: an elementwise product
    const std::string all = batch + rows + columns;
    const ValueId product = n.mul(align(n, x, *left, all), align(n, y, right, all));
    *left = all;
    return product;
  }
  const ValueId a = align(n, x, *left, batch + rows + inner);
  const ValueId c = align(n, y, right, batch + inner + columns);
  const auto part = [&](ValueId v, size_t from, size_t count) {
    const Dims shape = n.shape(v);
    return Dims(shape.begin() + static_cast<std::ptrdiff_t>(from),
                shape.begin() + static_cast<std::ptrdiff_t>(from + count));
  };
  const auto size = [&](const Dims& d) { return n.dims().product(d); };
  const Dims row_dims = part(a, batch.size(), rows.size());
  const Dims inner_a = part(a, batch.size() + rows.size(), inner.size());
  const Dims inner_c = part(c, batch.size(), inner.size());
  const Dims column_dims = part(c, batch.size() + inner.size(), columns.size());
  Dims shape_a = part(a, 0, batch.size()), shape_c = part(c, 0, batch.size());
  shape_a.insert(shape_a.end(), {size(row_dims), size(inner_a)});
  shape_c.insert(shape_c.end(), {size(inner_c), size(column_dims)});
  const ValueId product = n.matmul(n.reshape(a, shape_a), n.reshape(c, shape_c));
  Dims to = n.shape(product);
  to.resize(batch.size());
  to.insert(to.end(), row_dims.begin(), row_dims.end());
  to.insert(to.end(), column_dims.begin(), column_dims.end());
  *left = batch + rows + columns;
  return n.reshape(product, to);
}

void import_einsum(NodeImport& n) {
  const Equation e = parse_equation(n);
  std::string term = e.inputs[0];
  ValueId total = take_diagonals(n, n.in(0), &term);
  for (size_t i = 1; i < e.inputs.size(); ++i) {
    std::string keep = e.output;  // what the output and the terms to come need
    for (size_t k = i + 1; k < e.inputs.size(); ++k) keep += e.inputs[k];
    std::string right = e.inputs[i];
    const ValueId operand = take_diagonals(n, n.in(i), &right);
    total = contract(n, total, &term, operand, right, keep);
  }
  total = sum_away(n, total, &term, e.output);
  if (term.size() != e.output.size()) n.fail("Einsum: an output label occurs in no term or twice");
  n.out(align(n, total, term, e.output));
}

// ---- Determinant ----

// By elimination with row exchanges, one column a step, for matrices of known small size.
void import_det(NodeImport& n) {
  const ValueId x = n.in(0);
  const int rank = n.rank(x);
  if (rank < 2) n.fail("Det: the input must be a matrix");
  const auto size = n.static_extent(x, rank - 1);
  if (!size || *size > 64 || n.static_extent(x, rank - 2) != size) {
    n.unsupported("a matrix that is not square, or of unknown or large size");
  }
  Dims batch = n.shape(x);
  batch.resize(batch.size() - 2);
  const DimId count = n.dims().product(batch);
  const DType t = n.dtype(x);
  ValueId m = n.reshape(n.widen(x), {count, n.dim(*size), n.dim(*size)});
  ValueId det = n.full(n.dtype(m), {count}, 1);
  for (int64_t k = *size; k >= 1; --k) {  // m is [count, k, k]
    const DimId rows = n.dim(k);
    const ValueId column = n.squeeze(n.slice_axis(m, 2, n.dim(0), n.dim(1)), {2});
    const ValueId pivot = n.unsqueeze(
        n.b.value(Op::argmax, {n.unary(Op::abs, column)}, {{AttrKey::axis, int64_t{1}}}), {1});
    // The pivot row as a sum over a mask; the first row takes its place.
    const ValueId row_number = n.iota(DType::kInt64, {count, rows}, 1);
    const ValueId is_pivot = n.unsqueeze(n.binary(Op::eq, row_number, pivot), {2});
    const ValueId first = n.slice_axis(m, 1, n.dim(0), n.dim(1));
    const ValueId pivot_row =
        n.reduce(Op::reduce_sum, n.where(is_pivot, m, n.like(m, 0)), {1}, true);
    const ValueId rest_rows = n.where(is_pivot, first, m);
    const ValueId head = n.slice_axis(pivot_row, 2, n.dim(0), n.dim(1));
    const ValueId value = n.reshape(head, {count});
    const ValueId swapped = n.compare(Op::ne, n.squeeze(pivot, {1}), 0);
    det = n.mul(det, n.where(swapped, n.unary(Op::neg, value), value));
    if (k == 1) break;
    const DimId less = n.dim(k - 1);
    const ValueId below = n.slice_axis(rest_rows, 1, n.dim(1), less);
    const ValueId safe = n.where(n.compare(Op::eq, head, 0), n.like(head, 1), head);
    const ValueId factor = n.div(n.slice_axis(below, 2, n.dim(0), n.dim(1)), safe);
    m = n.slice_axis(n.sub(below, n.mul(factor, pivot_row)), 2, n.dim(1), less);
  }
  n.out(n.cast(n.reshape(det, batch), t));
}

constexpr OpRow kRows[] = {
    {"Det", import_det, ""},
    {"Einsum", import_einsum, "equation"},
    {"Gemm", import_gemm, "alpha beta transA transB broadcast"},
    {"MatMul", import_matmul, ""},
};

}  // namespace

std::span<const OpRow> matmul_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
