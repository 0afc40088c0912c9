#include "gcomp/ir/infer.h"

#include "gcomp/support/error.h"

namespace gcomp {
namespace {

// The first way in which arity or attributes differ from the op's row, or "".
std::string check_against_row(const OpInfo& row, size_t num_operands, const Attrs& attrs) {
  const auto n = static_cast<int>(num_operands);
  if (n < row.min_operands || (row.max_operands >= 0 && n > row.max_operands)) {
    return "takes " + std::to_string(row.min_operands) +
           (row.max_operands == row.min_operands ? ""
            : row.max_operands < 0               ? " or more"
                                                 : " to " + std::to_string(row.max_operands)) +
           " operands, got " + std::to_string(n);
  }
  for (const AttrSpec& spec : row.attrs) {
    const AttrValue* value = attrs.find(spec.key);
    if (value == nullptr && spec.required) {
      return "needs attribute '" + std::string(name(spec.key)) + "'";
    }
    if (value != nullptr && value->kind() != spec.kind) {
      return "attribute '" + std::string(name(spec.key)) + "' must be of kind " +
             std::string(name(spec.kind)) + ", not " + std::string(name(value->kind()));
    }
  }
  for (const Attr& attr : attrs) {
    bool known = false;
    for (const AttrSpec& spec : row.attrs) known = known || spec.key == attr.key;
    if (!known) return "has no attribute '" + std::string(name(attr.key)) + "'";
  }
  return "";
}

}  // namespace

bool TypeInference::require(bool condition, std::string_view message) {
  if (!condition) fail(std::string(message));
  return condition;
}

bool TypeInference::check_axis(int64_t axis, int rank) {
  return require(
      axis >= 0 && axis < rank,
      "axis " + std::to_string(axis) + " is not within a tensor of rank " + std::to_string(rank));
}

bool TypeInference::compatible(DimId a, DimId b) const {
  if (a == b) return true;
  const DimId difference = context_.dims.sub(a, b);
  const auto lo = context_.dims.lower_bound(difference);
  const auto hi = context_.dims.upper_bound(difference);
  return !(lo && *lo > 0) && !(hi && *hi < 0);
}

std::string TypeInference::show(const Type& t) const {
  return to_string(context_, t);
}

std::vector<TypeId> infer_types(Context& context, Op op, std::span<const Type* const> operands,
                                AttrsId attrs_id, LocId loc) {
  const OpInfo& row = info(op);
  const Attrs attrs = context.attrs[attrs_id];
  const auto refuse = [&](const std::string& message) {
    graph_error(std::string(row.name) + ": " + message, context.locs[loc]);
  };
  const std::string mismatch = check_against_row(row, operands.size(), attrs);
  if (!mismatch.empty()) refuse(mismatch);
  TypeInference inference(context, op, operands, attrs);
  row.infer(inference);
  if (inference.error()) refuse(*inference.error());
  std::vector<TypeId> types;
  for (const Type& t : inference.results()) types.push_back(context.types.intern(t));
  GCOMP_CHECK(row.num_results < 0 || types.size() == static_cast<size_t>(row.num_results),
              "inference of " + std::string(row.name) + " gave another number of results");
  return types;
}

std::string to_string(const Context& context, const Type& t) {
  std::string s = std::string(name(t.dtype)) + "[";
  for (size_t i = 0; i < t.dims.size(); ++i) {
    s += (i ? ", " : "") + context.dims.to_string(t.dims[i]);
  }
  return s + "]";
}

}  // namespace gcomp
