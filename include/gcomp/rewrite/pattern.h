#pragma once
// Patterns as data: a tree over ops with named variables. Written with C++ operators, so that a row of
// a rule table reads as algebra: `log(1 + x)`, `where(c, x, x)`. A pattern that is used as a *result*
// is a template: it is built from the values the names were bound to.

#include <bitset>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "gcomp/ir/dtype.h"
#include "gcomp/ir/op.h"

namespace gcomp::rewrite {

// Sets of dtypes, one bit each.
using DTypeMask = uint16_t;
constexpr DTypeMask mask_of(DType t) { return static_cast<DTypeMask>(1u << static_cast<int>(t)); }
inline constexpr DTypeMask kBools = mask_of(DType::kBool);
inline constexpr DTypeMask kSignedInts = mask_of(DType::kInt8) | mask_of(DType::kInt16) |
                                         mask_of(DType::kInt32) | mask_of(DType::kInt64);
inline constexpr DTypeMask kUnsignedInts = mask_of(DType::kUInt8) | mask_of(DType::kUInt16) |
                                           mask_of(DType::kUInt32) | mask_of(DType::kUInt64);
inline constexpr DTypeMask kInts = kSignedInts | kUnsignedInts;
inline constexpr DTypeMask kFloats = mask_of(DType::kFloat16) | mask_of(DType::kBFloat16) |
                                     mask_of(DType::kFloat32) | mask_of(DType::kFloat64);
inline constexpr DTypeMask kNumbers = kInts | kFloats;
inline constexpr DTypeMask kAllDTypes = kNumbers | kBools;

using OpSet = std::bitset<kNumOps>;

struct Pattern {  // NOLINT(misc-no-recursion): copying one, and rows are shallow
  enum class Kind : uint8_t {
    kVariable,  // any value; the same name twice: the same value
    kConstant,  // a constant, or the broadcast of one
    kScalar,    // as kConstant, all elements equal, any value
    kSplat,     // as kConstant, all elements equal to `value` (-0.0 and 0.0 are different)
    kOp,        // a node of one of `ops` whose first operands match `operands`
  };

  Kind kind = Kind::kVariable;
  std::string name;  // binding; an op may be named too, for its attributes
  DTypeMask dtypes = kAllDTypes;
  double value = 0;
  std::vector<Op> ops;
  std::vector<Pattern> operands;  // of layout ops: carriers of extents may follow
  int output = 0;                 // which result of the node, for ops with several
  bool open = false;              // more operands may follow, of elementwise ops too

  Pattern() = default;
  Pattern(double v) : kind(Kind::kSplat), value(v) {}  // NOLINT: literals stand for splats
  Pattern(int v) : Pattern(static_cast<double>(v)) {}  // NOLINT

  Pattern named(std::string n) && {
    name = std::move(n);
    return std::move(*this);
  }
  Pattern named(std::string n) const& { return Pattern(*this).named(std::move(n)); }
  Pattern and_more() && {
    open = true;
    return std::move(*this);
  }
};

std::string to_string(const Pattern& p);  // "log(1 + x)"

// ---- leaves ----
Pattern any(std::string name, DTypeMask dtypes = kAllDTypes);
inline Pattern number(std::string name) { return any(std::move(name), kNumbers); }
inline Pattern real(std::string name) { return any(std::move(name), kFloats); }
inline Pattern integer(std::string name) { return any(std::move(name), kInts); }
inline Pattern boolean(std::string name) { return any(std::move(name), kBools); }
Pattern constant(std::string name, DTypeMask dtypes = kAllDTypes);
Pattern scalar(std::string name, DTypeMask dtypes = kAllDTypes);

// ---- nodes ----
Pattern op(Op o, std::vector<Pattern> operands);
Pattern one_of(std::vector<Op> ops, std::string name, std::vector<Pattern> operands);
// In a result only: the op, attributes and carriers of the node bound to `name`, on new operands.
inline Pattern like(std::string name, std::vector<Pattern> operands) {
  return one_of({}, std::move(name), std::move(operands));
}

Pattern operator+(Pattern a, Pattern b);
Pattern operator-(Pattern a, Pattern b);
Pattern operator*(Pattern a, Pattern b);
Pattern operator/(Pattern a, Pattern b);
Pattern operator-(Pattern a);
Pattern operator<(Pattern a, Pattern b);
Pattern operator<=(Pattern a, Pattern b);
Pattern operator>(Pattern a, Pattern b);
Pattern operator>=(Pattern a, Pattern b);
Pattern operator==(Pattern a, Pattern b);
Pattern operator!=(Pattern a, Pattern b);
Pattern operator&(Pattern a, Pattern b);
Pattern operator|(Pattern a, Pattern b);
Pattern operator^(Pattern a, Pattern b);
Pattern operator~(Pattern a);
Pattern where(Pattern c, Pattern a, Pattern b);

// clang-format off: it never settles on one layout of this list
#define GCOMP_PATTERN_UNARY(X)                                                                     \
  X(abs)                                                                                           \
  X(sign)                                                                                          \
  X(floor)                                                                                         \
  X(ceil)                                                                                          \
  X(round) X(trunc) X(sqrt) X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sin) X(cos) \
      X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) X(erf)     \
          X(erfc) X(erfcx) X(erfinv) X(lgamma) X(digamma) X(sigmoid) X(softplus) X(log1mexp)       \
              X(is_nan) X(is_inf)
// clang-format on
#define GCOMP_PATTERN_BINARY(X) \
  X(floor_div) X(mod) X(rem) X(pow) X(min) X(max) X(atan2) X(shl) X(shr)
#define GCOMP_DECLARE_UNARY(name) \
  inline Pattern name(Pattern a) { return op(Op::name, {std::move(a)}); }
#define GCOMP_DECLARE_BINARY(name) \
  inline Pattern name(Pattern a, Pattern b) { return op(Op::name, {std::move(a), std::move(b)}); }
GCOMP_PATTERN_UNARY(GCOMP_DECLARE_UNARY)
GCOMP_PATTERN_BINARY(GCOMP_DECLARE_BINARY)
#undef GCOMP_DECLARE_UNARY
#undef GCOMP_DECLARE_BINARY

}  // namespace gcomp::rewrite
