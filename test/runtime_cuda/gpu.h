#pragma once
// Artifacts with two plans, and the fake driver as the tests see it.

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <optional>

#include "../artifact/model.h"
#include "../cuda/fake_cuda.h"

extern "C" {
extern const gcomp::rt::DeviceFunctions gcomp_rt_cuda;  // NOLINT(readability-identifier-naming)
}

namespace gcomp::test {

// The fake driver, loaded into this process: whoever asks for libcuda.so.1 after that gets it.
class Gpu {
 public:
  Gpu() {
    reset();
    live_ = count("live");
  }
  ~Gpu() {
    reset();
    CHECK(count("live") == live_);  // everything was given back
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  uint64_t count(const char* what) const {
    return function<uint64_t(const char*)>("gcomp_fake_cuda_count")(what);
  }
  void reset() const { function<void()>("gcomp_fake_cuda_reset")(); }

  template <class T>
  static T* function(const char* name) {
    static void* const library = [] {
      setenv("GCOMP_FAKE_CUDA_KERNELS", GCOMP_FAKE_KERNELS, 1);
      return dlopen(GCOMP_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    }();
    REQUIRE(library != nullptr);
    return reinterpret_cast<T*>(dlsym(library, name));
  }

 private:
  uint64_t live_ = 0;
};

// An environment variable while it lives.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) {
    const char* const before = std::getenv(name);
    if (before != nullptr) before_ = before;
    setenv(name, value, 1);
  }
  ~Setting() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// Memory of the fake device, as a host's own.
class There {
 public:
  There(const Gpu&, uint64_t bytes) : bytes_(bytes) {
    inside([&] { Gpu::function<int(unsigned long long*, size_t)>("cuMemAlloc_v2")(&at_, bytes); });
  }
  There(const Gpu& gpu, const std::vector<double>& values) : There(gpu, values.size() * 8) {
    write(values);
  }
  ~There() {
    inside([&] { Gpu::function<int(unsigned long long)>("cuMemFree_v2")(at_); });
  }
  There(const There&) = delete;
  There& operator=(const There&) = delete;

  void* data() const { return reinterpret_cast<void*>(at_); }
  gcomp_tensor tensor(std::vector<int64_t>& extents) const {
    gcomp_tensor t = raw_tensor(data(), dtype_of<double>(), extents, bytes_);
    t.device_type = GCOMP_CUDA;
    return t;
  }
  void write(const std::vector<double>& values) const {
    inside([&] {
      Gpu::function<int(unsigned long long, const void*, size_t, void*)>("cuMemcpyHtoDAsync_v2")(
          at_, values.data(), bytes_, nullptr);
      Gpu::function<int(void*)>("cuStreamSynchronize")(nullptr);
    });
  }
  std::vector<double> read() const { return read(data(), bytes_ / 8); }
  static std::vector<double> read(const void* from, size_t n) {
    std::vector<double> values(n);
    inside([&] {
      Gpu::function<int(void*, unsigned long long, size_t, void*)>("cuMemcpyDtoHAsync_v2")(
          values.data(), reinterpret_cast<unsigned long long>(from), n * 8, nullptr);
    });
    return values;
  }

  // With the device's context current.
  template <class F>
  static void inside(F f) {
    void* context = reinterpret_cast<void*>(1);
    Gpu::function<int(void*)>("cuCtxPushCurrent_v2")(context);
    f();
    Gpu::function<int(void**)>("cuCtxPopCurrent_v2")(&context);
  }

