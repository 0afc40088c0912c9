#pragma once
// C++ around the C interface: header only, needs nothing but gcomp/runtime.h, dlopen and C++17.
//
//   gcomp::Artifact artifact("./model.so");
//   gcomp::Context context(artifact);
//   std::vector<int64_t> shape = {3};
//   std::vector<gcomp_tensor> outputs = {gcomp::lent_tensor(out_shape)};
//   context.run({gcomp::tensor(x, shape)}, outputs);  // outputs[0].data, out_shape
//
// Errors are gcomp::ArtifactError with the status and the runtime's message.

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gcomp/runtime.h"

namespace gcomp {

class ArtifactError : public std::runtime_error {
 public:
  ArtifactError(gcomp_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  gcomp_status status() const { return status_; }

 private:
  gcomp_status status_;
};

template <class T>
constexpr gcomp_dtype dtype_of() {
  if (std::is_same<T, bool>::value) return {GCOMP_BOOL, 8, 1};
  const auto code = std::is_floating_point<T>::value ? GCOMP_FLOAT
                    : std::is_signed<T>::value       ? GCOMP_INT
                                                     : GCOMP_UINT;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * sizeof(T)), 1};
}

// A row-major tensor over the caller's memory; `extents` must outlive it and is written for outputs.
inline gcomp_tensor raw_tensor(void* data, gcomp_dtype dtype, int64_t* extents, size_t rank,
                               uint64_t capacity = 0) {
  gcomp_tensor t = {};
  t.struct_size = sizeof t;
  t.data = data;
  t.dtype = dtype;
  t.device_type = GCOMP_CPU;
  t.rank = static_cast<int32_t>(rank);
  t.extents = extents;
  t.capacity = capacity;
  return t;
}
inline gcomp_tensor raw_tensor(void* data, gcomp_dtype dtype, std::vector<int64_t>& extents,
                               uint64_t capacity = 0) {
  return raw_tensor(data, dtype, extents.data(), extents.size(), capacity);
}

template <class T>
gcomp_tensor tensor(std::vector<T>& data, std::vector<int64_t>& extents) {
  return raw_tensor(data.data(), dtype_of<T>(), extents, data.size() * sizeof(T));
}

// An output that the context lends memory for: read data and extents after the run.
inline gcomp_tensor lent_tensor(std::vector<int64_t>& extents) {
  return raw_tensor(nullptr, gcomp_dtype{0, 0, 0}, extents);
}

// A loaded artifact; unloaded when the last copy of the handle goes. Contexts must go first.
class Artifact {
 public:
  explicit Artifact(const std::string& path, const std::string& name = "gcomp_model")
      : handle_(dlopen(path.find('/') == std::string::npos ? ("./" + path).c_str() : path.c_str(),
                       RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw ArtifactError(GCOMP_ERROR_ABI, dlerror());
    descriptor_ =
        static_cast<const gcomp_descriptor*>(dlsym(handle_, (name + "_descriptor_v1").c_str()));
    if (descriptor_ != nullptr && descriptor_->magic == GCOMP_MAGIC &&
        descriptor_->abi_version == GCOMP_ABI_VERSION) {
      return;
    }
    dlclose(handle_);
    throw ArtifactError(GCOMP_ERROR_ABI, path + ": no artifact named " + name + " for version " +
                                             std::to_string(GCOMP_ABI_VERSION) +
                                             " of the interface");
  }
  ~Artifact() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  Artifact(Artifact&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), descriptor_(other.descriptor_) {}
  Artifact(const Artifact&) = delete;
  Artifact& operator=(const Artifact&) = delete;

  const gcomp_descriptor& descriptor() const { return *descriptor_; }
  const gcomp_signature& signature() const {
    return *descriptor_->functions->describe(descriptor_);
  }
  std::string json() const { return {descriptor_->json, descriptor_->json_bytes}; }

 private:
  void* handle_;
  const gcomp_descriptor* descriptor_ = nullptr;
};

class Context {
 public:
  explicit Context(const gcomp_descriptor& descriptor, gcomp_options options = {})
      : functions_(descriptor.functions) {
    char message[640] = "";
    options.struct_size = sizeof options;
    options.message = message;
    options.message_bytes = sizeof message;
    const gcomp_status status = functions_->create(&descriptor, &options, &context_);
    if (status != GCOMP_OK) {
      throw ArtifactError(status, message[0] != 0 ? message : functions_->status_name(status));
    }
    note_ = message;
  }
  explicit Context(const Artifact& artifact, const gcomp_options& options = {})
      : Context(artifact.descriptor(), options) {}
  ~Context() { functions_->destroy(context_); }
  Context(Context&& other) noexcept
      : functions_(other.functions_),
        note_(std::move(other.note_)),
        context_(std::exchange(other.context_, nullptr)) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Extents, and data where the context lends memory, are written into `outputs`.
  void run(const gcomp_tensor* inputs, uint32_t num_inputs, gcomp_tensor* outputs,
           uint32_t num_outputs) {
    check(functions_->run(context_, inputs, num_inputs, outputs, num_outputs));
  }
  void run(const std::vector<gcomp_tensor>& inputs, std::vector<gcomp_tensor>& outputs) {
    check(try_run(inputs, outputs));
  }
  gcomp_status try_run(const std::vector<gcomp_tensor>& inputs,
                       std::vector<gcomp_tensor>& outputs) noexcept {
    return functions_->run(context_, inputs.data(), static_cast<uint32_t>(inputs.size()),
                           outputs.data(), static_cast<uint32_t>(outputs.size()));
  }
  // States, by their number in the signature. get_state lends memory of the context, valid until its next
  // run, set_state or reset_states, unless `value` brings its own.
  void get_state(uint32_t state, gcomp_tensor& value) {
    check(state_functions().get_state(context_, state, &value));
  }
  void set_state(uint32_t state, const gcomp_tensor& value) {
    check(state_functions().set_state(context_, state, &value));
  }
  void reset_states() { check(state_functions().reset_states(context_)); }

  // GCOMP_CPU or GCOMP_CUDA, and the GPU's number.
  std::pair<int32_t, int32_t> device() const {
    if (functions_->struct_size < sizeof *functions_)
      return {GCOMP_CPU, 0};  // made before there were GPUs
    int32_t number = 0;
    const int32_t type = functions_->device(context_, &number);
    return {type, number};
  }
  // Why it runs on the CPU although the artifact has code for a GPU, or "".
  const std::string& note() const { return note_; }

  std::string last_error() const { return functions_->last_error(context_); }
  gcomp_context* get() const { return context_; }

 private:
  void check(gcomp_status status) const {
    if (status != GCOMP_OK) throw ArtifactError(status, last_error());
  }
  const gcomp_functions& state_functions() const {
    if (functions_->struct_size >= offsetof(gcomp_functions, device)) return *functions_;
    throw ArtifactError(GCOMP_ERROR_ABI, "the artifact was made before there were states");
  }

  const gcomp_functions* functions_;
  std::string note_;
  gcomp_context* context_ = nullptr;
};

}  // namespace gcomp
