#include "output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

void OutputFile::fail(const char* what) const {
  file_error(Code::kCannotWrite, std::string(what) + ": " + std::strerror(errno), path_);
}

OutputFile::OutputFile(std::string path, unsigned mode) : path_(std::move(path)) {
  struct stat status;
  if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    file_error(Code::kNotAFile, "exists and is no regular file", path_, "give another name");
  }
  fd_ = ::open(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
  if (fd_ >= 0) return;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) fail("cannot create");
  temporary_ = path_ + ".tmp" + std::to_string(::getpid());
  registered_ = Temporary(temporary_);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd_ < 0) {
    temporary_.clear();
    fail("cannot create");
  }
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void OutputFile::append(std::span<const std::byte> bytes) {
  write_at(size_, bytes);
  size_ += bytes.size();
}

void OutputFile::append_zeros_up_to(uint64_t offset) {
  GCOMP_CHECK(offset >= size_, "output file: already past the offset");
  if (::ftruncate(fd_, static_cast<off_t>(offset)) != 0) fail("cannot write");
  size_ = offset;
}

void OutputFile::overwrite(uint64_t offset, std::span<const std::byte> bytes) {
  GCOMP_CHECK(offset + bytes.size() <= size_, "output file: overwriting past its end");
  write_at(offset, bytes);
}

void OutputFile::commit() {
  if (temporary_.empty()) {  // give it a name; linkat cannot replace a file, rename can
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    const std::string name = path_ + ".tmp" + std::to_string(::getpid());
    ::unlink(name.c_str());
    registered_ = Temporary(name);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      fail("cannot create");
    }
    temporary_ = name;
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot replace");
  temporary_.clear();
}

}  // namespace gcomp::artifact
