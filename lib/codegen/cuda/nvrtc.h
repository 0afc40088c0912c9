#pragma once
// NVIDIA's run-time compiler, loaded when it is needed.

#include <memory>
#include <string>
#include <vector>

#include "gcomp/codegen/cuda.h"

namespace gcomp::codegen {

class Nvrtc {
 public:
  // `path`: the library, or empty: looked for. UserError when there is none or it is too old.
  static std::shared_ptr<const Nvrtc> load(const std::string& path);

  const std::string& path() const { return path_; }
  std::string version() const;  // "13.0"
  // UserError naming those it knows, unless `arch` is one of them.
  void check(CudaArch arch) const;
  // From several threads at once. InternalError with the compiler's messages when it refuses `text`.
  std::string compile(const std::string& text, CudaArch arch, bool line_info) const;

 private:
  struct Functions;
  using Loaded = std::shared_ptr<const Functions>;
  static Loaded open(const std::string& path, std::string* why_not);

  std::string path_;
  Loaded functions_;
  int major_ = 0, minor_ = 0;
  std::vector<int> archs_;
};

// Places to look for the library, most particular first (see README.md).
std::vector<std::string> nvrtc_candidates();

std::vector<std::string> nvrtc_options(CudaArch arch, bool line_info);

}  // namespace gcomp::codegen
