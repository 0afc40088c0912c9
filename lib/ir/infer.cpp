#include "gcomp/ir/infer.h"

#include <limits>

#include "gcomp/support/error.h"
#include "ops/rows.h"

namespace gcomp {
namespace {

const AttrSpec* find_spec(const OpInfo& row, AttrKey key) {
  for (const AttrSpec& spec : row.attrs) {
    if (spec.key == key) return &spec;
  }
  return nullptr;
}

std::string keys_of(const OpInfo& row) {
  std::string text;
  for (const AttrSpec& spec : row.attrs) {
    text += (text.empty() ? "" : ", ") + std::string(name(spec.key));
  }
  return text.empty() ? "none" : text;
}

bool check_operand_count(TypeInference& t, const OpInfo& row) {
  const int n = t.num_operands();
  if (n >= row.min_operands && (row.max_operands < 0 || n <= row.max_operands)) return true;
  std::string wanted = std::to_string(row.min_operands);
  if (row.max_operands < 0) {
    wanted = "at least " + wanted;
  } else if (row.max_operands > row.min_operands) {
    wanted += " to " + std::to_string(row.max_operands);
  }
  t.fail("takes " + wanted + " operands, got " + std::to_string(n) + ": " +
         std::string(row.signature));
  return false;
}

bool check_attrs(TypeInference& t, const OpInfo& row) {
  for (const Attr& attr : t.attrs()) {
    const AttrSpec* spec = find_spec(row, attr.key);
    if (spec == nullptr) {
      t.fail("has no attribute '" + std::string(name(attr.key)) + "' (it has: " + keys_of(row) +
             ")");
      return false;
    }
    if (attr.value.kind() != spec->kind) {
      t.fail("attribute '" + std::string(name(attr.key)) + "' must be of kind " +
             std::string(name(spec->kind)) + ", not " + std::string(name(attr.value.kind())));
      return false;
    }
  }
  for (const AttrSpec& spec : row.attrs) {
    if (spec.required && !t.attrs().has(spec.key)) {
      t.fail("lacks attribute '" + std::string(name(spec.key)) + "' (" + std::string(spec.doc) +
             ")");
      return false;
    }
  }
  return true;
}

// No extent is negative for certain, and a static tensor's bytes fit in an int64.
void check_result(TypeInference& t, const Type& result) {
  int64_t bytes = static_cast<int64_t>(byte_size(result.dtype));
  for (DimId d : result.dims) {
    const auto upper = t.dims().upper_bound(d);
    if (upper && *upper < 0) {
      t.fail("the result would have the negative extent " + t.dims().to_string(d) + " in " +
             t.show(result));
      return;
    }
    const auto value = t.dims().constant_value(d);
    if (value && *value == 0) return;
    if (value && __builtin_mul_overflow(bytes, *value, &bytes)) {
      t.fail("the result " + t.show(result) + " is larger than 2^63 bytes");
      return;
    }
  }
}

}  // namespace

bool TypeInference::require(bool condition, std::string_view message) {
  if (!condition) fail(std::string(message));
  return condition;
}

bool TypeInference::check_axis(int64_t axis, int rank) {
  if (axis >= 0 && axis < rank) return true;
  fail("axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank) +
       " (axes count from 0, none is negative)");
  return false;
}

bool TypeInference::compatible(DimId a, DimId b) const {
  if (a == b) return true;
  DimTable& dims = context_.dims;
  const auto lower_a = dims.lower_bound(a), upper_a = dims.upper_bound(a);
  const auto lower_b = dims.lower_bound(b), upper_b = dims.upper_bound(b);
  if (lower_a && upper_b && *lower_a > *upper_b) return false;
  if (upper_a && lower_b && *upper_a < *lower_b) return false;
  const DimId difference = dims.sub(a, b);
  const auto lower = dims.lower_bound(difference), upper = dims.upper_bound(difference);
  return !(lower && *lower > 0) && !(upper && *upper < 0);
}

std::string TypeInference::show(const Type& t) const { return to_string(context_, t); }

std::vector<TypeId> infer_types(Context& context, Op op, std::span<const Type* const> operands,
                                AttrsId attrs, LocId loc) {
  const OpInfo& row = info(op);
  TypeInference t(context, op, operands, context.attrs[attrs]);
  if (check_operand_count(t, row) && check_attrs(t, row)) {
    row.infer(t);
    for (size_t i = 0; i < t.results().size() && !t.failed(); ++i) check_result(t, t.results()[i]);
  }
  if (t.failed())
    graph_error(Code::kTypes, std::string(row.name) + ": " + *t.error(), context.locs[loc]);
  GCOMP_CHECK(row.num_results < 0 || t.results().size() == static_cast<size_t>(row.num_results),
              "inference of " + std::string(row.name) + " gave another number of results");
  std::vector<TypeId> types;
  types.reserve(t.results().size());
  for (const Type& type : t.results()) types.push_back(context.types.intern(type));
  return types;
}

std::string to_string(const Context& context, const Type& t) {
  std::string text(name(t.dtype));
  text += '[';
  for (size_t i = 0; i < t.dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += context.dims.to_string(t.dims[i]);
  }
  text += ']';
  return text;
}

namespace ops {

std::string operand_name(int i) { return "operand " + std::to_string(i); }

bool check_dtype(TypeInference& t, int i, Domain domain) {
  constexpr std::string_view kWanted[] = {"any dtype", "a number (cast bool first)",
                                          "a float (cast first)", "an integer (cast first)",
                                          "bool or an integer (cast first)"};
  const Type& type = t.operand(i);
  if (contains(domain, type.dtype)) return true;
  t.fail(operand_name(i) + " is " + t.show(type) + "; it must be " +
         std::string(kWanted[static_cast<size_t>(domain)]));
  return false;
}

bool check_same_dtype(TypeInference& t, int i, int j) {
  if (t.operand(i).dtype == t.operand(j).dtype) return true;
  t.fail("operands " + std::to_string(i) + " and " + std::to_string(j) + " must have one dtype: " +
         t.show(t.operand(i)) + " and " + t.show(t.operand(j)) + " (insert cast)");
  return false;
}

bool check_rank(TypeInference& t, int i, int rank) {
  if (t.operand(i).rank() == rank) return true;
  t.fail(operand_name(i) + " is " + t.show(t.operand(i)) + "; it must have rank " +
         std::to_string(rank) + " (insert reshape)");
  return false;
}

bool check_scalar(TypeInference& t, int i, DType dtype) {
  const Type& type = t.operand(i);
  if (type.dtype == dtype && type.rank() == 0) return true;
  t.fail(operand_name(i) + " is " + t.show(type) + "; it must be the scalar type " +
         std::string(name(dtype)) + "[] (insert cast or reshape)");
  return false;
}

bool check_same_extent(TypeInference& t, int i, int ai, int j, int aj) {
  const DimId a = t.operand(i).dims[ai], b = t.operand(j).dims[aj];
  if (a == b) return true;
  t.fail("axis " + std::to_string(ai) + " of operand " + std::to_string(i) + ", " +
         t.show(t.operand(i)) + ", and axis " + std::to_string(aj) + " of operand " +
         std::to_string(j) + ", " + t.show(t.operand(j)) + ", must have one extent, not " +
         t.dims().to_string(a) + " and " + t.dims().to_string(b) +
         (t.compatible(a, b) ? " (insert specify_shape if they are equal at run time)" : ""));
  return false;
}

bool check_count(TypeInference& t, AttrKey key, size_t have, size_t count) {
  if (have == count) return true;
  t.fail("attribute '" + std::string(name(key)) + "' must have " + std::to_string(count) +
         " elements, not " + std::to_string(have));
  return false;
}

bool check_axes(TypeInference& t, AttrKey key, const std::vector<int64_t>& axes, int rank) {
  for (size_t i = 0; i < axes.size(); ++i) {
    if (!t.check_axis(axes[i], rank)) return false;
    if (i > 0 && axes[i - 1] >= axes[i]) {
      t.fail("attribute '" + std::string(name(key)) + "' must be sorted, each axis once");
      return false;
    }
  }
  return true;
}

bool check_positive(TypeInference& t, AttrKey key, const std::vector<int64_t>& v) {
  for (int64_t x : v) {
    if (x >= 1 && x <= std::numeric_limits<int32_t>::max()) continue;
    t.fail("attribute '" + std::string(name(key)) + "' has the element " + std::to_string(x) +
           "; each must be at least 1 and below 2^31");
    return false;
  }
  return true;
}

bool check_flag(TypeInference& t, AttrKey key) {
  const int64_t value = t.attrs().integer_or(key, 0);
  if (value == 0 || value == 1) return true;
  t.fail("attribute '" + std::string(name(key)) + "' must be 0 or 1, not " + std::to_string(value));
  return false;
}

bool check_choice(TypeInference& t, AttrKey key, std::string_view absent,
                  std::span<const std::string_view> allowed) {
  const std::string value = t.attrs().string_or(key, std::string(absent));
  std::string choices;
  for (std::string_view choice : allowed) {
    if (value == choice) return true;
    choices += (choices.empty() ? "" : ", ") + std::string(choice);
  }
  t.fail("attribute '" + std::string(name(key)) + "' is '" + value + "'; it must be one of " +
         choices);
  return false;
}

DimId window_extent(DimTable& dims, DimId extent, DimId low, DimId high, DimId kernel,
                    int64_t stride, int64_t dilation) {
  const DimId reach = dims.add(
      dims.mul(dims.constant(dilation), dims.sub(kernel, dims.constant(1))), dims.constant(1));
  const DimId room = dims.sub(dims.add(extent, dims.add(low, high)), reach);
  return dims.add(dims.floor_div(room, dims.constant(stride)), dims.constant(1));
}

}  // namespace ops
}  // namespace gcomp
