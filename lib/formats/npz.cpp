// A .npz file is a zip archive of .npy files: for each array a header in Python's syntax, then the
// elements. The archive's directory stands at its end and is what we read; sizes that do not fit 32
// bits are in a "zip64" field.

#include "gcomp/formats/npz.h"

#include <array>
#include <cstring>
#include <limits>
#include <optional>

#include "gcomp/support/error.h"
#include "gcomp/support/files.h"

namespace gcomp::formats {
namespace {

constexpr uint32_t kLocalMagic = 0x04034b50, kCentralMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr uint32_t kIn64 = 0xffffffff;  // a 32-bit field that says: see the zip64 field
constexpr uint16_t kZip64Tag = 1;

struct DTypeCode {
  DType dtype;
  std::string_view code;  // as .npy headers write it
};
constexpr DTypeCode kCodes[] = {
    {DType::kBool, "|b1"},    {DType::kInt8, "|i1"},    {DType::kInt16, "<i2"},
    {DType::kInt32, "<i4"},   {DType::kInt64, "<i8"},   {DType::kUInt8, "|u1"},
    {DType::kUInt16, "<u2"},  {DType::kUInt32, "<u4"},  {DType::kUInt64, "<u8"},
    {DType::kFloat16, "<f2"}, {DType::kFloat32, "<f4"}, {DType::kFloat64, "<f8"},
};

std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  return table;
}

uint32_t crc32(std::span<const std::byte> bytes, uint32_t crc = 0) {
  static const std::array<uint32_t, 256> kTable = make_crc_table();
  crc = ~crc;
  for (std::byte b : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(b)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::span<const std::byte> as_bytes(std::string_view s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}

// Bounds-checked little-endian reading of one file.
class Source {
 public:
  Source(std::span<const std::byte> bytes, std::string file)
      : bytes_(bytes), file_(std::move(file)) {}

  size_t size() const { return bytes_.size(); }

  template <class T>
  T number(uint64_t offset) const {
    T value;
    std::memcpy(&value, part(offset, sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::span<const std::byte> part(uint64_t offset, uint64_t bytes) const {
    if (offset > bytes_.size() || bytes > bytes_.size() - offset) fail("it is cut short");
    return bytes_.subspan(offset, bytes);
  }

  std::string_view text(uint64_t offset, uint64_t bytes) const {
    return {reinterpret_cast<const char*>(part(offset, bytes).data()), bytes};
  }

  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const {
    file_error(Code::kNotNpz, "not a readable .npz file: " + what, file_, hint);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string file_;
};

struct Entry {
  std::string_view name;
  uint64_t size = 0;
  uint64_t local_offset = 0;
  uint32_t crc = 0;
};

struct Directory {
  uint64_t offset = 0;
  uint64_t entries = 0;
};

Directory find_directory(const Source& source) {
  if (source.size() < kEndBytes) source.fail("it is too short");
  const uint64_t last = source.size() - kEndBytes;
  const uint64_t first = last > 0xffff ? last - 0xffff : 0;  // the comment behind it is that long
  for (uint64_t at = last + 1; at-- > first;) {
    if (source.number<uint32_t>(at) != kEndMagic) continue;
    Directory directory{source.number<uint32_t>(at + 16), source.number<uint16_t>(at + 10)};
    const bool has64 =
        at >= kLocator64Bytes && source.number<uint32_t>(at - kLocator64Bytes) == kLocator64Magic;
    if (has64) {
      const uint64_t end64 = source.number<uint64_t>(at - kLocator64Bytes + 8);
      source.part(end64, kEnd64Bytes);
      if (source.number<uint32_t>(end64) != kEnd64Magic) source.fail("its directory is damaged");
      directory = {source.number<uint64_t>(end64 + 48), source.number<uint64_t>(end64 + 32)};
    }
    return directory;
  }
  source.fail("it is no zip archive");
}

// Replaces the fields of `entry` that the 32-bit directory could not hold: those that read kIn64
// stand in the zip64 field, in this order: size, size in the archive, offset.
void read_zip64(const Source& source, uint64_t begin, uint64_t end, bool packed_size_too,
                Entry* entry) {
  while (begin + 4 <= end) {
    const auto tag = source.number<uint16_t>(begin);
    uint64_t at = begin + 4;
    begin = at + source.number<uint16_t>(begin + 2);
    if (tag != kZip64Tag || begin > end) continue;
    if (entry->size == kIn64) {
      entry->size = source.number<uint64_t>(at);
      at += 8;
    }
    if (packed_size_too) at += 8;
    if (entry->local_offset == kIn64) entry->local_offset = source.number<uint64_t>(at);
  }
}

// One entry of the directory; moves `at` behind it.
Entry read_entry(const Source& source, uint64_t* at) {
  source.part(*at, kCentralBytes);
  if (source.number<uint32_t>(*at) != kCentralMagic) source.fail("its directory is damaged");
  const auto method = source.number<uint16_t>(*at + 10);
  const bool packed_in64 = source.number<uint32_t>(*at + 20) == kIn64;
  const auto name_bytes = source.number<uint16_t>(*at + 28);
  const auto extra_bytes = source.number<uint16_t>(*at + 30);
  const auto comment_bytes = source.number<uint16_t>(*at + 32);
  Entry entry;
  entry.name = source.text(*at + kCentralBytes, name_bytes);
  if (method != 0) {
    source.fail("entry '" + std::string(entry.name) + "' is compressed",
                "write it with numpy.savez rather than savez_compressed");
  }
  entry.crc = source.number<uint32_t>(*at + 16);
  entry.size = source.number<uint32_t>(*at + 24);
  entry.local_offset = source.number<uint32_t>(*at + 42);
  const uint64_t extra = *at + kCentralBytes + name_bytes;
  source.part(extra, extra_bytes);
  read_zip64(source, extra, extra + extra_bytes, packed_in64, &entry);
  *at = extra + extra_bytes + comment_bytes;
  return entry;
}

std::span<const std::byte> entry_bytes(const Source& source, const Entry& entry) {
  source.part(entry.local_offset, kLocalBytes);
  if (source.number<uint32_t>(entry.local_offset) != kLocalMagic) {
    source.fail("its directory is damaged");
  }
  const uint64_t data = entry.local_offset + kLocalBytes +
                        source.number<uint16_t>(entry.local_offset + 26) +
                        source.number<uint16_t>(entry.local_offset + 28);
  const auto bytes = source.part(data, entry.size);
  if (crc32(bytes) != entry.crc) {
    source.fail("the check sum of '" + std::string(entry.name) + "' is wrong");
  }
  return bytes;
}

struct Header {
  DType dtype = DType::kFloat32;
  bool column_major = false;
  std::vector<int64_t> shape;
};

// What stands between `"'key': "` and the next comma or brace (a tuple: its closing parenthesis).
std::string_view header_field(const Source& source, std::string_view header, std::string_view key) {
  size_t at = header.find("'" + std::string(key) + "':");
  if (at == std::string_view::npos) source.fail("an array's header lacks " + std::string(key));
  at = header.find_first_not_of(' ', at + key.size() + 3);
  if (at == std::string_view::npos) source.fail("an array's header is cut short");
  const size_t end = header.find_first_of(header[at] == '(' ? ")" : ",}", at);
  if (end == std::string_view::npos) source.fail("an array's header is cut short");
  return header.substr(at, end - at);
}

std::vector<int64_t> parse_shape(const Source& source, std::string_view tuple) {
  std::vector<int64_t> shape;
  for (size_t at = tuple.find_first_of("0123456789"); at != std::string_view::npos;
       at = tuple.find_first_of("0123456789", at)) {
    int64_t extent = 0;
    for (; at < tuple.size() && tuple[at] >= '0' && tuple[at] <= '9'; ++at) {
      if (__builtin_mul_overflow(extent, 10, &extent) ||
          __builtin_add_overflow(extent, tuple[at] - '0', &extent)) {
        source.fail("an extent is too large");
      }
    }
    shape.push_back(extent);
  }
  return shape;
}

Header parse_header(const Source& source, std::string_view text) {
  Header header;
  std::string_view code = header_field(source, text, "descr");
  if (code.size() < 2 || code.front() != '\'') source.fail("structured arrays are not supported");
  code = code.substr(1, code.size() - 2);
  bool known = false;
  for (const DTypeCode& c : kCodes) {
    if (c.code != code) continue;
    header.dtype = c.dtype;
    known = true;
  }
  if (!known) source.fail("element type '" + std::string(code) + "' is not supported");
  header.column_major = header_field(source, text, "fortran_order").starts_with("True");
  header.shape = parse_shape(source, header_field(source, text, "shape"));
  return header;
}

// Elements stored first axis fastest, put in row-major order.
std::vector<std::byte> to_row_major(std::span<const std::byte> data,
                                    const std::vector<int64_t>& shape, size_t element) {
  std::vector<std::byte> result(data.size());
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<size_t> step(shape.size(), element);  // bytes in the source, per axis
  for (size_t a = 1; a < shape.size(); ++a) step[a] = step[a - 1] * shape[a - 1];
  size_t from = 0;
  for (size_t to = 0; to < data.size(); to += element) {
    std::memcpy(&result[to], &data[from], element);
    for (size_t a = shape.size(); a-- > 0;) {
      from += step[a];
      if (++index[a] < shape[a]) break;
      from -= step[a] * shape[a];
      index[a] = 0;
    }
  }
  return result;
}

Constant parse_npy(const Source& archive, std::span<const std::byte> bytes, std::string_view name) {
  const Source source(bytes, std::string(name));
  if (bytes.size() < 10 || source.text(0, 6) != "\x93NUMPY") archive.fail("an entry is no array");
  const bool wide = source.number<uint8_t>(6) > 1;  // version 2 has a longer length field
  const uint64_t begin = wide ? 12 : 10;
  const uint64_t length = wide ? source.number<uint32_t>(8) : source.number<uint16_t>(8);
  const Header header = parse_header(archive, source.text(begin, length));
  uint64_t size = byte_size(header.dtype);
  for (int64_t extent : header.shape) {
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(extent), &size)) {
      archive.fail("an array is too large");
    }
  }
  const auto data = bytes.subspan(begin + length);
  if (data.size() != size) archive.fail("array '" + std::string(name) + "' has a wrong size");
  auto copy = header.column_major ? to_row_major(data, header.shape, byte_size(header.dtype))
                                  : std::vector<std::byte>(data.begin(), data.end());
  return make_constant(header.dtype, header.shape, std::move(copy));
}

std::string npy_header(const Constant& value) {
  const DType dtype = value.dtype == DType::kBFloat16 ? DType::kUInt16 : value.dtype;
  std::string text = "{'descr': '";
  for (const DTypeCode& c : kCodes) {
    if (c.dtype == dtype) text += c.code;
  }
  text += "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : value.shape) text += std::to_string(extent) + ", ";
  if (value.shape.size() > 1) text.resize(text.size() - 2);
  if (value.shape.size() == 1) text.resize(text.size() - 1);
  text += "), }";
  constexpr size_t kAlignment = 64, kPrefix = 10;
  text.resize((kPrefix + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment - kPrefix - 1,
              ' ');
  text += '\n';
  std::string prefix("\x93NUMPY\x01\x00", 8);
  prefix += static_cast<char>(text.size() & 0xff);
  prefix += static_cast<char>(text.size() >> 8);
  return prefix + text;
}

template <class T>
void put(std::string* to, T value) {
  to->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

uint32_t capped(uint64_t value) { return value >= kIn64 ? kIn64 : static_cast<uint32_t>(value); }

// The zip64 field, when a number needs it.
std::string extra_field(std::initializer_list<uint64_t> numbers) {
  std::string body;
  for (uint64_t n : numbers) {
    if (n >= kIn64) put(&body, n);
  }
  if (body.empty()) return body;
  std::string field;
  put(&field, kZip64Tag);
  put(&field, static_cast<uint16_t>(body.size()));
  return field + body;
}

// The fields that a local header and the directory share, in their common order.
void put_common(std::string* to, const Entry& entry, size_t extra_bytes) {
  put<uint16_t>(to, 45);          // version needed: zip64
  put<uint16_t>(to, 0);           // flags
  put<uint16_t>(to, 0);           // stored
  put<uint32_t>(to, 0x00210000);  // 1980-01-01, so that equal arrays give equal files
  put(to, entry.crc);
  put(to, capped(entry.size));
  put(to, capped(entry.size));
  put(to, static_cast<uint16_t>(entry.name.size()));
  put(to, static_cast<uint16_t>(extra_bytes));
}

std::string local_header(const Entry& entry) {
  const std::string extra = extra_field({entry.size, entry.size});
  std::string h;
  put(&h, kLocalMagic);
  put_common(&h, entry, extra.size());
  return h + std::string(entry.name) + extra;
}

std::string central_header(const Entry& entry) {
  const std::string extra = extra_field({entry.size, entry.size, entry.local_offset});
  std::string h;
  put(&h, kCentralMagic);
  put<uint16_t>(&h, 45);  // made by
  put_common(&h, entry, extra.size());
  h.append(10, '\0');  // comment, disk, attributes
  put(&h, capped(entry.local_offset));
  return h + std::string(entry.name) + extra;
}

std::string end_records(uint64_t entries, uint64_t offset, uint64_t bytes) {
  std::string r;
  if (offset >= kIn64 || entries >= 0xffff) {
    put(&r, kEnd64Magic);
    put<uint64_t>(&r, kEnd64Bytes - 12);
    put<uint32_t>(&r, 45 | 45 << 16);
    put<uint64_t>(&r, 0);
    put(&r, entries);
    put(&r, entries);
    put(&r, bytes);
    put(&r, offset);
    put(&r, kLocator64Magic);
    put<uint32_t>(&r, 0);
    put(&r, offset + bytes);
    put<uint32_t>(&r, 1);
  }
  const auto count = static_cast<uint16_t>(entries >= 0xffff ? 0xffff : entries);
  put(&r, kEndMagic);
  put<uint32_t>(&r, 0);
  put(&r, count);
  put(&r, count);
  put(&r, capped(bytes));
  put(&r, capped(offset));
  put<uint16_t>(&r, 0);
  return r;
}

}  // namespace

std::vector<NamedArray> read_npz(const std::filesystem::path& path) {
  const MappedFile file = map_file(path);
  const Source source(file.bytes, path.string());
  Directory directory = find_directory(source);
  if (directory.entries > source.size() / kCentralBytes) source.fail("its directory is damaged");
  std::vector<NamedArray> arrays;
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    const Entry entry = read_entry(source, &at);
    std::string_view name = entry.name;
    if (name.ends_with(".npy")) name.remove_suffix(4);
    arrays.push_back({std::string(name), parse_npy(source, entry_bytes(source, entry), name)});
  }
  return arrays;
}

void write_npz(const std::filesystem::path& path, std::span<const NamedArray> arrays) {
  AtomicFile file(path);
  std::string directory;
  for (const NamedArray& array : arrays) {
    const std::string header = npy_header(array.value);
    const std::string name = array.name + ".npy";
    if (name.size() > std::numeric_limits<uint16_t>::max()) {
      file_error(Code::kCannotWrite, "an array's name is too long for a .npz file", path.string());
    }
    const uint32_t crc = crc32(array.value.bytes, crc32(as_bytes(header)));
    const Entry entry{name, header.size() + array.value.bytes.size(), file.size(), crc};
    file.write(local_header(entry));
    file.write(header);
    file.write(array.value.bytes);
    directory += central_header(entry);
  }
  const uint64_t offset = file.size();
  file.write(directory);
  file.write(end_records(arrays.size(), offset, directory.size()));
  file.commit();
}

}  // namespace gcomp::formats
