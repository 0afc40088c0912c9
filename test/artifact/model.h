#pragma once
// Small artifacts for the tests: plans built by hand over the kernels of kernels.c.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gcomp/artifact/link.h"
#include "gcomp/artifact/plan_builder.h"
#include "gcomp/runtime/loader.hpp"

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
