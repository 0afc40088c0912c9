#include "gcomp/ir/dim.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "gcomp/support/error.h"
#include "gcomp/support/hash.h"

namespace gcomp {
namespace {

// Extents never come near 2^63; arithmetic wraps so that hostile input is defined behaviour.
int64_t wrap_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t wrap_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_mul(a, -1);
  const int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}
int64_t floor_mod(int64_t a, int64_t b) {
  return b == 0 ? 0 : wrap_add(a, -wrap_mul(b, floor_divide(a, b)));
}

// A product longer than this stays an opaque factor: keeps polynomials from exploding.
constexpr size_t kMaxTermsToExpand = 64;

std::optional<int64_t> checked_add(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t r;
  if (!a || !b || __builtin_add_overflow(*a, *b, &r)) return std::nullopt;
  return r;
}
std::optional<int64_t> checked_mul(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t r;
  if (!a || !b || __builtin_mul_overflow(*a, *b, &r)) return std::nullopt;
  return r;
}

}  // namespace

// constant + sum of coefficient * term, terms in any order, possibly repeated.
struct DimTable::Sum {
  int64_t constant = 0;
  std::vector<std::pair<DimId, int64_t>> terms;
};

DimTable::DimTable() {
  for (int64_t v = 0; v < 2; ++v) constant(v);
}

DimId DimTable::intern(DimExpr e) {
  size_t h = hash_combine(static_cast<size_t>(e.kind), static_cast<size_t>(e.value));
  h = hash_combine(h, e.symbol.index);
  for (DimId d : e.operands) h = hash_combine(h, d.index);
  for (int64_t c : e.coefficients) h = hash_combine(h, static_cast<size_t>(c));
  const auto found = interned_.find(h, [&](uint32_t id) {
    const DimExpr& other = exprs_[id];
    return other.kind == e.kind && other.value == e.value && other.symbol == e.symbol &&
           other.operands == e.operands && other.coefficients == e.coefficients;
  });
  if (found) return DimId(*found);
  const DimId id(exprs_.size());
  bounds_.push_back(compute_bounds(e));
  exprs_.push_back(std::move(e));
  interned_.add(h, id.index);
  return id;
}

DimId DimTable::constant(int64_t value) {
  const auto intern_constant = [&] {
    return intern({.kind = DimKind::kConst,
                   .value = value,
                   .symbol = {},
                   .operands = {},
                   .coefficients = {}});
  };
  if (value < 0 || value >= kMaxDirect) return intern_constant();
  const auto i = static_cast<size_t>(value);
  if (i >= direct_.size()) direct_.resize(std::bit_ceil(i + 1));
  if (!direct_[i].valid()) direct_[i] = intern_constant();
  return direct_[i];
}

DimId DimTable::symbol(std::string_view name) {
  const auto [it, inserted] = symbol_ids_.try_emplace(std::string(name), SymbolId(symbols_.size()));
  if (inserted) symbols_.emplace_back(name);
  return intern({.kind = DimKind::kSymbol,
                 .value = 0,
                 .symbol = it->second,
                 .operands = {},
                 .coefficients = {}});
}

DimId DimTable::fresh_symbol(std::string_view stem) {
  std::string name(stem);
  // The count makes the next try unique; the loop only runs on when a user chose such a name.
  for (size_t n = symbols_.size(); symbol_ids_.contains(name); ++n) {
    name = std::string(stem) + "_" + std::to_string(n);
  }
  return symbol(name);
}

std::optional<int64_t> DimTable::constant_value(DimId d) const {
  const DimExpr& e = expr(d);
  if (e.kind != DimKind::kConst) return std::nullopt;
  return e.value;
}

bool DimTable::is_constant(DimId d, int64_t value) const {
  return expr(d).kind == DimKind::kConst && expr(d).value == value;
}

std::optional<SymbolId> DimTable::as_symbol(DimId d) const {
  const DimExpr& e = expr(d);
  if (e.kind != DimKind::kSymbol) return std::nullopt;
  return e.symbol;
}

void DimTable::add_scaled(Sum* sum, DimId d, int64_t factor) const {
  const DimExpr& e = expr(d);
  if (e.kind == DimKind::kConst) {
    sum->constant = wrap_add(sum->constant, wrap_mul(e.value, factor));
  } else if (e.kind == DimKind::kSum) {
    sum->constant = wrap_add(sum->constant, wrap_mul(e.value, factor));
    for (size_t i = 0; i < e.operands.size(); ++i) {
      sum->terms.emplace_back(e.operands[i], wrap_mul(e.coefficients[i], factor));
    }
  } else {
    sum->terms.emplace_back(d, factor);
  }
}

