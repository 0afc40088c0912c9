#include "index_expr.h"

#include <algorithm>

#include "gcomp/support/error.h"

namespace gcomp::lower {

uint32_t IndexTable::intern(IndexTerm t) {
  // Few quotients occur in one kernel: a scan is quicker than a hash table.
  for (uint32_t i = 0; i < terms_.size(); ++i) {
    const IndexTerm& u = terms_[i];
    if (u.kind == t.kind && u.number == t.number && u.divisor == t.divisor && u.inner == t.inner) {
      return i;
    }
  }
  terms_.push_back(std::move(t));
  return static_cast<uint32_t>(terms_.size() - 1);
}

uint32_t IndexTable::add_loop(DimId extent) {
  const auto axis = static_cast<uint32_t>(loops_.size());
  GCOMP_CHECK(axis < 64, "more than 64 loops in a kernel");
  IndexTerm t{.kind = TermKind::kLoop,
              .extent = extent,
              .axes = AxisMask{1} << axis,
              .number = axis,
              .inner = {},
              .divisor = {}};
  loops_.push_back(intern(std::move(t)));
  return axis;
}

uint32_t IndexTable::item_term(uint32_t item, DimId extent, AxisMask axes) {
  return intern({.kind = TermKind::kItem,
                 .extent = extent,
                 .axes = axes,
                 .number = item,
                 .inner = {},
                 .divisor = {}});
}

Linear IndexTable::add(const Linear& a, DimId b) {
  Linear r = a;
  r.constant = dims_.add(a.constant, b);
  return r;
}

Linear IndexTable::add(const Linear& a, const Linear& b) {
  Linear r;
  r.constant = dims_.add(a.constant, b.constant);
  size_t i = 0, j = 0;
  while (i < a.terms.size() || j < b.terms.size()) {
    const bool from_a =
        j == b.terms.size() || (i < a.terms.size() && a.terms[i].term <= b.terms[j].term);
    const bool both = from_a && j < b.terms.size() && a.terms[i].term == b.terms[j].term;
    if (both) {
      const DimId c = dims_.add(a.terms[i].coefficient, b.terms[j].coefficient);
      if (!dims_.is_constant(c, 0)) r.terms.push_back({a.terms[i].term, c});
      ++i, ++j;
    } else {
      r.terms.push_back(from_a ? a.terms[i++] : b.terms[j++]);
    }
  }
  return r;
}

Linear IndexTable::scale(const Linear& a, DimId factor) {
  Linear r;
  r.constant = dims_.mul(a.constant, factor);
  for (const LinearTerm& t : a.terms) {
    const DimId c = dims_.mul(t.coefficient, factor);
    if (!dims_.is_constant(c, 0)) r.terms.push_back({t.term, c});
  }
  return r;
}

// d * (x // d) + x % d = x, with any common coefficient.
// NOLINTNEXTLINE(misc-no-recursion): each call has one term less
Linear IndexTable::normalise(Linear a) {
  for (size_t i = 0; i < a.terms.size(); ++i) {
    const IndexTerm& m = terms_[a.terms[i].term];
    if (m.kind != TermKind::kMod) continue;
    const DimId wanted = dims_.mul(a.terms[i].coefficient, m.divisor);
    for (size_t j = 0; j < a.terms.size(); ++j) {
      const IndexTerm& q = terms_[a.terms[j].term];
      if (q.kind != TermKind::kDiv || q.divisor != m.divisor || q.inner != m.inner ||
          a.terms[j].coefficient != wanted) {
        continue;
      }
      const Linear whole = scale(m.inner, a.terms[i].coefficient);
      a.terms.erase(a.terms.begin() + static_cast<long>(std::max(i, j)));
      a.terms.erase(a.terms.begin() + static_cast<long>(std::min(i, j)));
      return normalise(add(a, whole));
    }
  }
  return a;
}

bool IndexTable::exact_quotient(DimId a, DimId b, DimId* quotient) {
  if (a == b) {
    *quotient = dims_.constant(1);
    return true;
  }
  const auto x = dims_.constant_value(a), y = dims_.constant_value(b);
  if (x && *x == 0) {
    *quotient = a;
    return true;
  }
  if (y && *y == 0) return false;
  if (x && !y) return false;
  if (x && y && *x % *y != 0) return false;
  *quotient = dims_.floor_div(a, b);
  return dims_.mul(*quotient, b) == a;
}

Linear IndexTable::div_mod(const Linear& a, DimId divisor, bool quotient) {
  if (dims_.is_constant(divisor, 1)) return quotient ? a : constant(0);
  Linear whole = constant(0), rest = constant(0);
  DimId q;
  if (exact_quotient(a.constant, divisor, &q)) {
    whole.constant = q;
  } else {
    const auto c = dims_.constant_value(a.constant), d = dims_.constant_value(divisor);
    if (c && d && *d > 0 && *c >= 0) {
      whole.constant = dims_.constant(*c / *d);
      rest.constant = dims_.constant(*c % *d);
    } else {
      rest.constant = a.constant;
    }
  }
  DimId top = rest.constant;  // the largest value of `rest`
  bool bounded = dims_.lower_bound(rest.constant).value_or(-1) >= 0;
  for (const LinearTerm& t : a.terms) {
    if (exact_quotient(t.coefficient, divisor, &q)) {
      whole.terms.push_back({t.term, q});
      continue;
    }
    rest.terms.push_back(t);
    bounded = bounded && dims_.lower_bound(t.coefficient).value_or(-1) >= 0;
    const DimId last = dims_.sub(terms_[t.term].extent, dims_.constant(1));
    top = dims_.add(top, dims_.mul(t.coefficient, last));
  }
  const DimId slack = dims_.sub(dims_.sub(divisor, top), dims_.constant(1));
  if (bounded && dims_.lower_bound(slack).value_or(-1) >= 0) return quotient ? whole : rest;
  if (rest.terms.empty()) {  // a number that is not known to be small
    const DimId part =
        quotient ? dims_.floor_div(rest.constant, divisor) : dims_.mod(rest.constant, divisor);
    return quotient ? add(whole, part) : constant(part);
  }
  IndexTerm t{
      .kind = quotient ? TermKind::kDiv : TermKind::kMod,
      .extent = quotient ? dims_.add(dims_.floor_div(top, divisor), dims_.constant(1)) : divisor,
      .axes = axes(rest),
      .number = 0,
      .inner = rest,
      .divisor = divisor};
  const Linear part = of_term(intern(std::move(t)));
  return quotient ? add(whole, part) : part;
}

Linear IndexTable::flatten(std::span<const Linear> index, std::span<const DimId> shape) {
  GCOMP_CHECK(index.size() == shape.size(), "index of another rank than the tensor");
  Linear flat = constant(0);
  DimId stride = dims_.constant(1);
  for (size_t k = shape.size(); k-- > 0;) {
    flat = add(flat, scale(index[k], stride));
    stride = dims_.mul(stride, shape[k]);
  }
  return normalise(std::move(flat));
}

Index IndexTable::reshape(std::span<const Linear> index, std::span<const DimId> from,
                          std::span<const DimId> to) {
  Index result(to.size(), constant(0));
  std::vector<size_t> src, dst;  // axes that are not 1
  for (size_t i = 0; i < from.size(); ++i) {
    if (!dims_.is_constant(from[i], 1)) src.push_back(i);
  }
  for (size_t i = 0; i < to.size(); ++i) {
    if (!dims_.is_constant(to[i], 1)) dst.push_back(i);
  }
  size_t i = 0, j = 0;
  while (i < src.size() && j < dst.size()) {
    // The smallest blocks of axes with equal products; the rest is one block if none is provable.
    const size_t i0 = i, j0 = j;
    DimId p = from[src[i++]], q = to[dst[j++]];
    while (p != q) {
      if (dims_.lower_bound(dims_.sub(q, p)).value_or(-1) >= 0 && i < src.size()) {
        p = dims_.mul(p, from[src[i++]]);
      } else if (dims_.lower_bound(dims_.sub(p, q)).value_or(-1) >= 0 && j < dst.size()) {
        q = dims_.mul(q, to[dst[j++]]);
      } else {
        i = src.size(), j = dst.size();
        break;
      }
    }
    if (i == src.size() || j == dst.size()) i = src.size(), j = dst.size();
    if (i - i0 == 1 && j - j0 == 1) {
      result[dst[j0]] = index[src[i0]];
      continue;
    }
    Index part;
    std::vector<DimId> extents;
    for (size_t k = i0; k < i; ++k) {
      part.push_back(index[src[k]]);
      extents.push_back(from[src[k]]);
    }
    Linear flat = flatten(part, extents);
    for (size_t k = j; k-- > j0 + 1;) {
      result[dst[k]] = mod(flat, to[dst[k]]);
      flat = div(flat, to[dst[k]]);
    }
    result[dst[j0]] = flat;
  }
  return result;
}

AxisMask IndexTable::axes(const Linear& a) const {
  AxisMask m = 0;
  for (const LinearTerm& t : a.terms) m |= terms_[t.term].axes;
  return m;
}

DimId IndexTable::coefficient(const Linear& a, uint32_t axis) {
  for (const LinearTerm& t : a.terms) {
    if (t.term == loops_[axis]) return t.coefficient;
  }
  return dims_.constant(0);
}

bool IndexTable::only_linear(const Linear& a, uint32_t axis) const {
  for (const LinearTerm& t : a.terms) {
    if (terms_[t.term].kind != TermKind::kLoop && (terms_[t.term].axes >> axis & 1) != 0) {
      return false;
    }
  }
  return true;
}

std::vector<DimId> dense_strides(DimTable& dims, std::span<const DimId> shape) {
  std::vector<DimId> strides(shape.size());
  DimId s = dims.constant(1);
  for (size_t k = shape.size(); k-- > 0;) {
    strides[k] = s;
    s = dims.mul(s, shape[k]);
  }
  return strides;
}

}  // namespace gcomp::lower