 private:
  unsigned long long at_ = 0;
  uint64_t bytes_;
};

inline constexpr std::string_view kCubin =
                                      "\x7f"
                                      "ELF is how a cubin begins",
                                  kPtx = "// PTX";

// What a plan says, once for the host alone and once for both. `build` gets a builder and where kernels run.
class DeviceModel {
 public:
  DeviceModel(const PlanImage& host, const PlanImage& both) : host_(host), both_(both) {
    device_.plan = &both_;
    device_.num_modules = 1;
    for (const std::string& name : both_.device_kernels) {
      artifact::DeviceKernelInfo k;
      k.name = name;
      k.nodes = "nodes of " + name;
      k.threads = 128;
      k.iterations = 128;
      k.words = 16;
      device_.kernels.push_back(k);
    }
    device_.images = {{bytes(kCubin), 0, 90, false}, {bytes(kPtx), 0, 80, true}};
    make();
  }
  const gcomp_descriptor& descriptor() const {
    return artifact_ == nullptr ? descriptor_ : artifact_->descriptor();
  }

 private:
  static std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

#ifdef GCOMP_TEST_IN_PROCESS
  void make() {
    for (const std::string& name : host_.kernels) host_kernels_.push_back(find_kernel(name));
    for (const std::string& name : both_.kernels) both_kernels_.push_back(find_kernel(name));
    for (const artifact::DeviceKernelInfo& k : device_.kernels) {
      kernels_.push_back({k.name.c_str(), k.nodes.c_str(), k.module, k.threads, k.iterations,
                          k.shared_bytes, k.words, 0});
    }
    for (const artifact::DeviceImageInfo& i : device_.images) {
      images_.push_back({reinterpret_cast<const char*>(i.bytes.data()), i.bytes.size(), i.module,
                         i.arch, i.ptx ? 1u : 0u, 0});
    }
    there_.plan = &both_.plan();
    there_.kernels = both_kernels_.data();
    there_.functions = &gcomp_rt_cuda;
    there_.device_kernels = kernels_.data();
    there_.images = images_.data();
    there_.state = &state_;
    there_.num_device_kernels = static_cast<uint32_t>(kernels_.size());
    there_.num_images = static_cast<uint32_t>(images_.size());
    there_.num_modules = device_.num_modules;
    there_.num_host_kernels = static_cast<uint32_t>(both_kernels_.size());
    info_.magic = rt::kInfoMagic;
    std::strcpy(info_.name, "gcomp_model");
    data_.plan = &host_.plan();
    data_.kernels = host_kernels_.data();
    data_.info = &info_;
    data_.device = &there_;
    constants_.resize(both_.inline_bytes / sizeof(Line) + 1);
    for (const PlanConstant& c : both_.constants) {
      auto* const to = reinterpret_cast<std::byte*>(constants_.data()) + c.offset;
      if (!c.data.empty()) std::memcpy(to, c.data.data(), c.data.size());
    }
    data_.constants = reinterpret_cast<const char*>(constants_.data());
    descriptor_.struct_size = sizeof descriptor_;
    descriptor_.magic = GCOMP_MAGIC;
    descriptor_.abi_version = GCOMP_ABI_VERSION;
    descriptor_.functions = &gcomp_rt_functions;
    descriptor_.internal = &data_;
  }

  struct alignas(rt::kBufferAlignment) Line {
    char bytes[rt::kBufferAlignment];
  };
  std::vector<rt::KernelFn> host_kernels_, both_kernels_;
  std::vector<rt::DeviceKernel> kernels_;
  std::vector<rt::DeviceImage> images_;
  std::vector<Line> constants_;
  rt::DeviceState state_ = {};
  rt::DeviceData there_ = {};
  rt::ArtifactInfo info_ = {};
  rt::ArtifactData data_ = {};
#else
  void make() {
    with_input(host_, {}, [&](artifact::LinkInput& input) {
      input.device = &device_;
      artifact::write_shared_object(input, folder_ / "m.so");
    });
    artifact_ = std::make_unique<Artifact>(folder_ / "m.so");
  }
#endif

  const PlanImage host_, both_;
  artifact::DeviceInput device_;
  const Folder folder_;
  std::unique_ptr<Artifact> artifact_;
  gcomp_descriptor descriptor_ = {};
};

}  // namespace gcomp::test
