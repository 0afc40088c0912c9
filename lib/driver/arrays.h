#pragma once
// Arrays of .npz files as inputs and outputs: keys are the signature's names, else input_0, output_0, ...

#include <filesystem>
#include <string>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"

namespace gcomp::driver {

std::vector<std::string> names_of(const std::vector<Port>& ports);

// The arrays for the inputs called `names`, in that order; an empty path is a file without arrays.
// UserError (kRun) with a suggestion when one is missing.
std::vector<Constant> take_inputs(const std::filesystem::path& file,
                                  const std::vector<std::string>& names);
// The same as the evaluator takes them.
std::vector<interp::Tensor> take_inputs(const std::filesystem::path& file, const Graph& graph);

// Nothing for an empty path. `stem` names those without a name.
void write_arrays(const std::filesystem::path& file, const std::vector<std::string>& names,
                  const char* stem, std::vector<Constant> values);

}  // namespace gcomp::driver
