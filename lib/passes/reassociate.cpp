// Problem: sums and products as people and gradients write them, `x + y + x`, `y = y + y` a thousand
// times, `x * y * x`, meet their like far apart, where a rule that looks at two nodes does not see it.
// Method: a region is a tree of add, sub and neg, or of mul, div and neg, whose inner nodes have one reader.
// Each is taken once, at its root: one walk to the leaves, equal bases collected in a map with coefficients
// (exponents), and the region rebuilt where that is cheaper; else it stays as it was written, for rounding's
// sake. A leaf `x * 3` counts as three x, `pow(x, 3)` as x thrice; constants become one. A shared value is a
// leaf, so nothing is multiplied out.
// Floats: what was added and what was subtracted are kept apart, as are factors and divisors: x - x is
// not 0 for infinite x, x / x not 1 for 0. They meet where x is known to be finite, or under fast-math.
// A coefficient beyond the dtype's range continues in a second factor. Integers wrap, so all is exact.
// A second run changes nothing, unless the first left a shared value with one reader: then it finds more.
// Cost: every node is in one region at most, so linear in the graph; a map per region, never per node.
#include <algorithm>
#include <bit>
#include <cmath>

#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/match.h"
#include "gcomp/rewrite/observer.h"
#include "sweeps.h"

namespace gcomp::passes {
namespace {

using rewrite::Facts;

enum class Family : uint8_t { kNone, kSum, kProduct };

// Costs, in half additions: a product with a coefficient fuses with the addition that follows.
constexpr int kAdd = 2, kScale = 1, kMul = 2, kDivide = 8, kPower = 20;
constexpr uint32_t kMaxExponent = 1u << 20;
constexpr int kMaxPeeled = 4;   // nested coefficients of one leaf
constexpr int kMaxFactors = 3;  // beyond three of the largest, all finite numbers overflow

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

bool in_family(const Graph& g, const Node& n, Family f) {
  const bool divides = n.op == Op::div && is_float(g.type(n.first_result).dtype);
  switch (n.op) {
    case Op::neg: return f != Family::kNone;
    case Op::add:
    case Op::sub: return f == Family::kSum;
    case Op::mul: return f == Family::kProduct;
    default: return divides && f == Family::kProduct;
  }
}

Family family_of(const Graph& g, const Node& n) {
  if (n.op == Op::neg) {  // that of its operand
    const Op of = g.producer_node(g.operands(n)[0]).op;
    return of == Op::add || of == Op::sub ? Family::kSum : Family::kProduct;
  }
  if (in_family(g, n, Family::kSum)) return Family::kSum;
  return in_family(g, n, Family::kProduct) ? Family::kProduct : Family::kNone;
}

// Which family each node is taken for, by one scan from users to operands.
class Regions {
 public:
  explicit Regions(const Graph& g) : uses_(g.num_nodes()), families_(g.num_nodes(), Family::kNone) {
    inner_.resize(g.num_nodes());
    std::vector<Family> reader(g.num_nodes(), Family::kNone);
    for (const Port& p : g.outputs()) uses_[g.producer(p.value).index] += 2;  // never inner
    for (size_t i = g.num_nodes(); i-- > 0;) {
      const Node& n = g.node(NodeId(i));
      inner_[i] = uses_[i] == 1 && in_family(g, n, reader[i]);
      families_[i] = inner_[i] ? reader[i] : family_of(g, n);
      for (ValueId v : g.operands(n)) {
        const NodeId p = g.producer(v);
        ++uses_[p.index];
        reader[p.index] = families_[i];
      }
    }
  }

  bool is_inner(NodeId n) const { return inner_[n.index]; }
  bool read_once(NodeId n) const { return uses_[n.index] == 1; }
  Family family(NodeId n) const { return families_[n.index]; }

