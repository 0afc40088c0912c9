// Texts to images, one job for each module and architecture, on several threads.

#include <atomic>
#include <exception>
#include <thread>

#include "gcomp/support/error.h"
#include "nvrtc.h"

namespace gcomp::codegen {
namespace {

// All that decides the image.
std::string recipe(const std::string& text, CudaArch arch, const CudaOptions& options,
                   const std::string& version) {
  std::string all = "nvrtc " + version;
  for (const std::string& o : nvrtc_options(arch, options.line_info)) all += "\n" + o;
  return all + "\n" + text;
}

class Compiler {
 public:
  Compiler(std::span<const CudaModule> modules, const CudaOptions& options)
      : modules_(modules), options_(options), nvrtc_(Nvrtc::load(options.nvrtc)) {
    for (const CudaArch arch : options.archs) nvrtc_->check(arch);
    images_.resize(modules.size() * options.archs.size());
    errors_.resize(images_.size());
  }

  std::vector<CudaImage> run() {
    std::vector<std::thread> threads;
    const auto width = std::min(images_.size(), static_cast<size_t>(std::max(options_.threads, 1)));
    for (size_t t = 1; t < width; ++t) threads.emplace_back([this] { work(); });
    work();
    for (std::thread& t : threads) t.join();
    for (const std::exception_ptr& e : errors_) {
      if (e) std::rethrow_exception(e);
    }
    return std::move(images_);
  }

 private:
  void work() {
    for (size_t i = next_.fetch_add(1); i < images_.size(); i = next_.fetch_add(1)) {
      try {
        make(i);
      } catch (...) {
        errors_[i] = std::current_exception();
      }
    }
  }

  void make(size_t i) {
    CudaImage& image = images_[i];
    image.module = static_cast<uint32_t>(i / options_.archs.size());
    image.arch = options_.archs[i % options_.archs.size()];
    const std::string& text = modules_[image.module].text;
    std::string key;
    if (options_.cache != nullptr) {
      key = recipe(text, image.arch, options_, nvrtc_->version());
      if (std::optional<std::string> found = options_.cache->get(key)) {
        image.bytes = std::move(*found);
        return;
      }
    }
    image.bytes = nvrtc_->compile(text, image.arch, options_.line_info);
    if (options_.cache != nullptr) options_.cache->put(key, image.bytes);
  }

  std::span<const CudaModule> modules_;
  const CudaOptions& options_;
  std::shared_ptr<const Nvrtc> nvrtc_;
  std::vector<CudaImage> images_;
  std::vector<std::exception_ptr> errors_;
  std::atomic<size_t> next_{0};
};

[[noreturn]] void bad_arch(std::string_view word) {
  throw UserError(
      ExitCode::kUsage,
      {.message = "'" + std::string(word) + "' is no CUDA architecture",
       .place = "--cuda-arch",
       .hint = "such as sm_80 (machine code) or compute_80 (PTX), separated by commas"});
}

CudaArch parse_arch(std::string_view word) {
  CudaArch arch;
  std::string_view number = word;
  if (word.starts_with("sm_")) {
    number.remove_prefix(3);
  } else if (word.starts_with("compute_")) {
    number.remove_prefix(8);
    arch.ptx = true;
  } else {
    bad_arch(word);
  }
  if (number.size() < 2 || number.size() > 3) bad_arch(word);
  for (const char c : number) {
    if (c < '0' || c > '9') bad_arch(word);
    arch.number = arch.number * 10 + (c - '0');
  }
  return arch;
}

}  // namespace

std::string name(CudaArch arch) {
  return (arch.ptx ? "compute_" : "sm_") + std::to_string(arch.number);
}

std::vector<CudaArch> parse_cuda_archs(std::string_view list) {
  std::vector<CudaArch> archs;
  for (;;) {
    const size_t comma = list.find(',');
    const CudaArch arch = parse_arch(list.substr(0, comma));
    if (std::ranges::find(archs, arch) == archs.end()) archs.push_back(arch);
    if (comma == std::string_view::npos) return archs;
    list.remove_prefix(comma + 1);
  }
}

std::vector<CudaImage> compile_cuda(std::span<const CudaModule> modules,
                                    const CudaOptions& options) {
  if (modules.empty() || options.archs.empty()) return {};
  return Compiler(modules, options).run();
}

std::string nvrtc_version(const CudaOptions& options) {
  return Nvrtc::load(options.nvrtc)->version();
}

}  // namespace gcomp::codegen
