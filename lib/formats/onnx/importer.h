#pragma once
// The walk over a model: scopes of names, nested graphs on an explicit stack, errors collected.

#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "gcomp/formats/onnx.h"
#include "onnx/node.h"

namespace gcomp::formats::onnx {

// A nested graph's names that it takes from outside, in order of first use.
using FreeNames = std::vector<std::string_view>;

class Importer {
 public:
  Importer(Context& context, TensorSource source, const OnnxOptions& options,
           Diagnostics& diagnostics);
  ~Importer();

  std::unique_ptr<Graph> import_model(const ModelProto& model);

  const TensorSource& source() const { return source_; }
  Context& context() { return context_; }

  // ---- For operators with nested graphs ----

  // Where the names of the graph now being imported are looked up.
  struct NestedGraph {
    Bytes bytes;
    std::shared_ptr<Body> body;  // the parent's own to import in place
    Values inputs;               // values of the graph's declared inputs, in order
    std::vector<std::pair<std::string_view, ValueId>> captures;  // values of its free names
    // Called with the outputs when the graph has been imported. After an error in it the node's
    // outputs count as not made instead.
    std::function<void(const Values& outputs)> done;
  };
  // Starts on a nested graph of the node being imported. The node's outputs are set in `done` of
  // its last nested graph, through `finish`.
  void enter(std::shared_ptr<NodeImport> node, NestedGraph nested);
  // Binds the outputs of a node whose nested graphs are done.
  void finish(NodeImport& node);

  // A nested graph is to be imported a second time (a loop whose carried extents turn out to change).
  // Loops within loops would make this exponential: past a budget that follows the size of the file
  // it is an error.
  void count_again(Bytes graph);

  const FreeNames& free_names(Bytes graph) const;
  // The value a name has in the graph being imported; invalid if it has none.
  ValueId lookup(std::string_view name) const;
  // The import in progress, to outlive its function: for `enter`.
  std::shared_ptr<NodeImport> current() { return current_; }
  std::shared_ptr<Body> current_body() const;

 private:
  struct Call;
  struct Frame;
  struct Function;
  struct Scan;

  static int64_t choose_opset(const Opsets& opsets, const std::string& place);
  void declare_functions(const ModelProto& model);
  const Function* find_function(const NodeProto& node) const;
  void scan(const ModelProto& model);
  const Function* check_node(const NodeProto& node, const std::string& place);
  void declare_inputs(Frame& frame, const GraphProto& graph);
  std::optional<Type> input_type(const ValueInfo& info);
  DimId input_dim(const ValueInfo& info, size_t axis);
  void declare_initializers(Frame& frame, const GraphProto& graph);
  void bind(Frame& frame, std::string_view name, ValueId v);
  void import_node(Frame& frame, NodeProto node, size_t index);
  bool resolve_attributes(const Frame& frame, NodeProto* node, const std::string& place);
  void enter_function(Frame& caller, const Function& function, const std::string& place);
  void bind_outputs(Frame& frame, const NodeImport& node);
  void poison_outputs(Frame& frame, const NodeProto& node);
  void leave();
  void check_options();
  void report(Diagnostic d);
  void report(const UserError& error);

  Context& context_;
  TensorSource source_;
  const OnnxOptions& options_;
  Diagnostics& diagnostics_;
  int64_t opset_ = 0;
  std::unordered_map<std::string, Function> functions_;
  std::unordered_map<const std::byte*, FreeNames> free_names_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::shared_ptr<NodeImport> current_;
  bool entered_ = false;  // the node being imported has begun a nested graph
  std::unordered_set<std::string> dims_seen_;
  size_t errors_left_ = 0;
  size_t again_budget_ = 0;  // bytes of nested graphs that may still be imported a second time
  size_t call_budget_ = 0;   // bytes of functions that may still be inlined
};

// Text that a symbol may have, from a name of the file; "" if nothing of it can stay.
std::string symbol_text(std::string_view name);

}  // namespace gcomp::formats::onnx
