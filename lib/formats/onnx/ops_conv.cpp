// Convolutions.

#include "onnx/conv.h"
#include "onnx/window.h"

namespace gcomp::formats::onnx {
namespace {

// The kernel's spatial extents, which must be known.
Ints kernel_of(NodeImport& n, ValueId x, ValueId w) {
  const int rank = n.rank(x);
  if (rank < 3 || rank > 5) n.unsupported("an input of rank " + std::to_string(rank));
  if (n.rank(w) != rank) n.fail("the weight's rank differs from the input's");
  Ints kernel;
  for (int axis = 2; axis < rank; ++axis) {
    const auto k = n.static_extent(w, axis);
    if (!k) n.unsupported("a kernel of symbolic extent");
    kernel.push_back(*k);
  }
  if (n.has_attribute("kernel_shape") && n.ints("kernel_shape") != kernel) {
    n.fail("attribute 'kernel_shape' differs from the weight's shape");
  }
  return kernel;
}

Dims spatial_of(NodeImport& n, ValueId x) {
  const Dims shape = n.shape(x);
  return Dims(shape.begin() + 2, shape.end());
}

int64_t group_of(NodeImport& n) {
  const int64_t group = n.integer("group", 1);
  if (group < 1 || group > INT32_MAX) n.fail("attribute 'group' is out of range");
  return group;
}

// x with the number of channels that the weight asks for (checked at run time where unknown).
ValueId with_channels(NodeImport& n, ValueId x, DimId channels) {
  Dims exact = n.shape(x);
  exact[1] = channels;
  return n.specify(x, exact);
}

Values operands(ValueId x, ValueId w, ValueId bias) {
  Values all = {x, w};
  if (bias.valid()) all.push_back(bias);
  return all;
}

void import_conv(NodeImport& n) {
  n.out(convolve(n, n.in(0), n.in(1), n.has(2) ? n.in(2) : ValueId()));
}

// Padding and output_padding that give the extents of `output_shape`, as the specification splits
// the difference.
void fit_output(NodeImport& n, const Dims& spatial, const Ints& wanted, bool same_upper,
                WindowAttrs* w, Dims* extra) {
  DimTable& d = n.dims();
  const size_t skip = wanted.size() > spatial.size() ? wanted.size() - spatial.size() : 0;
  if (wanted.size() != spatial.size() + skip) n.fail("attribute 'output_shape' is too short");
  for (size_t i = 0; i < spatial.size(); ++i) {
    const DimId reach = n.dim(w->dilations[i] * (w->kernel[i] - 1) + 1);
    const DimId whole =
        d.add(d.mul(n.dim(w->strides[i]), d.sub(spatial[i], n.dim(1))), d.add(reach, (*extra)[i]));
    const DimId surplus = d.sub(whole, n.dim(wanted[i + skip]));
    const DimId total = d.max(surplus, n.dim(0));
    (*extra)[i] = d.add((*extra)[i], d.sub(total, surplus));
    const DimId half = d.floor_div(total, n.dim(2));
    w->low[i] = same_upper ? half : d.sub(total, half);
    w->high[i] = d.sub(total, w->low[i]);
  }
}

void import_conv_transpose(NodeImport& n) {
  ValueId x = n.in(0);
  const ValueId weight = n.in(1);
  const Ints kernel = kernel_of(n, x, weight);
  const Dims spatial = spatial_of(n, x);
  const size_t count = kernel.size();
  WindowAttrs w = window_attrs(n, spatial, kernel, false);
  const Ints padding = n.ints("output_padding", Ints(count, 0));
  if (padding.size() != count) n.fail("attribute 'output_padding' must have one value an axis");
  for (int64_t p : padding) {
    if (p < 0 || p > INT32_MAX) n.fail("attribute 'output_padding' is out of range");
  }
  Dims extra = n.dim_list(padding);
  const std::string mode = n.text("auto_pad", "NOTSET");
  Ints wanted = n.ints("output_shape");
  for (int64_t v : wanted) {
    if (v < 0 || v > INT32_MAX) n.fail("attribute 'output_shape' is out of range");
  }
  if (!wanted.empty()) {
    fit_output(n, spatial, wanted, mode == "SAME_UPPER", &w, &extra);
  } else if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    DimTable& d = n.dims();
    for (size_t i = 0; i < count; ++i) {  // the result is stride times the input
      const DimId reach = n.dim(w.dilations[i] * (w.kernel[i] - 1) + 1);
      const DimId surplus = d.sub(d.add(reach, extra[i]), n.dim(w.strides[i]));
      const DimId total = d.max(surplus, n.dim(0));
      extra[i] = d.add(extra[i], d.sub(total, surplus));
      const DimId half = d.floor_div(total, n.dim(2));
      w.low[i] = mode == "SAME_UPPER" ? half : d.sub(total, half);
      w.high[i] = d.sub(total, w.low[i]);
    }
  }
  x = with_channels(n, x, n.extent(weight, 0));
  n.out(n.b.value(Op::conv_transpose, operands(x, weight, n.has(2) ? n.in(2) : ValueId()),
                  {{AttrKey::strides, w.strides},
                   {AttrKey::dilations, w.dilations},
                   {AttrKey::low, w.low},
                   {AttrKey::high, w.high},
                   {AttrKey::output_padding, extra},
                   {AttrKey::group, group_of(n)}}));
}

constexpr OpRow kRows[] = {
    {"Conv", import_conv, "auto_pad dilations group kernel_shape pads strides"},
    {"ConvTranspose", import_conv_transpose,
     "auto_pad dilations group kernel_shape output_padding output_shape pads strides"},
};

}  // namespace

ValueId convolve(NodeImport& n, ValueId x, ValueId w, ValueId bias) {
  const Ints kernel = kernel_of(n, x, w);
  const WindowAttrs attrs = window_attrs(n, spatial_of(n, x), kernel, false);
  const int64_t group = group_of(n);
  x = with_channels(n, x, n.dims().mul(n.extent(w, 1), n.dim(group)));
  return n.b.value(Op::conv, operands(x, w, bias),
                   {{AttrKey::strides, attrs.strides},
                    {AttrKey::dilations, attrs.dilations},
                    {AttrKey::low, attrs.low},
                    {AttrKey::high, attrs.high},
                    {AttrKey::group, group}});
}

std::span<const OpRow> conv_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
