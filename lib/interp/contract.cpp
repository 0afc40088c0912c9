// matmul and convolutions. Sums run over whole rows of results at a time, so that they are bearable
// on real models; the order is otherwise the plain one.

#include <algorithm>
#include <array>

#include "call.h"

namespace gcomp::interp {
namespace {

template <class S>
void matmul_one(const S* a, const S* b, S* c, int64_t m, int64_t n, int64_t k, bool trans_a,
                bool trans_b) {
  std::vector<Accumulator<S>> row(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i) {
    std::fill(row.begin(), row.end(), 0);
    for (int64_t p = 0; p < k; ++p) {
      const auto x = widen(trans_a ? a[p * m + i] : a[i * k + p]);
      for (int64_t j = 0; j < n; ++j) {
        row[static_cast<size_t>(j)] += x * widen(trans_b ? b[j * k + p] : b[p * n + j]);
      }
    }
    for (int64_t j = 0; j < n; ++j) c[i * n + j] = narrow<S>(row[static_cast<size_t>(j)]);
  }
}

// A convolution with three spatial axes (missing ones have extent 1) and the strides of each axis in
// its operands, so that layouts differ only here.
struct Conv {
  using Three = std::array<int64_t, 3>;
  int64_t batch, group, in_channels, out_channels;  // channels: per group
  Three in, out, kernel, stride{1, 1, 1}, dilation{1, 1, 1}, low{0, 0, 0};
  int64_t x_batch, x_channel, y_batch, y_channel, w_in, w_out;
  Three x_step{}, y_step{}, w_step{};
};

int64_t dot(const Conv::Three& a, const Conv::Three& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// Fills extents and strides; `y_shape` is the result's shape.
Conv describe(const Call& c, const Shape& y_shape, bool transposed) {
  const Tensor& x = c.operand(0);
  const Tensor& w = c.operand(1);
  const bool nhwc = c.attrs.string_or(AttrKey::layout, "nchw") == "nhwc";
  const size_t rank = x.shape.size(), spatial = rank - 2;
  const std::vector<int64_t> xs = strides_of(x.shape), ys = strides_of(y_shape),
                             ws = strides_of(w.shape);
  const size_t channel = nhwc ? rank - 1 : 1, first = nhwc ? 1 : 2;
  // w: [O, I, k...] / [k..., I, O]; transposed [I, O, k...] / [k..., I, O].
  const size_t w_first = nhwc ? 0 : 2;
  const size_t w_in_axis = nhwc ? rank - 2 : (transposed ? 0 : 1);
  const size_t w_out_axis = nhwc ? rank - 1 : (transposed ? 1 : 0);
  Conv v{};
  v.stride = v.dilation = v.in = v.out = v.kernel = {1, 1, 1};
  v.batch = x.shape[0];
  v.group = c.attrs.integer_or(AttrKey::group, 1);
  v.in_channels = x.shape[channel] / v.group;
  v.out_channels = y_shape[channel] / v.group;
  v.x_batch = xs[0];
  v.y_batch = ys[0];
  v.x_channel = xs[channel];
  v.y_channel = ys[channel];
  v.w_in = ws[w_in_axis];
  v.w_out = ws[w_out_axis];
  const Shape low = c.dims(AttrKey::low);
  for (size_t s = 0; s < spatial; ++s) {
    const size_t axis = 3 - spatial + s;  // missing axes come first
    v.in[axis] = x.shape[first + s];
    v.out[axis] = y_shape[first + s];
    v.kernel[axis] = w.shape[w_first + s];
    v.stride[axis] = c.attrs.ints(AttrKey::strides)[s];
    v.dilation[axis] = c.attrs.ints(AttrKey::dilations)[s];
    v.low[axis] = low[s];
    v.x_step[axis] = xs[first + s];
    v.y_step[axis] = ys[first + s];
    v.w_step[axis] = ws[w_first + s];
  }
  return v;
}

// The weight of input channel `i` and output channel `o` of group `g`: conv's w has all output
// channels and one group's input channels; conv_transpose's the other way round.
int64_t weight_at(const Conv& v, bool transposed, int64_t g, int64_t i, int64_t o) {
  return transposed ? (g * v.in_channels + i) * v.w_in + o * v.w_out
                    : i * v.w_in + (g * v.out_channels + o) * v.w_out;
}

// Adds one weight's contribution to a plane of results: y[i * stride + k * dilation - low] += w * x[i]
// if transposed, else y[i] += w * x[i * stride + k * dilation - low], with an x that is 0 outside its extents.
template <class S>
void add_tap(const Conv& v, bool transposed, const S* x, Accumulator<S> w, const Conv::Three& k,
             std::vector<Accumulator<S>>* plane) {
  const Conv::Three& walked = transposed ? v.in : v.out;
  const Conv::Three& reached = transposed ? v.out : v.in;
  const auto reach = [&](int a, int64_t i) {
    return i * v.stride[a] + k[a] * v.dilation[a] - v.low[a];
  };
  const auto inside = [&](int a, int64_t r) { return r >= 0 && r < reached[a]; };
  for (int64_t i0 = 0; i0 < walked[0]; ++i0) {
    const int64_t r0 = reach(0, i0);
    for (int64_t i1 = 0; i1 < walked[1]; ++i1) {
      const int64_t r1 = reach(1, i1);
      for (int64_t i2 = 0; i2 < walked[2]; ++i2) {
        const int64_t r2 = reach(2, i2);
        const bool within = inside(0, r0) && inside(1, r1) && inside(2, r2);
        if (transposed && !within) continue;
        const Conv::Three at_y = transposed ? Conv::Three{r0, r1, r2} : Conv::Three{i0, i1, i2};
        const Conv::Three at_x = transposed ? Conv::Three{i0, i1, i2} : Conv::Three{r0, r1, r2};
        const int64_t to = (at_y[0] * v.out[1] + at_y[1]) * v.out[2] + at_y[2];
        const Accumulator<S> at = within ? widen(x[dot(at_x, v.x_step)]) : Accumulator<S>(0);
        (*plane)[static_cast<size_t>(to)] += w * at;
      }
    }
  }
}

template <class S>
void convolve(const Call& c, const Conv& v, bool transposed, Tensor* y) {
  const S* x = c.operand(0).data<S>();
  const S* w = c.operand(1).data<S>();
  std::vector<Accumulator<S>> plane(static_cast<size_t>(v.out[0] * v.out[1] * v.out[2]));
  const auto one_channel = [&](int64_t n, int64_t g, int64_t o) {
    const int64_t channel = g * v.out_channels + o;
    const bool biased = c.operands.size() > 2;
    std::fill(plane.begin(), plane.end(),
              biased ? widen(c.operand(2).data<S>()[channel]) : Accumulator<S>(0));
    for (int64_t i = 0; i < v.in_channels; ++i) {
      const S* from = x + n * v.x_batch + (g * v.in_channels + i) * v.x_channel;
      const int64_t weights = weight_at(v, transposed, g, i, o);
      for (Odometer k({v.kernel[0], v.kernel[1], v.kernel[2]}); k.valid(); k.next()) {
        const Conv::Three tap = {k[0], k[1], k[2]};
        add_tap<S>(v, transposed, from, widen(w[weights + dot(tap, v.w_step)]), tap, &plane);
      }
    }
    S* to = y->data<S>() + n * v.y_batch + channel * v.y_channel;
    size_t e = 0;
    for (Odometer at({v.out[0], v.out[1], v.out[2]}); at.valid(); at.next()) {
      to[dot({at[0], at[1], at[2]}, v.y_step)] = narrow<S>(plane[e++]);
    }
  };
  for (int64_t n = 0; n < v.batch; ++n) {
    for (int64_t g = 0; g < v.group; ++g) {
      for (int64_t o = 0; o < v.out_channels; ++o) one_channel(n, g, o);
    }
  }
}

void check_padding(const Shape& pads) {
  for (int64_t pad : pads) {
    if (pad < 0) throw RunFailure("a padding is negative: " + to_string(pads));
  }
}

Results run_conv(const Call& c, bool transposed) {
  const Tensor& x = c.operand(0);
  const Tensor& w = c.operand(1);
  const bool nhwc = c.attrs.string_or(AttrKey::layout, "nchw") == "nhwc";
  const size_t spatial = x.shape.size() - 2;
  const size_t first = nhwc ? 1 : 2, w_first = nhwc ? 0 : 2;
  const int64_t group = c.attrs.integer_or(AttrKey::group, 1);
  const Shape low = c.dims(AttrKey::low), high = c.dims(AttrKey::high);
  const Shape extra = c.dims(AttrKey::output_padding);
  check_padding(low);
  check_padding(high);
  Shape shape = x.shape;
  if (transposed) {
    shape[nhwc ? spatial + 1 : 1] = group * w.shape[nhwc ? spatial + 1 : 1];
  } else {
    shape[nhwc ? spatial + 1 : 1] = w.shape[nhwc ? spatial + 1 : 0];
  }
  for (size_t s = 0; s < spatial; ++s) {
    const int64_t stride = c.attrs.ints(AttrKey::strides)[s];
    const int64_t reach = c.attrs.ints(AttrKey::dilations)[s] * (w.shape[w_first + s] - 1) + 1;
    const int64_t in = x.shape[first + s], pads = low[s] + high[s];
    const int64_t room = in + pads - reach;
    const int64_t windows = (room >= 0 ? room / stride : -((stride - 1 - room) / stride)) + 1;
    shape[first + s] = transposed ? stride * (in - 1) + extra[s] + reach - pads : windows;
  }
  Tensor y = make_tensor(x.dtype, std::move(shape));
  const Conv v = describe(c, y.shape, transposed);
  with_type(x.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_same_v<S, bool>) convolve<S>(c, v, transposed, &y);
  });
  return one(std::move(y));
}

}  // namespace

