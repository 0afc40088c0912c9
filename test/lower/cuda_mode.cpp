#include "cuda_mode.h"

#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace gcomp::test {
namespace {

constexpr uint32_t kParts = 2;  // compiler runs at a time

std::string part_name(const std::string& folder, uint32_t part) {
  return folder + "/kernels" + std::to_string(part);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Per kernel, the most iterations of a call; 0 where that is not known.
std::vector<int64_t> most_iterations(const lower::LoweredModule& m) {
  std::vector<int64_t> most(m.kernels.size(), 1);
  const DimTable& dims = m.graph->context().dims;
  for (const lower::Step& s : m.steps) {
    if (s.kind != lower::Step::Kind::kCall) continue;
    const auto extent = dims.constant_value(s.extent);
    int64_t& of = most[s.kernel];
    of = of == 0 || !extent ? 0 : std::max(of, *extent);
  }
  return most;
}

std::vector<std::string> names_of(const lower::LoweredModule& m) {
  const std::vector<int64_t> most = most_iterations(m);
  std::vector<std::string> names;
  for (size_t i = 0; i < m.kernels.size(); ++i) {
    names.push_back("k" + std::to_string(hash(m.kernels[i])) + "_" + std::to_string(most[i]));
  }
  return names;
}

}  // namespace

CudaMode* CudaMode::get() {
  static CudaMode mode(environment("GCOMP_CUDA_RECORD"), environment("GCOMP_CUDA_RUN"));
  return mode.records() || !mode.libraries_.empty() ? &mode : nullptr;
}

CudaMode::CudaMode(std::string record_folder, const std::string& run_folder)
    : record_folder_(std::move(record_folder)) {
  if (run_folder.empty()) return;
  for (uint32_t part = 0; part < kParts; ++part) {
    const std::string library = part_name(run_folder, part) + ".so";
    libraries_.push_back(std::make_shared<Emulated>(std::filesystem::path(library)));
  }
}

CudaMode::~CudaMode() {
  if (!records()) return;
  std::vector<const kernel::Kernel*> kernels;
  std::vector<std::string> names;
  std::vector<int64_t> most;
  for (const auto& [name, recorded] : kernels_) {
    kernels.push_back(&recorded.kernel);
    names.push_back(name);
    most.push_back(recorded.most_iterations);
  }
  const auto per_part = static_cast<uint32_t>(kernels.size() / kParts + 1);
  std::vector<std::filesystem::path> texts;
  for (const codegen::CudaModule& m : codegen::print_cuda(
           kernels, names, {.kernels_per_module = per_part, .most_iterations = most})) {
    texts.emplace_back(part_name(record_folder_, static_cast<uint32_t>(texts.size())) + ".cu");
    std::ofstream(texts.back()) << m.text;
  }
  compile_emulated(texts);
}

lower::LoweredModule CudaMode::lower(const Graph& g, lower::LowerOptions options) {
  place_nodes(g, options, [](const Node&) { return true; });
  lower::LoweredModule m = lower::lower(g, options);
  if (!records()) return m;
  const std::vector<std::string> names = names_of(m);
  const std::vector<int64_t> most = most_iterations(m);
  for (size_t i = 0; i < names.size(); ++i) kernels_[names[i]] = {m.kernels[i], most[i]};
  return m;
}

// Kernels of the host run here too: as CUDA text, by one thread where their iterations depend on one another.
ModuleRunner CudaMode::runner(const lower::LoweredModule& m) const {
  const std::vector<std::string> names = names_of(m);
  std::vector<bool> in_order(m.kernels.size());
  for (const lower::Step& s : m.steps) {
    if (s.kind != lower::Step::Kind::kCall || m.kernel_devices[s.kernel] == Device::kCuda) continue;
    if (s.grain == 0) in_order[s.kernel] = true;
  }
  auto call = [this, &m, names, in_order](uint32_t k, void* const* buffers, const int64_t* scalars,
                                          int64_t, int64_t end) {
    std::vector<uint64_t> words;
    for (size_t i = 0; i < m.kernels[k].num_parameters(); ++i) {
      words.push_back(std::bit_cast<uint64_t>(buffers[i]));
    }
    for (size_t i = 0; i < m.kernels[k].scalars.size(); ++i) {
      words.push_back(static_cast<uint64_t>(scalars[i]));
    }
    words.push_back(static_cast<uint64_t>(end));
    codegen::CudaLaunch launch = codegen::cuda_launch(m.kernels[k]);
    const bool blocks = launch.iterations_per_block == 1;
    if (!blocks) launch.threads = in_order[k] ? 1 : 32;  // fewer than on a GPU: more blocks
    for (const auto& library : libraries_) {
      if (library->try_run(names[k], words, launch, in_order[k] ? 1 : 3)) return;
    }
    throw std::runtime_error("kernel " + names[k] + " was not recorded");
  };
  return {m, call};
}

}  // namespace gcomp::test
