// Arithmetic, comparisons, logic and casts: one of our ops each, or nearly.

#include <cmath>
#include <limits>

#include "onnx/node.h"

namespace gcomp::formats::onnx {
namespace {

template <Op kOp>
void import_unary(NodeImport& n) {
  n.out(n.unary(kOp, n.in(0)));
}

// Ops that ours define on floats only, but ONNX on integers too, where they change nothing.
template <Op kOp>
void import_rounding(NodeImport& n) {
  n.out(is_float(n.dtype(n.in(0))) ? n.unary(kOp, n.in(0)) : n.in(0));
}

template <Op kOp>
void import_binary(NodeImport& n) {
  n.out(n.binary(kOp, n.in(0), n.in(1)));
}

// Any number of operands, combined from the left.
template <Op kOp>
void import_variadic(NodeImport& n) {
  ValueId total = n.in(0);
  for (size_t i = 1; i < n.num_inputs(); ++i) total = n.binary(kOp, total, n.in(i));
  n.out(total);
}

void import_mean(NodeImport& n) {
  ValueId total = n.widen(n.in(0));
  for (size_t i = 1; i < n.num_inputs(); ++i) total = n.add(total, n.widen(n.in(i)));
  n.out(n.cast(n.div(total, static_cast<double>(n.num_inputs())), n.dtype(n.in(0))));
}

void import_pow(NodeImport& n) {
  const ValueId x = n.in(0), y = n.in(1);
  const DType t = n.dtype(x);
  if (!is_float(t) && is_float(n.dtype(y))) {
    // An integer to a real power: computed in double, truncated.
    const DType f = DType::kFloat64;
    return n.out(n.cast(n.binary(Op::pow, n.cast(x, f), n.cast(y, f)), t));
  }
  n.out(n.binary(Op::pow, x, n.cast(y, t)));
}

void import_mod(NodeImport& n) {
  n.out(n.binary(n.flag("fmod", false) ? Op::rem : Op::mod, n.in(0), n.in(1)));
}

void import_bit_shift(NodeImport& n) {
  const std::string direction = n.text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") n.unsupported("direction '" + direction + "'");
  n.out(n.binary(direction == "LEFT" ? Op::shl : Op::shr, n.in(0), n.in(1)));
}

void import_reciprocal(NodeImport& n) { n.out(n.reciprocal(n.in(0))); }

void import_is_inf(NodeImport& n) {
  const ValueId x = n.in(0);
  const bool negative = n.flag("detect_negative", true), positive = n.flag("detect_positive", true);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (negative && positive) return n.out(n.unary(Op::is_inf, x));
  if (positive) return n.out(n.compare(Op::eq, x, kInf));
  if (negative) return n.out(n.compare(Op::eq, x, -kInf));
  n.out(n.compare(Op::lt, n.like(x, 0), 0));  // nothing is asked for: false
  n.out(n.expand(n.outputs()[0], n.shape(x)));
}

void import_where(NodeImport& n) { n.out(n.where(n.in(0), n.in(1), n.in(2))); }

void import_clip(NodeImport& n) {
  ValueId x = n.in(0);
  if (n.opset() < 11) {
    if (n.has_attribute("min")) x = n.max(x, n.real("min", 0));
    if (n.has_attribute("max")) x = n.min(x, n.real("max", 0));
    return n.out(x);
  }
  // Limits are scalars; a file may hold them as tensors of one element.
  const auto limit = [&](size_t i) { return n.reshape(n.in(i), {}); };
  if (n.has(1)) x = n.max(x, limit(1));
  if (n.has(2)) x = n.min(x, limit(2));
  n.out(x);
}

void import_cast(NodeImport& n) {
  const DType to = n.dtype_attribute("to", DType::kFloat32);
  n.out(n.cast(n.in(0), to));
}

void import_cast_like(NodeImport& n) { n.out(n.cast(n.in(0), n.dtype(n.in(1)))); }

constexpr OpRow kRows[] = {
    {"Abs", import_unary<Op::abs>, ""},
    {"Acos", import_unary<Op::acos>, ""},
    {"Acosh", import_unary<Op::acosh>, ""},
    {"Add", import_binary<Op::add>, ""},
    {"And", import_binary<Op::bit_and>, ""},
    {"Asin", import_unary<Op::asin>, ""},
    {"Asinh", import_unary<Op::asinh>, ""},
    {"Atan", import_unary<Op::atan>, ""},
    {"Atanh", import_unary<Op::atanh>, ""},
    {"BitShift", import_bit_shift, "direction"},
    {"BitwiseAnd", import_binary<Op::bit_and>, ""},
    {"BitwiseNot", import_unary<Op::bit_not>, ""},
    {"BitwiseOr", import_binary<Op::bit_or>, ""},
    {"BitwiseXor", import_binary<Op::bit_xor>, ""},
    {"Cast", import_cast, "to saturate round_mode"},
    {"CastLike", import_cast_like, "saturate round_mode"},
    {"Ceil", import_rounding<Op::ceil>, ""},
    {"Clip", import_clip, "max min"},
    {"Cos", import_unary<Op::cos>, ""},
    {"Cosh", import_unary<Op::cosh>, ""},
    {"Div", import_binary<Op::div>, ""},
    {"Equal", import_binary<Op::eq>, ""},
    {"Erf", import_unary<Op::erf>, ""},
    {"Exp", import_unary<Op::exp>, ""},
    {"Floor", import_rounding<Op::floor>, ""},
    {"Greater", import_binary<Op::gt>, ""},
    {"GreaterOrEqual", import_binary<Op::ge>, ""},
    {"IsInf", import_is_inf, "detect_negative detect_positive"},
    {"IsNaN", import_unary<Op::is_nan>, ""},
    {"Less", import_binary<Op::lt>, ""},
    {"LessOrEqual", import_binary<Op::le>, ""},
    {"Log", import_unary<Op::log>, ""},
    {"Max", import_variadic<Op::max>, ""},
    {"Mean", import_mean, ""},
    {"Min", import_variadic<Op::min>, ""},
    {"Mod", import_mod, "fmod"},
    {"Mul", import_binary<Op::mul>, ""},
    {"Neg", import_unary<Op::neg>, ""},
    {"Not", import_unary<Op::bit_not>, ""},
    {"Or", import_binary<Op::bit_or>, ""},
    {"Pow", import_pow, ""},
    {"Reciprocal", import_reciprocal, ""},
    {"Round", import_rounding<Op::round>, ""},
    {"Sign", import_unary<Op::sign>, ""},
    {"Sin", import_unary<Op::sin>, ""},
    {"Sinh", import_unary<Op::sinh>, ""},
    {"Sqrt", import_unary<Op::sqrt>, ""},
    {"Sub", import_binary<Op::sub>, ""},
    {"Sum", import_variadic<Op::add>, ""},
    {"Tan", import_unary<Op::tan>, ""},
    {"Tanh", import_unary<Op::tanh>, ""},
    {"Where", import_where, ""},
    {"Xor", import_binary<Op::bit_xor>, ""},
};

}  // namespace

std::span<const OpRow> math_rows() { return kRows; }

}  // namespace gcomp::formats::onnx
