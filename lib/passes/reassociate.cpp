// Problem: sums and products as people and gradients write them, `x + y + x`, `y = y + y` a thousand
// times, `x * y * x`, meet their like far apart, where a rule that looks at two nodes does not see it.
// Method: a region is a tree of add, sub and neg, or of mul, div and neg, whose inner nodes are read once.
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

#include "copy.h"
#include "gcomp/ir/builder.h"
#include "gcomp/passes/passes.h"
#include "gcomp/rewrite/match.h"
#include "gcomp/rewrite/observer.h"
#include "reassociate_terms.h"

namespace gcomp::passes {
namespace {

using rewrite::Facts;

// Costs, in half additions: a product with a coefficient fuses with the addition that follows.
constexpr int kAdd = 2, kScale = 1, kMul = 2, kDivide = 8, kPower = 20;
constexpr int kMaxPeeled = 4;   // nested coefficients of one leaf
constexpr int kMaxFactors = 3;  // beyond three of the largest, all finite numbers overflow

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
        old_facts_(old),
        new_facts_(builder_.graph()),
        copier_(old, bodies, builder_, memo_) {}

  // Null if nothing changes. Nothing is copied before the first region that pays.
  std::unique_ptr<Graph> run() {
    if (!bodies_.empty()) begin_copy(NodeId(size_t{0}));
    for (size_t i = 0; i < old_.num_nodes(); ++i) {
      const Node& n = old_.node(NodeId(i));
      if (copying_ && n.op != Op::input) copier_.node(n);
      if (!is_candidate(NodeId(i))) continue;
      if (!copying_) {
        if (!rebuild(NodeId(i))) continue;
        begin_copy(NodeId(i + 1));
      }
      ValueId& value = memo_[n.first_result.index];
      const size_t before = graph().num_nodes();
      const auto better = rebuild(NodeId(i));
      if (!better || *better == value || !allowed(NodeId(i), *better, before)) continue;
      value = *better;
      ++rebuilt_;
    }
    if (rebuilt_ == 0 && bodies_.empty()) return nullptr;
    copier_.outputs();
    auto made = builder_.finish();
    context_.rebuilt(old_, *made, memo_);
    return made;
  }

  size_t changes() const { return rebuilt_; }

 private:
  // Where values are looked up: the new graph, or before anything is copied the old one.
  const Graph& graph() const { return copying_ ? builder_.graph() : old_; }
  Facts& facts() { return copying_ ? new_facts_ : old_facts_; }
  ValueId now(ValueId old) const { return copying_ ? memo_[old.index] : old; }
  const Node& producer(ValueId v) const { return graph().producer_node(v); }
  DType dtype(ValueId v) const { return graph().type(v).dtype; }

  // Copies all nodes before `end`.
  void begin_copy(NodeId end) {
    copying_ = true;
    memo_.resize(old_.num_values());
    size_t slots = 0;
    for (const Node& n : old_.nodes()) slots += n.num_operands;
    builder_.reserve(old_.num_nodes(), slots);
    copier_.inputs();
    for (size_t i = 0; i < end.index; ++i) {
      if (old_.node(NodeId(i)).op != Op::input) copier_.node(old_.node(NodeId(i)));
    }
  }

  // The root of a region in which something may meet: a single node whose operands have different bases,
  // as nearly all are, is none.
  bool is_candidate(NodeId root) {
    const Family family = regions_.family(root);
    if (family == Family::kNone || regions_.is_inner(root)) return false;
    const auto operands = old_.operands(root);
    if (operands.size() < 2) return regions_.is_inner(old_.producer(operands[0]));
    for (ValueId v : operands) {
      if (regions_.is_inner(old_.producer(v))) return true;
    }
    const ValueId first = now(operands[0]), second = now(operands[1]);
    return base_of(family, first) == base_of(family, second);
  }

  ValueId base_of(Family family, ValueId v) {
    for (int i = 0; i < kMaxPeeled; ++i) {
      const Node& n = producer(v);
      const auto operands = graph().operands(n);
      const bool has_constant = operands.size() == 2 && facts().is_constant(operands[1]);
      const bool scales = n.op == Op::neg || ((n.op == Op::mul || n.op == Op::div) && has_constant);
      if (family == Family::kSum ? !scales : n.op != Op::pow) break;
      v = operands[0];
    }
    return v;
  }

