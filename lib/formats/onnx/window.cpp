#include "onnx/window.h"

namespace gcomp::formats::onnx {
namespace {

// The attribute of one value an axis, checked to be within reason.
Ints per_axis(NodeImport& n, std::string_view name, size_t count) {
  const Ints values = n.ints(name, Ints(count, 1));
  if (values.size() != count) {
    n.fail("attribute '" + std::string(name) + "' must have one value for each spatial axis");
  }
  for (int64_t v : values) {
    if (v < 1 || v > INT32_MAX) n.fail("attribute '" + std::string(name) + "' is out of range");
  }
  return values;
}

}  // namespace

WindowAttrs window_attrs(NodeImport& n, const Dims& spatial, Ints kernel, bool ceil) {
  const size_t count = spatial.size();
  WindowAttrs w;
  w.strides = per_axis(n, "strides", count);
  w.dilations = per_axis(n, "dilations", count);
  w.kernel = std::move(kernel);
  for (int64_t k : w.kernel) {
    if (k < 1 || k > INT32_MAX) n.fail("the kernel's extents are out of range");
  }
  const std::string mode = n.text("auto_pad", "NOTSET");
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && mode != "NOTSET" && mode != "VALID" && !mode.empty()) {
    n.unsupported("auto_pad '" + mode + "'");
  }
  Ints pads = n.ints("pads", Ints(2 * count, 0));
  if (pads.size() != 2 * count) n.fail("attribute 'pads' must have two values a spatial axis");
  for (int64_t p : pads) {
    if (p < -INT32_MAX || p > INT32_MAX) n.fail("attribute 'pads' is out of range");
  }
  DimTable& d = n.dims();
  for (size_t i = 0; i < count; ++i) {
    const DimId reach = n.dim(w.dilations[i] * (w.kernel[i] - 1) + 1);
    const DimId stride = n.dim(w.strides[i]);
    DimId low = n.dim(mode == "VALID" ? 0 : pads[i]);
    DimId high = n.dim(mode == "VALID" ? 0 : pads[i + count]);
    if (same) {
      const DimId steps = d.sub(d.ceil_div(spatial[i], stride), n.dim(1));
      const DimId total = d.max(d.sub(d.add(d.mul(steps, stride), reach), spatial[i]), n.dim(0));
      const DimId half = d.floor_div(total, n.dim(2));
      low = mode == "SAME_UPPER" ? half : d.sub(total, half);
      high = d.sub(total, low);
    }
    if (ceil) {
      const DimId begun = d.ceil_div(d.add(spatial[i], low), stride);
      const DimId room = d.sub(d.add(d.add(spatial[i], low), high), reach);
      const DimId windows = d.min(d.add(d.ceil_div(room, stride), n.dim(1)), begun);
      high = d.sub(d.add(d.mul(d.sub(windows, n.dim(1)), stride), reach), d.add(spatial[i], low));
    }
    w.low.push_back(low);
    w.high.push_back(high);
  }
  return w;
}

WindowAttrs with_outer_axes(NodeImport& n, WindowAttrs w) {
  for (Ints* list : {&w.kernel, &w.strides, &w.dilations}) list->insert(list->begin(), {1, 1});
  for (Dims* list : {&w.low, &w.high}) list->insert(list->begin(), {n.dim(0), n.dim(0)});
  return w;
}

std::vector<Attr> to_attrs(const WindowAttrs& w) {
  return {{AttrKey::kernel, w.kernel},
          {AttrKey::strides, w.strides},
          {AttrKey::dilations, w.dilations},
          {AttrKey::low, w.low},
          {AttrKey::high, w.high}};
}

}  // namespace gcomp::formats::onnx
