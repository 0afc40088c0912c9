// Element values of small integer tensors as extents, so that shape arithmetic folds away.
#include <algorithm>

#include "gcomp/ir/builder.h"
#include "gcomp/ir/infer.h"
#include "gcomp/support/error.h"

namespace gcomp {
namespace {

constexpr int64_t kMaxElements = 64;

using Values = std::optional<std::vector<DimId>>;

// Number of elements if the type is a small integer scalar or vector of static length.
std::optional<int64_t> small_length(const DimTable& dims, const Type& t) {
  if (!is_int(t.dtype) || t.rank() > 1) return std::nullopt;
  if (t.rank() == 0) return 1;
  const auto n = dims.constant_value(t.dims[0]);
  return n && *n <= kMaxElements ? n : std::nullopt;
}

std::optional<DimId> combine(DimTable& dims, Op op, DimId a, DimId b) {
  switch (op) {
    case Op::add: return dims.add(a, b);
    case Op::sub: return dims.sub(a, b);
    case Op::mul: return dims.mul(a, b);
    case Op::min: return dims.min(a, b);
    case Op::max: return dims.max(a, b);
    case Op::div: {  // truncation is the floor where both are known not to be negative
      const bool nonnegative = dims.lower_bound(a).value_or(-1) >= 0;
      const bool positive = dims.lower_bound(b).value_or(-1) >= 1;
      if (nonnegative && positive) return dims.floor_div(a, b);
      return std::nullopt;
    }
    case Op::floor_div:
      if (dims.lower_bound(b).value_or(-1) >= 1) return dims.floor_div(a, b);
      return std::nullopt;
    case Op::mod:
      if (dims.lower_bound(b).value_or(-1) >= 1) return dims.mod(a, b);
      return std::nullopt;
    default: return std::nullopt;
  }
}

// Where a comparison of extents has one answer for all sizes.
std::optional<bool> compare(const DimTable& dims, Op op, DimId difference) {
  const auto lo = dims.lower_bound(difference), hi = dims.upper_bound(difference);
  const auto negative = [&]() -> std::optional<bool> {
    if (hi && *hi < 0) return true;
    if (lo && *lo >= 0) return false;
    return std::nullopt;
  };
  const auto positive = [&]() -> std::optional<bool> {
    if (lo && *lo > 0) return true;
    if (hi && *hi <= 0) return false;
    return std::nullopt;
  };
  const auto zero = [&]() -> std::optional<bool> {
    if (lo && hi && *lo == 0 && *hi == 0) return true;
    if ((lo && *lo > 0) || (hi && *hi < 0)) return false;
    return std::nullopt;
  };
  const auto inverse = [](std::optional<bool> b) { return b ? std::optional<bool>(!*b) : b; };
  switch (op) {
    case Op::lt: return negative();
    case Op::gt: return positive();
    case Op::le: return inverse(positive());
    case Op::ge: return inverse(negative());
    case Op::eq: return zero();
    case Op::ne: return inverse(zero());
    default: return std::nullopt;
  }
}

// Elements [starts + i * stride] of a vector, when the start is known.
Values pick_slice(const DimTable& dims, const std::vector<DimId>& from, const Attrs& attrs) {
  if (attrs.dims(AttrKey::starts).empty()) return from;  // a scalar
  const auto start = dims.constant_value(attrs.dims(AttrKey::starts)[0]);
  const auto length = dims.constant_value(attrs.dims(AttrKey::shape)[0]);
  const int64_t stride = attrs.ints(AttrKey::strides)[0];
  if (!start || !length) return std::nullopt;
  std::vector<DimId> picked;
  for (int64_t i = 0; i < *length; ++i) {
    const int64_t at = *start + i * stride;
    if (at < 0 || at >= static_cast<int64_t>(from.size())) return std::nullopt;
    picked.push_back(from[at]);
  }
  return picked;
}

}  // namespace

const std::optional<std::vector<DimId>>& GraphBuilder::dim_values(ValueId v) {
  // Producers before users: an explicit stack, since chains of shape arithmetic can be long.
  std::vector<ValueId> stack{v};
  while (!stack.empty()) {
    const ValueId top = stack.back();
    if (dim_values_.contains(top.index)) {
      stack.pop_back();
      continue;
    }
    bool ready = true;
    if (small_length(dims(), graph_->type(top)) || type(top).dtype == DType::kBool) {
      for (ValueId operand : graph_->operands(graph_->producer(top))) {
        const Type& t = type(operand);
        const bool small = small_length(dims(), t) || (t.dtype == DType::kBool && t.rank() <= 1);
        if (small && !dim_values_.contains(operand.index)) {
          stack.push_back(operand);
          ready = false;
        }
      }
    }
    if (!ready) continue;
    stack.pop_back();
    dim_values_.emplace(top.index, compute_dim_values(top));
  }
  return dim_values_.at(v.index);
}

std::optional<std::vector<DimId>> GraphBuilder::compute_dim_values(ValueId v) {
  const Type t = type(v);
  const Node n = graph_->producer_node(v);
  const auto operands = graph_->operands(n);
  const Attrs attrs = graph_->attrs(n);
  const auto known = [&](size_t i) -> const Values& {
    static const Values kUnknown;
    const auto found = dim_values_.find(operands[i].index);
    return found == dim_values_.end() ? kUnknown : found->second;
  };
  // Truth values are kept as 0 and 1, so that `where` on compared extents folds.
  const bool truth = t.dtype == DType::kBool && t.rank() <= 1;
  std::optional<int64_t> length = small_length(dims(), t);
  if (truth) {
    length = t.rank() == 0 ? std::optional<int64_t>(1) : dims().constant_value(t.dims[0]);
    if (length && *length > kMaxElements) length.reset();
  }
  if (!length) return std::nullopt;

  switch (n.op) {
    case Op::constant: {
      const Constant& c = *graph_->constant(v);
      std::vector<DimId> values;
      for (int64_t i = 0; i < *length; ++i) values.push_back(dims().constant(c.as_int(i)));
      return values;
    }
    case Op::dims: return attrs.dims(AttrKey::values);
    case Op::bind_dims: return attrs.dims(AttrKey::symbols);
    case Op::cast:
      // Narrowing wraps, which an extent does not; from float the value is not exact.
      if (!is_int(type(operands[0]).dtype) || byte_size(t.dtype) < 4) return std::nullopt;
      return known(0);
    case Op::reshape:
    case Op::specify_shape: return known(0);
    case Op::broadcast:
      if (!known(0) || known(0)->size() != 1) return std::nullopt;
      return std::vector<DimId>(*length, known(0)->front());
    case Op::slice: return known(0) ? pick_slice(dims(), *known(0), attrs) : std::nullopt;
    case Op::concat: {
      std::vector<DimId> values;
      for (size_t i = 0; i < operands.size(); ++i) {
        if (!known(i)) return std::nullopt;
        values.insert(values.end(), known(i)->begin(), known(i)->end());
      }
      return values;
    }
    case Op::gather: {
      if (!known(0) || !known(1)) return std::nullopt;
      std::vector<DimId> values;
      for (DimId index : *known(1)) {
        auto at = dims().constant_value(index);
        const int64_t size = static_cast<int64_t>(known(0)->size());
        if (!at || *at < -size || *at >= size) return std::nullopt;
        values.push_back((*known(0))[*at < 0 ? *at + size : *at]);
      }
      return values;
    }
    case Op::reduce_prod:
    case Op::reduce_sum: {
      if (!known(0)) return std::nullopt;
      if (attrs.ints(AttrKey::axes).empty()) return known(0);
      DimId total = dims().constant(n.op == Op::reduce_prod ? 1 : 0);
      for (DimId d : *known(0)) {
        total = n.op == Op::reduce_prod ? dims().mul(total, d) : dims().add(total, d);
      }
      return std::vector<DimId>{total};
    }
    case Op::neg: {
      if (!known(0)) return std::nullopt;
      std::vector<DimId> values;
      for (DimId d : *known(0)) values.push_back(dims().sub(dims().constant(0), d));
      return values;
    }
    case Op::where: {
      if (!known(0) || !known(1) || !known(2)) return std::nullopt;
      std::vector<DimId> values;
      for (int64_t i = 0; i < *length; ++i) {
        const auto condition = dims().constant_value((*known(0))[i]);
        if (!condition) return std::nullopt;
        values.push_back((*condition != 0 ? *known(1) : *known(2))[i]);
      }
      return values;
    }
    default: break;
  }
  if (operands.size() != 2 || !known(0) || !known(1) || known(0)->size() != known(1)->size()) {
    return std::nullopt;
  }
  std::vector<DimId> values;
  for (size_t i = 0; i < known(0)->size(); ++i) {
    const DimId a = (*known(0))[i], b = (*known(1))[i];
    if (truth) {
      if (!is_int(type(operands[0]).dtype)) return std::nullopt;
      const auto answer = compare(dims(), n.op, dims().sub(a, b));
      if (!answer) return std::nullopt;
      values.push_back(dims().constant(*answer ? 1 : 0));
      continue;
    }
    const auto d = combine(dims(), n.op, a, b);
    if (!d) return std::nullopt;
    values.push_back(*d);
  }
  return values;
}

std::vector<DimId> GraphBuilder::extents_from(ValueId v, std::string_view stem,
                                              std::vector<ValueId>* carriers) {
  if (const auto& known = dim_values(v)) {
    if (needs_carrier(*known)) carriers->push_back(v);
    return *known;
  }
  // A value is bound once, so that extents read from it twice are the same extents.
  if (const auto bound = bound_.find(v.index); bound != bound_.end()) {
    carriers->push_back(bound->second);
    return *dim_values(bound->second);
  }
  const Type t = type(v);
  const auto length = t.rank() == 0 ? std::optional<int64_t>(1) : dims().constant_value(t.dims[0]);
  if (!is_int(t.dtype) || t.rank() > 1 || !length) {
    graph_error(Code::kExtents,
                "extents must come from an integer scalar or vector of known length, not " +
                    to_string(context(), t),
                context().locs[loc_]);
  }
  std::vector<DimId> symbols;
  for (int64_t i = 0; i < *length; ++i) symbols.push_back(dims().fresh_symbol(stem));
  ValueId vector = cast(v, DType::kInt64);
  if (t.rank() == 0) vector = reshape(vector, {dims().constant(1)});
  const ValueId bound = value(Op::bind_dims, {vector}, {{AttrKey::symbols, symbols}});
  bound_.emplace(v.index, bound);
  carriers->push_back(bound);
  return symbols;
}

}  // namespace gcomp
