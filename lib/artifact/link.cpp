#include "gcomp/artifact/link.h"

#include <cstring>

#include "elf_reader.h"
#include "entry_object.h"
#include "gcomp/runtime/artifact_data.h"
#include "gcomp/runtime/object.h"
#include "gcomp/support/error.h"
#include "lld.h"
#include "localize.h"
#include "output_file.h"
#include "weights.h"

// NOLINTBEGIN(readability-identifier-naming): written by lib/embed.cmake
extern "C" {
extern const unsigned char gcomp_embedded_libc_stub[], gcomp_embedded_libm_stub[],
    gcomp_embedded_builtins[];
extern const size_t gcomp_embedded_libc_stub_size, gcomp_embedded_libm_stub_size,
    gcomp_embedded_builtins_size;
}
// NOLINTEND(readability-identifier-naming)

namespace gcomp::artifact {
namespace {

std::span<const std::byte> embedded(const unsigned char* bytes, size_t size) {
  return std::as_bytes(std::span(bytes, size));
}

std::vector<LldFile> inputs(const LinkInput& input, std::span<const std::byte> entry) {
  std::vector<LldFile> files = {{"entry.o", entry}};
  for (size_t i = 0; i < input.objects.size(); ++i) {
    files.push_back({"kernels" + std::to_string(i) + ".o", input.objects[i]});
  }
  files.push_back({"runtime.o", runtime::code_object()});
  if (input.device != nullptr) files.push_back({"runtime_cuda.o", runtime::cuda_object()});
  files.push_back({"builtins.a", embedded(gcomp_embedded_builtins, gcomp_embedded_builtins_size)});
  return files;
}

std::string version_script(const std::string& name) {
  std::string text = "{ global:";
  for (const std::string& symbol : exported_symbols(name)) text += " " + symbol + ";";
  return text + " local: *; };\n";
}

std::vector<std::byte> link(const LinkInput& input) {
  const std::vector<std::byte> entry = entry_object(input);
  const std::string script = version_script(input.name);
  std::vector<LldFile> files = inputs(input, entry);
  files.push_back({"libm", embedded(gcomp_embedded_libm_stub, gcomp_embedded_libm_stub_size)});
  files.push_back({"libc", embedded(gcomp_embedded_libc_stub, gcomp_embedded_libc_stub_size)});
  files.push_back({"--version-script", std::as_bytes(std::span(script))});
  return run_lld({"-shared", "--hash-style=gnu", "--build-id=none", "-z", "defs", "-z", "now", "-z",
                  "noexecstack", "--gc-sections", "--as-needed", "-Bsymbolic", "--eh-frame-hdr"},
                 files);
}

// Where the section of ArtifactInfo lies in a file we just wrote; read back as any other reader would.
uint64_t info_offset(std::span<const std::byte> image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image.data(), sizeof header);
  const auto* const sections = reinterpret_cast<const Elf64_Shdr*>(image.data() + header.e_shoff);
  const char* const names =
      reinterpret_cast<const char*>(image.data()) + sections[header.e_shstrndx].sh_offset;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    if (std::strcmp(names + sections[i].sh_name, kInfoSection) == 0) return sections[i].sh_offset;
  }
  throw InternalError("lld lost the section .gcomp.info");
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// A page with a WeightsHeader, then the constants at their offsets.
void append_weights(OutputFile& file, const PlanImage& plan, uint64_t info_at) {
  const uint64_t pages = (file.size() + rt::kWeightsPage - 1) / rt::kWeightsPage;
  const uint64_t header_at = pages * rt::kWeightsPage, base = header_at + rt::kWeightsPage;
  file.append_zeros_up_to(base);
  WeightsHasher hasher;
  static constexpr std::byte kZeros[rt::kBufferAlignment] = {};
  for (const PlanConstant& constant : plan.constants) {
    if (!constant.appended) continue;
    const uint64_t gap = base + constant.offset - file.size();
    hasher.add(std::span(kZeros).first(gap));
    file.append(std::span(kZeros).first(gap));
    hasher.add(constant.data);
    file.append(constant.data);
  }
  const uint64_t bytes = file.size() - base;
  GCOMP_CHECK(bytes == plan.appended_bytes, "appended constants are not laid out as planned");
  const WeightsHash hash = hasher.finish();
  file.overwrite(header_at,
                 bytes_of(rt::WeightsHeader{rt::kWeightsMagic, bytes, {hash[0], hash[1]}}));
  file.overwrite(info_at + offsetof(rt::ArtifactInfo, weights_offset), bytes_of(base));
  file.overwrite(info_at + offsetof(rt::ArtifactInfo, weights_hash), bytes_of(hash));
}

}  // namespace

std::vector<std::byte> link_shared_object(const LinkInput& input) {
  GCOMP_CHECK(plan_with_constants(input).appended_bytes == 0,
              "an image in memory cannot have appended constants");
  return link(input);
}

void write_shared_object(const LinkInput& input, const std::string& path) {
  const std::vector<std::byte> image = link(input);
  OutputFile file(path, 0777);
  file.append(image);
  const PlanImage& plan = plan_with_constants(input);
  if (plan.appended_bytes != 0) append_weights(file, plan, info_offset(image));
  file.commit();
}

void write_object(const LinkInput& input, const std::string& path) {
  GCOMP_CHECK(plan_with_constants(input).appended_bytes == 0,
              "an object cannot have appended constants");
  const std::vector<std::byte> entry = entry_object(input);
  std::vector<std::byte> object =
      run_lld({"-r", "--force-group-allocation", "--build-id=none"}, inputs(input, entry));
  localize_symbols(object, exported_symbols(input.name));
  OutputFile file(path, 0666);
  file.append(object);
  file.commit();
}

}  // namespace gcomp::artifact
