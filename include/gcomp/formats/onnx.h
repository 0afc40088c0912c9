#pragma once
// ONNX models to graphs: opset 7 and up of the default domain. Every ONNX operator becomes our ops with
// explicit broadcasts and casts; see lib/formats/README.md for the operators and how to add one.

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "gcomp/ir/graph.h"
#include "gcomp/support/error.h"

namespace gcomp::formats {

struct OnnxOptions {
  // Extents given to symbolic dims, by symbol name ("batch" -> 8).
  std::map<std::string, int64_t> dims;
  // Inputs replaced by constants, by name: for inputs that decide a rank, which must be known when
  // compiling (the `axes` of a reduction). They are no inputs of the graph.
  std::map<std::string, Constant> constants;
  // Where external data lies; a model read by path has its own folder unless this says otherwise.
  std::filesystem::path weights_folder;
};

// Reads a model. Everything that is wrong or unsupported is added to `diagnostics` (place: the node's
// name, or Op_#index); the result is null if anything was. Throws UserError(kFiles) when a file cannot
// be read.
std::unique_ptr<Graph> read_onnx(Context& context, const std::filesystem::path& path,
                                 const OnnxOptions& options, Diagnostics& diagnostics);

// The same from bytes in memory. `owner` keeps them alive while a constant refers to them; a null
// owner makes every constant a copy.
std::unique_ptr<Graph> read_onnx(Context& context, std::span<const std::byte> bytes,
                                 std::shared_ptr<const void> owner, const OnnxOptions& options,
                                 Diagnostics& diagnostics);

// One tensor in a file of its own (a serialised TensorProto), as the node tests have them.
Constant read_onnx_tensor(std::span<const std::byte> bytes);

}  // namespace gcomp::formats
