#pragma once
// Files: read, map, write so that a reader sees the old file or the whole new one. Failures are
// UserError(kFiles) naming the path and the system's reason.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "gcomp/support/temporaries.h"

struct stat;  // NOLINT(readability-identifier-naming): the system's

namespace gcomp {

std::string read_file(const std::filesystem::path& path);

// Device, inode, size, and the times of the last changes: what tells one state of a file from another.
using FileStamp = std::array<int64_t, 7>;
FileStamp file_stamp(const struct stat& info);

// A file mapped read-only. `bytes` lives as long as `owner`.
struct MappedFile {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
  FileStamp stamp = {};
};
MappedFile map_file(const std::filesystem::path& path);

// Written under a temporary name in the same folder, renamed when whole; on any failure (or when
// the object dies unfinished) nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path, unsigned mode = 0666);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  uint64_t size() const { return size_; }
  void commit();  // flushes and renames

 private:
  [[noreturn]] void fail(const char* what);
  void flush();
  void write_through(const char* data, size_t size);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  Temporary registered_;
  std::string buffer_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

void write_file(const std::filesystem::path& path, std::string_view bytes);  // atomic

// `relative` as a file inside `folder`; refuses (UserError kGraph, at `place`) absolute paths,
// "..", and links that lead out of the folder: a graph may only read weights beside itself.
std::filesystem::path resolve_inside(const std::filesystem::path& folder,
                                     const std::string& relative, const std::string& place);

}  // namespace gcomp
