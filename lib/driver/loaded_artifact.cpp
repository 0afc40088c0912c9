#include "gcomp/driver/loaded_artifact.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "gcomp/artifact/manifest.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

struct DTypeNumbers {
  DType dtype;
  uint8_t code, bits;
};
constexpr DTypeNumbers kNumbers[] = {
    {DType::kBool, GCOMP_BOOL, 8},        {DType::kInt8, GCOMP_INT, 8},
    {DType::kInt16, GCOMP_INT, 16},       {DType::kInt32, GCOMP_INT, 32},
    {DType::kInt64, GCOMP_INT, 64},       {DType::kUInt8, GCOMP_UINT, 8},
    {DType::kUInt16, GCOMP_UINT, 16},     {DType::kUInt32, GCOMP_UINT, 32},
    {DType::kUInt64, GCOMP_UINT, 64},     {DType::kFloat16, GCOMP_FLOAT, 16},
    {DType::kBFloat16, GCOMP_BFLOAT, 16}, {DType::kFloat32, GCOMP_FLOAT, 32},
    {DType::kFloat64, GCOMP_FLOAT, 64},
};

gcomp_dtype to_abi(DType dtype) {
  for (const DTypeNumbers& n : kNumbers) {
    if (n.dtype == dtype) return {n.code, n.bits, 1};
  }
  GCOMP_CHECK(false, "a dtype has no number in the ABI");
}

DType from_abi(gcomp_dtype dtype) {
  for (const DTypeNumbers& n : kNumbers) {
    if (n.code == dtype.code && n.bits == dtype.bits) return n.dtype;
  }
  throw UserError(ExitCode::kFiles, {.message = "the artifact uses a dtype that is not known here",
                                     .code = Code::kCannotLoad});
}

Code run_code(gcomp_status status) {
  if (status == GCOMP_ERROR_MEMORY) return Code::kMemory;
  if (status == GCOMP_ERROR_CHECK) return Code::kCheck;
  return status <= GCOMP_ERROR_ALIAS || status == GCOMP_ERROR_STATE ? Code::kInput : Code::kRun;
}

std::vector<PortInfo> read_ports(const gcomp_value_info* first, uint32_t count, uint64_t stride) {
  std::vector<PortInfo> ports;
  for (uint32_t i = 0; i < count; ++i) {
    const auto* info = reinterpret_cast<const gcomp_value_info*>(
        reinterpret_cast<const char*>(first) + i * stride);
    PortInfo port{info->name, from_abi(info->dtype), {}};
    for (int32_t a = 0; a < info->rank; ++a) port.dims.emplace_back(info->dims[a]);
    ports.push_back(std::move(port));
  }
  return ports;
}

// Without data; `extents` stays the caller's.
gcomp_tensor tensor_of(DType dtype, std::vector<int64_t>& extents) {
  gcomp_tensor t{};
  t.struct_size = sizeof t;
  t.dtype = to_abi(dtype);
  t.device_type = GCOMP_CPU;
  t.rank = static_cast<int32_t>(extents.size());
  t.extents = extents.data();
  return t;
}

Constant copy_of(const gcomp_tensor& t, DType dtype, std::vector<int64_t> shape) {
  size_t bytes = byte_size(dtype);
  for (int64_t extent : shape) bytes *= static_cast<size_t>(extent);
  std::vector<std::byte> copy(bytes);
  if (bytes > 0) std::memcpy(copy.data(), t.data, bytes);
  return make_constant(dtype, std::move(shape), std::move(copy));
}

}  // namespace

// The ABI's views of inputs and outputs, and the extents they point to.
class LoadedArtifact::Tensors {
 public:
  Tensors(const LoadedArtifact& artifact, std::span<const Constant> inputs) {
    extents_.reserve(inputs.size() + artifact.outputs_.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Constant& value = inputs[i];
      extents_.push_back(value.shape);
      gcomp_tensor t = tensor_of(artifact.inputs_[i].dtype, extents_.back());
      t.data = const_cast<std::byte*>(value.bytes.data());
      t.capacity = value.bytes.size();
      inputs_.push_back(t);
    }
    for (const PortInfo& port : artifact.outputs_) {
      extents_.emplace_back(port.dims.size());
      outputs_.push_back(tensor_of(port.dtype, extents_.back()));
    }
  }

  gcomp_status run(const LoadedArtifact& artifact) {
    for (gcomp_tensor& t : outputs_) t.data = nullptr;  // in the context's own memory
    return artifact.descriptor_->functions->run(artifact.context_, inputs_.data(), count(inputs_),
                                                outputs_.data(), count(outputs_));
  }

