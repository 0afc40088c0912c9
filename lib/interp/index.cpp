// Ops whose indices are data.

#include <algorithm>

#include "call.h"

namespace gcomp::interp {
namespace {

// Element `i` of `indices` as a coordinate of an axis of `extent`.
int64_t coordinate(const Tensor& indices, int64_t i, int64_t extent) {
  const int64_t index = integer_at(indices, i);
  if (index < -extent || index >= extent) {
    throw RunFailure("index " + std::to_string(index) + " is out of range for an axis of extent " +
                     std::to_string(extent));
  }
  return index < 0 ? index + extent : index;
}

Shape part(const Shape& shape, size_t from, size_t to) {
  return {shape.begin() + static_cast<ptrdiff_t>(from), shape.begin() + static_cast<ptrdiff_t>(to)};
}

void append(Shape* shape, const Shape& more) {
  shape->insert(shape->end(), more.begin(), more.end());
}

// to[i ... i + n) = from[j ... j + n)
void copy_elements(Tensor* to, int64_t i, const Tensor& from, int64_t j, int64_t n) {
  const auto width = static_cast<int64_t>(byte_size(to->dtype));
  std::copy_n(from.bytes.begin() + j * width, n * width, to->bytes.begin() + i * width);
}

// Combines updates[j ... j + n) into to[i ... i + n).
void combine_elements(Tensor* to, int64_t i, const Tensor& updates, int64_t j, int64_t n,
                      const std::string& reduction) {
  if (reduction == "none") return copy_elements(to, i, updates, j, n);
  with_type(to->dtype, [&]<class S>(Tag<S>) {
    S* target = to->data<S>();
    const S* source = updates.data<S>();
    for (int64_t e = 0; e < n; ++e) {
      const auto x = load(target[i + e]), u = load(source[j + e]);
      using C = Compute<S>;
      using Wrap = std::conditional_t<std::is_integral_v<C>, uint64_t, C>;
      const C sum = static_cast<C>(static_cast<Wrap>(x) + static_cast<Wrap>(u));
      const C product = static_cast<C>(static_cast<Wrap>(x) * static_cast<Wrap>(u));
      target[i + e] = store<S>(reduction == "add"   ? sum
                               : reduction == "mul" ? product
                               : reduction == "min" ? smaller(x, u)
                                                    : larger(x, u));
    }
  });
}

// Linear index into x of the coordinate vector at indices[j ... j + depth), for axes from `first`.
int64_t locate(const Tensor& indices, int64_t j, int64_t depth, const Shape& shape,
               const std::vector<int64_t>& strides, size_t first) {
  int64_t at = 0;
  for (int64_t d = 0; d < depth; ++d) {
    const size_t axis = first + static_cast<size_t>(d);
    at += coordinate(indices, j + d, shape[axis]) * strides[axis];
  }
  return at;
}

// Axes of `indices` other than `axis` reach no further than x's.
void check_reach(const Tensor& x, const Tensor& indices, size_t axis) {
  for (size_t a = 0; a < x.shape.size(); ++a) {
    if (a == axis || indices.shape[a] <= x.shape[a]) continue;
    throw RunFailure("axis " + std::to_string(a) + " of the indices, " + to_string(indices) +
                     ", is longer than that of " + to_string(x));
  }
}

}  // namespace

Results eval_gather(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& indices = c.operand(1);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  const auto batch = static_cast<size_t>(c.attrs.integer_or(AttrKey::batch_dims, 0));
  const Shape lead = part(x.shape, 0, batch), middle = part(x.shape, batch, axis);
  const Shape chosen = part(indices.shape, batch, indices.shape.size());
  const Shape rest = part(x.shape, axis + 1, x.shape.size());
  Shape shape = lead;
  append(&shape, middle);
  append(&shape, chosen);
  append(&shape, rest);
  Tensor y = make_tensor(x.dtype, std::move(shape));
  const int64_t extent = x.shape[axis], n = count(rest);
  int64_t to = 0;
  for (int64_t b = 0; b < count(lead); ++b) {
    for (int64_t m = 0; m < count(middle); ++m) {
      const int64_t row = (b * count(middle) + m) * extent;
      for (int64_t i = 0; i < count(chosen); ++i, to += n) {
        const int64_t index = coordinate(indices, b * count(chosen) + i, extent);
        copy_elements(&y, to, x, (row + index) * n, n);
      }
    }
  }
  return one(std::move(y));
}

Results eval_gather_elements(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& indices = c.operand(1);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  check_reach(x, indices, axis);
  Tensor y = make_tensor(x.dtype, indices.shape);
  const std::vector<int64_t> strides = strides_of(x.shape);
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next(), ++i) {
    const int64_t index = coordinate(indices, i, x.shape[axis]);
    copy_elements(&y, i, x, at.offset(strides) + (index - at[axis]) * strides[axis], 1);
  }
  return one(std::move(y));
}

Results eval_gather_nd(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& indices = c.operand(1);
  const auto batch = static_cast<size_t>(c.attrs.integer_or(AttrKey::batch_dims, 0));
  const int64_t depth = indices.shape.back();
  const size_t indexed = batch + static_cast<size_t>(depth);  // axes of x before the slices
  Shape shape = part(indices.shape, 0, indices.shape.size() - 1);
  const int64_t vectors = count(shape);
  const int64_t batches = count(part(x.shape, 0, batch));
  append(&shape, part(x.shape, indexed, x.shape.size()));
  Tensor y = make_tensor(x.dtype, std::move(shape));
  const std::vector<int64_t> strides = strides_of(x.shape);
  const int64_t n = count(part(x.shape, indexed, x.shape.size()));
  const int64_t whole = count(part(x.shape, batch, x.shape.size()));  // elements of x in a batch
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t b = v / (vectors / batches);
    const int64_t from = b * whole + locate(indices, v * depth, depth, x.shape, strides, batch);
    copy_elements(&y, v * n, x, from, n);
  }
  return one(std::move(y));
}

Results eval_scatter_elements(const Call& c) {
  const Tensor& indices = c.operand(1);
  const Tensor& updates = c.operand(2);
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  const std::string reduction = c.attrs.string_or(AttrKey::reduction, "none");
  check_reach(c.operand(0), indices, axis);
  Tensor y = c.operand(0);
  const std::vector<int64_t> strides = strides_of(y.shape);
  int64_t i = 0;
  for (Odometer at(indices.shape); at.valid(); at.next(), ++i) {
    const int64_t index = coordinate(indices, i, y.shape[axis]);
    const int64_t to = at.offset(strides) + (index - at[axis]) * strides[axis];
    combine_elements(&y, to, updates, i, 1, reduction);
  }
  return one(std::move(y));
}

Results eval_scatter_nd(const Call& c) {
  const Tensor& indices = c.operand(1);
  const std::string reduction = c.attrs.string_or(AttrKey::reduction, "none");
  Tensor y = c.operand(0);
  const int64_t depth = indices.shape.back();
  const int64_t vectors = count(part(indices.shape, 0, indices.shape.size() - 1));
  const int64_t n = count(part(y.shape, static_cast<size_t>(depth), y.shape.size()));
  const std::vector<int64_t> strides = strides_of(y.shape);
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t to = locate(indices, v * depth, depth, y.shape, strides, 0);
    combine_elements(&y, to, c.operand(2), v * n, n, reduction);
  }
  return one(std::move(y));
}

}  // namespace gcomp::interp
