#pragma once
// Tensors of an ONNX file as constants: inline (raw or typed), or in a file beside the model.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "gcomp/support/files.h"
#include "onnx/proto.h"

namespace gcomp::formats::onnx {

struct TensorSource {
  std::shared_ptr<const void> owner;  // keeps the model's bytes; null: copy what is kept
  std::filesystem::path folder;       // of external data; empty: the current folder
  // The files of external data read so far, each mapped once. Null: external data is refused.
  std::shared_ptr<std::map<std::string, MappedFile>> files;
  std::map<std::string, FileStamp>* names = nullptr;  // of those files, as the model has them
};

// Errors are UserErrors whose place is the tensor's name. No memory is taken that the bytes of the
// file do not account for.
Constant to_constant(const TensorProto& tensor, const TensorSource& source);

}  // namespace gcomp::formats::onnx
