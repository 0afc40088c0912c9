#include "gcomp/formats/safetensors.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "gcomp/support/error.h"

namespace gcomp::formats {
namespace {

using nlohmann::json;

constexpr std::pair<const char*, DType> kNames[] = {
    {"BOOL", DType::kBool},   {"I8", DType::kInt8},       {"I16", DType::kInt16},
    {"I32", DType::kInt32},   {"I64", DType::kInt64},     {"U8", DType::kUInt8},
    {"U16", DType::kUInt16},  {"U32", DType::kUInt32},    {"U64", DType::kUInt64},
    {"F16", DType::kFloat16}, {"BF16", DType::kBFloat16}, {"F32", DType::kFloat32},
    {"F64", DType::kFloat64}};

[[noreturn]] void malformed(const std::filesystem::path& path, const std::string& what) {
  graph_error({.message = "not a valid safetensors file: " + what,
               .code = Code::kMalformedWeights,
               .file = path.string()});
}

// Elements of `shape`, or -1 when negative or beyond what a file could hold.
int64_t checked_elements(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t d : shape) {
    if (d < 0 || __builtin_mul_overflow(n, d, &n) || n > (int64_t{1} << 56)) return -1;
  }
  return n;
}

}  // namespace

struct SafetensorsFile::Entry {
  DType dtype;
  std::vector<int64_t> shape;
  size_t begin, size;  // in the file
};

namespace {

template <class Entry>
Entry read_entry(const std::filesystem::path& path, const std::string& name, const json& j,
                 size_t data_begin, size_t file_size) {
  const auto bad = [&](const char* what) { malformed(path, "tensor '" + name + "' " + what); };
  if (!j.is_object() || !j.contains("dtype") || !j.contains("shape") ||
      !j.contains("data_offsets") || !j["dtype"].is_string()) {
    bad("lacks dtype, shape or data_offsets");
  }
  Entry e{};
  bool known = false;
  for (const auto& [text, dtype] : kNames) {
    if (j["dtype"].get_ref<const std::string&>() == text) {
      e.dtype = dtype;
      known = true;
    }
  }
  if (!known) bad("has an unsupported dtype");
  const json& offsets = j["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned() || !j["shape"].is_array()) {
    bad("has malformed offsets or shape");
  }
  for (const json& d : j["shape"]) {
    if (!d.is_number_unsigned()) bad("has a malformed shape");
    e.shape.push_back(d.get<int64_t>());
  }
  const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  const int64_t n = checked_elements(e.shape);
  if (begin > end || end > file_size - data_begin) bad("lies outside the file");
  if (n < 0 || static_cast<uint64_t>(n) * byte_size(e.dtype) != end - begin) {
    bad("has another size than its shape says");
  }
  e.begin = data_begin + begin;
  e.size = end - begin;
  return e;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(map_file(path)) {
  uint64_t header_size = 0;
  if (file_.bytes.size() < 8) malformed(path, "shorter than its header");
  std::memcpy(&header_size, file_.bytes.data(), 8);
  if (header_size > file_.bytes.size() - 8) malformed(path, "header runs past the end");
  const char* text = reinterpret_cast<const char*>(file_.bytes.data()) + 8;
  const json header = json::parse(text, text + header_size, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) malformed(path, "header is not a JSON object");
  auto entries = std::make_shared<std::map<std::string, Entry>>();
  for (const auto& [name, j] : header.items()) {
    if (name == "__metadata__") continue;
    entries->emplace(name, read_entry<Entry>(path, name, j, 8 + header_size, file_.bytes.size()));
  }
  entries_ = std::move(entries);
}

Constant SafetensorsFile::tensor(const std::string& name) const {
  const auto& entries = *static_cast<const std::map<std::string, Entry>*>(entries_.get());
  const auto found = entries.find(name);
  if (found == entries.end()) {
    graph_error({.message = "no tensor '" + name + "'",
                 .code = Code::kMalformedWeights,
                 .file = path_.string()});
  }
  const Entry& e = found->second;
  const auto bytes = file_.bytes.subspan(e.begin, e.size);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % byte_size(e.dtype) != 0) {
    return make_constant(e.dtype, e.shape, {bytes.begin(), bytes.end()});
  }
  Constant c;
  c.dtype = e.dtype;
  c.shape = e.shape;
  c.bytes = bytes;
  c.owner = file_.owner;
  return c;
}

void write_safetensors(const std::filesystem::path& path,
                       std::span<const std::pair<std::string, const Constant*>> tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  uint64_t at = 0;
  for (const auto& [name, c] : tensors) {
    const char* dtype = nullptr;
    for (const auto& [text, t] : kNames) {
      if (t == c->dtype) dtype = text;
    }
    header[name] = {
        {"dtype", dtype}, {"shape", c->shape}, {"data_offsets", {at, at + c->bytes.size()}}};
    at += c->bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data starts aligned
  AtomicFile file(path);
  const uint64_t size = text.size();
  file.write(std::string_view(reinterpret_cast<const char*>(&size), 8));
  file.write(text);
  for (const auto& [name, c] : tensors) file.write(c->bytes);
  file.commit();
}

}  // namespace gcomp::formats