 private:
  std::vector<uint32_t> uses_;
  std::vector<Family> families_;
  std::vector<bool> inner_;
};

// ---- terms and factors ----

// Exponents of coefficients that leave room for rounding.
int exponent_limit(DType t) {
  return t == DType::kFloat16 ? 14 : t == DType::kFloat64 ? 1000 : 120;
}

// An integer of the dtype's width as the signed number nearest to 0 that is congruent to it.
int64_t signed_of(DType t, uint64_t bits) {
  const int unused = 64 - 8 * static_cast<int>(byte_size(t));
  return static_cast<int64_t>(bits << unused) >> unused;
}

template <class Number>
struct Leaf {
  ValueId value;  // in the new graph
  Parts<Number> parts;
  bool dies;  // when the region does not read it, nobody does
};

// One base with what all its leaves add up to.
template <class Number>
struct Term {
  ValueId base;         // without its coefficient or exponent
  Parts<Number> total;  // of `base`
  Leaf<Number> first;
  uint32_t leaves = 1;
  int saved = 0;  // cost of the coefficients and exponents that were taken off and die
};

uint32_t multiplications(uint32_t exponent) {
  return static_cast<uint32_t>(std::bit_width(exponent) + std::popcount(exponent)) - 2;
}

using BodyMap = std::unordered_map<uint32_t, GraphId>;

// What observers know the pass's changes by.
const rewrite::Rule& as_rule() {
  static const rewrite::Rule kRule = [] {
    rewrite::Rule r;
    r.name = "reassociate";
    r.doc = "equal terms of a sum, equal factors of a product, constants of either become one";
    r.contract = rewrite::Contract::kReassociates;
    return r;
  }();
  return kRule;
}

class Reassociation {
 public:
  Reassociation(const Graph& old, const BodyMap& bodies, const pass::PassContext& context)
      : old_(old),
        bodies_(bodies),
        context_(context),
        fast_math_(context.fast_math),
        regions_(old),
        builder_(old.context(), GraphBuilder::Mode::kInterned),
        facts_(builder_.graph()),
        memo_(old.num_values()) {}

  // Null if nothing changes.
  std::unique_ptr<Graph> run() {
    size_t slots = 0;
    for (const Node& n : old_.nodes()) slots += n.num_operands;
    builder_.reserve(old_.num_nodes(), slots);
    for (const Port& p : old_.inputs()) {
      builder_.set_loc(old_.producer_node(p.value).loc);
      memo_[p.value.index] = builder_.input(p.name, old_.type(p.value));
    }
    for (size_t i = 0; i < old_.num_nodes(); ++i) {
      const Node& n = old_.node(NodeId(i));
      if (n.op == Op::input) continue;
      builder_.set_loc(n.loc);
      copy(n);
      if (regions_.is_inner(NodeId(i))) continue;
      ValueId& value = memo_[n.first_result.index];
      const size_t before = graph().num_nodes();
      const auto better = rebuild(NodeId(i));
      if (!better || *better == value || !allowed(NodeId(i), *better, before)) continue;
      value = *better;
      ++rebuilt_;
    }
    if (rebuilt_ == 0 && bodies_.empty()) return nullptr;
    for (const Port& p : old_.outputs()) builder_.output(p.name, memo_[p.value.index]);
    for (const Update& u : old_.updates()) builder_.update(u.input, u.output);
    auto made = builder_.finish();
    for (rewrite::Observer* o : context_.observers) o->rebuilt(old_, *made, memo_);
    return made;
  }

  size_t rebuilt() const { return rebuilt_; }

 private:
  const Graph& graph() const { return builder_.graph(); }
  const Node& producer(ValueId v) const { return graph().producer_node(v); }
  DType dtype(ValueId v) const { return builder_.type(v).dtype; }

  bool allowed(NodeId root, ValueId value, size_t first_made) {
    const NodeId copy = graph().producer(memo_[old_.result(root).index]);
    const rewrite::Rewrite change{&as_rule(), root, graph(), copy, {&value, 1}, first_made};
    for (rewrite::Observer* o : context_.observers) {
      if (!o->allows(change)) return false;
    }
    for (rewrite::Observer* o : context_.observers) o->applied(change);
    return true;
  }

  void copy(const Node& n) {
    operands_.clear();
    for (ValueId v : old_.operands(n)) operands_.push_back(memo_[v.index]);
    types_.clear();
    for (int k = 0; k < n.num_results; ++k) {
      types_.push_back(old_.type_id(ValueId(n.first_result.index + k)));
    }
    const AttrsId attrs = has_trait(n.op, kHasBody) ? map_bodies(n.attrs) : n.attrs;
    const NodeId made = builder_.typed_node(n.op, operands_, attrs, types_);
    for (int k = 0; k < n.num_results; ++k) {
      memo_[n.first_result.index + k] = graph().result(made, k);
    }
  }

