#include "onnx/node.h"

namespace gcomp::formats::onnx {
std::span<const OpRow> quantize_rows() { return {}; }
}  // namespace gcomp::formats::onnx
