// Layout ops: elements copied as bytes, whatever their dtype.

#include <algorithm>

#include "call.h"

namespace gcomp::interp {
namespace {

// to[i] = from[j]
void copy_element(Tensor* to, int64_t i, const Tensor& from, int64_t j) {
  const auto width = static_cast<int64_t>(byte_size(to->dtype));
  std::copy_n(from.bytes.begin() + j * width, width, to->bytes.begin() + i * width);
}

Results with_shape(const Tensor& x, Shape shape) {
  Tensor y = x;
  y.shape = std::move(shape);
  return one(std::move(y));
}

}  // namespace

Results eval_reshape(const Call& c) {
  const Tensor& x = c.operand(0);
  Shape shape = c.dims(AttrKey::shape);
  const Tensor wanted = make_tensor(DType::kBool, shape);  // checks the extents
  if (wanted.bytes.size() * byte_size(x.dtype) != x.bytes.size()) {
    throw RunFailure(to_string(x) + " cannot be reshaped to " + to_string(shape) +
                     ": another number of elements");
  }
  return with_shape(x, std::move(shape));
}

Results eval_specify_shape(const Call& c) {
  const Tensor& x = c.operand(0);
  const Shape shape = c.dims(AttrKey::shape);
  if (x.shape != shape) {
    throw RunFailure("the operand has extents " + to_string(x.shape) + ", not " + to_string(shape));
  }
  return one(x);
}

Results eval_broadcast(const Call& c) {
  const Tensor& x = c.operand(0);
  const std::vector<int64_t>& axes = c.attrs.ints(AttrKey::axes);
  Tensor y = make_tensor(x.dtype, c.dims(AttrKey::shape));
  std::vector<int64_t> steps(y.shape.size(), 0);  // 0: the axis repeats
  const std::vector<int64_t> strides = strides_of(x.shape);
  for (size_t a = 0; a < axes.size(); ++a) {
    const auto target = static_cast<size_t>(axes[a]);
    if (x.shape[a] != 1 && x.shape[a] != y.shape[target]) {
      throw RunFailure("axis " + std::to_string(a) + " of " + to_string(x) +
                       " cannot be repeated to extent " + std::to_string(y.shape[target]));
    }
    if (x.shape[a] != 1) steps[target] = strides[a];
  }
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next()) copy_element(&y, i++, x, at.offset(steps));
  return one(std::move(y));
}

Results eval_transpose(const Call& c) {
  const Tensor& x = c.operand(0);
  const std::vector<int64_t> strides = strides_of(x.shape);
  Shape shape;
  std::vector<int64_t> steps;
  for (int64_t axis : c.attrs.ints(AttrKey::perm)) {
    shape.push_back(x.shape[static_cast<size_t>(axis)]);
    steps.push_back(strides[static_cast<size_t>(axis)]);
  }
  Tensor y = make_tensor(x.dtype, std::move(shape));
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next()) copy_element(&y, i++, x, at.offset(steps));
  return one(std::move(y));
}

Results eval_slice(const Call& c) {
  const Tensor& x = c.operand(0);
  const Shape starts = c.dims(AttrKey::starts);
  const std::vector<int64_t>& by = c.attrs.ints(AttrKey::strides);
  Tensor y = make_tensor(x.dtype, c.dims(AttrKey::shape));
  if (y.bytes.empty()) return one(std::move(y));
  std::vector<int64_t> steps = strides_of(x.shape);
  int64_t first = 0;
  for (size_t a = 0; a < steps.size(); ++a) {
    // In 128 bits, since a start and a stride may be any 64-bit numbers.
    const __int128 last = starts[a] + static_cast<__int128>(y.shape[a] - 1) * by[a];
    if (starts[a] < 0 || starts[a] >= x.shape[a] || last < 0 || last >= x.shape[a]) {
      throw RunFailure("the slice of axis " + std::to_string(a) + ", " +
                       std::to_string(y.shape[a]) + " elements from " + std::to_string(starts[a]) +
                       " by " + std::to_string(by[a]) + ", leaves " + to_string(x));
    }
    first += starts[a] * steps[a];
    steps[a] = y.shape[a] > 1 ? steps[a] * by[a] : 0;
  }
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next()) {
    copy_element(&y, i++, x, first + at.offset(steps));
  }
  return one(std::move(y));
}

Results eval_pad(const Call& c) {
  const Tensor& x = c.operand(0);
  const Tensor& fill = c.operand(1);
  const Shape low = c.dims(AttrKey::low), high = c.dims(AttrKey::high);
  Shape shape = x.shape;
  for (size_t a = 0; a < shape.size(); ++a) {
    shape[a] = add_extents(add_extents(shape[a], low[a]), high[a]);
  }
  Tensor y = make_tensor(x.dtype, std::move(shape));
  const std::vector<int64_t> strides = strides_of(x.shape);
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next(), ++i) {
    bool inside = true;
    int64_t from = 0;
    for (size_t a = 0; a < strides.size(); ++a) {
      const int64_t position = at[a] - low[a];
      inside = inside && position >= 0 && position < x.shape[a];
      from += position * strides[a];
    }
    copy_element(&y, i, inside ? x : fill, inside ? from : 0);
  }
  return one(std::move(y));
}

Results eval_concat(const Call& c) {
  const auto axis = static_cast<size_t>(c.attrs.integer(AttrKey::axis));
  Shape shape = c.operand(0).shape;
  for (size_t p = 1; p < c.operands.size(); ++p) {
    shape[axis] = add_extents(shape[axis], c.operand(p).shape[axis]);
  }
  Tensor y = make_tensor(c.operand(0).dtype, std::move(shape));
  const std::vector<int64_t> strides = strides_of(y.shape);
  int64_t before = 0;  // extent of the operands already copied
  for (const Tensor* part : c.operands) {
    int64_t i = 0;
    for (Odometer at(part->shape); at.valid(); at.next()) {
      copy_element(&y, at.offset(strides) + before * strides[axis], *part, i++);
    }
    before += part->shape[axis];
  }
  return one(std::move(y));
}

Results eval_reverse(const Call& c) {
  const Tensor& x = c.operand(0);
  Tensor y = make_tensor(x.dtype, x.shape);
  std::vector<int64_t> steps = strides_of(x.shape);
  int64_t first = 0;
  for (int64_t axis : c.attrs.ints(AttrKey::axes)) {
    const auto a = static_cast<size_t>(axis);
    first += (x.shape[a] - 1) * steps[a];
    steps[a] = -steps[a];
  }
  int64_t i = 0;
  for (Odometer at(y.shape); at.valid(); at.next()) {
    copy_element(&y, i++, x, first + at.offset(steps));
  }
  return one(std::move(y));
}

}  // namespace gcomp::interp
