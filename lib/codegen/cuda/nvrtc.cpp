#include "nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "gcomp/support/error.h"

namespace gcomp::codegen {
namespace {

// Of NVRTC's C interface, as its documentation states it.
using Result = int;
using Program = void*;

constexpr int kOldestMajor = 12, kHasNoCache = 13;
// A constant, for it goes into the results.
constexpr const char* kProgramName =
    "/gcomp/gcomp.cu";  // absolute: else line information has the folder
constexpr const char* kCure =
    "install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc` into the active Python "
    "environment or "
    "./.venv, or name the library in GCOMP_NVRTC";

namespace fs = std::filesystem;

// libnvrtc.so* in `folder`, the highest version first.
void add_libraries(const fs::path& folder, std::vector<std::string>* to) {
  std::error_code error;
  std::vector<std::string> found;
  for (const fs::directory_entry& e : fs::directory_iterator(folder, error)) {
    const std::string file = e.path().filename().string();
    if (file.starts_with("libnvrtc.so.") && file.find(".alt") == std::string::npos) {
      found.push_back(e.path().string());
    }
  }
  auto longer_is_newer = [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  };
  std::ranges::sort(found, longer_is_newer);
  to->insert(to->end(), found.begin(), found.end());
}

// Below a Python environment: nvidia/cu13/lib (wheels for CUDA 13), nvidia/cuda_nvrtc/lib (12).
void add_wheels(const fs::path& environment, std::vector<std::string>* to) {
  std::error_code error;
  std::vector<fs::path> pythons;
  for (const fs::directory_entry& e : fs::directory_iterator(environment / "lib", error)) {
    if (e.path().filename().string().starts_with("python")) pythons.push_back(e.path());
  }
  std::ranges::sort(pythons);
  for (const fs::path& python : pythons) {
    const fs::path nvidia = python / "site-packages" / "nvidia";
    std::vector<fs::path> parts;
    for (const fs::directory_entry& e : fs::directory_iterator(nvidia, error)) {
      parts.push_back(e.path());
    }
    std::ranges::sort(parts, std::greater());
    for (const fs::path& part : parts) add_libraries(part / "lib", to);
  }
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string list(const std::vector<int>& archs) {
  std::string text;
  for (const int a : archs) text += (text.empty() ? "sm_" : ", sm_") + std::to_string(a);
  return text;
}

}  // namespace

std::vector<std::string> nvrtc_candidates() {
  std::vector<std::string> paths;
  if (const std::string named = environment("GCOMP_NVRTC"); !named.empty()) return {named};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string home = environment(variable); !home.empty()) {
      add_libraries(fs::path(home) / "lib64", &paths);
    }
  }
  if (const std::string active = environment("VIRTUAL_ENV"); !active.empty()) {
    add_wheels(active, &paths);
  }
  add_libraries("/usr/local/cuda/lib64", &paths);
  add_wheels(".venv", &paths);
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
    paths.emplace_back(name);
  return paths;
}

struct Nvrtc::Functions {
  std::shared_ptr<void> handle;
  Result (*version)(int*, int*) = nullptr;
  Result (*num_archs)(int*) = nullptr;
  Result (*archs)(int*) = nullptr;
  Result (*create)(Program*, const char*, const char*, int, const char* const*,
                   const char* const*) = nullptr;
  Result (*destroy)(Program*) = nullptr;
  Result (*compile)(Program, int, const char* const*) = nullptr;
  Result (*log_size)(Program, size_t*) = nullptr;
  Result (*log)(Program, char*) = nullptr;
  Result (*ptx_size)(Program, size_t*) = nullptr;
  Result (*ptx)(Program, char*) = nullptr;
  Result (*cubin_size)(Program, size_t*) = nullptr;
  Result (*cubin)(Program, char*) = nullptr;
};

Nvrtc::Loaded Nvrtc::open(const std::string& path, std::string* why_not) {
  // It stays: its own C++ library takes memory when it is loaded and gives none back.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    *why_not = dlerror();
    return nullptr;
  }
  auto f = std::make_shared<Functions>();
  f->handle = {library, dlclose};
  auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
    if (*function == nullptr) *why_not = path + ": no function " + name;
    return *function != nullptr;
  };
  const bool complete =
      find("nvrtcVersion", &f->version) && find("nvrtcGetNumSupportedArchs", &f->num_archs) &&
      find("nvrtcGetSupportedArchs", &f->archs) && find("nvrtcCreateProgram", &f->create) &&
      find("nvrtcDestroyProgram", &f->destroy) && find("nvrtcCompileProgram", &f->compile) &&
      find("nvrtcGetProgramLogSize", &f->log_size) && find("nvrtcGetProgramLog", &f->log) &&
      find("nvrtcGetPTXSize", &f->ptx_size) && find("nvrtcGetPTX", &f->ptx) &&
      find("nvrtcGetCUBINSize", &f->cubin_size) && find("nvrtcGetCUBIN", &f->cubin);
  return complete ? f : nullptr;
}