DimId DimTable::make_sum(Sum sum) {
  std::sort(sum.terms.begin(), sum.terms.end());
  DimExpr e{.kind = DimKind::kSum,
            .value = sum.constant,
            .symbol = {},
            .operands = {},
            .coefficients = {}};
  for (size_t i = 0; i < sum.terms.size();) {
    int64_t coefficient = 0;
    const DimId term = sum.terms[i].first;
    for (; i < sum.terms.size() && sum.terms[i].first == term; ++i) {
      coefficient = wrap_add(coefficient, sum.terms[i].second);
    }
    if (coefficient == 0) continue;
    e.operands.push_back(term);
    e.coefficients.push_back(coefficient);
  }
  if (e.operands.empty()) return constant(e.value);
  if (e.operands.size() == 1 && e.coefficients[0] == 1 && e.value == 0) return e.operands[0];
  return intern(std::move(e));
}

DimId DimTable::add(DimId a, DimId b) {
  Sum sum;
  add_scaled(&sum, a, 1);
  add_scaled(&sum, b, 1);
  return make_sum(std::move(sum));
}

DimId DimTable::sub(DimId a, DimId b) {
  Sum sum;
  add_scaled(&sum, a, 1);
  add_scaled(&sum, b, -1);
  return make_sum(std::move(sum));
}

DimId DimTable::mul(DimId a, DimId b) {
  if (constant_value(b)) std::swap(a, b);
  if (const auto v = constant_value(a)) {
    Sum sum;
    add_scaled(&sum, b, *v);
    return make_sum(std::move(sum));
  }
  const auto factors_of = [this](DimId d) {
    const DimExpr& e = expr(d);
    return e.kind == DimKind::kProduct ? e.operands : std::vector<DimId>{d};
  };
  const auto product_of = [&](DimId x, DimId y) {
    std::vector<DimId> factors = factors_of(x);
    const std::vector<DimId> more = factors_of(y);
    factors.insert(factors.end(), more.begin(), more.end());
    std::sort(factors.begin(), factors.end());
    return intern({.kind = DimKind::kProduct,
                   .value = 0,
                   .symbol = {},
                   .operands = std::move(factors),
                   .coefficients = {}});
  };
  // Distribute over sums, so that equal polynomials are equal ids.
  Sum left, right;
  add_scaled(&left, a, 1);
  add_scaled(&right, b, 1);
  if (left.terms.size() * right.terms.size() > kMaxTermsToExpand) return product_of(a, b);
  Sum sum;
  sum.constant = wrap_mul(left.constant, right.constant);
  for (const auto& [x, cx] : left.terms) {
    sum.terms.emplace_back(x, wrap_mul(cx, right.constant));
    for (const auto& [y, cy] : right.terms) {
      sum.terms.emplace_back(product_of(x, y), wrap_mul(cx, cy));
    }
  }
  for (const auto& [y, cy] : right.terms) sum.terms.emplace_back(y, wrap_mul(cy, left.constant));
  return make_sum(std::move(sum));
}

DimId DimTable::product(std::span<const DimId> dims) {
  DimId p = constant(1);
  for (DimId d : dims) p = mul(p, d);
  return p;
}

DimId DimTable::binary(DimKind kind, DimId a, DimId b) {
  return intern({.kind = kind, .value = 0, .symbol = {}, .operands = {a, b}, .coefficients = {}});
}

