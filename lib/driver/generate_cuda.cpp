#include "generate_cuda.h"

#include <algorithm>
#include <unordered_map>

#include "gcomp/artifact/libraries.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text += (text.empty() ? "" : ",") + item;
  return text;
}

// Those asked for; without any text for later GPUs, that of the lowest.
std::vector<codegen::CudaArch> archs(const CompileOptions& o) {
  std::vector<codegen::CudaArch> list = codegen::parse_cuda_archs(joined(o.cuda_archs));
  if (std::ranges::none_of(list, &codegen::CudaArch::ptx)) {
    const auto lowest = std::ranges::min_element(list, {}, &codegen::CudaArch::number);
    list.push_back({lowest->number, true});
  }
  return list;
}

// Per kernel: the nodes of the first group that calls it.
std::vector<std::string> nodes_of_kernels(const lower::LoweredModule& module) {
  std::vector<std::string> nodes(module.kernels.size());
  for (const lower::Step& s : module.steps) {
    if (s.kind != lower::Step::Kind::kCall || !nodes[s.kernel].empty()) continue;
    nodes[s.kernel] = module.stats.groups[s.group].nodes;
  }
  return nodes;
}

// Per kernel: which library may do a product it is called for, and why; "" if none may.
std::vector<std::string> libraries_of_kernels(const lower::LoweredModule& module) {
  std::vector<std::string> libraries(module.kernels.size());
  for (const lower::Step& s : module.steps) {
    if (s.product == lower::LibraryProduct::kNone || !libraries[s.kernel].empty()) continue;
    const lower::LibraryProduct& p = module.products[s.product];
    if (!p.choices.empty()) libraries[s.kernel] = artifact::library_of(p) + ": " + p.why;
  }
  return libraries;
}

// Per kernel, the iterations of its longest call; 0 where an extent is not known.
std::vector<int64_t> most_iterations(const lower::LoweredModule& module) {
  std::vector<int64_t> most(module.kernels.size(), 1);
  for (const lower::Step& s : module.steps) {
    if (s.kind != lower::Step::Kind::kCall) continue;
    const auto extent = module.graph->context().dims.constant_value(s.extent);
    int64_t& of = most[s.kernel];
    of = of == 0 || !extent ? 0 : std::max(of, *extent);
  }
  return most;
}

// Buffers, scalars and the extent.
uint32_t parameter_words(const kernel::Kernel& k) {
  return static_cast<uint32_t>(k.num_parameters() + k.scalars.size() + 1);
}

}  // namespace

DeviceCode print_device_code(const lower::LoweredModule& both, bool line_info) {
  const std::vector<std::string> nodes = nodes_of_kernels(both);
  const std::vector<std::string> libraries = libraries_of_kernels(both);
  const std::vector<int64_t> most = most_iterations(both);
  std::vector<const kernel::Kernel*> kernels;
  std::vector<std::string> names, comments;
  std::vector<int64_t> iterations;
  DeviceCode code;
  for (uint32_t k = 0; k < both.kernels.size(); ++k) {
    if (both.kernel_devices[k] != Device::kCuda) continue;
    const codegen::CudaLaunch launch = codegen::cuda_launch(both.kernels[k]);
    kernels.push_back(&both.kernels[k]);
    names.push_back(both.names[k]);
    comments.push_back(nodes[k]);
    code.libraries.push_back(libraries[k]);
    iterations.push_back(most[k]);
    code.kernels.push_back({.name = both.names[k],
                            .nodes = nodes[k],
                            .threads = launch.threads,
                            .iterations = launch.iterations_per_block,
                            .shared_bytes = launch.shared_bytes,
                            .words = parameter_words(both.kernels[k])});
  }
  code.modules = codegen::print_cuda(
      kernels, names,
      {.comments = comments, .line_info = line_info, .most_iterations = iterations});
  for (uint32_t m = 0; m < code.modules.size(); ++m) {
    for (const uint32_t k : code.modules[m].kernels) code.kernels[k].module = m;
  }
  return code;
}

void check_cuda_archs(const CompileOptions& o) { archs(o); }

bool have_matrix_units(const CompileOptions& o) {
  return std::ranges::all_of(archs(o), [](const codegen::CudaArch& a) { return a.number >= 80; });
}

void compile_device_code(DeviceCode& code, const CompileOptions& o, codegen::CodeCache* cache) {
  codegen::CudaOptions options;
  options.cache = cache;
  options.archs = archs(o);
  options.threads = o.threads;
  options.line_info = o.cuda_line_info;
  code.nvrtc = codegen::nvrtc_version(options);
  code.images = codegen::compile_cuda(code.modules, options);
}

std::vector<uint32_t> share_kernels(const lower::LoweredModule& host, bool host_has_symbols,
                                    lower::LoweredModule& both) {
  std::unordered_multimap<uint64_t, uint32_t> by_hash;
  for (uint32_t k = 0; host_has_symbols && k < host.kernels.size(); ++k) {
    by_hash.emplace(kernel::hash(host.kernels[k]), k);
  }
  std::vector<uint32_t> own;
  for (uint32_t k = 0; k < both.kernels.size(); ++k) {
    if (both.kernel_devices[k] != Device::kHost) continue;
    const auto [begin, end] = by_hash.equal_range(kernel::hash(both.kernels[k]));
    const auto same = std::find_if(
        begin, end, [&](const auto& row) { return host.kernels[row.second] == both.kernels[k]; });
    if (same != end) {
      both.names[k] = host.names[same->second];
    } else {
      both.names[k] = "h" + both.names[k];  // names begin with k elsewhere
      own.push_back(k);
    }
  }
  return own;
}

}  // namespace gcomp::driver
