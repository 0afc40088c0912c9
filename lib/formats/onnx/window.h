#pragma once
// Padding of convolutions and pools as ONNX gives it: explicit, or by auto_pad, or with ceil_mode.

#include "onnx/node.h"

namespace gcomp::formats::onnx {

struct WindowAttrs {
  Ints kernel, strides, dilations;
  Dims low, high;
};

// One entry a spatial axis. `spatial` are the extents of the input, `kernel` of the window. With
// `ceil` the high padding is grown (or cut) so that the last window, if begun within the input,
// counts.
WindowAttrs window_attrs(NodeImport& n, const Dims& spatial, Ints kernel, bool ceil);

// The same with axes 0 and 1 (batch and channel) added.
WindowAttrs with_outer_axes(NodeImport& n, WindowAttrs w);
std::vector<Attr> to_attrs(const WindowAttrs& w);

}  // namespace gcomp::formats::onnx
