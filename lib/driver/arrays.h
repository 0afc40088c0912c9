#pragma once
// Arrays of .npz files as inputs and outputs: keys are the signature's names, else input_0, output_0, ...

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gcomp/interp/tensor.h"
#include "gcomp/ir/graph.h"

namespace gcomp::driver {

std::vector<std::string> names_of(const std::vector<Port>& ports);

// The arrays for the inputs called `names`, in that order; an empty path is a file without arrays.
// UserError (kRun) with a suggestion when one is missing.
std::vector<Constant> take_inputs(const std::filesystem::path& file,
                                  const std::vector<std::string>& names);
// The same as the evaluator takes them: those of a call, or (`with_states`) all inputs of the graph, where
// states that are not in the file have their initial values.
std::vector<interp::Tensor> take_inputs(const std::filesystem::path& file, const Graph& graph,
                                        bool with_states);

// The states in a file, as (number in `names`, value). UserError (kRun) for one that there is not.
std::vector<std::pair<size_t, Constant>> take_states(const std::filesystem::path& file,
                                                     const std::vector<std::string>& names);
// An array as a tensor of that dtype, if it is uint16 for bfloat16.
Constant as_dtype(Constant value, DType wanted);

// Nothing for an empty path. `stem` names those without a name.
void write_arrays(const std::filesystem::path& file, const std::vector<std::string>& names,
                  const char* stem, std::vector<Constant> values);

}  // namespace gcomp::driver