  bool allowed(NodeId root, ValueId value, size_t first_made) {
    const NodeId copy = graph().producer(memo_[old_.result(root).index]);
    const rewrite::Rewrite change{&as_rule(), root, graph(), copy, {&value, 1}, first_made};
    for (rewrite::Observer* o : context_.observers) {
      if (!o->allows(change)) return false;
    }
    for (rewrite::Observer* o : context_.observers) o->applied(change);
    return true;
  }

  // The region in a cheaper form, or nothing. Before anything is copied: whether there is one.
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
    struct Pending {
      NodeId node;
      Parts<Number> parts;
    };
    const bool product = regions_.family(root) == Family::kProduct;
    std::vector<Leaf<Number>> found;
    std::vector<Pending> pending{{root, {Number::one(), {}}}};
    while (!pending.empty()) {
      const auto [n, here] = pending.back();
      pending.pop_back();
      const Op op = old_.node(n).op;
      const auto operands = old_.operands(n);
      *cost += op == Op::div ? kDivide : kAdd;
      if (op == Op::neg) ++*negs;
      if (doubles(old_, old_.node(n)) && regions_.is_inner(old_.producer(operands[0]))) {
        Parts<Number> twice = here;
        twice += here;
        pending.push_back({old_.producer(operands[0]), twice});
        continue;
      }
      // Right to left: leaves that stand before inner nodes, or between two, come in another order than
      // in the text, always the same.
      for (size_t i = operands.size(); i-- > 0;) {
        const bool flips = op == Op::neg ? !product : i == 1 && (op == Op::sub || op == Op::div);
        const Parts<Number> parts = flips ? here.swapped() : here;
        const NodeId p = old_.producer(operands[i]);
        if (regions_.is_inner(p)) {
          pending.push_back({p, parts});
        } else {
          found.push_back({now(operands[i]), parts, regions_.uses(p)});
        }
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
    ++same.leaves;
    if (term.first.value == same.first.value) {
      ++same.repeats;
    } else if (term.first.uses == 1) {
      same.saved += term.taken_off;
    }
  }

  // Ends a collection. A base that occurred once is its leaf as it stood there.
  template <class Number>
  void close(std::vector<Term<Number>>* terms) {
    for (Term<Number>& term : *terms) {
      term_of_[term.base.index] = 0;
      if (term.leaves == 1) {
        term.base = term.first.value;
        term.total = term.first.parts;
      } else if (term.first.uses == term.repeats) {
        term.saved += term.taken_off;
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
    if (const auto splat = facts().splat(v)) return std::isfinite(splat->real);
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
    const auto splat = facts().splat(v);
    if (!splat || !std::isfinite(splat->real)) return std::nullopt;
    Parts<Scaled> p;
    (std::signbit(splat->real) ? p.minus : p.plus) = Scaled::of(std::fabs(splat->real));
    return p;
  }
  std::optional<Parts<Wrapped>> number(ValueId v, const Wrapped& /*kind*/) {
    const auto splat = facts().splat(v);
    if (!splat) return std::nullopt;
    return Parts<Wrapped>{{static_cast<uint64_t>(splat->integer)}, {}};
  }

  // ---- making nodes ----

  ValueId commutative(Op op, ValueId a, ValueId b) {
    const bool first = facts().is_constant(a), second = facts().is_constant(b);
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

  // `x * 3` is three x, `x / 3` a third, `-x` minus one.
  template <class Number>
  Term<Number> without_coefficient(const Leaf<Number>& leaf) {
    Term<Number> term{leaf.value, leaf.parts, leaf};
    for (int i = 0; i < kMaxPeeled; ++i) {
      const auto c = coefficient(term.base, Number());
      if (!c || (c->plus.zero() && c->minus.zero())) break;
      term.total = term.total * *c;
      term.taken_off += producer(term.base).op == Op::div ? kDivide : kScale;
      term.base = graph().operands(producer(term.base))[0];
    }
    return term;
  }

  template <class Number>
  std::optional<Parts<Number>> coefficient(ValueId v, const Number& kind) {
    const Node& n = producer(v);
    const auto operands = graph().operands(n);
    if (n.op == Op::neg) return Parts<Number>{{}, Number::one()};
    if (n.op == Op::mul) return number(operands[1], kind);
    if (n.op != Op::div) return std::nullopt;
    return reciprocal(number(operands[1], kind));
  }

  static std::optional<Parts<Scaled>> reciprocal(std::optional<Parts<Scaled>> c) {
    if (!c || (c->plus.zero() && c->minus.zero())) return std::nullopt;
    for (Scaled* s : {&c->plus, &c->minus}) {
      if (!s->zero()) *s = Scaled::of(1 / s->value());
    }
    return c;
  }
  static std::optional<Parts<Wrapped>> reciprocal(const std::optional<Parts<Wrapped>>& /*c*/) {
    return std::nullopt;
  }

  // The constant part of a sum; not finite: out of range.
  static double constant_part(DType t, const Parts<Scaled>& k) {
    return make_splat(t, {}, k.plus.value() - k.minus.value()).as_double(0);
  }
  static int64_t constant_part(DType t, const Parts<Wrapped>& k) {
    return signed_of(t, k.plus.bits - k.minus.bits);
  }
  ValueId constant_like(ValueId v, double k) { return builder_.full_like(v, k); }
  ValueId constant_like(ValueId v, int64_t k) { return integer_like(v, static_cast<uint64_t>(k)); }

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
    const ValueId like = now(old_.result(root));
    const auto k = constant_part(dtype(like), constant);
    if (!std::isfinite(static_cast<double>(k))) return std::nullopt;
    if (sum_cost(dtype(like), terms, k != 0) >= cost) return std::nullopt;
    if (!copying_) return like;
    return make_sum(like, terms, k != 0 ? std::optional(constant_like(like, k)) : std::nullopt);
  }

  // What the sum will cost, less the coefficients that it makes dead.
  template <class Number>
  static int sum_cost(DType t, const std::vector<Term<Number>>& terms, bool constant) {
    int pieces = constant ? 1 : 0, scales = 0, saved = 0;
    bool positive = constant;
    for (const Term<Number>& term : terms) {
      positive = positive || !term.total.plus.zero();
      for (const Number& c : {term.total.plus, term.total.minus}) {
        if (c.zero()) continue;
        ++pieces;
        scales += factors(t, c);
      }
      saved += term.saved;
    }
    // A sum of negative terms is negated, a single one in its coefficient.
    const bool negated = !positive && pieces > 0 && !(pieces == 1 && scales > 0);
    return kScale * scales + kAdd * (std::max(1, pieces) - 1 + (negated ? 1 : 0)) - saved;
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
    const auto splat = facts().splat(graph().operands(n)[1]);
    if (!splat || splat->real < 2 || splat->real > 64 || splat->real != std::floor(splat->real)) {
      return term;
    }
    const auto by = static_cast<uint32_t>(splat->real);
    for (Exponent* e : {&term.total.plus, &term.total.minus}) {
      e->count = std::min(e->count * by, kMaxExponent);
    }
    term.taken_off = kPower;
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
    const ValueId like = now(old_.result(root));
    std::vector<Term<Exponent>> terms;
    for (const Leaf<Exponent>& leaf : found) {
      if (const auto splat = facts().splat(leaf.value)) {
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
    return copying_ ? make_product(like, terms, c) : like;
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
      const bool flips = c.negative != std::signbit(facts().splat(c.divisor)->real);
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
  Facts old_facts_, new_facts_;
  bool copying_ = false;
  std::vector<ValueId> memo_;  // old value -> new value
  Copier copier_;
  std::vector<uint32_t> term_of_;  // per value: 1 + its term, while a region is collected
  size_t rebuilt_ = 0;
};

}  // namespace

pass::Pass reassociate() {
  const auto run = [](const Graph& graph, pass::PassContext& context) {
    return rebuild_all<Reassociation>(graph, context, "sums and products rebuilt");
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
