#include "onnx/tensor.h"

#include <charconv>
#include <cstring>

#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::formats::onnx {
namespace {

[[noreturn]] void refuse(const TensorProto& tensor, const std::string& message,
                         std::string hint = "") {
  graph_error(Code::kTensor, "tensor: " + message, std::string(tensor.name), std::move(hint));
}

// Bytes that dims and dtype ask for; every extent and the product are checked against overflow.
size_t expected_size(const TensorProto& tensor, DType dtype) {
  size_t size = byte_size(dtype);
  bool empty = false;
  for (int64_t d : tensor.dims) {
    if (d < 0) refuse(tensor, "negative extent " + std::to_string(d));
    empty = empty || d == 0;
    if (!empty && __builtin_mul_overflow(size, static_cast<size_t>(d), &size)) {
      refuse(tensor, "extents too large");
    }
  }
  return empty ? 0 : size;
}

template <class T>
void store(std::vector<std::byte>* out, T value) {
  const size_t at = out->size();
  out->resize(at + sizeof value);
  std::memcpy(out->data() + at, &value, sizeof value);
}

void store_integer(std::vector<std::byte>* out, DType dtype, int64_t value) {
  switch (byte_size(dtype)) {
    case 1: return store(out, static_cast<uint8_t>(dtype == DType::kBool ? value != 0 : value));
    case 2: return store(out, static_cast<uint16_t>(value));
    case 4: return store(out, static_cast<uint32_t>(value));
    default: return store(out, static_cast<uint64_t>(value));
  }
}

// The field that holds the elements of a dtype when they are not raw.
uint32_t data_field(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return 4;
    case DType::kInt64: return 7;
    case DType::kFloat64: return 10;
    case DType::kUInt32:
    case DType::kUInt64: return 11;
    default: return 5;
  }
}

std::vector<std::byte> typed_data(const TensorProto& tensor, DType dtype) {
  std::vector<std::byte> bytes;
  FieldReader reader(tensor.message);
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<int64_t> integers;
  for (Field f; reader.next(&f);) {
    if (f.number != data_field(dtype)) continue;
    if (dtype == DType::kFloat32) {
      f.append_to(&floats);
    } else if (dtype == DType::kFloat64) {
      f.append_to(&doubles);
    } else {
      f.append_to(&integers);
    }
  }
  for (float x : floats) store(&bytes, x);
  for (double x : doubles) store(&bytes, x);
  for (int64_t x : integers) store_integer(&bytes, dtype, x);
  return bytes;
}

size_t parse_number(const TensorProto& tensor, std::string_view key, std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    refuse(tensor, "external data: bad " + std::string(key) + " '" + std::string(text) + "'");
  }
  return value;
}

// Where the elements lie in a file beside the model.
MappedFile external_data(const TensorProto& tensor, size_t wanted, const TensorSource& source) {
  std::string location;
  size_t offset = 0, length = wanted;
  for (const auto& [key, value] : tensor.external_data) {
    if (key == "location") location = value;
    if (key == "offset") offset = parse_number(tensor, key, value);
    if (key == "length") length = parse_number(tensor, key, value);
  }
  if (location.empty() || location.find('\0') != std::string::npos) {
    refuse(tensor, "external data without a location");
  }
  if (length != wanted) {
    refuse(tensor, "external data has length " + std::to_string(length) + ", dims and type need " +
                       std::to_string(wanted));
  }
  if (!source.files) refuse(tensor, "external data is not allowed here");
  const std::string path =
      resolve_inside(source.folder, location, std::string(tensor.name)).string();
  auto found = source.files->find(path);
  if (found == source.files->end()) found = source.files->emplace(path, map_file(path)).first;
  MappedFile file = found->second;
  if (source.names) source.names->emplace(location, file.stamp);
  if (offset > file.bytes.size() || wanted > file.bytes.size() - offset) {
    refuse(tensor, "external data file " + location + " is too short");
  }
  file.bytes = file.bytes.subspan(offset, wanted);
  return file;
}

bool aligned(Bytes bytes, DType dtype) {
  return reinterpret_cast<uintptr_t>(bytes.data()) % byte_size(dtype) == 0;
}

// Bytes other than 0 and 1 would be read as "true" by some code and not by other.
void normalise_bools(std::vector<std::byte>* bytes) {
  for (std::byte& b : *bytes) b = std::byte(b != std::byte(0));
}

}  // namespace

Constant to_constant(const TensorProto& tensor, const TensorSource& source) {
  const auto dtype = dtype_of(tensor.data_type);
  if (!dtype) {
    refuse(tensor, "element type " + type_name(tensor.data_type) + " is not supported");
  }
  const size_t wanted = expected_size(tensor, *dtype);
  MappedFile data{tensor.raw, source.owner};
  std::vector<std::byte> bytes;
  if (tensor.external) {
    data = external_data(tensor, wanted, source);
  } else if (!tensor.has_raw) {
    bytes = typed_data(tensor, *dtype);
    data = {bytes, nullptr};
  }
  if (data.bytes.size() != wanted) {
    refuse(tensor, "has " + std::to_string(data.bytes.size()) +
                       " bytes of data, dims and type need " + std::to_string(wanted));
  }
  if (data.owner && *dtype != DType::kBool && aligned(data.bytes, *dtype)) {
    return {*dtype, tensor.dims, data.bytes, data.owner};
  }
  if (bytes.empty()) bytes.assign(data.bytes.begin(), data.bytes.end());
  if (*dtype == DType::kBool) normalise_bools(&bytes);
  return make_constant(*dtype, tensor.dims, std::move(bytes));
}

}  // namespace gcomp::formats::onnx
