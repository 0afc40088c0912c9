// Contractions (matmul, convolutions) and sliding windows.

#include <algorithm>

#include "ops/rows.h"

namespace gcomp::ops {
namespace {

void infer_matmul(TypeInference& t) {
  const Type& a = t.operand(0);
  const Type& b = t.operand(1);
  if (!check_dtype(t, 0, Domain::kNumeric) || !check_same_dtype(t, 0, 1)) return;
  if (!check_flag(t, AttrKey::trans_a) || !check_flag(t, AttrKey::trans_b)) return;
  const int rank = a.rank();
  if (rank < 2 || b.rank() != rank) {
    t.fail("operands must have one rank, at least 2: " + t.show(a) + " and " + t.show(b) +
           " (insert reshape or broadcast)");
    return;
  }
  for (int axis = 0; axis < rank - 2; ++axis) {
    if (!check_same_extent(t, 0, axis, 1, axis)) return;
  }
  const bool trans_a = t.attrs().integer_or(AttrKey::trans_a, 0) != 0;
  const bool trans_b = t.attrs().integer_or(AttrKey::trans_b, 0) != 0;
  const int m = trans_a ? rank - 1 : rank - 2, k_of_a = trans_a ? rank - 2 : rank - 1;
  const int n = trans_b ? rank - 2 : rank - 1, k_of_b = trans_b ? rank - 1 : rank - 2;
  if (!check_same_extent(t, 0, k_of_a, 1, k_of_b)) return;
  std::vector<DimId> shape(a.dims.begin(), a.dims.end() - 2);
  shape.push_back(a.dims[static_cast<size_t>(m)]);
  shape.push_back(b.dims[static_cast<size_t>(n)]);
  t.result(a.dtype, std::move(shape));
}

// Where the axes of a convolution's operands are: x and the result are [N, C, spatial...] or
// [N, spatial..., C]; the first of w's two channel axes is `w_first`, the second `w_second`.
struct ConvAxes {
  int spatial;  // number of spatial axes
  int x_channel;
  int x_spatial;
  int w_first;
  int w_second;
  int w_spatial;
};

ConvAxes conv_axes(bool nhwc, bool transposed, int rank) {
  const int s = rank - 2;
  if (!nhwc) return {s, 1, 2, 0, 1, 2};  // w: [O, C/group, ...] or, transposed, [C, O/group, ...]
  // w: [..., C/group, O] or, transposed, [..., C, O/group]
  if (transposed) return {s, rank - 1, 1, rank - 2, rank - 1, 0};
  return {s, rank - 1, 1, rank - 1, rank - 2, 0};
}

bool check_conv_attrs(TypeInference& t, size_t spatial) {
  static constexpr std::string_view kLayouts[] = {"nchw", "nhwc"};
  const Attrs attrs = t.attrs();
  if (!check_choice(t, AttrKey::layout, "nchw", kLayouts)) return false;
  for (AttrKey key : {AttrKey::strides, AttrKey::dilations}) {
    if (!check_count(t, key, attrs.ints(key).size(), spatial)) return false;
    if (!check_positive(t, key, attrs.ints(key))) return false;
  }
  for (AttrKey key : {AttrKey::low, AttrKey::high}) {
    if (!check_count(t, key, attrs.dims(key).size(), spatial)) return false;
    for (DimId pad : attrs.dims(key)) {
      const auto upper = t.dims().upper_bound(pad);
      if (upper && *upper < 0) {
        t.fail("attribute '" + std::string(name(key)) + "' has a negative padding (insert slice)");
        return false;
      }
    }
  }
  return t.require(attrs.integer_or(AttrKey::group, 1) >= 1,
                   "attribute 'group' must be at least 1");
}

bool check_conv_operands(TypeInference& t) {
  if (!check_dtype(t, 0, Domain::kNumeric)) return false;
  const int rank = t.operand(0).rank();
  if (rank < 3 || rank > 5) {
    t.fail("operand 0 is " + t.show(t.operand(0)) +
           "; it must have 1 to 3 spatial axes beside "
           "batch and channels");
    return false;
  }
  for (int i = 1; i < t.num_operands(); ++i) {
    if (!check_same_dtype(t, 0, i)) return false;
  }
  return check_rank(t, 1, rank) && (t.num_operands() < 3 || check_rank(t, 2, 1));
}

// The bias, if there is one, has extent `channels`.
bool check_bias(TypeInference& t, DimId channels) {
  if (t.num_operands() < 3 || t.operand(2).dims[0] == channels) return true;
  t.fail("operand 2, the bias, is " + t.show(t.operand(2)) + "; it must have extent " +
         t.dims().to_string(channels));
  return false;
}

bool check_divides(TypeInference& t, DimId extent, int64_t group, std::string_view what) {
  if (t.dims().is_constant(t.dims().mod(extent, t.dims().constant(group)), 0)) return true;
  t.fail(std::string(what) + ", " + t.dims().to_string(extent) + ", must be divisible by group " +
         std::to_string(group));
  return false;
}

void infer_conv(TypeInference& t) {
  if (!check_conv_operands(t)) return;
  const Type& x = t.operand(0);
  const Type& w = t.operand(1);
  const Attrs attrs = t.attrs();
  const ConvAxes at =
      conv_axes(attrs.string_or(AttrKey::layout, "nchw") == "nhwc", false, x.rank());
  if (!check_conv_attrs(t, static_cast<size_t>(at.spatial))) return;
  const int64_t group = attrs.integer_or(AttrKey::group, 1);
  const DimId out_channels = w.dims[at.w_first];
  const DimId wanted = t.dims().mul(w.dims[at.w_second], t.dims().constant(group));
  if (x.dims[at.x_channel] != wanted) {
    t.fail("operand 0, " + t.show(x) + ", has " + t.dims().to_string(x.dims[at.x_channel]) +
           " channels; operand 1, " + t.show(w) + ", with group " + std::to_string(group) +
           " wants " + t.dims().to_string(wanted));
    return;
  }
  if (!check_divides(t, out_channels, group, "the number of output channels")) return;
  if (!check_bias(t, out_channels)) return;
  std::vector<DimId> shape(x.dims.size());
  shape[0] = x.dims[0];
  shape[at.x_channel] = out_channels;
  for (int i = 0; i < at.spatial; ++i) {
    shape[at.x_spatial + i] =
        window_extent(t.dims(), x.dims[at.x_spatial + i], attrs.dims(AttrKey::low)[i],
                      attrs.dims(AttrKey::high)[i], w.dims[at.w_spatial + i],
                      attrs.ints(AttrKey::strides)[i], attrs.ints(AttrKey::dilations)[i]);
  }
  t.result(x.dtype, std::move(shape));
}

// stride * (extent - 1) + output_padding + dilation * (kernel - 1) + 1 - low - high
DimId transposed_extent(TypeInference& t, DimId extent, DimId kernel, int i) {
  DimTable& d = t.dims();
  const Attrs attrs = t.attrs();
  const DimId one = d.constant(1);
  const DimId stride = d.constant(attrs.ints(AttrKey::strides)[i]);
  const DimId dilation = d.constant(attrs.ints(AttrKey::dilations)[i]);
  DimId sum = d.add(d.mul(stride, d.sub(extent, one)), d.mul(dilation, d.sub(kernel, one)));
  sum = d.add(sum, d.add(attrs.dims(AttrKey::output_padding)[i], one));
  return d.sub(sum, d.add(attrs.dims(AttrKey::low)[i], attrs.dims(AttrKey::high)[i]));
}

void infer_conv_transpose(TypeInference& t) {
  if (!check_conv_operands(t)) return;
  const Type& x = t.operand(0);
  const Type& w = t.operand(1);
  const Attrs attrs = t.attrs();
  const ConvAxes at = conv_axes(attrs.string_or(AttrKey::layout, "nchw") == "nhwc", true, x.rank());
  const auto spatial = static_cast<size_t>(at.spatial);
  if (!check_conv_attrs(t, spatial)) return;
  if (!check_count(t, AttrKey::output_padding, attrs.dims(AttrKey::output_padding).size(),
                   spatial)) {
    return;
  }
  const int64_t group = attrs.integer_or(AttrKey::group, 1);
  if (!check_same_extent(t, 0, at.x_channel, 1, at.w_first)) return;
  if (!check_divides(t, x.dims[at.x_channel], group, "the number of input channels")) return;
  const DimId out_channels = t.dims().mul(w.dims[at.w_second], t.dims().constant(group));
  if (!check_bias(t, out_channels)) return;
  std::vector<DimId> shape(x.dims.size());
  shape[0] = x.dims[0];
  shape[at.x_channel] = out_channels;
  for (int i = 0; i < at.spatial; ++i) {
    shape[at.x_spatial + i] =
        transposed_extent(t, x.dims[at.x_spatial + i], w.dims[at.w_spatial + i], i);
  }
  t.result(x.dtype, std::move(shape));
}

void infer_window_to(TypeInference& t, DType dtype) {
  const Type& x = t.operand(0);
  const Attrs attrs = t.attrs();
  if (!check_dtype(t, 0, Domain::kNumeric)) return;
  for (AttrKey key : {AttrKey::kernel, AttrKey::strides, AttrKey::dilations}) {
    if (!check_count(t, key, attrs.ints(key).size(), x.dims.size())) return;
    if (!check_positive(t, key, attrs.ints(key))) return;
  }
  for (AttrKey key : {AttrKey::low, AttrKey::high}) {
    if (!check_count(t, key, attrs.dims(key).size(), x.dims.size())) return;
  }
  std::vector<DimId> shape;
  for (size_t i = 0; i < x.dims.size(); ++i) {
    const DimId kernel = t.dims().constant(attrs.ints(AttrKey::kernel)[i]);
    shape.push_back(window_extent(
        t.dims(), x.dims[i], attrs.dims(AttrKey::low)[i], attrs.dims(AttrKey::high)[i], kernel,
        attrs.ints(AttrKey::strides)[i], attrs.ints(AttrKey::dilations)[i]));
  }
  t.result(dtype, std::move(shape));
}

void infer_window(TypeInference& t) { infer_window_to(t, t.operand(0).dtype); }

void infer_window_argmax(TypeInference& t) { infer_window_to(t, DType::kInt64); }

std::vector<AttrSpec> conv_attrs() {
  return {{AttrKey::dilations, AttrKind::kInts, true, "distance of kernel elements, one an axis"},
          {AttrKey::group, AttrKind::kInt, false, "number of channel groups (default 1)"},
          {AttrKey::high, AttrKind::kDims, true, "padding after, one a spatial axis, >= 0"},
          {AttrKey::layout, AttrKind::kString, false, "nchw (default) or nhwc"},
          {AttrKey::low, AttrKind::kDims, true, "padding before, one a spatial axis, >= 0"},
          {AttrKey::strides, AttrKind::kInts, true, "step of the window, one a spatial axis"}};
}

OpInfo conv_row(Op op, std::string_view doc, std::vector<AttrSpec> attrs,
                void (*infer)(TypeInference&)) {
  return {.op = op,
          .min_operands = 2,
          .max_operands = 3,
          .num_results = 1,
          .traits = 0,
          .signature = "(x: T, w: T, [bias: T[O]]) -> T, T: number",
          .doc = doc,
          .attrs = std::move(attrs),
          .infer = infer};
}

OpInfo window_row(Op op, std::string_view signature, std::string_view doc,
                  void (*infer)(TypeInference&)) {
  return {.op = op,
          .min_operands = 1,
          .max_operands = 1,
          .num_results = 1,
          .traits = 0,
          .signature = signature,
          .doc = doc,
          .attrs = {{AttrKey::dilations, AttrKind::kInts, true, "distance of window elements"},
                    {AttrKey::high, AttrKind::kDims, true, "padding after; negative crops"},
                    {AttrKey::kernel, AttrKind::kInts, true, "elements of a window"},
                    {AttrKey::low, AttrKind::kDims, true, "padding before; negative crops"},
                    {AttrKey::strides, AttrKind::kInts, true, "step of the window"}},
          .infer = infer};
}

}  // namespace

std::vector<OpInfo> contract_rows() {
  std::vector<AttrSpec> transpose_attrs = conv_attrs();
  transpose_attrs.push_back({AttrKey::output_padding, AttrKind::kDims, true,
                             "extra extent at the end, one a spatial axis"});
  return {
      {.op = Op::matmul,
       .min_operands = 2,
       .max_operands = 2,
       .num_results = 1,
       .traits = 0,
       .signature = "(a: T[..., M, K], b: T[..., K, N]) -> T[..., M, N], T: number",
       .doc =
           "Products of the matrices in the last two axes. Ranks are equal, at least 2, and so are "
           "the leading (batch) extents. trans_a: a is [..., K, M]; trans_b: b is [..., N, K]. "
           "K = 0 gives zeros. Integers wrap; float16 and bfloat16 accumulate in float32 and "
           "round once. The order of float additions is fixed but unspecified. On a GPU's matrix "
           "units products of float16 and bfloat16 are exact and added in float32 or wider, but "
           "how sums are rounded, and whether subnormal factors count, is the GPU's; under "
           "--allow-tf32 they multiply float32 too, whose factors are rounded to 11 bits.",
       .attrs = {{AttrKey::trans_a, AttrKind::kInt, false, "1: a's last two axes are swapped"},
                 {AttrKey::trans_b, AttrKind::kInt, false, "1: b's last two axes are swapped"}},
       .infer = infer_matmul},
      conv_row(
          Op::conv,
          "Convolution without kernel flip (cross-correlation), 1 to 3 spatial axes. Layout "
          "nchw: x [N, C, spatial...], w [O, C/group, spatial...]; nhwc: x [N, spatial..., C], "
          "w [spatial..., C/group, O]; the result has x's layout with O channels. result[n, o, "
          "p] = bias[o] + sum over c, k of x[n, c + the group's first channel, p * stride + k * "
          "dilation - low] * w[o, c, k], where x is 0 outside its extents and multiplied like any "
          "element; output channel o belongs to group o // "
          "(O / group). Extents: (in + low + high - dilation * (kernel - 1) - 1) // stride + 1; "
          "a negative one is a run-time error. Precision as matmul; bias is added before the "
          "rounding.",
          conv_attrs(), infer_conv),
      conv_row(
          Op::conv_transpose,
          "The transpose (gradient) of conv as an operator on x. Layout nchw: x [N, C, "
          "spatial...], w [C, O/group, spatial...]; nhwc: x [N, spatial..., C], w [spatial..., "
          "C, O/group]. Each x[n, c, i] * w[c, o, k] is added to the result at channel o + the "
          "group's first and position i * stride + k * dilation - low, if within it; bias[o] "
          "once. Extents: stride * (in - 1) + output_padding + dilation * (kernel - 1) + 1 - "
          "low - high; a negative one is a run-time error. Precision as conv.",
          std::move(transpose_attrs), infer_conv_transpose),
      window_row(Op::window_max, "(x: T) -> T, T: number",
                 "The largest element of each window; NaN if any is NaN. All attributes have one "
                 "element for each axis of x (use kernel 1, stride 1, padding 0 for axes without "
                 "window). Window p covers positions p * stride + k * dilation - low, k < kernel; "
                 "those outside x contribute -inf (integers: the least value). Extents as conv's.",
                 infer_window),
      window_row(Op::window_sum, "(x: T) -> T, T: number",
                 "The sum of each window; positions outside x contribute 0. Windows as window_max, "
                 "precision as reduce_sum.",
                 infer_window),
      window_row(Op::window_argmax, "(x: T) -> int64, T: number",
                 "For each window of window_max the flat row-major index within x of its largest "
                 "element: NaN counts as larger than all else, of equals the first in row-major "
                 "order; a window wholly outside x gives -1.",
                 infer_window_argmax),
  };
}

}  // namespace gcomp::ops
