#include "run_artifact.h"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "gcomp/artifact/link.h"
#include "gcomp/artifact/lowered_plan.h"
#include "gcomp/artifact/straight_line.h"
#include "gcomp/codegen/llvm.h"
#include "gcomp/runtime.h"
#include "gcomp/support/error.h"

namespace gcomp::test {
namespace {

struct Code {
  std::vector<std::string> objects;
  PlanImage plan;
};

Code generate(const lower::LoweredModule& module, bool straight_line) {
  Code code;
  std::vector<const kernel::Kernel*> kernels;
  std::vector<std::string> names;
  for (size_t i = 0; i < module.kernels.size(); ++i) {
    kernels.push_back(&module.kernels[i]);
    names.push_back("gcomp_" + module.names[i]);
  }
  const codegen::CompileOptions options;
  code.objects = codegen::compile_kernels(kernels, names, options);
  if (!straight_line) {
    code.plan = artifact::build_plan(module, "gcomp_");
    return code;
  }
  const artifact::StraightLineModule straight = artifact::make_straight_line(module, "gcomp_");
  code.objects.push_back(codegen::compile_straight_line(straight.code, "gcomp_all", options));
  code.plan = artifact::build_straight_line_plan(module, straight, "gcomp_all");
  return code;
}

std::string write_artifact(const lower::LoweredModule& module, bool straight_line) {
  const Code code = generate(module, straight_line);
  artifact::LinkInput link;
  for (const std::string& o : code.objects) link.objects.push_back(std::as_bytes(std::span(o)));
  link.plan = &code.plan;
  link.json = "{}";
  link.cpu_features = {"avx2", "fma"};
  static std::atomic<int> count{0};
  const std::string name =
      "gcomp-lower-" + std::to_string(getpid()) + "-" + std::to_string(count++) + ".so";
  const std::string path = (std::filesystem::temp_directory_path() / name).string();
  artifact::write_shared_object(link, path);
  return path;
}

gcomp_dtype abi_dtype(DType t) {
  const auto bits = static_cast<uint8_t>(8 * byte_size(t));
  if (t == DType::kBool) return {GCOMP_BOOL, 8, 1};
  if (t == DType::kBFloat16) return {GCOMP_BFLOAT, 16, 1};
  const auto code = is_float(t) ? GCOMP_FLOAT : is_signed_int(t) ? GCOMP_INT : GCOMP_UINT;
  return {static_cast<uint8_t>(code), bits, 1};
}

}  // namespace

std::vector<interp::Tensor> run_artifact(const lower::LoweredModule& module,
                                         const std::vector<interp::Tensor>& inputs, int threads,
                                         bool straight_line, std::string* error) {
  const std::string path = write_artifact(module, straight_line);
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  GCOMP_CHECK(handle != nullptr, dlerror());
  std::filesystem::remove(path);
  const auto* d = static_cast<const gcomp_descriptor*>(dlsym(handle, "gcomp_model_descriptor_v1"));
  gcomp_options options = {};
  char message[640] = "";
  options.struct_size = sizeof options;
  options.message = message;
  options.message_bytes = sizeof message;
  options.threads = static_cast<uint32_t>(threads);
  gcomp_context* context = nullptr;
  GCOMP_CHECK(d->functions->create(d, &options, &context) == GCOMP_OK, message);

  const Graph& g = *module.graph;
  std::vector<interp::Tensor> in = inputs, out(g.outputs().size());
  std::vector<gcomp_tensor> in_abi, out_abi;
  for (interp::Tensor& t : in) {
    gcomp_tensor a = {};
    a.struct_size = sizeof a;
    a.data = t.bytes.data();
    a.dtype = abi_dtype(t.dtype);
    a.device_type = GCOMP_CPU;
    a.rank = t.rank();
    a.extents = t.shape.data();
    a.capacity = t.bytes.size();
    in_abi.push_back(a);
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].dtype = g.type(g.outputs()[i].value).dtype;
    out[i].shape.resize(static_cast<size_t>(g.type(g.outputs()[i].value).rank()));
    gcomp_tensor a = {};
    a.struct_size = sizeof a;
    a.dtype = abi_dtype(out[i].dtype);
    a.device_type = GCOMP_CPU;
    a.rank = out[i].rank();
    a.extents = out[i].shape.data();
    out_abi.push_back(a);
  }
  const gcomp_status status =
      d->functions->run(context, in_abi.data(), static_cast<uint32_t>(in_abi.size()),
                        out_abi.data(), static_cast<uint32_t>(out_abi.size()));
  if (status != GCOMP_OK) *error = d->functions->last_error(context);
  for (size_t i = 0; status == GCOMP_OK && i < out.size(); ++i) {
    const auto* data = static_cast<const std::byte*>(out_abi[i].data);
    const auto n = static_cast<size_t>(out[i].num_elements()) * byte_size(out[i].dtype);
    if (n != 0) out[i].bytes.assign(data, data + n);
  }
  d->functions->destroy(context);
  dlclose(handle);
  return out;
}

}  // namespace gcomp::test
