#include "onnx/node.h"

namespace gcomp::formats::onnx {
std::span<const OpRow> vision_rows() { return {}; }
}  // namespace gcomp::formats::onnx
