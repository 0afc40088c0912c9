#include "gcomp/driver/inspect.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "gcomp/artifact/manifest.h"
#include "gcomp/artifact/memory_plan.h"
#include "gcomp/driver/load.h"
#include "gcomp/schedule/fusion.h"
#include "gcomp/support/error.h"
#include "signature.h"

namespace gcomp::driver {
namespace {

using nlohmann::ordered_json;

// Ops by how often they occur, nested graphs included; ties by name.
ordered_json op_counts(const Graph& graph) {
  std::map<std::string, int64_t> counts;
  const auto count = [&counts](const Graph& g) {
    for (const Node& node : g.nodes()) ++counts[std::string(name(node.op))];
  };
  count(graph);
  for (size_t g = 0; g < graph.context().num_graphs(); ++g)
    count(graph.context().graph(GraphId(g)));
  std::vector<std::pair<std::string, int64_t>> sorted(counts.begin(), counts.end());
  std::ranges::stable_sort(sorted,
                           [](const auto& a, const auto& b) { return a.second > b.second; });
  ordered_json result = ordered_json::object();
  for (const auto& [op, n] : sorted) result[op] = n;
  return result;
}

size_t weight_bytes(const Graph& graph) {
  size_t bytes = 0;
  const ConstantPool& pool = graph.context().constants;
  for (size_t i = 0; i < pool.size(); ++i) bytes += pool[ConstantId(i)].bytes.size();
  return bytes;
}

// What the graph comes to when it is compiled as it is: groups of nodes that become one kernel (a node
// by itself too), and nodes that only rename memory. The other nodes vanish in their readers' kernels.
ordered_json fused_counts(const Graph& graph) {
  const schedule::Groups fused = schedule::fuse(graph, {});
  size_t views = 0;
  for (size_t i = 0; i < graph.num_nodes(); ++i) {
    const Node& n = graph.node(NodeId(i));
    if (fused.group_of[i] != schedule::kNoGroup || n.num_results == 0) continue;
    views += fused.storage[n.first_result.index] != n.first_result ? 1 : 0;
  }
  return {{"groups", fused.groups.size()}, {"views", views}};
}

ordered_json graph_json(const Graph& graph, const char* format) {
  ordered_json all{{"kind", "graph"},
                   {"format", format},
                   {"nodes", graph.num_nodes()},
                   {"nested_graphs", graph.context().num_graphs()},
                   {"constant_bytes", weight_bytes(graph)}};
  all.update(signature_json(graph));
  all.update({{"fused", fused_counts(graph)}, {"ops", op_counts(graph)}});
  return all;
}

// The buffers of most bytes if every symbol is 64, as expressions.
constexpr size_t kLargest = 10;

ordered_json largest_buffers(const rt::Plan& plan, const artifact::MemoryPlan& guess) {
  std::vector<artifact::PlannedBuffer> buffers = guess.buffers;
  std::ranges::stable_sort(buffers, [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  const std::vector<std::string> texts = artifact::expressions(plan);
  std::vector<std::string> order;
  std::map<std::string, size_t> times;
  for (const artifact::PlannedBuffer& b : buffers) {
    const std::string& text =
        texts[rt::table<rt::PlanBuffer>(plan, plan.buffers)[b.buffer].size_value];
    if (times[text]++ == 0) order.push_back(text);
  }
  ordered_json list = ordered_json::array();
  for (size_t i = 0; i < std::min(order.size(), kLargest); ++i) {
    list.push_back(std::to_string(times[order[i]]) + " of " + order[i] + " bytes");
  }
  return list;
}

// In memory of its own, of the caller and of constants.
ordered_json memory_json(const std::filesystem::path& path,
                         const std::map<std::string, int64_t>& dims) {
  const std::vector<std::byte> block = artifact::read_plan(path.string());
  const auto& plan = *reinterpret_cast<const rt::Plan*>(block.data());
  const std::vector<std::string> symbols = artifact::symbols(plan);
  std::vector<std::string> missing;
  for (const std::string& s : symbols) {
    if (!dims.contains(s)) missing.push_back(s);
  }
  for (const auto& [name, extent] : dims) {
    if (std::ranges::find(symbols, name) != symbols.end()) continue;
    const std::string near = suggest(name, symbols);
    usage_error(Code::kUnknownExtent, "the artifact has no symbol '" + name + "'", "--dim",
                near.empty() ? "its symbols stand in the shapes of its inputs"
                             : "did you mean '" + near + "'?");
  }
  constexpr int64_t kGuess = 64;
  const auto found = artifact::memory_plan(plan, dims, kGuess);
  if (!found) {
    usage_error(Code::kUnknownExtent, "an extent overflows or is negative for these extents",
                "--dim");
  }
  ordered_json memory = ordered_json::object();
  if (missing.empty()) {
    memory = {{"arena_bytes", found->arena_bytes},
              {"max_live_bytes", found->max_live_bytes},
              {"buffers", found->buffers.size()},
              {"input_bytes", found->input_bytes},
              {"output_bytes", found->output_bytes}};
  } else {
    std::string names;
    for (const std::string& s : missing) names += (names.empty() ? "" : ", ") + s;
    memory = {{"depends_on", names},
              {"buffers", found->buffers.size()},
              {"largest", largest_buffers(plan, *found)},
              {"hint", "gcomp inspect FILE --dim " + missing[0] + "=N tells the bytes"}};
  }
  if (found->undecided != 0) memory["decided_by_the_run"] = found->undecided;
  return memory;
}

ordered_json artifact_json(const std::filesystem::path& path,
                           const std::map<std::string, int64_t>& dims) {
  const artifact::Manifest manifest = artifact::read_manifest(path.string());
  ordered_json result{{"kind", "artifact"}, {"name", manifest.name}};
  const auto inner = ordered_json::parse(manifest.json, nullptr, false);
  if (inner.is_object()) result.update(inner);
  result["file_bytes"] = std::filesystem::file_size(path);
  result["memory"] = memory_json(path, dims);
  result["weights_bytes"] = manifest.weights_bytes;
  if (!manifest.weights_hash.empty()) result["weights_hash"] = manifest.weights_hash;
  return result;
}

std::string value_text(const ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string port_text(const ordered_json& port) {
  std::string text = "  " + value_text(port.value("name", ordered_json(""))) + ": " +
                     value_text(port.value("dtype", ordered_json("?"))) + "[";
  bool first = true;
  for (const ordered_json& dim : port.value("dims", ordered_json::array())) {
    text += (first ? "" : ", ") + value_text(dim);
    first = false;
  }
  text += "]";
  if (port.value("donate", false)) text += ", donated";
  if (!port.value("changes", true)) text += ", unchanged by runs";
  if (!port.value("initial", true)) text += ", without initial value";
  return text + "\n";
}

// "k3_conv_add: 256 threads; sm_80 48 registers, sm_90 56 registers, 512 bytes shared; conv add"; behind it, whether
// a library may do it
std::string kernel_text(const ordered_json& kernel) {
  std::string text = "    " + value_text(kernel.value("name", ordered_json(""))) + ": " +
                     value_text(kernel.value("threads", ordered_json(0))) + " threads";
  const char* separator = "; ";
  for (const auto& [key, value] : kernel.items()) {
    if (!value.is_object()) continue;
    text += separator + key + " " + std::to_string(value.value("registers", 0)) + " registers";
    for (const char* memory : {"shared", "local"}) {
      const int bytes = value.value(std::string(memory) + "_bytes", 0);
      if (bytes != 0) text += ", " + std::to_string(bytes) + " bytes " + memory;
    }
    separator = ", ";
  }
  text += "; " + value_text(kernel.value("nodes", ordered_json("")));
  const std::string library = kernel.value("library", "");
  return text + (library.empty() ? "" : "; or " + library) + "\n";
}

// A member of a table; kernels have a line each.
std::string member_text(const std::string& key, const ordered_json& value) {
  if (!value.is_array() || value.empty() || !value[0].is_object()) {
    return "  " + key + ": " + value_text(value) + "\n";
  }
  std::string text = "  " + key + ":\n";
  for (const ordered_json& row : value) text += kernel_text(row);
  return text;
}

// "key: value" lines; inputs, outputs and tables indented below their key.
std::string to_text(const ordered_json& all) {
  std::string text;
  for (const auto& [key, value] : all.items()) {
    if ((key == "inputs" || key == "outputs" || key == "states") && value.is_array()) {
      text += key + ":\n";
      for (const ordered_json& port : value) text += port_text(port);
    } else if (value.is_object()) {
      text += key + ":\n";
      for (const auto& [k, v] : value.items()) text += member_text(k, v);
    } else if (value.is_array()) {
      text += key + ": " + std::to_string(value.size()) + "\n";
      for (const ordered_json& element : value) text += "  " + value_text(element) + "\n";
    } else {
      text += key + ": " + value_text(value) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string inspect(const std::filesystem::path& path, bool json,
                    const std::map<std::string, int64_t>& dims) {
  ordered_json found;
  const FileKind kind = detect(path);
  if (kind == FileKind::kArtifact) {
    found = artifact_json(path, dims);
  } else {
    constexpr const char* kNames[] = {"json", "binary", "onnx"};
    Context context;
    found = graph_json(*load_graph(context, path, {}), kNames[static_cast<int>(kind)]);
  }
  return json ? found.dump(2) + "\n" : to_text(found);
}

}  // namespace gcomp::driver
