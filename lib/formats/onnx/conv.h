#pragma once

#include "onnx/node.h"

namespace gcomp::formats::onnx {

// The convolution that the node's attributes describe, of x with w (and bias, unless invalid).
ValueId convolve(NodeImport& n, ValueId x, ValueId w, ValueId bias);

}  // namespace gcomp::formats::onnx
