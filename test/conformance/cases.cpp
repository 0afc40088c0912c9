#include "cases.h"

#include <cmath>
#include <sstream>
#include <unordered_set>

#include "gcomp/formats/onnx.h"
#include "gcomp/support/error.h"
#include "gcomp/support/files.h"
#include "onnx/proto.h"

namespace gcomp::conformance {
namespace {

namespace fs = std::filesystem;
namespace onnx = formats::onnx;

onnx::Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

bool tensors(const std::vector<onnx::ValueInfo>& list) {
  for (const onnx::ValueInfo& info : list) {
    if (!info.is_tensor || !onnx::dtype_of(info.elem_type)) return false;
  }
  return true;
}

}  // namespace

std::map<std::string, Exception> read_exceptions(const fs::path& file) {
  std::map<std::string, Exception> all;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t colon = line.find(':');
    std::istringstream words(line.substr(0, colon));
    std::string kind, name, input;
    words >> kind >> name;
    Exception& e = all[name];
    if (colon != line.npos) e.reason = line.substr(colon + 1);
    if (kind == "fails") e.fails = true;
    while (words >> input) e.constants.push_back(input);
    if (kind == "loose") e.loose = true;
    if (kind != "fails" && kind != "loose" && kind != "constant") {
      throw UserError(ExitCode::kFiles, {"bad line: " + line, file.string(), ""});
    }
  }
  return all;
}

bool in_scope(const fs::path& folder) {
  const std::string text = read_file(folder / "model.onnx");
  const onnx::GraphProto graph = onnx::read_graph(onnx::read_model(bytes_of(text)).graph);
  for (onnx::Bytes node : graph.nodes) {
    if (!onnx::read_node(node).domain.empty()) return false;
  }
  return tensors(graph.inputs) && tensors(graph.outputs);
}

std::vector<std::string> input_names(const fs::path& folder) {
  const std::string text = read_file(folder / "model.onnx");
  const onnx::GraphProto graph = onnx::read_graph(onnx::read_model(bytes_of(text)).graph);
  std::unordered_set<std::string_view> weights;
  for (onnx::Bytes t : graph.initializers) weights.insert(onnx::read_tensor(t).name);
  std::vector<std::string> names;
  for (const onnx::ValueInfo& i : graph.inputs) {
    if (!weights.contains(i.name)) names.emplace_back(i.name);
  }
  return names;
}

std::vector<DataSet> read_data(const fs::path& folder) {
  std::vector<DataSet> sets;
  for (int s = 0;; ++s) {
    const fs::path data = folder / ("test_data_set_" + std::to_string(s));
    if (!fs::exists(data)) return sets;
    DataSet set;
    const auto read_all = [&](const char* stem, std::vector<interp::Tensor>* list) {
      for (int i = 0;; ++i) {
        const fs::path file = data / (std::string(stem) + "_" + std::to_string(i) + ".pb");
        if (!fs::exists(file)) return;
        const std::string text = read_file(file);
        list->push_back(interp::from_constant(formats::read_onnx_tensor(bytes_of(text))));
      }
    };
    read_all("input", &set.inputs);
    read_all("output", &set.outputs);
    sets.push_back(std::move(set));
  }
}

std::string compare(const interp::Tensor& have, const interp::Tensor& wanted, double relative,
                    double absolute) {
  if (have.dtype != wanted.dtype || have.shape != wanted.shape) {
    return interp::to_string(have) + " instead of " + interp::to_string(wanted);
  }
  const Constant a = interp::to_constant(have), b = interp::to_constant(wanted);
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    bool equal;
    double x = 0, y = 0;
    if (is_float(a.dtype)) {
      x = a.as_double(i);
      y = b.as_double(i);
      equal = x == y || (std::isnan(x) && std::isnan(y)) ||
              (std::isfinite(y) && std::fabs(x - y) <= absolute + relative * std::fabs(y));
    } else {
      x = static_cast<double>(a.as_int(i));
      y = static_cast<double>(b.as_int(i));
      equal = a.as_int(i) == b.as_int(i);
    }
    if (!equal) {
      std::ostringstream text;
      text.precision(10);
      text << "element " << i << " is " << x << " instead of " << y << " in "
           << interp::to_string(have);
      return text.str();
    }
  }
  return "";
}

}  // namespace gcomp::conformance
