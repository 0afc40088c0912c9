// Modules of kernels as text.

#include "gcomp/codegen/cuda.h"
#include "gcomp/support/error.h"
#include "kernel_printer.h"

namespace gcomp::codegen {
namespace {

// Names come from files: none ends the line, goes on to the next, or ends a string.
std::string in_a_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\\' || c == '"') c = '?';
  }
  return text;
}

CudaModule print_module(std::span<const kernel::Kernel* const> kernels,
                        std::span<const std::string> names, const CudaPrintOptions& options,
                        uint32_t first, uint32_t count) {
  CudaModule module;
  std::string bodies;
  uint64_t used = 0;
  for (uint32_t i = first; i < first + count; ++i) {
    module.kernels.push_back(i);
    const kernel::Kernel expanded = expand_for_cuda(*kernels[i]);
    const int64_t most = options.most_iterations.empty() ? 0 : options.most_iterations[i];
    KernelPrinter printer(expanded, names[i], most);
    const std::string body = printer.run();
    used |= printer.used_helpers();
    bodies += "\n";
    if (!options.comments.empty()) {
      const std::string nodes = in_a_line(options.comments[i]);
      bodies += "// " + nodes + "\n";
      // An absolute path: the compiler would put its own folder before others.
      if (options.line_info) bodies += "#line 1 \"/gcomp/" + nodes + "\"\n";
    }
    bodies += printer.tables() + body;
  }
  module.text = cuda_preamble() + cuda_helpers(used) + bodies;
  return module;
}

}  // namespace

std::vector<CudaModule> print_cuda(std::span<const kernel::Kernel* const> kernels,
                                   std::span<const std::string> names,
                                   const CudaPrintOptions& options) {
  GCOMP_CHECK(kernels.size() == names.size(), "print_cuda: a name for each kernel");
  std::vector<CudaModule> modules;
  const auto count = static_cast<uint32_t>(kernels.size());
  for (uint32_t first = 0; first < count; first += options.kernels_per_module) {
    const uint32_t n = std::min(options.kernels_per_module, count - first);
    modules.push_back(print_module(kernels, names, options, first, n));
  }
  return modules;
}

CudaLaunch cuda_launch(const kernel::Kernel& kernel) {
  if (kernel.block_threads == 0) return {};
  return {.threads = kernel.block_threads, .iterations_per_block = 1, .shared_bytes = 0};
}

}  // namespace gcomp::codegen
