// What kernels take of a multiprocessor, from a cubin: an ELF file with a section .text.<kernel> for each kernel,
// .nv.shared.<kernel> for its static shared memory, and attributes in .nv.info: bytes {format, attribute},
// 16 bits of size, then {symbol, value} for those read here.

#include <elf.h>

#include <cstring>
#include <map>

#include "gcomp/codegen/cuda.h"
#include "gcomp/support/error.h"

namespace gcomp::codegen {
namespace {

constexpr uint8_t kSized = 4;  // format: a block of as many bytes as the size says
constexpr uint8_t kFrameSize = 0x11, kRegisterCount = 0x2f;

[[noreturn]] void corrupt() {
  throw UserError(ExitCode::kFiles,
                  Diagnostic{.message = "this is no cubin", .place = {}, .hint = {}});
}

class Cubin {
 public:
  explicit Cubin(std::string_view bytes) : bytes_(bytes) {
    const auto header = read<Elf64_Ehdr>(0);
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) corrupt();
    for (uint64_t i = 0; i < header.e_shnum; ++i) {
      sections_.push_back(read<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr)));
    }
    if (header.e_shstrndx >= sections_.size()) corrupt();
    names_ = contents(sections_[header.e_shstrndx]);
  }

  std::vector<CudaResources> resources() {
    std::map<std::string, CudaResources, std::less<>> kernels;
    auto of = [&](std::string_view name) -> CudaResources& {
      CudaResources& r = kernels[std::string(name)];
      r.kernel = name;
      return r;
    };
    for (const Elf64_Shdr& s : sections_) {
      if (const std::string_view k = after(".text.", s); !k.empty()) of(k);
    }
    for (const Elf64_Shdr& s : sections_) {
      const auto found = kernels.find(after(".nv.shared.", s));
      if (found != kernels.end()) found->second.shared_bytes = static_cast<uint32_t>(s.sh_size);
      if (name(s) == ".nv.info") read_attributes(s, kernels);
    }
    std::vector<CudaResources> result;
    for (auto& [symbol, r] : kernels) result.push_back(std::move(r));
    return result;
  }

 private:
  template <class T>
  T read(uint64_t at) const {
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T)) corrupt();
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }

  std::string_view contents(const Elf64_Shdr& s) const {
    if (s.sh_offset > bytes_.size() || bytes_.size() - s.sh_offset < s.sh_size) corrupt();
    return bytes_.substr(s.sh_offset, s.sh_size);
  }

  static std::string_view text_at(std::string_view table, uint64_t at) {
    if (at >= table.size()) corrupt();
    const std::string_view rest = table.substr(at);
    return rest.substr(0, rest.find('\0'));
  }

  std::string_view name(const Elf64_Shdr& s) const { return text_at(names_, s.sh_name); }

  std::string_view after(std::string_view prefix, const Elf64_Shdr& s) const {
    std::string_view n = name(s);
    if (!n.starts_with(prefix)) return {};
    n.remove_prefix(prefix.size());
    return n;
  }

  std::string_view symbol_name(const Elf64_Shdr& info, uint32_t symbol) const {
    if (info.sh_link >= sections_.size()) corrupt();
    const Elf64_Shdr& table = sections_[info.sh_link];
    const auto entry = read<Elf64_Sym>(table.sh_offset + symbol * sizeof(Elf64_Sym));
    if (table.sh_link >= sections_.size()) corrupt();
    return text_at(contents(sections_[table.sh_link]), entry.st_name);
  }

  void read_attributes(const Elf64_Shdr& info,
                       std::map<std::string, CudaResources, std::less<>>& kernels) const {
    const uint64_t end = info.sh_offset + contents(info).size();
    for (uint64_t at = info.sh_offset; at + 4 <= end; at += 4) {
      const auto format = read<uint8_t>(at), attribute = read<uint8_t>(at + 1);
      if (format != kSized) continue;  // its value stands where a size would
      const auto size = read<uint16_t>(at + 2);
      if (size == 8 && (attribute == kRegisterCount || attribute == kFrameSize)) {
        const auto found = kernels.find(symbol_name(info, read<uint32_t>(at + 4)));
        const auto value = read<uint32_t>(at + 8);
        if (found != kernels.end()) {
          (attribute == kFrameSize ? found->second.local_bytes : found->second.registers) = value;
        }
      }
      at += size;
    }
  }

  std::string_view bytes_, names_;
  std::vector<Elf64_Shdr> sections_;
};

}  // namespace

std::vector<CudaResources> cubin_resources(std::string_view cubin) {
  return Cubin(cubin).resources();
}

}  // namespace gcomp::codegen
