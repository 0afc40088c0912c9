#include "onnx/node.h"

#include <unordered_map>

#include "gcomp/support/error.h"
#include "onnx/importer.h"

namespace gcomp::formats::onnx {
namespace {

using Index = std::unordered_map<std::string_view, const OpRow*>;

const Index& op_index() {
  static const Index index = [] {
    Index all;
    for (const auto rows :
         {math_rows(), activation_rows(), shape_rows(), index_rows(), reduce_rows(), matmul_rows(),
          conv_rows(), pool_rows(), norm_rows(), quantize_rows(), resize_rows(), loss_rows(),
          control_rows(), recurrent_rows(), signal_rows(), attention_rows(), vision_rows()}) {
      for (const OpRow& row : rows) all.emplace(row.op_type, &row);
    }
    return all;
  }();
  return index;
}

const char* kind_name(int64_t attribute_type) {
  static constexpr const char* kNames[] = {"undefined", "float",  "int",  "string", "tensor",
                                           "graph",     "floats", "ints", "strings"};
  return attribute_type >= 0 && attribute_type < 9 ? kNames[attribute_type] : "another kind";
}

}  // namespace

const OpRow* find_op(std::string_view op_type) {
  const auto found = op_index().find(op_type);
  return found == op_index().end() ? nullptr : found->second;
}

std::string nearest_op(std::string_view op_type) {
  if (op_type.size() > 64) return "";
  std::vector<std::string> names;
  for (const auto& [name, row] : op_index()) names.emplace_back(name);
  return suggest(op_type, names);
}

ValueId NodeImport::in(size_t i) const {
  if (!has(i)) fail("input " + std::to_string(i) + " is missing");
  return inputs_[i];
}

const AttributeProto* NodeImport::attribute(std::string_view name) const {
  return proto_.find(name);
}

namespace {
// Files of old exporters leave the type out; then the field that is set must be right.
const AttributeProto* of_kind(const NodeImport& n, std::string_view name, int64_t kind) {
  const AttributeProto* a = n.attribute(name);
  if (a != nullptr && a->type != 0 && a->type != kind) {
    n.fail("attribute '" + std::string(name) + "' must be of kind " + kind_name(kind) + ", not " +
           kind_name(a->type));
  }
  return a;
}
}  // namespace

int64_t NodeImport::integer(std::string_view name, int64_t absent) const {
  const AttributeProto* a = of_kind(*this, name, 2);
  return a ? a->i : absent;
}

double NodeImport::real(std::string_view name, double absent) const {
  const AttributeProto* a = of_kind(*this, name, 1);
  return a ? a->f : absent;
}

std::string NodeImport::text(std::string_view name, std::string absent) const {
  const AttributeProto* a = of_kind(*this, name, 3);
  return a ? std::string(a->s) : absent;
}

Ints NodeImport::ints(std::string_view name, Ints absent) const {
  const AttributeProto* a = of_kind(*this, name, 7);
  return a ? a->ints : absent;
}

std::vector<double> NodeImport::reals(std::string_view name) const {
  const AttributeProto* a = of_kind(*this, name, 6);
  return a ? std::vector<double>(a->floats.begin(), a->floats.end()) : std::vector<double>();
}

Constant NodeImport::tensor(std::string_view name) const {
  const AttributeProto* a = of_kind(*this, name, 4);
  if (a == nullptr) fail("attribute '" + std::string(name) + "' is missing");
  return to_constant(read_tensor(a->t), importer_.source());
}

DType NodeImport::dtype_attribute(std::string_view name, DType absent) const {
  if (!has_attribute(name)) return absent;
  const int64_t type = integer(name, 0);
  const auto t = dtype_of(type);
  if (!t) unsupported("element type " + type_name(type));
  return *t;
}

void NodeImport::out(size_t i, ValueId v) {
  if (i < outputs_.size()) outputs_[i] = v;
}

void NodeImport::unsupported(const std::string& what, std::string hint) const {
  fail(std::string(proto_.op_type) + ": " + what + " is not supported", std::move(hint));
}

}  // namespace gcomp::formats::onnx