// Calls itself with what it has simplified, twice at the most: operands are canonical already.
DimId DimTable::floor_div(DimId a, DimId b) {  // NOLINT(misc-no-recursion)
  const auto x = constant_value(a), y = constant_value(b);
  if (x && y) return constant(floor_divide(*x, *y));
  if (y && *y == 1) return a;
  if (x && *x == 0) return a;
  if (a == b && lower_bound(b).value_or(0) >= 1) return constant(1);
  if (y && *y > 1) {
    // Terms divisible by y leave the division: (4*N + 6) // 4 = N + 6 // 4.
    const DimExpr& e = expr(a);
    if (e.kind == DimKind::kSum) {
      Sum whole, rest;
      for (size_t i = 0; i < e.operands.size(); ++i) {
        Sum& part = e.coefficients[i] % *y == 0 ? whole : rest;
        const int64_t c = e.coefficients[i] % *y == 0 ? e.coefficients[i] / *y : e.coefficients[i];
        part.terms.emplace_back(e.operands[i], c);
      }
      whole.constant = floor_divide(e.value, *y);
      rest.constant = floor_mod(e.value, *y);
      if (!whole.terms.empty() || whole.constant != 0) {
        const DimId quotient = make_sum(std::move(whole));
        return add(quotient, floor_div(make_sum(std::move(rest)), b));
      }
    }
    // (x // m) // n = x // (m n)
    if (e.kind == DimKind::kFloorDiv) {
      const auto m = constant_value(e.operands[1]);
      if (m && *m > 0) return floor_div(e.operands[0], constant(wrap_mul(*m, *y)));
    }
    const auto lo = lower_bound(a), hi = upper_bound(a);
    if (lo && hi && floor_divide(*lo, *y) == floor_divide(*hi, *y)) {
      return constant(floor_divide(*lo, *y));
    }
  }
  // A symbolic divisor that is a factor of the whole term cancels: (3*N*M) // N = 3*M, if N >= 1.
  if (!y && lower_bound(b).value_or(0) >= 0) {
    Sum terms, quotient;
    add_scaled(&terms, a, 1);
    bool divides = terms.constant == 0 && !terms.terms.empty();
    for (const auto& [term, c] : terms.terms) {
      if (!divides) break;
      if (term == b) {
        quotient.constant = wrap_add(quotient.constant, c);
        continue;
      }
      const DimExpr& e = expr(term);
      if (e.kind != DimKind::kProduct) {
        divides = false;
        break;
      }
      std::vector<DimId> factors = e.operands;
      const auto at = std::find(factors.begin(), factors.end(), b);
      divides = at != factors.end();
      if (!divides) break;
      factors.erase(at);
      quotient.terms.emplace_back(product(factors), c);
    }
    // At extent 0 the division gives 0 by definition and the quotient may not; shapes with such an
    // extent have no elements either way, so the exact value does not matter there.
    if (divides) {
      Sum flat;
      flat.constant = quotient.constant;
      for (const auto& [term, c] : quotient.terms) add_scaled(&flat, term, c);
      return make_sum(std::move(flat));
    }
  }
  return binary(DimKind::kFloorDiv, a, b);
}

DimId DimTable::ceil_div(DimId a, DimId b) { return floor_div(add(a, sub(b, constant(1))), b); }

DimId DimTable::mod(DimId a, DimId b) {
  const auto x = constant_value(a), y = constant_value(b);
  if (x && y) return constant(floor_mod(*x, *y));
  if (y && *y == 1) return constant(0);
  if (a == b) return constant(0);
  // mod only where the quotient does not simplify: a - b * (a // b) keeps one canonical form.
  return sub(a, mul(b, floor_div(a, b)));
}

DimId DimTable::min(DimId a, DimId b) {
  if (a == b) return a;
  const DimId difference = sub(a, b);
  if (upper_bound(difference).value_or(1) <= 0) return a;
  if (lower_bound(difference).value_or(-1) >= 0) return b;
  return a < b ? binary(DimKind::kMin, a, b) : binary(DimKind::kMin, b, a);
}

DimId DimTable::max(DimId a, DimId b) {
  if (a == b) return a;
  const DimId difference = sub(a, b);
  if (upper_bound(difference).value_or(1) <= 0) return b;
  if (lower_bound(difference).value_or(-1) >= 0) return a;
  return a < b ? binary(DimKind::kMax, a, b) : binary(DimKind::kMax, b, a);
}

DimTable::Bounds DimTable::compute_bounds(const DimExpr& e) const {
  using O = std::optional<int64_t>;
  const auto lo = [&](size_t i) { return bounds_[e.operands[i].index].first; };
  const auto hi = [&](size_t i) { return bounds_[e.operands[i].index].second; };
  switch (e.kind) {
    case DimKind::kConst: return {e.value, e.value};
    case DimKind::kSymbol: return {0, std::nullopt};
    case DimKind::kSum: {
      O low = e.value, high = e.value;
      for (size_t i = 0; i < e.operands.size(); ++i) {
        const int64_t c = e.coefficients[i];
        low = checked_add(low, checked_mul(c, c > 0 ? lo(i) : hi(i)));
        high = checked_add(high, checked_mul(c, c > 0 ? hi(i) : lo(i)));
      }
      return {low, high};
    }
    case DimKind::kProduct: {
      O low = 1, high = 1;
      for (size_t i = 0; i < e.operands.size(); ++i) {
        if (lo(i).value_or(-1) < 0) return {std::nullopt, std::nullopt};
        low = checked_mul(low, lo(i));
        high = checked_mul(high, hi(i));
      }
      return {low, high};
    }
    case DimKind::kFloorDiv: {
      const auto divisor_low = lo(1);
      if (!divisor_low || *divisor_low < 0) return {std::nullopt, std::nullopt};
      O low, high;
      if (lo(0)) low = *lo(0) >= 0 ? 0 : *lo(0);  // dividing shrinks towards 0
      const auto divisor = constant_value(e.operands[1]);
      if (divisor && *divisor > 0 && lo(0)) low = floor_divide(*lo(0), *divisor);
      if (hi(0)) high = *hi(0) < 0 ? 0 : floor_divide(*hi(0), std::max<int64_t>(1, *divisor_low));
      return {low, high};
    }
    case DimKind::kMod: return {std::nullopt, std::nullopt};
    case DimKind::kMin: {
      O high = hi(0) && hi(1) ? std::min(*hi(0), *hi(1)) : (hi(0) ? hi(0) : hi(1));
      return {lo(0) && lo(1) ? O(std::min(*lo(0), *lo(1))) : std::nullopt, high};
    }
    case DimKind::kMax: {
      O low = lo(0) && lo(1) ? std::max(*lo(0), *lo(1)) : (lo(0) ? lo(0) : lo(1));
      return {low, hi(0) && hi(1) ? O(std::max(*hi(0), *hi(1))) : std::nullopt};
    }
  }
  return {std::nullopt, std::nullopt};
}

