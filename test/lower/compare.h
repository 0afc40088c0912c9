#pragma once
// Lowered against interpreted: the helper of all tests here.

#include <random>
#include <string>
#include <vector>

#include "gcomp/interp/evaluate.h"
#include "gcomp/ir/builder.h"
#include "run_module.h"

namespace gcomp::test {

// Random values for the graph's inputs; symbols get `symbol_extent`.
std::vector<interp::Tensor> random_inputs(const Graph& g, int64_t symbol_extent, uint32_t seed);
interp::Tensor random_tensor(DType t, std::vector<int64_t> shape, std::mt19937& rng);

struct Tolerance {
  double relative = 2e-5;  // of the larger of 1 and the value; for float32
  double relative64 = 1e-11;
};

// "" when the module computes what the interpreter does (with the same bits for ranges in one piece and in
// several, with results over operands and without, and through the runtime), else what differs. `truth`: interpreted instead of `g`.
std::string compare(const Graph& g, const std::vector<interp::Tensor>& inputs,
                    const lower::LowerOptions& options = {}, const Tolerance& tolerance = {},
                    lower::Stats* stats = nullptr, bool as_artifact = true,
                    const Graph* truth = nullptr);

}  // namespace gcomp::test
