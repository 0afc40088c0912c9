#pragma once
// The messages of an ONNX file that the importer looks at, as views of the file's bytes. Nested
// graphs, tensors and nodes stay undecoded until they are needed, so that no message reader calls
// another one deeper than a tensor type.

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "gcomp/ir/constant.h"
#include "onnx/wire.h"

namespace gcomp::formats::onnx {

// ONNX's element type numbers that we know.
std::optional<DType> dtype_of(int64_t onnx_type);
std::string type_name(int64_t onnx_type);  // "float16", "string", "type 99"

struct AttributeProto {
  std::string_view name;
  int64_t type = 0;  // 1 f, 2 i, 3 s, 4 t, 5 g, 6 floats, 7 ints, 8 strings, 9.. others
  float f = 0;
  int64_t i = 0;
  std::string_view s;
  Bytes t;
  Bytes g;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string_view> strings;
  std::string_view reference;  // inside a function: takes the value of the call's attribute
};

struct NodeProto {
  std::string_view name;
  std::string_view op_type;
  std::string_view domain;
  std::string_view overload;  // of a function
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  std::vector<AttributeProto> attributes;

  const AttributeProto* find(std::string_view attribute) const;
};

struct DimProto {
  std::optional<int64_t> value;
  std::string_view param;
};

struct ValueInfo {
  std::string_view name;
  bool is_tensor = false;  // else a sequence, map, optional, sparse tensor or untyped
  int64_t elem_type = 0;
  bool has_shape = false;
  std::vector<DimProto> dims;
};

struct GraphProto {
  std::vector<Bytes> nodes;
  std::vector<Bytes> initializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  bool has_sparse_initializers = false;
};

using Opsets = std::vector<std::pair<std::string_view, int64_t>>;  // domain, version

struct FunctionProto {
  std::string_view name;
  std::string_view domain;
  std::string_view overload;
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  std::vector<Bytes> nodes;
  std::vector<Bytes> default_attributes;
  Opsets opsets;
};

struct ModelProto {
  int64_t ir_version = 0;
  bool has_graph = false;
  Bytes graph;
  Opsets opsets;
  std::vector<Bytes> functions;
};

struct TensorProto {  // everything but the data
  std::string_view name;
  int64_t data_type = 0;
  std::vector<int64_t> dims;
  bool has_raw = false;
  Bytes raw;
  bool external = false;
  std::vector<std::pair<std::string_view, std::string_view>> external_data;
  Bytes message;  // the whole, for the typed data fields
};

ModelProto read_model(Bytes message);
GraphProto read_graph(Bytes message);
FunctionProto read_function(Bytes message);
NodeProto read_node(Bytes message);
AttributeProto read_attribute(Bytes message);
TensorProto read_tensor(Bytes message);

}  // namespace gcomp::formats::onnx