std::shared_ptr<const Nvrtc> Nvrtc::load(const std::string& path) {
  auto nvrtc = std::make_shared<Nvrtc>();
  std::string why_not = "no library of the name libnvrtc.so was found";
  const std::vector<std::string> candidates =
      path.empty() ? nvrtc_candidates() : std::vector<std::string>{path};
  for (const std::string& candidate : candidates) {
    nvrtc->functions_ = open(candidate, &why_not);
    nvrtc->path_ = candidate;
    if (nvrtc->functions_ != nullptr) break;
  }
  if (nvrtc->functions_ == nullptr) {
    throw UserError(ExitCode::kFiles,
                    {.message = "NVRTC, which compiles CUDA kernels, cannot be loaded: " + why_not,
                     .hint = kCure,
                     .file = path});
  }
  const Functions& f = *nvrtc->functions_;
  int count = 0;
  f.version(&nvrtc->major_, &nvrtc->minor_);
  if (nvrtc->major_ < kOldestMajor) {
    throw UserError(ExitCode::kFiles, {.message = "NVRTC " + nvrtc->version() +
                                                  " is too old: " + std::to_string(kOldestMajor) +
                                                  ".0 or later is needed",
                                       .hint = kCure,
                                       .file = nvrtc->path_});
  }
  f.num_archs(&count);
  nvrtc->archs_.resize(static_cast<size_t>(count));
  f.archs(nvrtc->archs_.data());
  return nvrtc;
}

std::string Nvrtc::version() const { return std::to_string(major_) + "." + std::to_string(minor_); }

void Nvrtc::check(CudaArch arch) const {
  if (std::ranges::find(archs_, arch.number) != archs_.end()) return;
  throw UserError(ExitCode::kUsage,
                  {.message = "NVRTC " + version() + " knows no architecture " + name(arch),
                   .hint = "it knows " + list(archs_),
                   .file = path_});
}

// No contraction: kernels say themselves where a product and a sum are one operation.
std::vector<std::string> nvrtc_options(CudaArch arch, bool line_info) {
  std::vector<std::string> options = {"--gpu-architecture=" + name(arch), "--std=c++17",
                                      "--fmad=false"};
  if (line_info) options.emplace_back("--generate-line-info");
  return options;
}

std::string Nvrtc::compile(const std::string& text, CudaArch arch, bool line_info) const {
  const Functions& f = *functions_;
  Program program = nullptr;
  if (f.create(&program, text.c_str(), kProgramName, 0, nullptr, nullptr) != 0) {
    internal_error(__FILE__, __LINE__, "NVRTC cannot make a program");
  }
  const std::shared_ptr<void> owner(nullptr, [&](void*) { f.destroy(&program); });
  std::vector<std::string> options = nvrtc_options(arch, line_info);
  if (major_ >= kHasNoCache) options.emplace_back("--no-cache");  // its own, in the user's home
  std::vector<const char*> pointers;
  for (const std::string& o : options) pointers.push_back(o.c_str());
  const Result result = f.compile(program, static_cast<int>(pointers.size()), pointers.data());
  size_t size = 0;
  if (result != 0) {
    f.log_size(program, &size);
    std::string log(size, '\0');
    f.log(program, log.data());
    internal_error(__FILE__, __LINE__,
                   "NVRTC " + version() + " refuses a module for " + name(arch) + " (error " +
                       std::to_string(result) + "):\n" + log);
  }
  if (arch.ptx) {
    f.ptx_size(program, &size);
  } else {
    f.cubin_size(program, &size);
  }
  std::string bytes(size, '\0');
  if ((arch.ptx ? f.ptx : f.cubin)(program, bytes.data()) != 0) {
    internal_error(__FILE__, __LINE__, "NVRTC made nothing for " + name(arch));
  }
  return bytes;
}

}  // namespace gcomp::codegen