  AttrsId map_bodies(AttrsId id) const {
    AttrTable& table = old_.context().attrs;
    std::vector<Attr> list(table[id].begin(), table[id].end());
    for (Attr& a : list) {
      auto* graphs = std::get_if<std::vector<GraphId>>(&a.value);
      if (graphs == nullptr) continue;
      for (GraphId& g : *graphs) {
        if (const auto found = bodies_.find(g.index); found != bodies_.end()) g = found->second;
      }
    }
    return table.intern(std::move(list));
  }

  std::optional<ValueId> rebuild(NodeId root) {
    const DType t = old_.type(old_.result(root)).dtype;
    switch (regions_.family(root)) {
      case Family::kNone: return std::nullopt;
      case Family::kProduct: return rebuild_product(root);
      case Family::kSum:
        return is_float(t) ? rebuild_sum<Scaled>(root) : rebuild_sum<Wrapped>(root);
    }
    return std::nullopt;
  }

  // The leaves of a region from left to right, the cost of its nodes, and how many of a product's are neg.
  template <class Number>
  std::vector<Leaf<Number>> leaves(NodeId root, int* cost, uint32_t* negs) {
    const bool product = regions_.family(root) == Family::kProduct;
    std::vector<Leaf<Number>> found;
    pending_.assign(1, {root, false});
    while (!pending_.empty()) {
      const auto [n, inverse] = pending_.back();
      pending_.pop_back();
      const Op op = old_.node(n).op;
      const auto operands = old_.operands(n);
      *cost += op == Op::div ? kDivide : kAdd;
      if (op == Op::neg) ++*negs;
      // Right to left: leaves that stand before inner nodes, or between two, come in another order than
      // in the text, always the same.
      for (size_t i = operands.size(); i-- > 0;) {
        const bool flips = op == Op::neg ? !product : i == 1 && (op == Op::sub || op == Op::div);
        const NodeId p = old_.producer(operands[i]);
        if (regions_.is_inner(p)) {
          pending_.push_back({p, inverse != flips});
          continue;
        }
        Leaf<Number> leaf{memo_[operands[i].index], {}, regions_.read_once(p)};
        (inverse != flips ? leaf.parts.minus : leaf.parts.plus) = Number::one();
        found.push_back(leaf);
      }
    }
    std::reverse(found.begin(), found.end());
    return found;
  }

  // Adds a term to those of the same base.
  template <class Number>
  void collect(std::vector<Term<Number>>* terms, const Term<Number>& term) {
    if (term_of_.size() < graph().num_values()) term_of_.resize(graph().num_values());
    uint32_t& at = term_of_[term.base.index];
    if (at == 0) {
      terms->push_back(term);
      at = static_cast<uint32_t>(terms->size());
      return;
    }
    Term<Number>& same = (*terms)[at - 1];
    same.total += term.total;
    same.saved += term.saved;
    ++same.leaves;
  }

  // Ends a collection. A base that occurred once is its leaf as it stood there.
  template <class Number>
  void close(std::vector<Term<Number>>* terms) {
    for (Term<Number>& term : *terms) {
      term_of_[term.base.index] = 0;
      if (term.leaves == 1) {
        term.base = term.first.value;
        term.total = term.first.parts;
        term.saved = 0;
      }
      cancel(&term);
    }
  }

  // ---- what is known of values ----

  bool never_infinite(ValueId v) {
    switch (producer(v).op) {
      case Op::sin:
      case Op::cos:
      case Op::tanh:
      case Op::sigmoid:
      case Op::erf:
      case Op::erfc:
      case Op::atan: return true;
      default: return finite(v);
    }
  }

  // Neither infinite nor NaN.
  bool finite(ValueId v) {
    if (const auto splat = facts_.splat(v)) return std::isfinite(splat->real);
    const Node& n = producer(v);
    if (n.op != Op::cast) return false;
    const DType from = dtype(graph().operands(n)[0]);
    return from == DType::kBool || (!is_float(from) && dtype(v) != DType::kFloat16);
  }

  // What was added and what was subtracted meet.
  void cancel(Term<Scaled>* term) {
    Parts<Scaled>& c = term->total;
    if (c.plus.zero() || c.minus.zero()) return;
    const bool equal = c.plus.fraction == c.minus.fraction && c.plus.exponent == c.minus.exponent;
    const bool allowed = fast_math_ || (equal ? finite(term->base) : never_infinite(term->base));
    const double difference = c.plus.value() - c.minus.value();
    if (!allowed || !std::isfinite(difference)) return;
    c = {};
    (difference < 0 ? c.minus : c.plus) = Scaled::of(std::fabs(difference));
  }

