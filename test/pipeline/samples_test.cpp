// Every level on every graph of graphs/ and graphs/user: results as near to the truth as the original's, and
// no work left for a second sweep.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "../sanitized.h"
#include "gcomp/formats/formats.h"
#include "judge.h"
#include "stages.h"

using namespace gcomp;

namespace {

std::vector<std::filesystem::path> sample_files() {
  std::vector<std::filesystem::path> files;
  const std::filesystem::path root = std::filesystem::path(GCOMP_SOURCE_DIR) / "graphs";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Floats within 3/4, at which every sample has ordinary values; symbols get 3.
std::vector<interp::Tensor> inputs_of(const Graph& g) {
  std::mt19937 rng(1);
  const std::vector<int64_t> sizes(g.context().dims.num_symbols(), 3);
  std::vector<interp::Tensor> inputs;
  for (const Port& p : g.inputs()) {
    const Type& t = g.type(p.value);
    interp::Tensor x{t.dtype, {}, {}};
    for (DimId d : t.dims) x.shape.push_back(g.context().dims.evaluate(d, sizes));
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const Constant one =
          make_splat(t.dtype, {}, (static_cast<double>(rng() % 1537) - 768) / 1024);
      x.bytes.insert(x.bytes.end(), one.bytes.begin(), one.bytes.end());
    }
    inputs.push_back(std::move(x));
  }
  return inputs;
}

}  // namespace

TEST_CASE("every level agrees with the truth on every sample, and a second sweep fires nothing") {
  const auto files = sample_files();
  CHECK(files.size() >= 25);
  if (test::kSanitized) MESSAGE("with sanitizers: every fifth of levels and samples; all without");
  size_t number = 0;
  for (const auto& file : files) {
    Context context;
    const auto graph = formats::read_graph(context, file);
    const auto inputs = inputs_of(*graph);
    for (const test::Variant& variant : test::variants()) {
      if (test::kSanitized && number++ % 5 != 0) continue;
      INFO(file.filename().string(), " at ", variant.name);
      const test::Optimised optimised = test::optimise(*graph, variant.options);
      CHECK(optimised.fault == "");
      if (!optimised.fault.empty()) continue;
      const truth::Judgement j =
          truth::judge(rewrite::Contract::kReassociates, *graph, *optimised.graph, inputs);
      CHECK(j.fault == "");
      CHECK_MESSAGE(j.judged > 0, j.uncovered);
    }
  }
}
