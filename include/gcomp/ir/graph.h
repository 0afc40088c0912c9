#pragma once
// The graph: nodes in topological order in arenas, values as 32-bit ids, everything a node (inputs
// and constants too). Read-only once built; phases make a new graph (ARCHITECTURE: Graph = Theano's
// FunctionGraph, Node = Apply, Value = Variable). Nothing here recurses over the graph.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/attr.h"
#include "gcomp/ir/constant.h"
#include "gcomp/ir/op.h"
#include "gcomp/ir/type.h"
#include "gcomp/support/files.h"

namespace gcomp {

using NodeId = Id<struct NodeTag>;
using ValueId = Id<struct ValueTag>;
using LocId = Id<struct LocTag>;  // index 0: no location

class Graph;

// Where a node came from: "Conv_12" (ONNX node), "mu_log__" (PyTensor variable), "nodes[3]" (JSON).
class LocTable {
 public:
  LocTable();
  LocId intern(std::string_view text);
  const std::string& operator[](LocId id) const { return texts_[id.index]; }
  static LocId none() { return LocId(0); }

 private:
  StableVector<std::string> texts_{"names of places"};
  InternTable interned_;
};

// The interned tables that graphs share. One per compilation; passed down, never global.
struct Context {
  Context();
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  DimTable dims;
  TypeTable types;
  AttrTable attrs;
  ConstantPool constants;
  LocTable locs;
  std::vector<std::string> files;  // that readers have read, in order: for dependency files
  // Of them those that the graph names, as it names them, and their state when they were opened.
  std::map<std::string, FileStamp> weights;

  GraphId add_graph(std::unique_ptr<Graph> body);  // a closed nested graph
  const Graph& graph(GraphId id) const { return *bodies_[id.index]; }
  size_t num_graphs() const { return bodies_.size(); }

 private:
  std::vector<std::unique_ptr<Graph>> bodies_;
};

struct Node {
  Op op;
  uint16_t num_results;
  AttrsId attrs;
  uint32_t first_operand;
  uint32_t num_operands;
  ValueId first_result;
  LocId loc;
};

struct Port {  // a named input or output
  std::string name;
  ValueId value;
  bool donate = false;  // inputs: a run may overwrite the caller's memory
};

// A value that lives between runs, named as its input. Its ports are no arguments of a call: the input is
// the value before the run, the output the one after it.
struct State {
  static constexpr uint32_t kUnchanged = UINT32_MAX;
  uint32_t input;                // index into inputs()
  uint32_t output = kUnchanged;  // index into outputs()
  ConstantId initial = {};       // before the first run; invalid: must be set before it
};

class Graph {
 public:
  explicit Graph(Context& context) : context_(&context) {}

  Context& context() const { return *context_; }

  size_t num_nodes() const { return nodes_.size(); }
  size_t num_values() const { return types_.size(); }
  const Node& node(NodeId n) const { return nodes_[n.index]; }
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const ValueId> operands(const Node& n) const {
    return {operands_.data() + n.first_operand, n.num_operands};
  }
  std::span<const ValueId> operands(NodeId n) const { return operands(node(n)); }
  ValueId result(NodeId n, int i = 0) const { return ValueId(node(n).first_result.index + i); }
  Attrs attrs(const Node& n) const { return context_->attrs[n.attrs]; }
  Attrs attrs(NodeId n) const { return attrs(node(n)); }

  NodeId producer(ValueId v) const { return producers_[v.index]; }
  const Node& producer_node(ValueId v) const { return node(producer(v)); }
  int result_index(ValueId v) const {
    return static_cast<int>(v.index - producer_node(v).first_result.index);
  }
  TypeId type_id(ValueId v) const { return types_[v.index]; }
  const Type& type(ValueId v) const { return context_->types[types_[v.index]]; }
  // The constant a value is, or nullptr.
  const Constant* constant(ValueId v) const;

  const std::vector<Port>& inputs() const {
    return inputs_;
  }  // each value is made by an `input` node
  const std::vector<Port>& outputs() const { return outputs_; }  // a value may occur more than once
  const std::vector<State>& states() const { return states_; }

  // Builders only (gcomp/ir/builder.h): appends a node whose operands exist already.
  NodeId append(Op op, std::span<const ValueId> operands, AttrsId attrs,
                std::span<const TypeId> result_types, LocId loc);
  void add_input(std::string name, ValueId v, bool donate = false) {
    inputs_.push_back({std::move(name), v, donate});
  }
  void add_output(std::string name, ValueId v) { outputs_.push_back({std::move(name), v}); }
  void add_state(State s) { states_.push_back(s); }
  void reserve(size_t nodes, size_t operands);

 private:
  Context* context_;
  std::vector<Node> nodes_;
  std::vector<ValueId> operands_;
  std::vector<TypeId> types_;      // per value
  std::vector<NodeId> producers_;  // per value
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<State> states_;
};

// How many operand slots and outputs read each value, and who: arrays built in one pass, for rules
// and passes that look at users.
struct Uses {
  explicit Uses(const Graph& g);
  uint32_t count(ValueId v) const {
    return first_[v.index + 1] - first_[v.index];
  }  // reading nodes
  std::span<const NodeId> readers(ValueId v) const {
    return {readers_.data() + first_[v.index], count(v)};
  }
  bool is_output(ValueId v) const { return is_output_[v.index]; }

 private:
  std::vector<uint32_t> first_;
  std::vector<NodeId> readers_;  // a node that reads a value twice occurs twice
  std::vector<bool> is_output_;
};

}  // namespace gcomp
