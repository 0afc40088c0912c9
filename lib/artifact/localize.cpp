// The symbol table must list locals before globals, so it is reordered, and the numbers in relocations with it.

#include "localize.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

#include "gcomp/support/error.h"

namespace gcomp::artifact {
namespace {

template <class T>
std::span<T> items(std::vector<std::byte>& file, uint64_t offset, uint64_t bytes) {
  GCOMP_CHECK(offset + bytes <= file.size() && offset % alignof(T) == 0, "lld wrote a bad object");
  return {reinterpret_cast<T*>(file.data() + offset), bytes / sizeof(T)};
}

std::span<Elf64_Shdr> section_headers(std::vector<std::byte>& file) {
  const Elf64_Ehdr& header = items<Elf64_Ehdr>(file, 0, sizeof(Elf64_Ehdr))[0];
  uint64_t number = header.e_shnum;
  if (number == 0) number = items<Elf64_Shdr>(file, header.e_shoff, sizeof(Elf64_Shdr))[0].sh_size;
  return items<Elf64_Shdr>(file, header.e_shoff, number * sizeof(Elf64_Shdr));
}

Elf64_Shdr& symbol_table(std::span<Elf64_Shdr> headers) {
  for (Elf64_Shdr& header : headers) {
    if (header.sh_type == SHT_SYMTAB) return header;
    GCOMP_CHECK(header.sh_type != SHT_GROUP && header.sh_type != SHT_SYMTAB_SHNDX,
                "lld kept section groups or has too many sections");
  }
  throw InternalError("lld wrote an object without symbols");
}

}  // namespace

void localize_symbols(std::vector<std::byte>& object, const std::vector<std::string>& keep) {
  const std::span<Elf64_Shdr> headers = section_headers(object);
  Elf64_Shdr& table = symbol_table(headers);
  const auto symbols = items<Elf64_Sym>(object, table.sh_offset, table.sh_size);
  const Elf64_Shdr& strings = headers[table.sh_link];
  const char* const names = items<char>(object, strings.sh_offset, strings.sh_size).data();

  for (Elf64_Sym& symbol : symbols) {
    const bool kept = symbol.st_shndx == SHN_UNDEF ||
                      std::find(keep.begin(), keep.end(), names + symbol.st_name) != keep.end();
    if (kept) continue;
    symbol.st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(symbol.st_info));
    symbol.st_other = STV_DEFAULT;
  }
  std::vector<uint32_t> order, number(symbols.size());
  const auto is_local = [](const Elf64_Sym& s) { return ELF64_ST_BIND(s.st_info) == STB_LOCAL; };
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    if (is_local(symbols[i])) order.push_back(i);
  }
  const auto num_locals = static_cast<uint32_t>(order.size());
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    if (!is_local(symbols[i])) order.push_back(i);
  }
  table.sh_info = num_locals;
  const std::vector<Elf64_Sym> old(symbols.begin(), symbols.end());
  for (uint32_t i = 0; i < order.size(); ++i) {
    symbols[i] = old[order[i]];
    number[order[i]] = i;
  }
  for (const Elf64_Shdr& header : headers) {
    if (header.sh_type != SHT_RELA) continue;
    for (Elf64_Rela& r : items<Elf64_Rela>(object, header.sh_offset, header.sh_size)) {
      r.r_info = ELF64_R_INFO(uint64_t{number[ELF64_R_SYM(r.r_info)]}, ELF64_R_TYPE(r.r_info));
    }
  }
}

}  // namespace gcomp::artifact
