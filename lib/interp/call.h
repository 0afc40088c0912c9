#pragma once
// What the functions of the evaluator share: their argument, dispatch over dtypes, walking indices.

#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"
#include "gcomp/support/error.h"

namespace gcomp::interp {

using Shape = std::vector<int64_t>;

// The run failed; the evaluator adds the place.
struct RunFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One node to evaluate.
struct Call {
  const Context& context;
  Op op;
  Attrs attrs;
  std::span<const Tensor* const> operands;
  const std::function<int64_t(DimId)>& extent;  // the value of an expression; throws if unknown

  const Tensor& operand(size_t i) const { return *operands[i]; }
  Shape dims(AttrKey key) const {
    Shape values;
    for (DimId d : attrs.dims(key)) values.push_back(extent(d));
    return values;
  }
  bool flag(AttrKey key, bool absent = false) const {
    return attrs.integer_or(key, absent ? 1 : 0) != 0;
  }
};

using Results = std::vector<Tensor>;
using Function = Results (*)(const Call&);

// One for each op that is not handled by the evaluator itself (nullptr for those).
Function function_of(Op op);

// ---- Tensors ----
int64_t count(const Shape& shape);
std::string to_string(const Shape& shape);            // "[2, 3]"
Tensor make_tensor(DType dtype, Shape shape);         // zeros; RunFailure if an extent is negative
int64_t add_extents(int64_t a, int64_t b);            // RunFailure if beyond 2^63
std::vector<int64_t> strides_of(const Shape& shape);  // row-major, in elements

inline Results one(Tensor t) {
  Results r;
  r.push_back(std::move(t));
  return r;
}

// All indices of a shape in row-major order: for (Odometer at(shape); at.valid(); at.next()).
class Odometer {
 public:
  explicit Odometer(Shape shape) : shape_(std::move(shape)), index_(shape_.size(), 0) {
    for (int64_t extent : shape_) valid_ = valid_ && extent > 0;
  }
  bool valid() const { return valid_; }
  void next() {
    size_t axis = shape_.size();
    while (axis > 0 && ++index_[axis - 1] == shape_[axis - 1]) index_[--axis] = 0;
    valid_ = axis > 0;
  }
  const Shape& index() const { return index_; }
  int64_t operator[](size_t axis) const { return index_[axis]; }
  // Sum of index * stride.
  int64_t offset(const std::vector<int64_t>& strides) const {
    int64_t sum = 0;
    for (size_t a = 0; a < index_.size(); ++a) sum += index_[a] * strides[a];
    return sum;
  }