// Sub-expressions of `d`, operands before users, each once. Explicit stack: depth is graph size.
std::vector<DimId> DimTable::postorder(DimId root) const {
  std::vector<DimId> order;
  if (expr(root).operands.empty()) return {root};
  std::unordered_map<uint32_t, bool> finished;  // absent: new; false: open; true: done
  std::vector<DimId> stack{root};
  while (!stack.empty()) {
    const DimId d = stack.back();
    const auto [it, is_new] = finished.try_emplace(d.index, false);
    if (is_new) {
      for (DimId operand : expr(d).operands) {
        if (!finished.contains(operand.index)) stack.push_back(operand);
      }
      continue;
    }
    stack.pop_back();
    if (it->second) continue;
    it->second = true;
    order.push_back(d);
  }
  return order;
}

void DimTable::collect_symbols(DimId d, std::vector<SymbolId>* out) const {
  for (DimId part : postorder(d)) {
    if (const auto s = as_symbol(part)) {
      if (std::find(out->begin(), out->end(), *s) == out->end()) out->push_back(*s);
    }
  }
}

int64_t DimTable::evaluate(DimId root, std::span<const int64_t> values) const {
  std::unordered_map<uint32_t, int64_t> result;
  for (DimId d : postorder(root)) {
    const DimExpr& e = expr(d);
    const auto operand = [&](size_t i) { return result.at(e.operands[i].index); };
    int64_t v = e.value;
    switch (e.kind) {
      case DimKind::kConst: break;
      case DimKind::kSymbol:
        GCOMP_CHECK(e.symbol.index < values.size(), "unbound symbol");
        v = values[e.symbol.index];
        break;
      case DimKind::kSum:
        for (size_t i = 0; i < e.operands.size(); ++i) {
          v = wrap_add(v, wrap_mul(e.coefficients[i], operand(i)));
        }
        break;
      case DimKind::kProduct:
        v = 1;
        for (size_t i = 0; i < e.operands.size(); ++i) v = wrap_mul(v, operand(i));
        break;
      case DimKind::kFloorDiv: v = floor_divide(operand(0), operand(1)); break;
      case DimKind::kMod: v = floor_mod(operand(0), operand(1)); break;
      case DimKind::kMin: v = std::min(operand(0), operand(1)); break;
      case DimKind::kMax: v = std::max(operand(0), operand(1)); break;
    }
    result[d.index] = v;
  }
  return result.at(root.index);
}

DimId DimTable::substitute(DimId root, std::span<const DimId> replacement) {
  std::unordered_map<uint32_t, DimId> result;
  for (DimId d : postorder(root)) {
    const DimExpr e = expr(d);  // a copy: building interns
    const auto operand = [&](size_t i) { return result.at(e.operands[i].index); };
    DimId v = d;
    switch (e.kind) {
      case DimKind::kConst: break;
      case DimKind::kSymbol:
        if (e.symbol.index < replacement.size() && replacement[e.symbol.index].valid()) {
          v = replacement[e.symbol.index];
        }
        break;
      case DimKind::kSum:
        v = constant(e.value);
        for (size_t i = 0; i < e.operands.size(); ++i) {
          v = add(v, mul(constant(e.coefficients[i]), operand(i)));
        }
        break;
      case DimKind::kProduct:
        v = constant(1);
        for (size_t i = 0; i < e.operands.size(); ++i) v = mul(v, operand(i));
        break;
      case DimKind::kFloorDiv: v = floor_div(operand(0), operand(1)); break;
      case DimKind::kMod: v = mod(operand(0), operand(1)); break;
      case DimKind::kMin: v = min(operand(0), operand(1)); break;
      case DimKind::kMax: v = max(operand(0), operand(1)); break;
    }
    result[d.index] = v;
  }
  return result.at(root.index);
}

}  // namespace gcomp
