#include "onnx/proto.h"

namespace gcomp::formats::onnx {
namespace {

using StringPair = std::pair<std::string_view, std::string_view>;

StringPair read_string_pair(Bytes message) {
  StringPair pair;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    if (f.number == 1) pair.first = f.string();
    if (f.number == 2) pair.second = f.string();
  }
  return pair;
}

std::pair<std::string_view, int64_t> read_opset(Bytes message) {
  std::pair<std::string_view, int64_t> opset;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    if (f.number == 1) opset.first = f.string();
    if (f.number == 2) opset.second = f.integer();
  }
  return opset;
}

DimProto read_dim(Bytes message) {
  DimProto dim;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    if (f.number == 1) dim.value = f.integer();
    if (f.number == 2) dim.param = f.string();
  }
  return dim;
}

void read_tensor_type(Bytes message, ValueInfo* info) {
  info->is_tensor = true;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    if (f.number == 1) info->elem_type = f.integer();
    if (f.number != 2) continue;
    info->has_shape = true;
    FieldReader shape(f.message());
    for (Field d; shape.next(&d);) {
      if (d.number == 1) info->dims.push_back(read_dim(d.message()));
    }
  }
}

ValueInfo read_value_info(Bytes message) {
  ValueInfo info;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    if (f.number == 1) info.name = f.string();
    if (f.number != 2) continue;
    FieldReader type(f.message());
    for (Field t; type.next(&t);) {
      if (t.number == 1) read_tensor_type(t.message(), &info);
    }
  }
  return info;
}

}  // namespace

std::optional<DType> dtype_of(int64_t onnx_type) {
  switch (onnx_type) {
    case 1: return DType::kFloat32;
    case 2: return DType::kUInt8;
    case 3: return DType::kInt8;
    case 4: return DType::kUInt16;
    case 5: return DType::kInt16;
    case 6: return DType::kInt32;
    case 7: return DType::kInt64;
    case 9: return DType::kBool;
    case 10: return DType::kFloat16;
    case 11: return DType::kFloat64;
    case 12: return DType::kUInt32;
    case 13: return DType::kUInt64;
    case 16: return DType::kBFloat16;
    default: return std::nullopt;
  }
}

std::string type_name(int64_t onnx_type) {
  if (const auto dtype = dtype_of(onnx_type)) return std::string(name(*dtype));
  switch (onnx_type) {
    case 0: return "undefined";
    case 8: return "string";
    case 14: return "complex64";
    case 15: return "complex128";
    case 17: return "float8e4m3fn";
    case 18: return "float8e4m3fnuz";
    case 19: return "float8e5m2";
    case 20: return "float8e5m2fnuz";
    case 21: return "uint4";
    case 22: return "int4";
    case 23: return "float4e2m1";
    default: return "type " + std::to_string(onnx_type);
  }
}

const AttributeProto* NodeProto::find(std::string_view attribute) const {
  for (const AttributeProto& a : attributes) {
    if (a.name == attribute) return &a;
  }
  return nullptr;
}

AttributeProto read_attribute(Bytes message) {
  AttributeProto a;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: a.name = f.string(); break;
      case 2: a.f = f.float32(); break;
      case 3: a.i = f.integer(); break;
      case 4: a.s = f.string(); break;
      case 5: a.t = f.message(); break;
      case 6: a.g = f.message(); break;
      case 7: f.append_to(&a.floats); break;
      case 8: f.append_to(&a.ints); break;
      case 9: a.strings.push_back(f.string()); break;
      case 20: a.type = f.integer(); break;
      case 21: a.reference = f.string(); break;
      default: break;
    }
  }
  return a;
}

NodeProto read_node(Bytes message) {
  NodeProto node;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: node.inputs.push_back(f.string()); break;
      case 2: node.outputs.push_back(f.string()); break;
      case 3: node.name = f.string(); break;
      case 4: node.op_type = f.string(); break;
      case 5: node.attributes.push_back(read_attribute(f.message())); break;
      case 7: node.domain = f.string(); break;
      case 8: node.overload = f.string(); break;
      default: break;
    }
  }
  if (node.domain == "ai.onnx") node.domain = "";
  return node;
}

GraphProto read_graph(Bytes message) {
  GraphProto graph;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: graph.nodes.push_back(f.message()); break;
      case 5: graph.initializers.push_back(f.message()); break;
      case 11: graph.inputs.push_back(read_value_info(f.message())); break;
      case 12: graph.outputs.push_back(read_value_info(f.message())); break;
      case 15: graph.has_sparse_initializers = true; break;
      default: break;
    }
  }
  return graph;
}

FunctionProto read_function(Bytes message) {
  FunctionProto function;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: function.name = f.string(); break;
      case 4: function.inputs.push_back(f.string()); break;
      case 5: function.outputs.push_back(f.string()); break;
      case 7: function.nodes.push_back(f.message()); break;
      case 9: function.opsets.push_back(read_opset(f.message())); break;
      case 10: function.domain = f.string(); break;
      case 11: function.default_attributes.push_back(f.message()); break;
      case 13: function.overload = f.string(); break;
      default: break;
    }
  }
  if (function.domain == "ai.onnx") function.domain = "";
  return function;
}

ModelProto read_model(Bytes message) {
  ModelProto model;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: model.ir_version = f.integer(); break;
      case 7:
        model.has_graph = true;
        model.graph = f.message();
        break;
      case 8: model.opsets.push_back(read_opset(f.message())); break;
      case 25: model.functions.push_back(f.message()); break;
      default: break;
    }
  }
  return model;
}

TensorProto read_tensor(Bytes message) {
  TensorProto tensor;
  tensor.message = message;
  FieldReader reader(message);
  for (Field f; reader.next(&f);) {
    switch (f.number) {
      case 1: f.append_to(&tensor.dims); break;
      case 2: tensor.data_type = f.integer(); break;
      case 8: tensor.name = f.string(); break;
      case 9:
        tensor.has_raw = true;
        tensor.raw = f.message();
        break;
      case 13: tensor.external_data.push_back(read_string_pair(f.message())); break;
      case 14: tensor.external = f.integer() == 1; break;
      default: break;
    }
  }
  return tensor;
}

}  // namespace gcomp::formats::onnx