  Constant copy_output(size_t i, DType dtype) const {
    return copy_of(outputs_[i], dtype, extents_[inputs_.size() + i]);
  }

 private:
  static uint32_t count(const std::vector<gcomp_tensor>& v) {
    return static_cast<uint32_t>(v.size());
  }

  std::vector<std::vector<int64_t>> extents_;  // inputs, then outputs
  std::vector<gcomp_tensor> inputs_;
  std::vector<gcomp_tensor> outputs_;
};

// The kernels of a run in the order of their calls, and the best time of each call.
class LoadedArtifact::Trace {
 public:
  struct Call {
    uint32_t kernel;
    double best;
  };

  static void mark(void* self, uint32_t kernel) { static_cast<Trace*>(self)->mark(kernel); }
  void begin_run() { next_ = 0; }
  std::vector<Call>& calls() { return calls_; }

 private:
  using Clock = std::chrono::steady_clock;

  void mark(uint32_t kernel) {
    const Clock::time_point now = Clock::now();
    if (kernel != GCOMP_NO_KERNEL) {
      kernel_ = kernel;
      begin_ = Clock::now();
      return;
    }
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    if (next_ == calls_.size()) calls_.push_back({kernel_, seconds});
    calls_[next_].best = std::min(calls_[next_].best, seconds);
    ++next_;
  }

  std::vector<Call> calls_;
  size_t next_ = 0;
  uint32_t kernel_ = 0;
  Clock::time_point begin_;
};

namespace {

void choose_device(gcomp_options& options, const std::string& device) {
  if (device.empty()) return;
  if (device == "cpu") {
    options.device_type = GCOMP_CPU;
    return;
  }
  options.device_type = GCOMP_CUDA;
  const char* const begin = device.data() + std::min(device.size(), std::strlen("cuda:"));
  const char* const end = device.data() + device.size();
  const bool is_number = begin == end || std::from_chars(begin, end, options.device_id).ptr == end;
  if (device == "cuda" || (device.starts_with("cuda:") && begin != end && is_number)) return;
  usage_error(Code::kOptionValue, "there is no device '" + device + "'", "--device",
              "cpu, cuda or cuda:N");
}

}  // namespace

LoadedArtifact::LoadedArtifact(const std::filesystem::path& path, int threads, bool trace,
                               const std::string& device)
    : path_(path.string()) {
  const std::string name = artifact::read_manifest(path_).name;
  // An absolute path: a bare name would be looked for in the system's library folders.
  handle_ = ::dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto refuse = [this](ExitCode code, const std::string& why) {
    if (handle_ != nullptr) ::dlclose(handle_);
    throw UserError(code, {.message = why,
                           .code = code == ExitCode::kFiles ? Code::kCannotLoad : Code::kRun,
                           .file = path_});
  };
  if (handle_ == nullptr) refuse(ExitCode::kFiles, std::string("cannot be loaded: ") + ::dlerror());
  descriptor_ =
      static_cast<const gcomp_descriptor*>(::dlsym(handle_, (name + "_descriptor_v1").c_str()));
  if (descriptor_ == nullptr || descriptor_->magic != GCOMP_MAGIC) {
    refuse(ExitCode::kFiles, "is no artifact of gcomp");
  }
  if (descriptor_->abi_version != GCOMP_ABI_VERSION) {
    refuse(ExitCode::kFiles, "was made for another version of gcomp's interface");
  }
  const gcomp_signature* signature = descriptor_->functions->describe(descriptor_);
  inputs_ = read_ports(signature->inputs, signature->num_inputs, signature->value_info_size);
  outputs_ = read_ports(signature->outputs, signature->num_outputs, signature->value_info_size);
  if (signature->struct_size >= sizeof *signature) {  // else made before there were states
    states_ = read_ports(signature->states, signature->num_states, signature->value_info_size);
  }
  char message[1024] = "";
  gcomp_options options{};
  options.struct_size = sizeof options;
  options.threads = static_cast<uint32_t>(threads);
  options.message = message;
  options.message_bytes = sizeof message;
  if (trace) {
    trace_ = std::make_unique<Trace>();
    options.trace = Trace::mark;
    options.trace_data = trace_.get();
  }
  choose_device(options, device);
  const gcomp_functions& functions = *descriptor_->functions;
  if (functions.create(descriptor_, &options, &context_) != GCOMP_OK) {
    refuse(ExitCode::kRun, message);
  }
  note_ = message;
  on_gpu_ = functions.struct_size >= sizeof functions &&
            functions.device(context_, nullptr) == GCOMP_CUDA;
}

