#include "gcomp/interp/tensor.h"

#include <limits>

#include "call.h"

namespace gcomp::interp {
namespace {

// Only the extents of an empty tensor can overflow.
int64_t wrapping_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

}  // namespace

int64_t Tensor::num_elements() const { return count(shape); }

Tensor from_constant(const Constant& c) {
  return {c.dtype, c.shape, {c.bytes.begin(), c.bytes.end()}};
}

Constant to_constant(Tensor t) {
  return make_constant(t.dtype, std::move(t.shape), std::move(t.bytes));
}

std::string to_string(const Tensor& t) { return std::string(name(t.dtype)) + to_string(t.shape); }

int64_t count(const Shape& shape) {
  int64_t n = 1;
  for (int64_t extent : shape) n = wrapping_mul(n, extent);
  return n;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

Tensor make_tensor(DType dtype, Shape shape) {
  int64_t bytes = static_cast<int64_t>(byte_size(dtype));
  bool overflow = false, empty = false;
  for (int64_t extent : shape) {
    if (extent < 0) throw RunFailure("the result has a negative extent: " + to_string(shape));
    empty = empty || extent == 0;
    overflow = __builtin_mul_overflow(bytes, extent, &bytes) || overflow;
  }
  if (overflow && !empty) throw RunFailure("the result is too large: " + to_string(shape));
  Tensor t{dtype, std::move(shape), {}};
  t.bytes.resize(empty ? 0 : static_cast<size_t>(bytes));
  return t;
}

int64_t add_extents(int64_t a, int64_t b) {
  if (__builtin_add_overflow(a, b, &a)) throw RunFailure("an extent is beyond 2^63");
  return a;
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t a = shape.size(); a-- > 0;) {
    strides[a] = stride;
    stride = wrapping_mul(stride, shape[a]);
  }
  return strides;
}

int64_t integer_at(const Tensor& t, int64_t i) {
  int64_t value = 0;
  with_type(t.dtype, [&]<class S>(Tag<S>) {
    if constexpr (std::is_same_v<S, uint64_t>) {
      const uint64_t x = t.data<uint64_t>()[i];
      const auto most = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      value = static_cast<int64_t>(x < most ? x : most);
    } else if constexpr (std::is_integral_v<S>) {
      value = static_cast<int64_t>(t.data<S>()[i]);
    } else {
      GCOMP_CHECK(false, "an integer tensor is needed");
    }
  });
  return value;
}

}  // namespace gcomp::interp
