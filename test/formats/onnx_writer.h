#pragma once
// Writes ONNX files for the tests, field by field from the published numbers: independent of the reader.

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace onnx_writer {

class Message {
 public:
  Message& integer(int field, int64_t v) {
    key(field, 0);
    varint(static_cast<uint64_t>(v));
    return *this;
  }
  Message& bytes(int field, std::string_view v) {
    key(field, 2);
    varint(v.size());
    text_ += v;
    return *this;
  }
  Message& message(int field, const Message& m) { return bytes(field, m.text_); }
  Message& float32(int field, float v) {
    key(field, 5);
    text_.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Message& integers(int field, std::initializer_list<int64_t> list) {
    Message packed;
    for (int64_t v : list) packed.varint(static_cast<uint64_t>(v));
    return bytes(field, packed.text_);
  }
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire) { varint(static_cast<uint64_t>(field) << 3 | wire); }
  void varint(uint64_t v) {
    for (; v >= 128; v >>= 7) text_ += static_cast<char>(v | 128);
    text_ += static_cast<char>(v);
  }
  std::string text_;
};

constexpr int kFloat = 1, kInt32 = 6, kInt64 = 7, kString = 8, kBool = 9;

inline Message attribute(std::string_view name, int64_t v) {
  return Message().bytes(1, name).integer(3, v).integer(20, 2);
}
inline Message attribute(std::string_view name, std::initializer_list<int64_t> v) {
  Message m;
  m.bytes(1, name).integer(20, 7);
  for (int64_t i : v) m.integer(8, i);
  return m;
}
inline Message attribute(std::string_view name, const Message& graph) {
  return Message().bytes(1, name).message(6, graph).integer(20, 5);
}
inline Message tensor_attribute(std::string_view name, const Message& tensor) {
  return Message().bytes(1, name).message(5, tensor).integer(20, 4);
}

using Names = std::initializer_list<std::string_view>;

inline Message node(std::string_view op, Names inputs, Names outputs,
                    std::initializer_list<Message> attributes = {}, std::string_view name = "") {
  Message m;
  for (std::string_view i : inputs) m.bytes(1, i);
  for (std::string_view o : outputs) m.bytes(2, o);
  if (!name.empty()) m.bytes(3, name);
  m.bytes(4, op);
  for (const Message& a : attributes) m.message(5, a);
  return m;
}

// Dims: a number, or text for a symbol; "" for a dim without either.
struct Dim {
  Dim(int v) : value(v), is_value(true) {}
  Dim(const char* s) : param(s) {}
  int64_t value = 0;
  bool is_value = false;
  std::string param;
};

inline Message value_info(std::string_view name, int type, std::initializer_list<Dim> dims) {
  Message shape;
  for (const Dim& d : dims) {
    Message m;
    if (d.is_value) m.integer(1, d.value);
    if (!d.param.empty()) m.bytes(2, d.param);
    shape.message(1, m);
  }
  const Message tensor = Message().integer(1, type).message(2, shape);
  return Message().bytes(1, name).message(2, Message().message(1, tensor));
}

template <class T>
Message raw_tensor(std::string_view name, int type, std::initializer_list<int64_t> dims,
                   const std::vector<T>& data) {
  Message m;
  for (int64_t d : dims) m.integer(1, d);
  const std::string_view raw(reinterpret_cast<const char*>(data.data()), data.size() * sizeof(T));
  return m.integer(2, type).bytes(8, name).bytes(9, raw);
}

struct GraphParts {
  std::vector<Message> nodes, initializers, inputs, outputs;
};

inline Message graph(const GraphParts& parts) {
  Message m;
  for (const Message& n : parts.nodes) m.message(1, n);
  m.bytes(2, "test");
  for (const Message& t : parts.initializers) m.message(5, t);
  for (const Message& i : parts.inputs) m.message(11, i);
  for (const Message& o : parts.outputs) m.message(12, o);
  return m;
}

inline std::string model(const Message& g, int64_t opset = 18) {
  return Message()
      .integer(1, 8)
      .message(7, g)
      .message(8, Message().bytes(1, "").integer(2, opset))
      .text();
}

}  // namespace onnx_writer
