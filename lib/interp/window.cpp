// Sliding windows over all axes.

#include "call.h"

namespace gcomp::interp {
namespace {

int64_t scaled(int64_t a, int64_t b) {
  if (__builtin_mul_overflow(a, b, &a)) throw RunFailure("a window is larger than 2^63");
  return a;
}

// The windows of a window op and the positions within them.
struct Windows {
  const Tensor& x;
  Shape kernel, stride, dilation, low, shape;

  explicit Windows(const Call& c)
      : x(c.operand(0)),
        kernel(c.attrs.ints(AttrKey::kernel)),
        stride(c.attrs.ints(AttrKey::strides)),
        dilation(c.attrs.ints(AttrKey::dilations)),
        low(c.dims(AttrKey::low)) {
    const Shape high = c.dims(AttrKey::high);
    for (size_t a = 0; a < x.shape.size(); ++a) {
      const int64_t padded = add_extents(add_extents(x.shape[a], low[a]), high[a]);
      const int64_t reach = add_extents(scaled(dilation[a], kernel[a] - 1), 1);
      const int64_t room = add_extents(padded, -reach);
      const int64_t floor = room >= 0 ? room / stride[a] : -((stride[a] - 1 - room) / stride[a]);
      shape.push_back(floor + 1);
    }
  }

  // Calls f(index into x, or -1 in the padding) for each position of the window at `window`.
  template <class F>
  void visit(const Shape& window, const std::vector<int64_t>& strides, F&& f) const {
    for (Odometer k(kernel); k.valid(); k.next()) {
      int64_t at = 0;
      bool inside = true;
      for (size_t a = 0; a < kernel.size(); ++a) {
        const int64_t position = window[a] * stride[a] + k[a] * dilation[a] - low[a];
        inside = inside && position >= 0 && position < x.shape[a];
        at += position * strides[a];
      }
      f(inside ? at : -1);
    }
  }
};

}  // namespace

Results eval_window(const Call& c) {
  const Windows windows(c);
  const Tensor& x = windows.x;
  Tensor y = make_tensor(x.dtype, windows.shape);
  const std::vector<int64_t> strides = strides_of(x.shape);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_same_v<S, bool>) {
      int64_t i = 0;
      for (Odometer at(y.shape); at.valid(); at.next()) {
        Accumulator<S> sum = 0;
        Compute<S> max = lowest<S>();
        windows.visit(at.index(), strides, [&](int64_t from) {
          if (from < 0) return;
          sum += widen(x.data<S>()[from]);
          max = larger(max, load(x.data<S>()[from]));
        });
        y.data<S>()[i++] = c.op == Op::window_sum ? narrow<S>(sum) : store<S>(max);
      }
    }
  });
  return one(std::move(y));
}

Results eval_window_argmax(const Call& c) {
  const Windows windows(c);
  const Tensor& x = windows.x;
  Tensor y = make_tensor(DType::kInt64, windows.shape);
  const std::vector<int64_t> strides = strides_of(x.shape);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    const S* data = x.data<S>();
    int64_t i = 0;
    for (Odometer at(y.shape); at.valid(); at.next()) {
      int64_t best = -1;
      windows.visit(at.index(), strides, [&](int64_t from) {
        if (from < 0) return;
        const bool first = best < 0;
        if (first || (!is_nan(load(data[best])) &&
                      (is_nan(load(data[from])) || load(data[from]) > load(data[best])))) {
          best = from;
        }
      });
      y.data<int64_t>()[i++] = best;
    }
  });
  return one(std::move(y));
}

}  // namespace gcomp::interp
