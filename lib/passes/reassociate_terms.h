#pragma once
// What reassociate.cpp collects: numbers that paths add up to, the regions of a graph, their leaves and terms.

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "gcomp/ir/graph.h"

namespace gcomp::passes {

enum class Family : uint8_t { kNone, kSum, kProduct };

inline constexpr uint32_t kMaxExponent = 1u << 20;

// ---- numbers that paths add up to ----

// A float >= 0 whose exponent does not end: 2^1000000 after a million doublings.
struct Scaled {
  double fraction = 0;  // 0, or in [0.5, 1)
  int64_t exponent = 0;

  static Scaled of(double v) {
    int e = 0;
    const double f = std::frexp(v, &e);
    return {f, e};
  }
  static Scaled one() { return of(1); }
  bool zero() const { return fraction == 0; }
  double value() const {
    const int64_t e = std::clamp<int64_t>(exponent, -5000, 5000);
    return std::ldexp(fraction, static_cast<int>(e));
  }
  Scaled& operator+=(const Scaled& o) {
    if (o.zero()) return *this;
    if (zero()) return *this = o;
    const int64_t top = std::max(exponent, o.exponent);
    const auto shift = [&](const Scaled& s) {
      return std::ldexp(s.fraction, static_cast<int>(std::max<int64_t>(s.exponent - top, -200)));
    };
    const Scaled sum = of(shift(*this) + shift(o));
    return *this = {sum.fraction, sum.exponent + top};
  }
  friend Scaled operator*(const Scaled& a, const Scaled& b) {
    const Scaled p = of(a.fraction * b.fraction);
    return {p.fraction, p.zero() ? 0 : p.exponent + a.exponent + b.exponent};
  }
};

// An integer modulo 2^64, hence modulo every narrower power too.
struct Wrapped {
  uint64_t bits = 0;
  static Wrapped one() { return {1}; }
  bool zero() const { return bits == 0; }
  Wrapped& operator+=(const Wrapped& o) {
    bits += o.bits;
    return *this;
  }
  friend Wrapped operator*(const Wrapped& a, const Wrapped& b) { return {a.bits * b.bits}; }
};

struct Exponent {
  uint32_t count = 0;
  static Exponent one() { return {1}; }
  bool zero() const { return count == 0; }
  Exponent& operator+=(const Exponent& o) {
    count = std::min(count + o.count, kMaxExponent);
    return *this;
  }
};

// What is added and what is subtracted; or the exponents of factor and divisor.
template <class Number>
struct Parts {
  Number plus = {}, minus = {};
  Parts swapped() const { return {minus, plus}; }
  Parts& operator+=(const Parts& o) {
    plus += o.plus;
    minus += o.minus;
    return *this;
  }
  friend Parts operator*(const Parts& a, const Parts& b) {
    Parts p{a.plus * b.plus, a.plus * b.minus};
    p.plus += a.minus * b.minus;
    p.minus += a.minus * b.plus;
    return p;
  }
};

// ---- regions ----

inline bool in_family(const Graph& g, const Node& n, Family f) {
  const bool divides = n.op == Op::div && is_float(g.type(n.first_result).dtype);
  switch (n.op) {
    case Op::neg: return f != Family::kNone;
    case Op::add:
    case Op::sub: return f == Family::kSum;
    case Op::mul: return f == Family::kProduct;
    default: return divides && f == Family::kProduct;
  }
}

inline Family family_of(const Graph& g, const Node& n) {
  if (n.op == Op::neg) {  // that of its operand
    const Op of = g.producer_node(g.operands(n)[0]).op;
    return of == Op::add || of == Op::sub ? Family::kSum : Family::kProduct;
  }
  if (in_family(g, n, Family::kSum)) return Family::kSum;
  return in_family(g, n, Family::kProduct) ? Family::kProduct : Family::kNone;
}

inline bool doubles(const Graph& g, const Node& n) {
  return n.op == Op::add && g.operands(n)[0] == g.operands(n)[1];
}

// Which family each node is taken for, by one scan from users to operands. Inner nodes are read once, or
// by both operands of a sum when they double something themselves: y = y + y again and again.
class Regions {
 public:
  explicit Regions(const Graph& g) : uses_(g.num_nodes()), families_(g.num_nodes(), Family::kNone) {
    inner_.resize(g.num_nodes());
    std::vector<NodeId> reader(g.num_nodes());
    for (const Port& p : g.outputs()) uses_[g.producer(p.value).index] += 3;  // never inner
    for (size_t i = g.num_nodes(); i-- > 0;) {
      const Node& n = g.node(NodeId(i));
      const bool once =
          uses_[i] == 1 || (uses_[i] == 2 && doubles(g, n) && doubles(g, g.node(reader[i])));
      const Family above = once ? families_[reader[i].index] : Family::kNone;
      inner_[i] = once && in_family(g, n, above);
      families_[i] = inner_[i] ? above : family_of(g, n);
      for (ValueId v : g.operands(n)) {
        const NodeId p = g.producer(v);
        ++uses_[p.index];
        reader[p.index] = NodeId(i);
      }
    }
  }

  bool is_inner(NodeId n) const { return inner_[n.index]; }
  uint32_t uses(NodeId n) const { return uses_[n.index]; }
  Family family(NodeId n) const { return families_[n.index]; }

 private:
  std::vector<uint32_t> uses_;
  std::vector<Family> families_;
  std::vector<bool> inner_;
};

// ---- terms and factors ----

// Exponents of coefficients that leave room for rounding.
inline int exponent_limit(DType t) {
  return t == DType::kFloat16 ? 14 : t == DType::kFloat64 ? 1000 : 120;
}

// An integer of the dtype's width as the signed number nearest to 0 that is congruent to it.
inline int64_t signed_of(DType t, uint64_t bits) {
  const int unused = 64 - 8 * static_cast<int>(byte_size(t));
  return static_cast<int64_t>(bits << unused) >> unused;
}

template <class Number>
struct Leaf {
  ValueId value;  // in the new graph
  Parts<Number> parts;
  uint32_t uses;  // how many operands it is
};

// One base with what all its leaves add up to.
template <class Number>
struct Term {
  ValueId base;         // without its coefficient or exponent
  Parts<Number> total;  // of `base`
  Leaf<Number> first;
  uint32_t leaves = 1, repeats = 1;  // all, and those that are `first`
  int taken_off = 0;                 // cost of the coefficients or the exponent of `first`
  int saved = 0;                     // cost of those that nobody needs any more
};

inline uint32_t multiplications(uint32_t exponent) {
  return static_cast<uint32_t>(std::bit_width(exponent) + std::popcount(exponent)) - 2;
}

}  // namespace gcomp::passes
