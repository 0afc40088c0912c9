#include "elf_writer.h"

#include <cstring>

#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

template <class T>
void write_at(std::vector<std::byte>& file, uint64_t offset, const T& value) {
  std::memcpy(file.data() + offset, &value, sizeof value);
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& v) {
  return std::as_bytes(std::span(v));
}

class StringTable {
 public:
  uint32_t add(std::string_view s) {
    if (s.empty()) return 0;
    const auto at = static_cast<uint32_t>(text_.size());
    text_.append(s);
    text_.push_back('\0');
    return at;
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }

 private:
  std::string text_ = std::string(1, '\0');
};

// A file under construction: bytes, section headers and their names.
struct File {
  std::vector<std::byte> bytes;
  std::vector<Elf64_Shdr> headers{1};
  StringTable names;

  void align(uint64_t alignment) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  }
  void add(std::string_view name, Elf64_Shdr header, std::span<const std::byte> contents) {
    header.sh_name = names.add(name);
    if (header.sh_type != SHT_NOBITS) {
      align(header.sh_addralign);
      header.sh_size = contents.size();
    }
    header.sh_offset = bytes.size();
    bytes.insert(bytes.end(), contents.begin(), contents.end());
    headers.push_back(header);
  }
};

Elf64_Shdr header_of(uint32_t type, uint64_t alignment, uint64_t entry_size = 0) {
  Elf64_Shdr h{};
  h.sh_type = type;
  h.sh_addralign = alignment;
  h.sh_entsize = entry_size;
  return h;
}

Elf64_Ehdr file_header(const File& file, uint64_t section_headers) {
  Elf64_Ehdr h{};
  std::memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  h.e_ident[EI_VERSION] = EV_CURRENT;
  h.e_type = ET_REL;
  h.e_machine = EM_X86_64;
  h.e_version = EV_CURRENT;
  h.e_ehsize = sizeof(Elf64_Ehdr);
  h.e_shentsize = sizeof(Elf64_Shdr);
  h.e_shoff = section_headers;
  h.e_shnum = static_cast<Elf64_Half>(file.headers.size());
  h.e_shstrndx = static_cast<Elf64_Half>(file.headers.size() - 1);
  return h;
}

}  // namespace

ElfWriter::Section ElfWriter::section(std::string name, uint32_t type, uint64_t flags,
                                      uint64_t alignment) {
  Part part;
  part.name = std::move(name);
  part.header = header_of(type, alignment);
  part.header.sh_flags = flags;
  parts_.push_back(std::move(part));
  const auto index = static_cast<Section>(parts_.size());
  parts_.back().symbol = define("", index, 0, 0, STT_SECTION, STB_LOCAL);
  return index;
}

uint64_t ElfWriter::append(Section s, std::span<const std::byte> bytes, uint64_t alignment) {
  std::vector<std::byte>& to = part(s).bytes;
  to.resize((to.size() + alignment - 1) / alignment * alignment);
  const uint64_t at = to.size();
  to.insert(to.end(), bytes.begin(), bytes.end());
  return at;
}

uint64_t ElfWriter::reserve(Section s, uint64_t bytes) {
  Elf64_Shdr& header = part(s).header;
  GCOMP_CHECK(header.sh_type == SHT_NOBITS, "reserve() in a section that has bytes");
  const uint64_t at = header.sh_size;
  header.sh_size += bytes;
  return at;
}

uint64_t ElfWriter::size(Section s) const { return parts_[s - 1].bytes.size(); }

ElfWriter::Symbol ElfWriter::define(std::string name, Section s, uint64_t offset, uint64_t size,
                                    unsigned char type, unsigned char binding) {
  Elf64_Sym symbol{};
  symbol.st_shndx = static_cast<Elf64_Half>(s);
  symbol.st_value = offset;
  symbol.st_size = size;
  symbol.st_info = ELF64_ST_INFO(binding, type);
  symbols_.push_back({std::move(name), symbol});
  return static_cast<Symbol>(symbols_.size() - 1);
}

ElfWriter::Symbol ElfWriter::undefined(std::string name) {
  return define(std::move(name), SHN_UNDEF, 0, 0, STT_NOTYPE, STB_GLOBAL);
}

void ElfWriter::point_to(Section in, uint64_t at, Section s, uint64_t offset) {
  relocate(in, at, R_X86_64_64, part(s).symbol, static_cast<int64_t>(offset));
}

void ElfWriter::relocate(Section in, uint64_t at, uint32_t type, Symbol symbol, int64_t addend) {
  part(in).relocations.push_back({at, ELF64_R_INFO(symbol, type), addend});
}

std::vector<std::byte> ElfWriter::finish() {
  // Symbol table: locals come first.
  StringTable strings;
  std::vector<Elf64_Sym> table(1);
  std::vector<uint32_t> number(symbols_.size());
  uint32_t first_global = 0;
  for (const bool globals : {false, true}) {
    for (size_t i = 0; i < symbols_.size(); ++i) {
      Elf64_Sym symbol = symbols_[i].symbol;
      if ((ELF64_ST_BIND(symbol.st_info) != STB_LOCAL) != globals) continue;
      symbol.st_name = strings.add(symbols_[i].name);
      number[i] = static_cast<uint32_t>(table.size());
      table.push_back(symbol);
    }
    if (!globals) first_global = static_cast<uint32_t>(table.size());
  }

  File file;
  uint64_t total = 1 << 16;
  for (const Part& p : parts_) {
    total += p.bytes.size() + 64 + p.relocations.size() * sizeof(Elf64_Rela);
  }
  file.bytes.reserve(total + table.size() * sizeof(Elf64_Sym) + strings.bytes().size());
  file.bytes.resize(sizeof(Elf64_Ehdr));
  for (const Part& p : parts_) file.add(p.name, p.header, p.bytes);
  const auto symtab = static_cast<uint32_t>(file.headers.size());
  Elf64_Shdr h = header_of(SHT_SYMTAB, 8, sizeof(Elf64_Sym));
  h.sh_link = symtab + 1;
  h.sh_info = first_global;
  file.add(".symtab", h, bytes_of(table));
  file.add(".strtab", header_of(SHT_STRTAB, 1), strings.bytes());
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i].relocations.empty()) continue;
    for (Elf64_Rela& r : parts_[i].relocations) {
      r.r_info = ELF64_R_INFO(uint64_t{number[ELF64_R_SYM(r.r_info)]}, ELF64_R_TYPE(r.r_info));
    }
    h = header_of(SHT_RELA, 8, sizeof(Elf64_Rela));
    h.sh_link = symtab;
    h.sh_info = static_cast<uint32_t>(i + 1);
    h.sh_flags = SHF_INFO_LINK;
    file.add(".rela" + parts_[i].name, h, bytes_of(parts_[i].relocations));
  }
  // The names must be complete before their section is: give it its own name first.
  h = header_of(SHT_STRTAB, 1);
  h.sh_name = file.names.add(".shstrtab");
  h.sh_offset = file.bytes.size();
  h.sh_size = file.names.bytes().size();
  const auto names = file.names.bytes();
  file.bytes.insert(file.bytes.end(), names.begin(), names.end());
  file.headers.push_back(h);
  file.align(8);
  const uint64_t section_headers = file.bytes.size();
  const auto headers = bytes_of(file.headers);
  file.bytes.insert(file.bytes.end(), headers.begin(), headers.end());
  write_at(file.bytes, 0, file_header(file, section_headers));
  return std::move(file.bytes);
}

}  // namespace gcomp::artifact