 private:
  Shape shape_;
  Shape index_;
  bool valid_ = true;
};

// ---- Element types ----
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class S>
struct Tag {
  using type = S;
};

// Calls f(Tag<element type>).
template <class F>
void with_type(DType t, F&& f) {
  switch (t) {
    case DType::kBool: return f(Tag<bool>{});
    case DType::kInt8: return f(Tag<int8_t>{});
    case DType::kInt16: return f(Tag<int16_t>{});
    case DType::kInt32: return f(Tag<int32_t>{});
    case DType::kInt64: return f(Tag<int64_t>{});
    case DType::kUInt8: return f(Tag<uint8_t>{});
    case DType::kUInt16: return f(Tag<uint16_t>{});
    case DType::kUInt32: return f(Tag<uint32_t>{});
    case DType::kUInt64: return f(Tag<uint64_t>{});
    case DType::kFloat16: return f(Tag<Half>{});
    case DType::kBFloat16: return f(Tag<BFloat16>{});
    case DType::kFloat32: return f(Tag<float>{});
    case DType::kFloat64: return f(Tag<double>{});
  }
}

// The type elements are computed in: float for the halves; int64 or uint64 for integers and bool,
// where results are right modulo 2^64 and narrowing wraps them.
template <class S>
struct ComputeOf {
  using type = std::conditional_t<std::is_signed_v<S>, int64_t, uint64_t>;
};
template <>
struct ComputeOf<Half> {
  using type = float;
};
template <>
struct ComputeOf<BFloat16> {
  using type = float;
};
template <>
struct ComputeOf<float> {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};
template <class S>
using Compute = typename ComputeOf<S>::type;

template <class S>
Compute<S> load(S x) {
  if constexpr (std::is_same_v<S, Half>) {
    return half_to_float(x.bits);
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return bfloat16_to_float(x.bits);
  } else {
    return x;
  }
}
template <class S>
S store(Compute<S> x) {
  if constexpr (std::is_same_v<S, Half>) {
    return {float_to_half(x)};
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return {float_to_bfloat16(x)};
  } else {
    return static_cast<S>(x);
  }
}

// The type sums and products are accumulated in.
template <class S>
using Accumulator =
    std::conditional_t<std::is_same_v<S, double>, long double,
                       std::conditional_t<std::is_same_v<Compute<S>, float>, double, uint64_t>>;
template <class S>
Accumulator<S> widen(S x) {
  return static_cast<Accumulator<S>>(load(x));
}
template <class S>
S narrow(Accumulator<S> x) {
  return store<S>(static_cast<Compute<S>>(x));
}

// NaN, for integers never.
template <class C>
bool is_nan(C x) {
  return x != x;
}
// NaN if either is.
template <class C>
C smaller(C x, C y) {
  if (is_nan(x) || is_nan(y)) return x + y;
  return y < x ? y : x;
}
template <class C>
C larger(C x, C y) {
  if (is_nan(x) || is_nan(y)) return x + y;
  return x < y ? y : x;
}
// The least and the largest value of an element type, infinite for floats.
template <class S>
Compute<S> lowest() {
  if constexpr (std::is_integral_v<S>) {
    return std::numeric_limits<S>::min();
  } else {
    return -std::numeric_limits<Compute<S>>::infinity();
  }
}
template <class S>
Compute<S> highest() {
  if constexpr (std::is_integral_v<S>) {
    return std::numeric_limits<S>::max();
  } else {
    return std::numeric_limits<Compute<S>>::infinity();
  }
}

// Element `i` of an integer tensor; values beyond int64 become its maximum.
int64_t integer_at(const Tensor& t, int64_t i);
// int64 converted as `cast` does, written as element `i`.
void set_integer(Tensor* t, int64_t i, int64_t value);

// ---- The functions, by family ----
Results eval_unary(const Call& c);
Results eval_real(const Call& c);  // transcendental functions, on floats
Results eval_binary(const Call& c);
Results eval_compare(const Call& c);
Results eval_test(const Call& c);  // is_nan, is_inf
Results eval_where(const Call& c);
Results eval_cast(const Call& c);
Results eval_iota(const Call& c);
Results eval_dims(const Call& c);
Results eval_reshape(const Call& c);
Results eval_broadcast(const Call& c);
Results eval_transpose(const Call& c);
Results eval_slice(const Call& c);
Results eval_pad(const Call& c);
Results eval_concat(const Call& c);
Results eval_reverse(const Call& c);
Results eval_specify_shape(const Call& c);
Results eval_gather(const Call& c);
Results eval_gather_elements(const Call& c);
Results eval_gather_nd(const Call& c);
Results eval_scatter_elements(const Call& c);
Results eval_scatter_nd(const Call& c);
Results eval_reduce(const Call& c);
Results eval_reduce_bool(const Call& c);
Results eval_arg(const Call& c);
Results eval_scan(const Call& c);
Results eval_matmul(const Call& c);
Results eval_conv(const Call& c);
Results eval_conv_transpose(const Call& c);
Results eval_window(const Call& c);
Results eval_window_argmax(const Call& c);
Results eval_sort(const Call& c);
Results eval_top_k(const Call& c);
Results eval_nonzero(const Call& c);
Results eval_check(const Call& c);

}  // namespace gcomp::interp