  void cancel(Term<Wrapped>* term) {
    Parts<Wrapped>& c = term->total;
    const int64_t difference = signed_of(dtype(term->base), c.plus.bits - c.minus.bits);
    const auto bits = static_cast<uint64_t>(difference);
    c = {};
    (difference < 0 ? c.minus : c.plus).bits = difference < 0 ? 0 - bits : bits;
  }

  void cancel(Term<Exponent>* term) {
    Parts<Exponent>& e = term->total;
    if (!fast_math_) return;
    const uint32_t both = std::min(e.plus.count, e.minus.count);
    e.plus.count -= both;
    e.minus.count -= both;
  }

  // The value of a splat, unless infinite or NaN.
  std::optional<Parts<Scaled>> number(ValueId v, const Scaled& /*kind*/) {
    const auto splat = facts_.splat(v);
    if (!splat || !std::isfinite(splat->real)) return std::nullopt;
    Parts<Scaled> p;
    (std::signbit(splat->real) ? p.minus : p.plus) = Scaled::of(std::fabs(splat->real));
    return p;
  }
  std::optional<Parts<Wrapped>> number(ValueId v, const Wrapped& /*kind*/) {
    const auto splat = facts_.splat(v);
    if (!splat) return std::nullopt;
    return Parts<Wrapped>{{static_cast<uint64_t>(splat->integer)}, {}};
  }

  // ---- making nodes ----

  ValueId commutative(Op op, ValueId a, ValueId b) {
    const bool first = facts_.is_constant(a), second = facts_.is_constant(b);
    if (first != second ? first : b < a) std::swap(a, b);
    return builder_.value(op, {a, b});
  }

  ValueId integer_like(ValueId v, uint64_t bits) {
    const Type t = builder_.type(v);
    const ValueId one = builder_.scalar_int(t.dtype, static_cast<int64_t>(bits));
    const ValueId carriers[] = {v};
    const bool needed = builder_.needs_carrier(t.dims);
    return builder_.broadcast(
        one, t.dims, {}, needed ? std::span<const ValueId>(carriers) : std::span<const ValueId>());
  }

  static bool is_one(const Scaled& c) { return c.fraction == 0.5 && c.exponent == 1; }
  static bool is_one(const Wrapped& c) { return c.bits == 1; }

  // Multiplications that scaling takes.
  static int factors(DType t, const Scaled& c) {
    const int64_t limit = exponent_limit(t), size = std::abs(c.exponent - 1);
    return is_one(c) ? 0 : static_cast<int>(std::min<int64_t>(1 + size / limit, kMaxFactors));
  }
  static int factors(DType /*t*/, const Wrapped& c) { return is_one(c) ? 0 : 1; }

  ValueId scaled(ValueId v, const Wrapped& c) {
    return is_one(c) ? v : commutative(Op::mul, v, integer_like(v, c.bits));
  }

  ValueId scaled(ValueId v, Scaled c) {
    const int64_t limit = exponent_limit(dtype(v));
    for (int left = factors(dtype(v), c); left > 0; --left) {
      const int64_t e = left == 1 ? std::clamp(c.exponent, 1 - limit, 1 + limit)
                                  : (c.exponent < 0 ? -limit : limit);
      const double factor = std::ldexp(left == 1 ? c.fraction : 1.0, static_cast<int>(e));
      v = builder_.value(Op::mul, {v, builder_.full_like(v, factor)});
      c.exponent -= e;
    }
    return v;
  }

  // By squaring; x * x * x for 3, as the rules for powers have it.
  ValueId power(ValueId v, uint32_t n) {
    ValueId result, square = v;
    for (uint32_t left = n;; left /= 2) {
      if (left % 2 == 1) result = result.valid() ? commutative(Op::mul, square, result) : square;
      if (left == 1) return result;
      square = builder_.value(Op::mul, {square, square});
    }
  }

  // ---- sums ----

