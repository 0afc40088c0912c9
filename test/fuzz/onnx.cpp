// libFuzzer target of the ONNX reader: any bytes give a graph that verifies, or errors.
#include "gcomp/formats/onnx.h"

#include <cstdlib>

#include "gcomp/ir/verify.h"
#include "gcomp/support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gcomp::formats::OnnxOptions options;
  options.weights_folder = "/nonexistent";
  try {
    gcomp::Context context;
    gcomp::Diagnostics diagnostics;
    const auto graph = gcomp::formats::read_onnx(context, std::as_bytes(std::span(data, size)),
                                                 nullptr, options, diagnostics);
    if ((graph == nullptr) != diagnostics.any()) std::abort();
    if (graph && !gcomp::verify(*graph).empty()) std::abort();
  } catch (const gcomp::UserError&) {
  }
  return 0;
}
