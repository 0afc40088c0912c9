#include "elf_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "gcomp/support/error.h"

namespace gcomp::artifact {

void ElfReader::corrupt(const std::string& what) const {
  file_error(Code::kNotAnArtifact, "not an artifact of gcomp: " + what, path_);
}

ElfReader::ElfReader(std::string path) : path_(std::move(path)) {
  open();
  try {
    load_headers();
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

ElfReader::~ElfReader() { ::close(fd_); }

void ElfReader::open() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) {
    const std::string why = std::strerror(errno);
    if (fd_ >= 0) ::close(fd_);
    file_error(Code::kCannotRead, "cannot read: " + why, path_);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(fd_);
    corrupt("no regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

std::vector<std::byte> ElfReader::read(uint64_t offset, uint64_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) corrupt("it is cut off");
  std::vector<std::byte> data(bytes);
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n =
        ::pread(fd_, data.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) corrupt("it cannot be read to its end");
    done += static_cast<uint64_t>(n);
  }
  return data;
}

void ElfReader::load_headers() {
  Elf64_Ehdr header;
  if (size_ < sizeof header) corrupt("it is too short");
  std::memcpy(&header, read(0, sizeof header).data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) corrupt("no ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64) {
    corrupt("not for x86-64");
  }
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shstrndx >= header.e_shnum) {
    corrupt("its section headers are missing or damaged");
  }
  headers_.resize(header.e_shnum);
  const uint64_t bytes = headers_.size() * sizeof(Elf64_Shdr);
  std::memcpy(headers_.data(), read(header.e_shoff, bytes).data(), bytes);
  const Elf64_Shdr& names = headers_[header.e_shstrndx];
  if (names.sh_type != SHT_STRTAB) corrupt("its section names are damaged");
  const std::vector<std::byte> text = read(names.sh_offset, names.sh_size);
  names_.assign(reinterpret_cast<const char*>(text.data()), text.size());
}

std::optional<ElfReader::Section> ElfReader::find(const std::string& name) const {
  for (const Elf64_Shdr& header : headers_) {
    if (header.sh_type != SHT_PROGBITS || header.sh_name >= names_.size()) continue;
    // compare() with the terminator: names_ need not end in one.
    if (names_.compare(header.sh_name, name.size() + 1, name.c_str(), name.size() + 1) != 0)
      continue;
    return Section{header.sh_offset, header.sh_size};
  }
  return std::nullopt;
}

}  // namespace gcomp::artifact
