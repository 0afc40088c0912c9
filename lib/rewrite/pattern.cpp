#include "gcomp/rewrite/pattern.h"

#include <cmath>
#include <cstdio>

namespace gcomp::rewrite {
namespace {

Pattern leaf(Pattern::Kind kind, std::string name, DTypeMask dtypes) {
  Pattern p;
  p.kind = kind;
  p.name = std::move(name);
  p.dtypes = dtypes;
  return p;
}

Pattern binary(Op o, Pattern a, Pattern b) { return op(o, {std::move(a), std::move(b)}); }

std::string_view infix(Op o) {
  switch (o) {
    case Op::add: return "+";
    case Op::sub: return "-";
    case Op::mul: return "*";
    case Op::div: return "/";
    case Op::lt: return "<";
    case Op::le: return "<=";
    case Op::gt: return ">";
    case Op::ge: return ">=";
    case Op::eq: return "==";
    case Op::ne: return "!=";
    case Op::bit_and: return "&";
    case Op::bit_or: return "|";
    case Op::bit_xor: return "^";
    default: return "";
  }
}

std::string number_text(double v) {
  if (v == 0 && std::signbit(v)) return "-0.0";
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", v);
  char shorter[32];
  std::snprintf(shorter, sizeof shorter, "%g", v);
  return std::strtod(shorter, nullptr) == v ? shorter : text;
}

std::string op_text(const Pattern& p) {
  if (p.ops.size() == 1) return std::string(name(p.ops[0]));
  return p.name;
}

}  // namespace

Pattern any(std::string name, DTypeMask dtypes) {
  return leaf(Pattern::Kind::kVariable, std::move(name), dtypes);
}

Pattern constant(std::string name, DTypeMask dtypes) {
  return leaf(Pattern::Kind::kConstant, std::move(name), dtypes);
}

Pattern scalar(std::string name, DTypeMask dtypes) {
  return leaf(Pattern::Kind::kScalar, std::move(name), dtypes);
}

Pattern op(Op o, std::vector<Pattern> operands) {
  Pattern p;
  p.kind = Pattern::Kind::kOp;
  p.ops = {o};
  p.operands = std::move(operands);
  return p;
}

Pattern one_of(std::vector<Op> ops, std::string name, std::vector<Pattern> operands) {
  Pattern p;
  p.kind = Pattern::Kind::kOp;
  p.name = std::move(name);
  p.ops = std::move(ops);
  p.operands = std::move(operands);
  return p;
}

Pattern operator+(Pattern a, Pattern b) { return binary(Op::add, std::move(a), std::move(b)); }
Pattern operator-(Pattern a, Pattern b) { return binary(Op::sub, std::move(a), std::move(b)); }
Pattern operator*(Pattern a, Pattern b) { return binary(Op::mul, std::move(a), std::move(b)); }
Pattern operator/(Pattern a, Pattern b) { return binary(Op::div, std::move(a), std::move(b)); }
Pattern operator-(Pattern a) { return op(Op::neg, {std::move(a)}); }
Pattern operator<(Pattern a, Pattern b) { return binary(Op::lt, std::move(a), std::move(b)); }
Pattern operator<=(Pattern a, Pattern b) { return binary(Op::le, std::move(a), std::move(b)); }
Pattern operator>(Pattern a, Pattern b) { return binary(Op::gt, std::move(a), std::move(b)); }
Pattern operator>=(Pattern a, Pattern b) { return binary(Op::ge, std::move(a), std::move(b)); }
Pattern operator==(Pattern a, Pattern b) { return binary(Op::eq, std::move(a), std::move(b)); }
Pattern operator!=(Pattern a, Pattern b) { return binary(Op::ne, std::move(a), std::move(b)); }
Pattern operator&(Pattern a, Pattern b) { return binary(Op::bit_and, std::move(a), std::move(b)); }
Pattern operator|(Pattern a, Pattern b) { return binary(Op::bit_or, std::move(a), std::move(b)); }
Pattern operator^(Pattern a, Pattern b) { return binary(Op::bit_xor, std::move(a), std::move(b)); }
Pattern operator~(Pattern a) { return op(Op::bit_not, {std::move(a)}); }
Pattern where(Pattern c, Pattern a, Pattern b) {
  return op(Op::where, {std::move(c), std::move(a), std::move(b)});
}

// NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
std::string to_string(const Pattern& p) {
  if (p.kind == Pattern::Kind::kSplat) return number_text(p.value);
  if (p.kind != Pattern::Kind::kOp) return p.name;
  // NOLINTNEXTLINE(misc-no-recursion): over a rule's pattern
  const auto wrapped = [](const Pattern& child) {
    const bool infixed = child.kind == Pattern::Kind::kOp && child.ops.size() == 1 &&
                         (!infix(child.ops[0]).empty() || child.ops[0] == Op::neg);
    return infixed ? "(" + to_string(child) + ")" : to_string(child);
  };
  if (p.ops.size() == 1 && p.operands.size() == 2 && !infix(p.ops[0]).empty()) {
    return wrapped(p.operands[0]) + " " + std::string(infix(p.ops[0])) + " " +
           wrapped(p.operands[1]);
  }
  if (p.ops.size() == 1 && p.ops[0] == Op::neg) return "-" + wrapped(p.operands[0]);
  if (p.ops.size() == 1 && p.ops[0] == Op::bit_not) return "~" + wrapped(p.operands[0]);
  std::string s = op_text(p) + "(";
  for (size_t i = 0; i < p.operands.size(); ++i) s += (i ? ", " : "") + to_string(p.operands[i]);
  return s + ")";
}

}  // namespace gcomp::rewrite
