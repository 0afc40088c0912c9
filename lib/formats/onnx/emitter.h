#pragma once
// GraphBuilder in the words of ONNX: negative axes, kept reduction axes, NumPy broadcasting of mixed
// constants, and carriers found by themselves: the emitter remembers which value binds each
// data-dependent extent.

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gcomp/ir/builder.h"

namespace gcomp::formats::onnx {

using Dims = std::vector<DimId>;
using Ints = std::vector<int64_t>;
using Values = std::vector<ValueId>;

// What is being built: one graph (the model's, or a nested one) and its data-dependent extents.
struct Body {
  explicit Body(Context& context) : builder(context, GraphBuilder::Mode::kRaw) {}
  GraphBuilder builder;
  std::unordered_map<uint32_t, ValueId> binders;  // symbol -> the value that brings it
};

class Emitter {
 public:
  explicit Emitter(Body& body) : b(body.builder), body_(body) {}

  GraphBuilder& b;

  // ---- Looking at values ----
  DType dtype(ValueId v) const { return b.type(v).dtype; }
  int rank(ValueId v) const { return b.type(v).rank(); }
  Dims shape(ValueId v) const { return b.type(v).dims; }
  DimId extent(ValueId v, int64_t axis) const { return b.type(v).dims[static_cast<size_t>(axis)]; }
  DimTable& dims() { return b.dims(); }
  DimId dim(int64_t value) { return dims().constant(value); }
  Dims dim_list(const Ints& values);
  std::optional<int64_t> static_extent(ValueId v, int64_t axis);
  // Number of elements, as an extent.
  DimId num_elements(ValueId v);
  // An axis within [0, rank), counted from the end where negative; else an error.
  int64_t axis(int64_t axis, int rank) const;
  Ints axes(Ints axes, int rank) const;  // sorted, each once; an error if one occurs twice
  // The elements if they are known when compiling.
  std::optional<Ints> known_ints(ValueId v);
  std::optional<std::vector<double>> known_reals(ValueId v);
  // The same, else an error that says to give `what` as a constant.
  Ints need_ints(ValueId v, std::string_view what);

  // ---- Elementwise, with broadcasting ----
  ValueId unary(Op op, ValueId x) { return b.value(op, {x}); }
  ValueId binary(Op op, ValueId x, ValueId y) { return b.elementwise(op, {x, y}); }
  ValueId add(ValueId x, ValueId y) { return binary(Op::add, x, y); }
  ValueId sub(ValueId x, ValueId y) { return binary(Op::sub, x, y); }
  ValueId mul(ValueId x, ValueId y) { return binary(Op::mul, x, y); }
  ValueId div(ValueId x, ValueId y) { return binary(Op::div, x, y); }
  ValueId max(ValueId x, ValueId y) { return binary(Op::max, x, y); }
  ValueId min(ValueId x, ValueId y) { return binary(Op::min, x, y); }
  // A scalar of x's dtype.
  ValueId like(ValueId x, double value) { return b.scalar(dtype(x), value); }
  ValueId add(ValueId x, double y) { return add(x, like(x, y)); }
  ValueId sub(ValueId x, double y) { return sub(x, like(x, y)); }
  ValueId mul(ValueId x, double y) { return mul(x, like(x, y)); }
  ValueId div(ValueId x, double y) { return div(x, like(x, y)); }
  ValueId max(ValueId x, double y) { return max(x, like(x, y)); }
  ValueId min(ValueId x, double y) { return min(x, like(x, y)); }
  ValueId compare(Op op, ValueId x, double y) { return binary(op, x, like(x, y)); }
  ValueId where(ValueId condition, ValueId x, ValueId y);
  ValueId cast(ValueId x, DType t) { return b.cast(x, t); }
  // float16 and bfloat16 as float32, other dtypes as they are: for chains of ops that should round
  // once, at the end.
  ValueId widen(ValueId x);
  ValueId square(ValueId x) { return b.value(Op::mul, {x, x}); }
  ValueId reciprocal(ValueId x) { return div(like(x, 1), x); }

  // ---- Layout; extents that data decide get their carriers ----
  Values carriers(const Dims& wanted);
  // Operand elements as extents (see GraphBuilder::extents_from); remembers what binds them.
  Dims extents_from(ValueId v, std::string_view stem);
  // The same, but each part of a concatenation on its own: what is known of [n, 3, 64] stays known
  // when n is not. A scalar counts as a list of one.
  Dims extents_of(ValueId list, std::string_view stem);
  // The extent to which NumPy broadcasts two; decided at run time where it is not known.
  DimId common_extent(DimId a, DimId c);
  // A node that defines symbols, remembered as their binder.
  NodeId defining(Op op, const Values& operands, std::vector<Attr> attrs);
  // Remembers `v` as the value that brings the symbols of its type.
  void remember(ValueId v);
  ValueId reshape(ValueId v, Dims to) { return b.reshape(v, to, carriers(to)); }
  ValueId flatten(ValueId v) { return reshape(v, {num_elements(v)}); }
  ValueId expand(ValueId v, Dims to) { return b.broadcast_to(v, to, carriers(to)); }
  // Axis i of v becomes axis axes[i] of the result.
  ValueId place(ValueId v, Dims to, Ints axes) { return b.broadcast(v, to, axes, carriers(to)); }
  // `v` (rank 1) along `axis` of a shape of `rank`, other extents 1.
  ValueId along(ValueId v, int64_t axis, int rank);
  ValueId squeeze(ValueId v, const Ints& axes);
  ValueId unsqueeze(ValueId v, const Ints& axes);
  ValueId transpose(ValueId v, Ints perm) { return b.transpose(v, std::move(perm)); }
  ValueId move_axis(ValueId v, int64_t from, int64_t to);
  ValueId slice(ValueId v, Dims starts, Dims to, Ints strides);
  // Elements [start, start + extent) of one axis.
  ValueId slice_axis(ValueId v, int64_t axis, DimId start, DimId extent, int64_t stride = 1);
  ValueId pad(ValueId v, ValueId fill, Dims low, Dims high);
  ValueId concat(const Values& parts, int64_t axis);
  ValueId specify(ValueId v, Dims to);  // equal extents, checked at run time
  ValueId full(DType t, Dims to, double value);
  ValueId iota(DType t, Dims to, int64_t axis);
  ValueId shape_value(const Dims& of) { return b.dims_value(of, carriers(of)); }  // int64[n]
  // An extent as a rank-0 value of dtype t.
  ValueId extent_value(DimId d, DType t);
  // Operands of equal shape: broadcast to their common shape.
  Values broadcast(Values operands);

  // ---- Reductions ----
  ValueId reduce(Op op, ValueId v, Ints axes, bool keep);
  ValueId mean(ValueId v, const Ints& axes, bool keep);
  // The number of elements that a reduction over `axes` combines, as a scalar of v's dtype.
  ValueId count(ValueId v, const Ints& axes, DType t);
  ValueId softmax(ValueId v, const Ints& axes);
  ValueId log_softmax(ValueId v, const Ints& axes);

  // ---- Contractions and indexing ----
  ValueId matmul(ValueId a, ValueId c);  // NumPy's: any ranks, batches broadcast
  ValueId gather(ValueId v, ValueId indices, int64_t axis);

  [[noreturn]] void fail(std::string message, std::string hint = "") const;

 private:
  Body& body_;
};

}  // namespace gcomp::formats::onnx