Results eval_matmul(const Call& c) {
  const Tensor& a = c.operand(0);
  const Tensor& b = c.operand(1);
  const bool trans_a = c.flag(AttrKey::trans_a), trans_b = c.flag(AttrKey::trans_b);
  const size_t rank = a.shape.size();
  const int64_t m = a.shape[trans_a ? rank - 1 : rank - 2];
  const int64_t k = a.shape[trans_a ? rank - 2 : rank - 1];
  const int64_t n = b.shape[trans_b ? rank - 2 : rank - 1];
  Shape shape(a.shape.begin(), a.shape.end() - 2);
  const int64_t batches = count(shape);
  shape.push_back(m);
  shape.push_back(n);
  Tensor y = make_tensor(a.dtype, std::move(shape));
  with_type(a.dtype, [&]<class S>(Tag<S>) {
    if constexpr (!std::is_same_v<S, bool>) {
      for (int64_t i = 0; i < batches; ++i) {
        matmul_one(a.data<S>() + i * m * k, b.data<S>() + i * k * n, y.data<S>() + i * m * n, m, n,
                   k, trans_a, trans_b);
      }
    }
  });
  return one(std::move(y));
}

Results eval_conv(const Call& c) { return run_conv(c, false); }

Results eval_conv_transpose(const Call& c) { return run_conv(c, true); }

}  // namespace gcomp::interp
