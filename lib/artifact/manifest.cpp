#include "gcomp/artifact/manifest.h"

#include <algorithm>
#include <cstring>

#include "elf_reader.h"
#include "entry_object.h"
#include "gcomp/artifact/memory_plan.h"
#include "gcomp/runtime/artifact_data.h"
#include "gcomp/support/error.h"
#include "weights.h"

namespace gcomp::artifact {
namespace {

constexpr uint64_t kReadStep = 1 << 20;

rt::ArtifactInfo read_info(const ElfReader& file) {
  const auto section = file.find(kInfoSection);
  if (!section) file.corrupt("it has no section .gcomp.info");
  rt::ArtifactInfo info;
  if (section->bytes < sizeof info) file.corrupt("its section .gcomp.info is too short");
  std::memcpy(&info, file.read(section->offset, sizeof info).data(), sizeof info);
  if (info.magic != rt::kInfoMagic || info.bytes != sizeof info) {
    file.corrupt("its section .gcomp.info is of another version");
  }
  info.name[rt::kNameBytes - 1] = 0;
  const bool weights_fit =
      info.weights_offset <= file.size() && info.weights_bytes <= file.size() - info.weights_offset;
  if (info.weights_bytes != 0 && (info.weights_offset < rt::kWeightsPage || !weights_fit)) {
    file.corrupt("its weights are cut off");
  }
  return info;
}

WeightsHash stored_hash(const rt::ArtifactInfo& info) {
  return {info.weights_hash[0], info.weights_hash[1]};
}

}  // namespace

Manifest read_manifest(const std::string& path) {
  const ElfReader file(path);
  const rt::ArtifactInfo info = read_info(file);
  const auto section = file.find(kJsonSection);
  if (!section || section->bytes == 0) file.corrupt("it has no section .gcomp.json");
  const std::vector<std::byte> json = file.read(section->offset, section->bytes);
  Manifest manifest;
  manifest.name = info.name;
  manifest.json.assign(reinterpret_cast<const char*>(json.data()), json.size() - 1);
  manifest.cpu_features = info.cpu_features;
  if (info.weights_bytes != 0) {
    manifest.weights_offset = info.weights_offset;
    manifest.weights_bytes = info.weights_bytes;
    manifest.weights_hash = to_hex(stored_hash(info));
  }
  return manifest;
}

std::vector<std::byte> read_plan(const std::string& path) {
  const ElfReader file(path);
  const auto section = file.find(kPlanSection);
  if (!section) file.corrupt("it has no section .gcomp.plan");
  std::vector<std::byte> block = file.read(section->offset, section->bytes);
  const std::string fault = fault_of(block);
  if (!fault.empty()) file.corrupt(fault);
  return block;
}

void verify_weights(const std::string& path) {
  const ElfReader file(path);
  const rt::ArtifactInfo info = read_info(file);
  if (info.weights_bytes == 0) return;
  WeightsHasher hasher;
  for (uint64_t done = 0; done < info.weights_bytes; done += kReadStep) {
    hasher.add(
        file.read(info.weights_offset + done, std::min(kReadStep, info.weights_bytes - done)));
  }
  if (hasher.finish() != stored_hash(info)) file.corrupt("its weights do not match their hash");
}

}  // namespace gcomp::artifact
