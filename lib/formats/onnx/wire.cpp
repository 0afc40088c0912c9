#include "onnx/wire.h"

#include <bit>
#include <cstring>

#include "gcomp/support/error.h"

namespace gcomp::formats::onnx {
namespace {

[[noreturn]] void malformed(const char* what) {
  graph_error(Code::kMalformedOnnx, std::string("not a valid ONNX file: ") + what, "",
              "the file is damaged or cut short, or is no ONNX model");
}

uint64_t take_fixed(Bytes* bytes, size_t size) {
  if (bytes->size() < size) malformed("a number is cut short");
  uint64_t value = 0;
  std::memcpy(&value, bytes->data(), size);
  *bytes = bytes->subspan(size);
  return value;
}

void expect(bool condition) {
  if (!condition) malformed("a field has the wrong kind");
}

}  // namespace

uint64_t take_varint(Bytes* bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < 10; ++i) {
    if (i >= bytes->size()) malformed("a number is cut short");
    const auto byte = static_cast<uint8_t>((*bytes)[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *bytes = bytes->subspan(i + 1);
      return value;
    }
  }
  malformed("a number is too long");
}

bool FieldReader::next(Field* field) {
  if (rest_.empty()) return false;
  const uint64_t key = take_varint(&rest_);
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff) malformed("bad field number");
  field->number = static_cast<uint32_t>(key >> 3);
  field->bytes = {};
  field->value = 0;
  switch (key & 7) {
    case Field::kVarint:
      field->wire = Field::kVarint;
      field->value = take_varint(&rest_);
      return true;
    case Field::kFixed64:
      field->wire = Field::kFixed64;
      field->value = take_fixed(&rest_, 8);
      return true;
    case Field::kFixed32:
      field->wire = Field::kFixed32;
      field->value = take_fixed(&rest_, 4);
      return true;
    case Field::kBytes: {
      field->wire = Field::kBytes;
      const uint64_t size = take_varint(&rest_);
      if (size > rest_.size()) malformed("a field is longer than the file");
      field->bytes = rest_.first(size);
      rest_ = rest_.subspan(size);
      return true;
    }
    default: malformed("unknown field kind");
  }
}

int64_t Field::integer() const {
  expect(wire == kVarint);
  return static_cast<int64_t>(value);
}

float Field::float32() const {
  expect(wire == kFixed32);
  return std::bit_cast<float>(static_cast<uint32_t>(value));
}

Bytes Field::message() const {
  expect(wire == kBytes);
  return bytes;
}

std::string_view Field::string() const {
  expect(wire == kBytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void Field::append_to(std::vector<int64_t>* out) const {
  if (wire != kBytes) return out->push_back(integer());
  for (Bytes rest = bytes; !rest.empty();) {
    out->push_back(static_cast<int64_t>(take_varint(&rest)));
  }
}

void Field::append_to(std::vector<float>* out) const {
  if (wire != kBytes) return out->push_back(float32());
  for (Bytes rest = bytes; !rest.empty();) {
    out->push_back(std::bit_cast<float>(static_cast<uint32_t>(take_fixed(&rest, 4))));
  }
}

void Field::append_to(std::vector<double>* out) const {
  if (wire != kBytes) {
    expect(wire == kFixed64);
    return out->push_back(std::bit_cast<double>(value));
  }
  for (Bytes rest = bytes; !rest.empty();) {
    out->push_back(std::bit_cast<double>(take_fixed(&rest, 8)));
  }
}

}  // namespace gcomp::formats::onnx
