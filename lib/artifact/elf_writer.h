#pragma once
// Writes a small x86-64 ELF relocatable object: sections of bytes, symbols, relocations. Enough for
// the tables of an artifact; no debug information.

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gcomp::artifact {

class ElfWriter {
 public:
  using Section = uint32_t;  // ELF section index
  using Symbol = uint32_t;   // index into our list; symbol-table numbers are given by finish()

  // type: SHT_PROGBITS, SHT_NOBITS, ...; flags: SHF_*
  Section section(std::string name, uint32_t type, uint64_t flags, uint64_t alignment);

  // Appends and returns the offset.
  uint64_t append(Section s, std::span<const std::byte> bytes, uint64_t alignment = 1);
  uint64_t append(Section s, std::string_view text) {
    return append(s, std::as_bytes(std::span(text)));
  }
  template <class T>
  uint64_t append_value(Section s, const T& value) {
    return append(s, std::as_bytes(std::span(&value, 1)), alignof(T));
  }
  uint64_t reserve(Section s, uint64_t bytes);  // SHT_NOBITS
  uint64_t size(Section s) const;

  Symbol define(std::string name, Section s, uint64_t offset, uint64_t size, unsigned char type,
                unsigned char binding);
  Symbol undefined(std::string name);
  // The address of (s, offset), as a symbol and an addend, is what R_X86_64_64 at `at` will hold.
  void point_to(Section in, uint64_t at, Section s, uint64_t offset);
  void relocate(Section in, uint64_t at, uint32_t type, Symbol symbol, int64_t addend);

  std::vector<std::byte> finish();

 private:
  struct Part {
    std::string name;
    Elf64_Shdr header{};
    std::vector<std::byte> bytes;
    std::vector<Elf64_Rela> relocations;
    Symbol symbol = 0;  // its section symbol
  };
  struct Name {
    std::string name;
    Elf64_Sym symbol{};
  };

  Part& part(Section s) { return parts_[s - 1]; }

  std::vector<Part> parts_;  // section index - 1
  std::vector<Name> symbols_;
};

}  // namespace gcomp::artifact
