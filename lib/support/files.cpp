#include "gcomp/support/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gcomp/support/error.h"

namespace gcomp {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

[[noreturn]] void system_error(Code code, const std::string& what,
                               const std::filesystem::path& path) {
  file_error(code, what + ": " + std::strerror(errno), path.string());
}

struct Descriptor {
  explicit Descriptor(const std::filesystem::path& path)
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // no waiting at a pipe
    if (fd < 0) system_error(Code::kCannotRead, "cannot open", path);
    struct stat info{};
    if (::fstat(fd, &info) != 0) system_error(Code::kCannotRead, "cannot read", path);
    if (!S_ISREG(info.st_mode)) {  // a device may have no end, a pipe can be read only once
      ::close(fd);
      const char* what = S_ISDIR(info.st_mode) ? "is a folder" : "is a pipe or a device";
      file_error(Code::kNotAFile, what, path.string(), "give a file");
    }
    size = static_cast<size_t>(info.st_size);
    stamp = file_stamp(info);
  }
  ~Descriptor() { ::close(fd); }
  int fd;
  size_t size = 0;
  FileStamp stamp = {};
};

}  // namespace

FileStamp file_stamp(const struct stat& info) {
  return {static_cast<int64_t>(info.st_dev),
          static_cast<int64_t>(info.st_ino),
          info.st_size,
          info.st_mtim.tv_sec,
          info.st_mtim.tv_nsec,
          info.st_ctim.tv_sec,
          info.st_ctim.tv_nsec};
}

std::string read_file(const std::filesystem::path& path) {
  const Descriptor file(path);
  std::string text;
  text.resize(file.size + 1);
  size_t at = 0;
  for (;;) {  // the size is a guess: files of /proc say 0
    if (at == text.size()) text.resize(text.size() * 2);
    const ssize_t n = ::read(file.fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) system_error(Code::kCannotRead, "cannot read", path);
    if (n == 0) break;
    at += static_cast<size_t>(n);
  }
  text.resize(at);
  return text;
}

MappedFile map_file(const std::filesystem::path& path) {
  const Descriptor file(path);
  MappedFile mapped;
  mapped.stamp = file.stamp;
  if (file.size == 0) {
    auto text = std::make_shared<std::string>(read_file(path));
    mapped.bytes = std::as_bytes(std::span(*text));
    mapped.owner = std::move(text);
    return mapped;
  }
  const size_t size = file.size;
  void* base = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (base == MAP_FAILED) system_error(Code::kCannotRead, "cannot map", path);
  mapped.owner = std::shared_ptr<const void>(
      base, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  mapped.bytes = {static_cast<const std::byte*>(base), size};
  return mapped;
}

// A device or a pipe (/dev/null, a shell's >(...)) is written to, never replaced.
AtomicFile::AtomicFile(std::filesystem::path path, unsigned mode) : path_(std::move(path)) {
  struct stat info{};
  const bool is_stdout = path_ == "/dev/stdout";  // a link, perhaps to a regular file
  if (is_stdout ||
      (::stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))) {
    descriptor_ = is_stdout ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                            : ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) system_error(Code::kCannotWrite, "cannot open", path_);
    return;
  }
  temporary_ = path_;
  temporary_ += ".tmp" + std::to_string(::getpid());
  registered_ = Temporary(temporary_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (descriptor_ < 0) system_error(Code::kCannotWrite, "cannot create", path_);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* what) { system_error(Code::kCannotWrite, what, path_); }

void AtomicFile::write_through(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(descriptor_, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write");
    data += n;
    size -= static_cast<size_t>(n);
  }
}

void AtomicFile::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write(std::string_view bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBufferBytes) flush();
  if (bytes.size() > kBufferBytes) {
    write_through(bytes.data(), bytes.size());
  } else {
    buffer_.append(bytes);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::commit() {
  flush();
  if (!temporary_.empty() && ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail("cannot replace");
  }
  ::close(descriptor_);
  descriptor_ = -1;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::filesystem::path resolve_inside(const std::filesystem::path& folder,
                                     const std::string& relative, const std::string& place) {
  const auto refuse = [&](const std::string& why) {
    graph_error(Code::kWeightsPath, "weights file '" + relative + "' " + why, place,
                "weights must lie in the folder of the graph file");
  };
  const std::filesystem::path path(relative);
  if (relative.empty() || relative.find('\0') != std::string::npos) refuse("has no valid name");
  if (path.is_absolute()) refuse("is an absolute path");
  for (const auto& part : path) {
    if (part == "..") refuse("leaves the graph's folder");
  }
  std::error_code error;
  const auto base = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, error);
  if (error) refuse("cannot be resolved: " + error.message());
  const auto full = std::filesystem::weakly_canonical(base / path, error);
  if (error) refuse("cannot be resolved: " + error.message());
  const auto [end, unused] = std::mismatch(base.begin(), base.end(), full.begin(), full.end());
  if (end != base.end()) refuse("is a link that leaves the graph's folder");
  return full;
}

}  // namespace gcomp