  // `x * 3` is three x, `-x` is minus one x.
  template <class Number>
  Term<Number> without_coefficient(const Leaf<Number>& leaf) {
    Term<Number> term{leaf.value, leaf.parts, leaf};
    for (int i = 0; i < kMaxPeeled; ++i) {
      const Node& n = producer(term.base);
      const auto operands = graph().operands(n);
      if (n.op == Op::neg) {
        term.total = term.total.swapped();
      } else if (n.op == Op::mul) {
        const auto c = number(operands[1], Number());
        if (!c || (c->plus.zero() && c->minus.zero())) break;
        term.total = term.total * *c;
      } else {
        break;
      }
      if (leaf.dies) term.saved += kScale;
      term.base = operands[0];
    }
    return term;
  }

  // The constant part of a sum as a value to add; nothing when it is 0 or out of range.
  std::optional<ValueId> constant_part(ValueId like, const Parts<Scaled>& k, bool* in_range) {
    const double v = k.plus.value() - k.minus.value();
    *in_range = std::isfinite(make_splat(dtype(like), {}, v).as_double(0));
    if (v == 0) return std::nullopt;
    return builder_.full_like(like, v);
  }
  std::optional<ValueId> constant_part(ValueId like, const Parts<Wrapped>& k, bool* in_range) {
    *in_range = true;
    const uint64_t v = k.plus.bits - k.minus.bits;
    if (signed_of(dtype(like), v) == 0) return std::nullopt;
    return integer_like(like, v);
  }

  template <class Number>
  std::optional<ValueId> rebuild_sum(NodeId root) {
    int cost = 0;
    uint32_t negs = 0;
    const auto found = leaves<Number>(root, &cost, &negs);
    if (found.size() < 2) return std::nullopt;
    std::vector<Term<Number>> terms;
    Parts<Number> constant;
    for (const Leaf<Number>& leaf : found) {
      if (const auto k = number(leaf.value, Number())) {
        constant += leaf.parts * *k;
      } else {
        collect(&terms, without_coefficient(leaf));
      }
    }
    close(&terms);
    const ValueId like = memo_[old_.result(root).index];
    bool in_range = true;
    const auto k = constant_part(like, constant, &in_range);
    if (!in_range || sum_cost(dtype(like), terms, k.has_value()) >= cost) return std::nullopt;
    return make_sum(like, terms, k);
  }

  // What the sum will cost, less the coefficients that it makes dead.
  template <class Number>
  static int sum_cost(DType t, const std::vector<Term<Number>>& terms, bool constant) {
    int pieces = constant ? 1 : 0, cost = 0;
    bool positive = constant;
    for (const Term<Number>& term : terms) {
      positive = positive || !term.total.plus.zero();
      for (const Number& c : {term.total.plus, term.total.minus}) {
        if (c.zero()) continue;
        ++pieces;
        cost += kScale * factors(t, c);
      }
      cost -= term.saved;
    }
    if (!positive && pieces > 0) ++pieces;  // the neg
    return cost + kAdd * std::max(0, pieces - 1);
  }

  // From left to right; the constant last.
  template <class Number>
  ValueId make_sum(ValueId like, const std::vector<Term<Number>>& terms,
                   std::optional<ValueId> constant) {
    ValueId plus, minus;
    const auto add = [&](ValueId* to, ValueId v) {
      *to = to->valid() ? commutative(Op::add, *to, v) : v;
    };
    // Subtracted at once where something stands to the left, else once there is.
    for (const Term<Number>& term : terms) {
      if (!term.total.plus.zero()) add(&plus, scaled(term.base, term.total.plus));
      if (term.total.minus.zero()) continue;
      const ValueId v = scaled(term.base, term.total.minus);
      if (plus.valid() && !minus.valid()) {
        plus = builder_.value(Op::sub, {plus, v});
      } else {
        add(&minus, v);
      }
      if (plus.valid() && minus.valid()) {
        plus = builder_.value(Op::sub, {plus, minus});
        minus = ValueId();
      }
    }
    if (!plus.valid() && !minus.valid()) {
      return constant ? *constant : builder_.full_like(like, 0);
    }
    if (!plus.valid()) {
      return constant ? builder_.value(Op::sub, {*constant, minus})
                      : builder_.value(Op::neg, {minus});
    }
    if (minus.valid()) plus = builder_.value(Op::sub, {plus, minus});
    return constant ? builder_.value(Op::add, {plus, *constant}) : plus;
  }

  // ---- products ----

