// Times calls of artifacts from C++, without a host language around them:
//   bench_call [--threads N] [--extent N] ARTIFACT...
// Inputs are 0.1, 0.2, ... 0.9 (integers 0); extents not known before the run are --extent. Artifacts
// are called in turn, several rounds; the best time of each is printed, in microseconds.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "gcomp/runtime/loader.hpp"

namespace {

constexpr int kRounds = 25;
constexpr double kRoundSeconds = 0.02;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Value {
  std::vector<int64_t> extents;
  std::vector<char> bytes;
};

void fill(Value& v, const gcomp_value_info& info, int64_t extent) {
  size_t n = 1;
  for (int32_t d = 0; d < info.rank; ++d) {
    v.extents.push_back(info.extents[d] < 0 ? extent : info.extents[d]);
    n *= static_cast<size_t>(v.extents.back());
  }
  const size_t size = info.dtype.bits / 8u;
  v.bytes.resize(std::max<size_t>(n * size, 1));
  for (size_t i = 0; i < n && info.dtype.code == GCOMP_FLOAT; ++i) {
    const double x = 0.1 * static_cast<double>(i % 9 + 1);
    const auto f = static_cast<float>(x);
    if (size == 8) std::memcpy(&v.bytes[i * size], &x, 8);
    if (size == 4) std::memcpy(&v.bytes[i * size], &f, 4);
  }
}

class Timed {
 public:
  Timed(const std::string& path, uint32_t threads, int64_t extent) : artifact_(path) {
    gcomp_options options = {};
    options.threads = threads;
    context_ = std::make_unique<gcomp::Context>(artifact_, options);
    const gcomp_signature& s = artifact_.signature();
    values_.resize(s.num_inputs + s.num_outputs);
    for (uint32_t i = 0; i < s.num_inputs; ++i) {
      fill(values_[i], s.inputs[i], extent);
      inputs_.push_back(gcomp::raw_tensor(values_[i].bytes.data(), s.inputs[i].dtype,
                                          values_[i].extents, values_[i].bytes.size()));
    }
    for (uint32_t i = 0; i < s.num_outputs; ++i) {
      std::vector<int64_t>& extents = values_[s.num_inputs + i].extents;
      extents.resize(static_cast<size_t>(s.outputs[i].rank));
      outputs_.push_back(gcomp::lent_tensor(extents));
    }
    context_->run(inputs_, outputs_);
    const double begin = now();
    for (; now() - begin < kRoundSeconds; ++calls_) context_->run(inputs_, outputs_);
  }

  void round() {
    const double begin = now();
    for (int i = 0; i < calls_; ++i) context_->run(inputs_, outputs_);
    best = std::min(best, (now() - begin) / calls_);
  }

  double best = 1e300;

 private:
  gcomp::Artifact artifact_;
  std::unique_ptr<gcomp::Context> context_;
  std::vector<Value> values_;
  std::vector<gcomp_tensor> inputs_, outputs_;
  int calls_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
  uint32_t threads = 1;
  int64_t extent = 8;
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      threads = static_cast<uint32_t>(std::atoi(argv[++i]));
    } else if (std::strcmp(argv[i], "--extent") == 0 && i + 1 < argc) {
      extent = std::atoi(argv[++i]);
    } else {
      paths.emplace_back(argv[i]);
    }
  }
  std::vector<std::unique_ptr<Timed>> timed;
  for (const std::string& p : paths) timed.push_back(std::make_unique<Timed>(p, threads, extent));
  for (int r = 0; r < kRounds; ++r) {
    for (const auto& t : timed) t->round();
  }
  for (size_t i = 0; i < paths.size(); ++i) {
    std::printf("%10.3f us  %s\n", timed[i]->best * 1e6, paths[i].c_str());
  }
}
