#include "arrays.h"

#include <algorithm>
#include <optional>

#include "gcomp/formats/npz.h"
#include "gcomp/ir/states.h"
#include "gcomp/support/error.h"

namespace gcomp::driver {
namespace {

using formats::NamedArray;

[[noreturn]] void run_error(const std::string& message, const std::filesystem::path& file,
                            const std::string& hint = "") {
  throw UserError(ExitCode::kRun, {message, "", hint, Code::kInput, file.string()});
}

// Keys of .npz files: the signature's names, or input_N where there is none.
std::string key(const std::string& name, const char* stem, size_t i) {
  return name.empty() ? std::string(stem) + "_" + std::to_string(i) : name;
}

// States as inputs: from the file, else their initial values.
void take_states(const std::filesystem::path& file, const Graph& graph,
                 std::vector<std::optional<Constant>>* values) {
  std::vector<NamedArray> arrays;
  if (!file.empty()) arrays = formats::read_npz(file);
  for (const State& s : graph.states()) {
    const std::string& name = graph.inputs()[s.input].name;
    std::optional<Constant>& value = (*values)[s.input];
    if (s.initial.valid()) value = graph.context().constants[s.initial];
    for (const NamedArray& a : arrays) {
      if (a.name == name) value = a.value;
    }
    if (!value)
      run_error("state '" + name + "' has no initial value", file, "give it with --inputs");
  }
}

}  // namespace

std::vector<std::string> names_of(const std::vector<Port>& ports) {
  std::vector<std::string> names;
  for (const Port& port : ports) names.push_back(port.name);
  return names;
}

std::vector<Constant> take_inputs(const std::filesystem::path& file,
                                  const std::vector<std::string>& names) {
  std::vector<NamedArray> arrays;
  if (!file.empty()) arrays = formats::read_npz(file);
  std::vector<std::string> present;
  for (const NamedArray& a : arrays) present.push_back(a.name);
  std::vector<Constant> inputs;
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string wanted = key(names[i], "input", i);
    const auto found = std::ranges::find(present, wanted);
    if (found != present.end()) {
      inputs.push_back(arrays[found - present.begin()].value);
      continue;
    }
    if (file.empty())
      run_error("the graph takes input '" + wanted + "'", "", "give --inputs FILE.npz");
    const std::string near = suggest(wanted, present);
    run_error("input '" + wanted + "' is not in the file", file,
              near.empty() ? "" : "there is '" + near + "'");
  }
  return inputs;
}

std::vector<interp::Tensor> take_inputs(const std::filesystem::path& file, const Graph& graph,
                                        bool with_states) {
  const std::vector<std::string> all = names_of(graph.inputs());
  const std::vector<uint32_t> given = CallPorts(graph).inputs;
  std::vector<std::string> names;
  for (const uint32_t i : given) names.push_back(key(all[i], "input", i));
  std::vector<std::optional<Constant>> values(all.size());
  for (size_t k = 0; Constant & value : take_inputs(file, names)) values[given[k++]] = value;
  if (with_states) take_states(file, graph, &values);
  std::vector<interp::Tensor> inputs;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    const DType wanted = graph.type(graph.inputs()[i].value).dtype;
    inputs.push_back(interp::from_constant(as_dtype(std::move(*values[i]), wanted)));
  }
  return inputs;
}

std::vector<std::pair<size_t, Constant>> take_states(const std::filesystem::path& file,
                                                     const std::vector<std::string>& names) {
  std::vector<std::pair<size_t, Constant>> states;
  if (file.empty()) return states;
  for (NamedArray& array : formats::read_npz(file)) {
    const auto found = std::ranges::find(names, array.name);
    if (found == names.end()) {
      const std::string near = suggest(array.name, names);
      run_error("the graph has no state '" + array.name + "'", file,
                near.empty() ? "" : "there is '" + near + "'");
    }
    states.emplace_back(found - names.begin(), std::move(array.value));
  }
  return states;
}

Constant as_dtype(Constant value, DType wanted) {
  if (value.dtype == DType::kUInt16 && wanted == DType::kBFloat16) value.dtype = wanted;
  return value;
}

void write_arrays(const std::filesystem::path& file, const std::vector<std::string>& names,
                  const char* stem, std::vector<Constant> values) {
  if (file.empty()) return;
  std::vector<NamedArray> arrays;
  for (size_t i = 0; i < names.size(); ++i) {
    arrays.push_back({key(names[i], stem, i), std::move(values[i])});
  }
  formats::write_npz(file, arrays);
}

}  // namespace gcomp::driver
