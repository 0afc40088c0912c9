#include "emulated.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace gcomp::test {
namespace {

std::filesystem::path new_folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "gcomp_emulated_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  return pattern;
}

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

std::string command_for(const std::filesystem::path& text) {
  std::filesystem::path library = text, log = text;
  library.replace_extension(".so");
  log.replace_extension(".log");
  return std::string(GCOMP_CXX_COMPILER) +
         " -std=c++20 -O0 -w -shared -fPIC -ffp-contract=off -include " +
         quoted(GCOMP_SOURCE_DIR "/test/cuda/emulator.h") + " -x c++ " + quoted(text) + " -o " +
         quoted(library) + " > " + quoted(log) + " 2>&1";
}

}  // namespace

void compile_emulated(std::span<const std::filesystem::path> texts) {
  std::vector<std::thread> threads;
  std::vector<int> results(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = std::system(command_for(texts[i]).c_str()); });
  }
  for (std::thread& t : threads) t.join();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (results[i] == 0) continue;
    std::filesystem::path log = texts[i];
    std::ifstream in(log.replace_extension(".log"));
    std::string messages(4000, '\0');
    in.read(messages.data(), static_cast<std::streamsize>(messages.size()));
    messages.resize(static_cast<size_t>(in.gcount()));
    throw std::runtime_error("the host compiler refused " + texts[i].string() + ":\n" + messages);
  }
}

Emulated::Emulated(std::span<const kernel::Kernel* const> kernels,
                   std::span<const std::string> names, const codegen::CudaPrintOptions& options,
                   uint32_t parts) {
  codegen::CudaPrintOptions cut = options;
  const auto count = static_cast<uint32_t>(kernels.size());
  cut.kernels_per_module = std::max((count + parts - 1) / parts, 1u);
  const std::filesystem::path folder = new_folder();
  std::vector<std::filesystem::path> texts;
  for (const codegen::CudaModule& module : print_cuda(kernels, names, cut)) {
    texts.push_back(folder / ("part" + std::to_string(texts.size()) + ".cu"));
    std::ofstream(texts.back()) << module.text;
  }
  compile_emulated(texts);
  for (std::filesystem::path text : texts) load(text.replace_extension(".so"));
  std::filesystem::remove_all(folder);
}

Emulated::Emulated(const std::filesystem::path& library) { load(library); }

void Emulated::load(const std::filesystem::path& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw std::runtime_error(dlerror());
  handles_.emplace_back(handle, dlclose);
  entries_.push_back(reinterpret_cast<Entry>(dlsym(handle, "gcomp_emulate")));
}

bool Emulated::try_run(const std::string& name, std::span<const uint64_t> words,
                       codegen::CudaLaunch launch, uint32_t grid) const {
  for (Entry entry : entries_) {
    const int result = entry(name.c_str(), grid, launch.threads, launch.shared_bytes, words.data());
    if (result == 0) return true;
    if (result != 1) throw std::runtime_error(name + ": emulator: error " + std::to_string(result));
  }
  return false;
}

void Emulated::run(const std::string& name, std::span<const uint64_t> words,
                   codegen::CudaLaunch launch, uint32_t grid) const {
  if (!try_run(name, words, launch, grid)) throw std::runtime_error(name + ": no such kernel");
}

}  // namespace gcomp::test
