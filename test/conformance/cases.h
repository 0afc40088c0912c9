#pragma once
// The node tests of the onnx package: a folder each, with model.onnx and
// test_data_set_*/{input,output}_N.pb.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "gcomp/interp/tensor.h"

namespace gcomp::conformance {

struct DataSet {
  std::vector<interp::Tensor> inputs;
  std::vector<interp::Tensor> outputs;
};

// What the list of exceptions says about a test.
struct Exception {
  bool fails = false;                  // it is known to fail, for `reason`
  bool loose = false;                  // compared as onnx's own runner does, for `reason`
  std::vector<std::string> constants;  // inputs that must be constants for it
  std::string reason;
};

// test name -> exception. Lines: "fails NAME: reason",
// "loose NAME: reason", "constant NAME INPUT...: reason"; # comments.
std::map<std::string, Exception> read_exceptions(const std::filesystem::path& file);

// True if the test is within what gcomp claims: tensors of our dtypes, default domain.
bool in_scope(const std::filesystem::path& folder);

// Names of the model's inputs that are no initializers, in order: the data sets have files for these.
std::vector<std::string> input_names(const std::filesystem::path& folder);

std::vector<DataSet> read_data(const std::filesystem::path& folder);

// "" if equal within the tolerances, else how they differ. NaN equals NaN.
std::string compare(const interp::Tensor& have, const interp::Tensor& wanted, double relative,
                    double absolute);

}  // namespace gcomp::conformance
