#pragma once
// Sections of an ELF file that is not trusted, read with pread: no mapping that a shrinking file would turn into a crash.

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gcomp::artifact {

class ElfReader {
 public:
  explicit ElfReader(std::string path);  // UserError (kFiles) unless a 64-bit x86 ELF file
  ~ElfReader();
  ElfReader(const ElfReader&) = delete;
  ElfReader& operator=(const ElfReader&) = delete;

  struct Section {
    uint64_t offset, bytes;
  };
  std::optional<Section> find(const std::string& name) const;
  std::vector<std::byte> read(uint64_t offset, uint64_t bytes) const;
  uint64_t size() const { return size_; }

  [[noreturn]] void corrupt(const std::string& what) const;

 private:
  void open();
  void load_headers();

  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::vector<Elf64_Shdr> headers_;
  std::string names_;
};

}  // namespace gcomp::artifact
