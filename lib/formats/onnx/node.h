#pragma once
// One ONNX node as its import function sees it, and the table of import functions. To add an
// operator: a function and a row in the file of its family (lib/formats/onnx/ops_*.cpp).

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "onnx/emitter.h"
#include "onnx/proto.h"
#include "onnx/tensor.h"

namespace gcomp::formats::onnx {

class Importer;

class NodeImport : public Emitter {
 public:
  NodeImport(Importer& importer, Body& body, const NodeProto& proto, Values inputs, int64_t opset)
      : Emitter(body),
        importer_(importer),
        proto_(proto),
        inputs_(std::move(inputs)),
        outputs_(proto.outputs.size()),
        opset_(opset) {}

  Importer& importer() { return importer_; }
  const NodeProto& proto() const { return proto_; }
  int64_t opset() const { return opset_; }

  // ---- Inputs: absent trailing and empty-named ones do not exist ----
  size_t num_inputs() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i].valid(); }
  ValueId in(size_t i) const;  // an error if absent
  const Values& inputs() const { return inputs_; }

  // ---- Attributes, with the value they have when absent; a wrong kind is an error ----
  const AttributeProto* attribute(std::string_view name) const;
  bool has_attribute(std::string_view name) const { return attribute(name) != nullptr; }
  int64_t integer(std::string_view name, int64_t absent) const;
  bool flag(std::string_view name, bool absent) const { return integer(name, absent) != 0; }
  double real(std::string_view name, double absent) const;
  std::string text(std::string_view name, std::string absent) const;
  Ints ints(std::string_view name, Ints absent = {}) const;
  std::vector<double> reals(std::string_view name) const;
  Constant tensor(std::string_view name) const;
  // An attribute holding one of ONNX's element types.
  DType dtype_attribute(std::string_view name, DType absent) const;

  // ---- Outputs ----
  size_t num_outputs() const { return outputs_.size(); }
  bool wants(size_t i) const { return i < outputs_.size() && !proto_.outputs[i].empty(); }
  void out(size_t i, ValueId v);
  void out(ValueId v) { out(0, v); }
  const Values& outputs() const { return outputs_; }

  [[noreturn]] void unsupported(const std::string& what, std::string hint = "") const;

 private:
  Importer& importer_;
  NodeProto proto_;
  Values inputs_;
  Values outputs_;
  int64_t opset_;
};

struct OpRow {
  std::string_view op_type;
  void (*import)(NodeImport&);
  std::string_view
      attributes;  // every attribute name the operator has, in any opset; spaces between
};

// Rows by family.
std::span<const OpRow> math_rows();
std::span<const OpRow> activation_rows();
std::span<const OpRow> shape_rows();
std::span<const OpRow> index_rows();
std::span<const OpRow> reduce_rows();
std::span<const OpRow> matmul_rows();
std::span<const OpRow> conv_rows();
std::span<const OpRow> pool_rows();
std::span<const OpRow> norm_rows();
std::span<const OpRow> quantize_rows();
std::span<const OpRow> resize_rows();
std::span<const OpRow> loss_rows();
std::span<const OpRow> control_rows();
std::span<const OpRow> recurrent_rows();
std::span<const OpRow> signal_rows();
std::span<const OpRow> attention_rows();
std::span<const OpRow> vision_rows();

// nullptr if the operator is not supported.
const OpRow* find_op(std::string_view op_type);
std::string nearest_op(std::string_view op_type);  // "" when none is near

}  // namespace gcomp::formats::onnx