  // `pow(x, 3)` is x thrice.
  Term<Exponent> without_exponent(const Leaf<Exponent>& leaf) {
    Term<Exponent> term{leaf.value, leaf.parts, leaf};
    const Node& n = producer(leaf.value);
    if (n.op != Op::pow || !is_float(dtype(leaf.value))) return term;
    const auto splat = facts_.splat(graph().operands(n)[1]);
    if (!splat || splat->real < 2 || splat->real > 64 || splat->real != std::floor(splat->real)) {
      return term;
    }
    const auto by = static_cast<uint32_t>(splat->real);
    for (Exponent* e : {&term.total.plus, &term.total.minus}) {
      e->count = std::min(e->count * by, kMaxExponent);
    }
    if (leaf.dies) term.saved = kPower;
    term.base = graph().operands(n)[0];
    return term;
  }

  // The product of the constants among the leaves.
  struct Coefficient {
    Scaled large = Scaled::one(), small = Scaled::one();  // floats: factors >= 1, and < 1
    uint64_t bits = 1;                                    // integers
    bool negative = false, usable = true;
    uint32_t leaves = 0;
    ValueId divisor;  // the constant, when it is the only one and divides

    void multiply(double v, uint32_t times, bool divides) {
      if (v == 0 || !std::isfinite(v) || times > 64) {
        usable = false;
        return;
      }
      negative = negative != (v < 0 && times % 2 == 1);
      const double factor = divides ? 1 / std::fabs(v) : std::fabs(v);
      Scaled& to = factor < 1 ? small : large;
      for (uint32_t i = 0; i < times; ++i) to = to * Scaled::of(factor);
    }

    // A large and a small factor may meet near 1 only: elsewhere one of them alone may overflow where
    // both together do not.
    bool mixes() const {
      return is_one(large) || is_one(small) || (large.exponent <= 11 && small.exponent >= -9);
    }
  };

  std::optional<ValueId> rebuild_product(NodeId root) {
    int cost = 0;
    Coefficient c;
    uint32_t negs = 0;
    const auto found = leaves<Exponent>(root, &cost, &negs);
    c.negative = negs % 2 == 1;
    if (found.size() < 2) return std::nullopt;
    const ValueId like = memo_[old_.result(root).index];
    std::vector<Term<Exponent>> terms;
    for (const Leaf<Exponent>& leaf : found) {
      if (const auto splat = facts_.splat(leaf.value)) {
        add_constant(&c, *splat, leaf);
      } else {
        collect(&terms, without_exponent(leaf));
      }
    }
    close(&terms);
    if (!c.usable || !c.mixes()) return std::nullopt;
    const bool repeated =
        c.leaves > 1 || std::any_of(terms.begin(), terms.end(), [](const auto& t) {
          return t.leaves > 1 || t.total.plus.count + t.total.minus.count > 1;
        });
    std::sort(terms.begin(), terms.end(),
              [](const auto& a, const auto& b) { return a.base < b.base; });
    const int now = product_cost(dtype(like), terms, c);
    if (now > cost || (now == cost && !repeated)) return std::nullopt;
    return make_product(like, terms, c);
  }

  void add_constant(Coefficient* c, const rewrite::Splat& splat, const Leaf<Exponent>& leaf) {
    ++c->leaves;
    const Parts<Exponent>& e = leaf.parts;
    if (is_float(splat.dtype)) {
      if (!e.plus.zero()) c->multiply(splat.real, e.plus.count, false);
      if (!e.minus.zero()) c->multiply(splat.real, e.minus.count, true);
      c->divisor = c->leaves == 1 && e.plus.zero() && e.minus.count == 1 ? leaf.value : ValueId();
      return;
    }
    uint64_t square = static_cast<uint64_t>(splat.integer);
    for (uint32_t left = e.plus.count; left > 0; left /= 2, square *= square) {
      if (left % 2 == 1) c->bits *= square;
    }
    if (e.plus.count >= kMaxExponent) c->usable = false;
  }

