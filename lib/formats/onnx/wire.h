#pragma once
// The protobuf wire format, read in place: no copies, no allocation, no recursion. The readers of
// messages (proto.h) are loops over the fields of one message.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace gcomp::formats::onnx {

using Bytes = std::span<const std::byte>;

struct Field {
  enum Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint32_t number = 0;
  Wire wire = kVarint;
  uint64_t value = 0;  // kVarint, kFixed64, kFixed32
  Bytes bytes;         // kBytes

  // The field's value as one type; a wrong wire type is a UserError.
  int64_t integer() const;
  float float32() const;
  Bytes message() const;
  std::string_view string() const;

  // Repeated scalars, packed or one by one.
  void append_to(std::vector<int64_t>* out) const;
  void append_to(std::vector<float>* out) const;
  void append_to(std::vector<double>* out) const;
};

class FieldReader {
 public:
  explicit FieldReader(Bytes message) : rest_(message) {}
  // The next field, or false at the end. Malformed input is a UserError.
  bool next(Field* field);

 private:
  Bytes rest_;
};

// Takes one varint off the front of `bytes`.
uint64_t take_varint(Bytes* bytes);

}  // namespace gcomp::formats::onnx
