#pragma once
// Builds a graph from the elements of the JSON format, one at a time; nested graphs included.

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "gcomp/formats/safetensors.h"
#include "gcomp/ir/builder.h"
#include "gcomp/support/error.h"

namespace gcomp::formats {

// Shared by a graph's reader and those of its nested graphs.
struct JsonSource {
  Context& context;
  std::filesystem::path folder;
  std::string file_name;
  Diagnostics unknown_ops;
  std::map<std::string, SafetensorsFile> weights;
};

// A JSON path, put together only when an error needs it: "nodes[7]" + ".in" + "[1]".
struct JsonPlace {
  const std::string& owner;
  const char* part = "";
  int64_t index = -1;  // none
  std::string text() const;
};

class GraphReader {
 public:
  explicit GraphReader(JsonSource& source);
  // The reader of nested graph `body` of node `node` of `parent`'s graph.
  GraphReader(const GraphReader& parent, size_t node, size_t body);

  // Elements of the lists, in the order of the format. `index` counts within the list.
  void symbol(const nlohmann::json& j);
  void input(const nlohmann::json& j, size_t index);
  void constant(const nlohmann::json& j, size_t index);
  void node_tree(const nlohmann::json& j, size_t index);  // with its nested graphs
  void output(const nlohmann::json& j, size_t index);
  void update(const nlohmann::json& j, size_t index);  // the older form of a state
  void state(const nlohmann::json& j, size_t index);
  std::unique_ptr<Graph> finish();

 private:
  void node(const nlohmann::json& j, size_t index, std::vector<GraphId> bodies);
  void known_node(const nlohmann::json& j, const std::string& op_name, const std::string& place,
                  std::vector<GraphId> bodies);
  bool pseudo_node(const nlohmann::json& j, const std::string& op_name,
                   std::span<const ValueId> operands, const std::string& place);
  void begin_body(const nlohmann::json& j);
  GraphId finish_body(const nlohmann::json& j);

  std::string path() const;  // JSON path of this graph, "" for the top; built only for errors
  [[noreturn]] void fail(const std::string& message, const std::string& place,
                         std::string hint = "") const;
  const nlohmann::json& field(const nlohmann::json& j, const char* key,
                              const std::string& place) const;
  uint32_t port(const nlohmann::json& j, size_t end, const std::string& place) const;
  ValueId lookup(const nlohmann::json& j, const JsonPlace& place) const;
  void define(const nlohmann::json& j, ValueId v, const JsonPlace& place);
  DType dtype(const nlohmann::json& j, const JsonPlace& place) const;
  DimId dim(const nlohmann::json& j, const std::string& place, std::vector<ValueId>* carriers);
  std::vector<DimId> dims(const nlohmann::json& j, const std::string& place,
                          std::vector<ValueId>* carriers);
  std::vector<int64_t> integers(const nlohmann::json& j, const JsonPlace& place) const;
  AttrValue attribute(const AttrSpec& spec, const nlohmann::json& j, const std::string& place,
                      std::vector<ValueId>* carriers);
  std::vector<Attr> attributes(const OpInfo& row, const nlohmann::json& j, const std::string& place,
                               std::vector<ValueId>* carriers);
  Constant tensor(const nlohmann::json& j, const std::string& place);
  std::vector<std::byte> numbers(const nlohmann::json& j, DType t, size_t count,
                                 const JsonPlace& place) const;

  JsonSource& source_;
  const GraphReader* parent_ = nullptr;
  size_t node_in_parent_ = 0;
  size_t body_in_node_ = 0;
  GraphBuilder builder_;
  const ValueId* find_value(uint64_t id) const;
  std::vector<ValueId> values_;  // by the file's ids, as long as these are 0, 1, 2, ...
  std::unordered_map<uint64_t, ValueId> more_values_;  // those that are not
};

}  // namespace gcomp::formats