LoadedArtifact::~LoadedArtifact() {
  if (context_ != nullptr) descriptor_->functions->destroy(context_);
  if (handle_ != nullptr) ::dlclose(handle_);
}

void LoadedArtifact::check(gcomp_status status) {
  if (status == GCOMP_OK) return;
  const gcomp_functions& functions = *descriptor_->functions;
  throw UserError(status == GCOMP_ERROR_MEMORY ? ExitCode::kLimit : ExitCode::kRun,
                  {.message = functions.last_error(context_),
                   .hint = functions.status_name(status),
                   .code = run_code(status),
                   .file = path_});
}

void LoadedArtifact::check_inputs(std::span<const Constant> inputs) const {
  GCOMP_CHECK(inputs.size() == inputs_.size(), "wrong number of inputs");
  for (size_t i = 0; i < inputs.size(); ++i) {
    check_dtype("input", inputs_[i], inputs[i].dtype);
  }
}

void LoadedArtifact::check_dtype(const char* what, const PortInfo& port, DType given) const {
  if (given == port.dtype || (given == DType::kUInt16 && port.dtype == DType::kBFloat16)) return;
  throw UserError(ExitCode::kRun,
                  {std::string(what) + " '" + port.name + "' is " + std::string(name(given)) +
                       ", but the graph takes " + std::string(name(port.dtype)),
                   "", "", Code::kInput, path_});
}

std::vector<Constant> LoadedArtifact::get_states() {
  std::vector<Constant> values;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    std::vector<int64_t> shape(states_[i].dims.size());
    gcomp_tensor t = tensor_of(states_[i].dtype, shape);
    check(descriptor_->functions->get_state(context_, i, &t));
    values.push_back(copy_of(t, states_[i].dtype, std::move(shape)));
  }
  return values;
}

void LoadedArtifact::set_state(size_t i, const Constant& value) {
  check_dtype("state", states_[i], value.dtype);
  std::vector<int64_t> shape = value.shape;
  gcomp_tensor t = tensor_of(states_[i].dtype, shape);
  t.data = const_cast<std::byte*>(value.bytes.data());
  t.capacity = value.bytes.size();
  check(descriptor_->functions->set_state(context_, static_cast<uint32_t>(i), &t));
}

std::vector<Constant> LoadedArtifact::run(std::span<const Constant> inputs) {
  check_inputs(inputs);
  Tensors tensors(*this, inputs);
  check(tensors.run(*this));
  std::vector<Constant> results;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    results.push_back(tensors.copy_output(i, outputs_[i].dtype));
  }
  return results;
}

std::vector<double> LoadedArtifact::time(std::span<const Constant> inputs, int repeat) {
  using Clock = std::chrono::steady_clock;
  check_inputs(inputs);
  Tensors tensors(*this, inputs);
  std::vector<double> seconds;
  for (int i = 0; i < repeat; ++i) {
    const Clock::time_point begin = Clock::now();
    check(tensors.run(*this));
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

// As the description lists them; of long lists it has the beginning.
std::string LoadedArtifact::kernel_name(uint32_t number) const {
  const nlohmann::json described = nlohmann::json::parse(descriptor_->json);
  const auto name_in = [&](const nlohmann::json& list, uint64_t i) {
    if (i >= list.size()) return "k" + std::to_string(number);
    return list[i].is_string() ? list[i].get<std::string>() : list[i].at("name").get<std::string>();
  };
  if (!on_gpu_) return name_in(described.at("kernels"), number);
  const nlohmann::json& cuda = described.at("cuda");
  const auto num_host = cuda.at("num_host_kernels").get<uint32_t>();
  if (number < num_host) return name_in(cuda.at("host_kernels"), number);
  return name_in(cuda.at("kernels"), number - num_host);
}

std::vector<KernelTime> LoadedArtifact::time_kernels(std::span<const Constant> inputs, int repeat) {
  GCOMP_CHECK(trace_ != nullptr, "the artifact was loaded without a trace");
  check_inputs(inputs);
  Tensors tensors(*this, inputs);
  trace_->calls().clear();
  for (int i = 0; i < repeat; ++i) {
    trace_->begin_run();
    check(tensors.run(*this));
  }
  std::map<uint32_t, KernelTime> by_kernel;
  for (const Trace::Call& call : trace_->calls()) {
    KernelTime& t = by_kernel[call.kernel];
    ++t.calls;
    t.seconds += call.best;
  }
  std::vector<KernelTime> times;
  for (auto& [kernel, t] : by_kernel) {
    t.name = kernel_name(kernel);
    times.push_back(std::move(t));
  }
  std::ranges::stable_sort(times, std::greater<>(), &KernelTime::seconds);
  return times;
}

}  // namespace gcomp::driver
