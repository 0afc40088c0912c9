#pragma once
// Small artifacts for the tests: plans built by hand over the kernels of kernels.c.

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "gcomp/artifact/link.h"
#include "gcomp/artifact/plan_builder.h"
#include "gcomp/runtime/artifact_data.h"
#include "gcomp/runtime/loader.hpp"

// The runtime and the kernels of kernels.c as linked into this test itself.
extern "C" {
extern const gcomp_functions gcomp_rt_functions;  // NOLINT(readability-identifier-naming)
#define GCOMP_TEST_KERNEL_LIST(X) \
  X(k_scale)                      \
  X(k_add)                        \
  X(k_sin)                        \
  X(k_sum) X(k_count) X(k_nonzero) X(k_checked_sqrt) X(k_positive) X(k_from_half) X(k_square_at)
#define GCOMP_DECLARE_KERNEL(name) void name(void* const*, const int64_t*, int64_t, int64_t);
GCOMP_TEST_KERNEL_LIST(GCOMP_DECLARE_KERNEL)
#undef GCOMP_DECLARE_KERNEL
}

namespace gcomp::test {

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A folder of this test process, removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "gcomp-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct LinkOptions {
  std::string name = "gcomp_model";
  std::string json = R"({"made":"by hand"})";
  std::vector<std::string> cpu_features = {};
};

// `f` gets the LinkInput of this plan and the test's kernels.
template <class F>
void with_input(const PlanImage& plan, const LinkOptions& options, F f) {
  const std::string kernels = read_bytes(GCOMP_TEST_KERNELS);
  artifact::LinkInput input;
  input.name = options.name;
  input.objects = {std::as_bytes(std::span(kernels))};
  input.plan = &plan;
  input.json = options.json;
  input.cpu_features = options.cpu_features;
  f(input);
}

inline void write_so(const PlanImage& plan, const std::string& path, const LinkOptions& o = {}) {
  with_input(plan, o, [&](const auto& input) { artifact::write_shared_object(input, path); });
}

inline rt::KernelFn find_kernel(const std::string& name) {
#define GCOMP_MATCH_KERNEL(k) \
  if (name == #k) return k;
  GCOMP_TEST_KERNEL_LIST(GCOMP_MATCH_KERNEL)
#undef GCOMP_MATCH_KERNEL
  throw std::runtime_error("no kernel " + name);
}

// A model to run: linked and loaded; in sanitizer builds the instrumented runtime of this process on the same plan.
class Model {
 public:
  explicit Model(const PlanImage& image) : image_(image) {
#ifdef GCOMP_TEST_IN_PROCESS
    for (const std::string& name : image_.kernels) kernels_.push_back(find_kernel(name));
    info_.magic = rt::kInfoMagic;
    data_.plan = &image_.plan();
    data_.kernels = kernels_.data();
    data_.info = &info_;
    constants_.resize(image_.inline_bytes / sizeof(Line) + 1);
    for (const PlanConstant& c : image_.constants) {
      auto* const to = reinterpret_cast<std::byte*>(constants_.data()) + c.offset;
      if (!c.data.empty()) std::memcpy(to, c.data.data(), c.data.size());
    }
    data_.constants = reinterpret_cast<const char*>(constants_.data());
    descriptor_.struct_size = sizeof descriptor_;
    descriptor_.magic = GCOMP_MAGIC;
    descriptor_.abi_version = GCOMP_ABI_VERSION;
    descriptor_.functions = &gcomp_rt_functions;
    descriptor_.internal = &data_;
#else
    write_so(image_, folder_ / "m.so");
    artifact_ = std::make_unique<Artifact>(folder_ / "m.so");
#endif
  }
  const gcomp_descriptor& descriptor() const {
    return artifact_ == nullptr ? descriptor_ : artifact_->descriptor();
  }

 private:
  const PlanImage image_;
  const Folder folder_;
  std::unique_ptr<Artifact> artifact_;
#ifdef GCOMP_TEST_IN_PROCESS
  std::vector<rt::KernelFn> kernels_;
  struct alignas(rt::kBufferAlignment) Line {
    char bytes[rt::kBufferAlignment];
  };
  std::vector<Line> constants_;
  rt::ArtifactInfo info_ = {};
  rt::ArtifactData data_ = {};
#endif
  gcomp_descriptor descriptor_ = {};
};

// y = 3 (a x) over a vector of n doubles, through a temporary; static n if given.
inline PlanBuilder scale_plan(double a, int64_t n = -1, uint32_t grain = 0) {
  PlanBuilder b;
  const PlanValue extent = n < 0 ? b.symbol("n") : b.constant(n);
  const std::string text = n < 0 ? "n" : std::to_string(n);
  const PlanBufferId x = b.input("x", DType::kFloat64, {{extent, text}});
  const PlanBufferId y = b.output("y", DType::kFloat64, {{extent, text}});
  const PlanBufferId t = b.temporary(b.mul(extent, b.constant(8)));
  const PlanKernelId k = b.kernel("k_scale");
  b.call({.kernel = k, .buffers = {x, t}, .scalars = {a}, .extent = extent, .grain = grain});
  b.call({.kernel = k, .buffers = {t, y}, .scalars = {3.0}, .extent = extent, .grain = grain});
  return b;
}

// One input vector in, the (lent) first output out.
template <class T = double>
std::vector<T> run_vector(Context& context, std::vector<double> x) {
  std::vector<int64_t> in_shape = {static_cast<int64_t>(x.size())}, out_shape = {-1};
  std::vector<gcomp_tensor> outputs = {lent_tensor(out_shape)};
  context.run({tensor(x, in_shape)}, outputs);
  const auto* const data = static_cast<const T*>(outputs[0].data);
  return {data, data + out_shape[0]};
}

}  // namespace gcomp::test