  static int product_cost(DType t, const std::vector<Term<Exponent>>& terms, const Coefficient& c) {
    int cost = 0, above = 0, below = 0;
    for (const Term<Exponent>& term : terms) {
      for (const auto& [e, count] :
           {std::pair(term.total.plus, &above), std::pair(term.total.minus, &below)}) {
        if (e.zero()) continue;
        if (e.count >= kMaxExponent) return 1 << 30;
        cost += kMul * static_cast<int>(multiplications(e.count));
        ++*count;
      }
      cost -= term.saved;
    }
    if (below > 0 && t == DType::kFloat16) return 1 << 30;  // products of divisors soon overflow
    cost += kMul * (std::max(above, 1) + std::max(below, 1) - 2);
    if (below > 0) cost += kDivide;
    if (above == 0 && below > 0) return cost;  // the coefficient is divided
    if (c.divisor.valid()) return cost + kDivide;
    const int scale = is_float(t)                 ? factors(t, c.large * c.small)
                      : signed_of(t, c.bits) == 1 ? 0
                                                  : 1;
    return cost + kMul * (scale > 0 ? scale : c.negative ? 1 : 0);
  }

  ValueId make_product(ValueId like, const std::vector<Term<Exponent>>& terms,
                       const Coefficient& c) {
    ValueId above, below;
    for (const Term<Exponent>& term : terms) {
      for (const auto& [e, to] :
           {std::pair(term.total.plus, &above), std::pair(term.total.minus, &below)}) {
        if (e.zero()) continue;
        const ValueId factor = power(term.base, e.count);
        *to = to->valid() ? commutative(Op::mul, *to, factor) : factor;
      }
    }
    if (!is_float(dtype(like))) {
      const uint64_t bits = c.negative ? 0 - c.bits : c.bits;
      return above.valid() ? scaled_by(above, bits) : integer_like(like, bits);
    }
    const Scaled magnitude = c.large * c.small;
    const double sign = c.negative ? -1 : 1;
    if (!above.valid()) {
      above = builder_.full_like(like, sign * magnitude.value());
      return below.valid() ? builder_.value(Op::div, {above, below}) : above;
    }
    if (below.valid()) above = builder_.value(Op::div, {above, below});
    if (c.divisor.valid()) {
      const ValueId quotient = builder_.value(Op::div, {above, c.divisor});
      const bool flips = c.negative != std::signbit(facts_.splat(c.divisor)->real);
      return flips ? builder_.value(Op::neg, {quotient}) : quotient;
    }
    if (factors(dtype(like), magnitude) == 1) {
      const double factor = sign * magnitude.value();
      return builder_.value(Op::mul, {above, builder_.full_like(above, factor)});
    }
    above = scaled(above, magnitude);
    return c.negative ? builder_.value(Op::neg, {above}) : above;
  }

  ValueId scaled_by(ValueId v, uint64_t bits) {
    const int64_t c = signed_of(dtype(v), bits);
    if (c == 1) return v;
    if (c == -1) return builder_.value(Op::neg, {v});
    const ValueId factor = integer_like(v, bits);
    return c == 0 ? factor : builder_.value(Op::mul, {v, factor});
  }

  const Graph& old_;
  const BodyMap& bodies_;
  const pass::PassContext& context_;
  bool fast_math_;
  Regions regions_;
  GraphBuilder builder_;
  Facts facts_;
  std::vector<ValueId> memo_;      // old value -> new value
  std::vector<uint32_t> term_of_;  // per new value: 1 + its term, while a region is collected
  std::vector<std::pair<NodeId, bool>> pending_;  // scratch
  std::vector<ValueId> operands_;                 // scratch
  std::vector<TypeId> types_;                     // scratch
  size_t rebuilt_ = 0;
};

}  // namespace

pass::Pass reassociate() {
  const auto run = [](const Graph& graph, pass::PassContext& context) -> std::unique_ptr<Graph> {
    Context& tables = graph.context();
    BodyMap bodies;
    size_t rebuilt = 0;
    for (GraphId id : rewrite::nested_graphs(tables, graph)) {
      Reassociation inner(tables.graph(id), bodies, context);
      auto changed = inner.run();
      rebuilt += inner.rebuilt();
      if (changed) bodies.emplace(id.index, tables.add_graph(std::move(changed)));
    }
    Reassociation outer(graph, bodies, context);
    const auto changed = outer.run();
    rebuilt += outer.rebuilt();
    context.profile->counters.emplace_back("sums and products rebuilt", rebuilt);
    if (!changed) return nullptr;
    return sweep(*changed, context);
  };
  return {"reassociate",
          run,
          false,
          {"fast_compile", "fast_run"},
          "sums and products over many nodes: equal terms and factors are collected, constants "
          "become one",
          "canonicalize"};
}

}  // namespace gcomp::passes
